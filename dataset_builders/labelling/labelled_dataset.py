"""Datasets whose labels are checked: the rows of a built one, and the folder of those that were kept."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.dataset import MANIFEST, SPLITS, data_pattern
from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.card import LABEL_COLUMNS, card_title
from dataset_builders.dataset_files import config_facts, row_table, write_dataset
from dataset_builders.labelling.agreement import Agreement
from dataset_builders.labelling.votes import CONSTRUCTED
from dataset_builders.publish import CARD, read_dataset
from dataset_builders.rows import Row
from dataset_builders.splits import Split
from dataset_builders.staging import RecordCounts

NOTHING_KEPT = "none of its rows was kept when the labels were checked"


@dataclass(frozen=True)
class Source:
    """A dataset's folder, as it was read."""

    folder: Path
    manifest: dict[str, Any]
    title: str
    built: dict[str, Split]


@dataclass(frozen=True)
class Checked:
    """A row that was asked, with the columns that tell how it was labelled, and why it is rejected; "" where it is kept."""

    split: str
    row: Row
    reason: str


def read_source(folder: Path) -> Source:
    """Raises UserError where the folder is not a whole dataset."""
    read_dataset(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    built = {}
    for task in TASKS:
        if task in manifest["configs"]:
            built[task] = Split(train=_rows(folder, task, "train"), test=_rows(folder, task, "test"), over=[])
    return Source(folder, manifest, card_title((folder / CARD).read_text(encoding="utf-8")), built)


def _rows(folder: Path, task: str, split: str) -> list[Row]:
    import pyarrow.parquet as pq

    try:
        found = [row for path in sorted(folder.glob(data_pattern(task, split))) for row in pq.read_table(path).to_pylist()]
        return [
            Row(
                prompt=row["prompt"][0]["content"],
                completion=row["completion"][0]["content"],
                **{name: row[name] for name in ("task", "family", "answer", "source", "licence", "group")},
                records=(),
                checked={name: row[name] for name in LABEL_COLUMNS if name in row},
            )
            for row in found
        ]
    except (KeyError, IndexError, TypeError):
        raise UserError(f"the rows of {task} in {folder} are not those of a build; build it again") from None


def asked_rows(source: Source, tasks: Sequence[str], splits: Sequence[str]) -> list[tuple[str, Row]]:
    """(split, row) of these tasks and splits, in the order of the dataset."""
    return [(split, row) for task in tasks for split in splits for row in getattr(source.built[task], split)]


def kept_rows(source: Source, asked: Sequence[Checked], tasks: Sequence[str], splits: Sequence[str]) -> dict[str, Split]:
    """The rows of the new dataset by task: of what was asked what is kept, all others as they were. No task without a row."""
    kept: dict[tuple[str, str], list[Row]] = {(task, split): [] for task in tasks for split in splits}
    for one in asked:
        if not one.reason:
            kept[one.row.task, one.split].append(one.row)
    built = {}
    for task, parts in source.built.items():
        rows = {split: kept.get((task, split), [_constructed(row) for row in getattr(parts, split)]) for split in SPLITS}
        if any(rows.values()):
            built[task] = Split(**rows, over=[])
    return built


def _constructed(row: Row) -> Row:
    """A row that was not asked: it keeps what an earlier check says of it."""
    return row if row.checked else replace(row, checked=CONSTRUCTED)


def account(asked: Sequence[Checked], measured: Mapping[tuple[str, str], Agreement]) -> dict[str, dict[str, Any]]:
    """Task -> what became of its rows, read = kept + sum of rejects, and its agreement with each model."""
    tasks: dict[str, dict[str, Any]] = {}
    for one in asked:
        counts = tasks.setdefault(one.row.task, {"read": 0, "kept": 0, "rejects": Counter(), "models": {}})
        counts["read"] += 1
        if one.reason:
            counts["rejects"][one.reason] += 1
        else:
            counts["kept"] += 1
    for (task, model), agreement in measured.items():
        tasks[task]["models"][model] = agreement.as_json()
    return {task: counts | {"rejects": dict(counts["rejects"].most_common())} for task, counts in tasks.items()}


def write_labelled(
    out: Path, source: Source, asked: Sequence[Checked], built: dict[str, Split], annotation: dict[str, Any]
) -> None:
    """The new dataset's files in the new folder `out`, in which its picture may lie already: those of a build (see
    dataset_files), agreement.json, and the rejected rows with their reasons."""
    earlier = source.manifest.get("annotations", [])
    manifest = {
        **source.manifest,
        "configs": config_facts(built),
        "not_built": source.manifest["not_built"] | {task: NOTHING_KEPT for task in source.built if task not in built},
        "annotations": [*earlier, annotation],
    }
    for found in earlier:
        shutil.copyfile(source.folder / found["picture"], out / found["picture"])
    write_dataset(out, manifest, built, _record_counts(source.folder), source.title)
    for path in [*source.folder.glob("rejects/annotation*.parquet"), *source.folder.glob("LICENSE*")]:
        shutil.copyfile(path, out / path.relative_to(source.folder))
    _write_rejects(out / "rejects" / f"annotation-{len(earlier) + 1}.parquet", [one for one in asked if one.reason])
    (out / "agreement.json").write_text(json.dumps(annotation, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _record_counts(folder: Path) -> RecordCounts:
    """The places of rejected records, which go along."""
    counts = RecordCounts()
    try:
        for found in json.loads((folder / "rejects" / "places.json").read_text(encoding="utf-8")):
            counts.places[found["source"], found["reason"]] = found["places"]
    except (OSError, ValueError):
        return RecordCounts()
    return counts


def _write_rejects(path: Path, rejected: Sequence[Checked]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rejected:
        table = row_table([one.row for one in rejected])
        for name in ("reason", "split"):
            table = table.add_column(0, name, pa.array([getattr(one, name) for one in rejected], pa.string()))
        pq.write_table(table, path, compression="zstd")
