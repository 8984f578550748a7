"""Datasets of a test's own rows, in the files that a build writes: Parquet, card, checksums and manifest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.dataset_files import config_facts, write_dataset
from dataset_builders.record_counts import RecordCounts
from dataset_builders.row_facts import read_facts
from dataset_builders.rows import DatasetRow, row_of_columns
from dataset_builders.splits import Split

Splits = Mapping[str, Sequence[dict[str, Any]]]
"""Split -> rows as `load_dataset` gives them; source, licence and group may be left out."""


def write_small_dataset(folder: Path, tasks: Mapping[str, Splits]) -> Path:
    """Writes the rows of each task to `folder`, with the writer's own `sample_id` and without pictures, which take longest."""
    built = {name: Split(rows(splits, "train"), rows(splits, "test"), []) for name, splits in tasks.items()}
    found = [row for part in built.values() for row in (*part.train, *part.test)]
    facts = read_facts(built)
    manifest = {
        "configs": config_facts(facts),
        "rejects": {},
        "sources": {row.source: {"licence": row.licence, "read": len(found), "used": len(found)} for row in found},
        "not_built": {},
        "synthetic": True,
        "locales": ["us"],
        "seed": 0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset_builders.plots.write_plots", lambda out, facts: (out / "images").mkdir())
        write_dataset(folder, manifest, built, facts, RecordCounts(), "Rows for tests")
    return folder


def rows(splits: Splits, split: str) -> list[DatasetRow]:
    """Rows of a split; source, licence and group may be left out."""
    defaults = {"source": "made_here", "licence": "Apache-2.0"}
    return [row_of_columns({**defaults, "group": f"row:{number}", **row}) for number, row in enumerate(splits.get(split, ()))]
