"""A dataset with checked labels: reading the built one, and writing the rows that were kept."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.dataset import MANIFEST, SPLITS, read_split
from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.card import card_title
from dataset_builders.dataset_files import config_facts, row_table, word_counts, write_dataset
from dataset_builders.labelling.agreement import Agreement
from dataset_builders.labelling.votes import CONSTRUCTED
from dataset_builders.publish import CARD, read_dataset
from dataset_builders.record_counts import RecordCounts
from dataset_builders.row_facts import read_facts
from dataset_builders.rows import DatasetRow, row_of_columns
from dataset_builders.splits import Split

NOTHING_KEPT = "none of its rows was kept when the labels were checked"


@dataclass(frozen=True)
class SourceDataset:
    """A built dataset whose labels are checked."""

    folder: Path
    manifest: dict[str, Any]
    title: str
    built: dict[str, Split]


@dataclass(frozen=True)
class CheckedRow:
    """A row with its label columns, and why it is rejected; "" where it is kept."""

    split: str
    row: DatasetRow
    reason: str


def read_source(folder: Path) -> SourceDataset:
    """Raises UserError for an incomplete dataset."""
    read_dataset(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    tasks = [task for task in TASKS if task in manifest["configs"]]
    tables = {split: read_split(str(folder), split, tasks) for split in SPLITS}
    try:
        rows = {
            split: {task: [row_of_columns(row) for row in table.to_pylist()] for task, table in found.items()}
            for split, found in tables.items()
        }
    except (KeyError, IndexError, TypeError):
        raise UserError(f"the rows in {folder} do not have a build's columns; build it again") from None
    built = {task: Split(*(rows[split].get(task, []) for split in SPLITS)) for task in tasks}
    return SourceDataset(folder, manifest, card_title((folder / CARD).read_text(encoding="utf-8")), built)


def rows_of(source: SourceDataset, tasks: Sequence[str], splits: Sequence[str]) -> list[tuple[str, DatasetRow]]:
    """(split, row) of these tasks and splits, in the dataset's order."""
    return [(split, row) for task in tasks for split in splits for row in getattr(source.built[task], split)]


def draw_rows(rows: Sequence[tuple[str, DatasetRow]], limit: int | None, seed: int) -> set[str]:
    """Ids of all rows, or of the first `limit` by a seeded draw, so that a larger limit includes those of a smaller one."""
    ids = [row.sample_id for _, row in rows]
    order = sorted(ids, key=lambda name: hashlib.md5(f"{seed}|annotate|{name}".encode()).hexdigest())
    return set(order[:limit])


def kept_rows(
    source: SourceDataset, checked: Sequence[CheckedRow], tasks: Sequence[str], splits: Sequence[str]
) -> dict[str, Split]:
    """The new dataset's rows by task, without empty tasks: the checked rows that are kept and all unchecked ones."""
    kept: dict[tuple[str, str], list[DatasetRow]] = {(task, split): [] for task in tasks for split in splits}
    for one in checked:
        if not one.reason:
            kept[one.row.task, one.split].append(one.row)
    built = {}
    for task, parts in source.built.items():
        rows = {split: kept.get((task, split), [_constructed(row) for row in getattr(parts, split)]) for split in SPLITS}
        if any(rows.values()):
            built[task] = Split(**rows)
    return built


def _constructed(row: DatasetRow) -> DatasetRow:
    """An unchecked row; one from an earlier check keeps its label columns."""
    return row if row.checked else replace(row, checked=CONSTRUCTED)


def task_counts(checked: Sequence[CheckedRow], agreements: Mapping[tuple[str, str], Agreement]) -> dict[str, dict[str, Any]]:
    """Task -> counts of its rows, where read = kept + sum of rejects, and its agreement with each model."""
    tasks: dict[str, dict[str, Any]] = {}
    for one in checked:
        counts = tasks.setdefault(one.row.task, {"read": 0, "kept": 0, "rejects": Counter(), "models": {}})
        counts["read"] += 1
        if one.reason:
            counts["rejects"][one.reason] += 1
        else:
            counts["kept"] += 1
    for (task, model), agreement in agreements.items():
        tasks[task]["models"][model] = agreement.as_json()
    return {task: counts | {"rejects": dict(counts["rejects"].most_common())} for task, counts in tasks.items()}


def write_labelled(
    out: Path, source: SourceDataset, checked: Sequence[CheckedRow], built: dict[str, Split], annotation: dict[str, Any]
) -> None:
    """Writes to the new folder `out` a build's files (see dataset_files), agreement.json, and rejected rows with reasons.

    The plot of the agreement may be there already.
    """
    earlier = source.manifest.get("annotations", [])
    facts = read_facts(built)
    manifest = {
        **source.manifest,
        "configs": config_facts(facts),
        "in_words": word_counts(facts),
        "not_built": source.manifest["not_built"] | {task: NOTHING_KEPT for task in source.built if task not in built},
        "annotations": [*earlier, annotation],
    }
    for found in earlier:
        shutil.copyfile(source.folder / found["picture"], out / found["picture"])
    write_dataset(out, manifest, built, facts, _reject_log(source.folder), source.title)
    for path in [*source.folder.glob("rejects/annotation*.parquet"), *source.folder.glob("LICENSE*")]:
        shutil.copyfile(path, out / path.relative_to(source.folder))
    _write_rejects(out / "rejects" / f"annotation-{len(earlier) + 1}.parquet", [one for one in checked if one.reason])
    (out / "agreement.json").write_text(json.dumps(annotation, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _reject_log(folder: Path) -> RecordCounts:
    """The places of rejected records, which go along."""
    log = RecordCounts()
    try:
        for found in json.loads((folder / "rejects" / "places.json").read_text(encoding="utf-8")):
            log.places[found["source"], found["reason"]] = found["places"]
    except (OSError, ValueError):
        return RecordCounts()
    return log


def _write_rejects(path: Path, rejected: Sequence[CheckedRow]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rejected:
        table = row_table([one.row for one in rejected])
        for name in ("reason", "split"):
            table = table.add_column(0, name, pa.array([getattr(one, name) for one in rejected], pa.string()))
        pq.write_table(table, path, compression="zstd")
