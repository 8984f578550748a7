"""The files of a built dataset: Parquet, pictures, card, checksums and manifest."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dataset import MANIFEST, SPLITS, config_tasks, data_file
from common.errors import UserError
from common.files import sha256_of
from common.tasks import TASKS
from dataset_builders.card import SplitSize, TaskFacts, card_text
from dataset_builders.record_counts import RecordCounts
from dataset_builders.row_facts import RowFacts, fingerprint
from dataset_builders.rows import LABEL_COLUMNS, TEXT_COLUMNS, UNSEEN, WORDING, DatasetRow
from dataset_builders.splits import Split
from dataset_builders.workers import Run

if TYPE_CHECKING:
    import pyarrow as pa

CHECKSUMS = "checksums.txt"
ROW_GROUP = 1000
"""Rows a row group: small enough that a viewer or a streaming reader gets its first rows without the whole file. (`datasets`
takes 32 MiB of a file at a time unless told otherwise; most files here are smaller.)"""
SHARD = 100_000
"""Rows a file, so that none comes near the 500 MB above which the Hub advises to split."""
AT_ONCE = 10_000
"""Rows that are held as Python objects while a file is written."""


def config_facts(facts: Mapping[str, RowFacts]) -> dict[str, dict[str, Any]]:
    """Rows of each split and fingerprint of every config, as the manifest tells them."""
    return {
        config: {
            **{split: sum(facts[name].rows[split] for name in names) for split in SPLITS},
            "fingerprint": fingerprint([facts[name] for name in names]),
        }
        for config, names in config_tasks(list(facts)).items()
    }


def word_counts(facts: Mapping[str, RowFacts]) -> dict[str, int]:
    """Task -> how many of its rows are in words, of the tasks that have that form."""
    return {name: found.in_words for name, found in facts.items() if TASKS[name].words}


def write_dataset(
    out: Path,
    manifest: dict[str, Any],
    built: Mapping[str, Split],
    facts: Mapping[str, RowFacts],
    log: RecordCounts,
    title: str,
    run: Run = map,
) -> None:
    """Parquet of every split, pictures, card, checksums, the places of some rejected records and, last, the manifest.

    The staged tables in `out` go, if there are any, and pictures that lie there already stay. The same rows, manifest and
    title give the same bytes with the same libraries.
    """
    import shutil

    from dataset_builders.plots import IMAGES, write_plots

    sizes = write_splits(out, built, run)
    of_tasks = {
        name: TaskFacts(sizes[name], found.licences, found.example[2], found.example[3], worded=found.example[4] > 0)
        for name, found in facts.items()
    }
    write_plots(out, facts)
    (out / "README.md").write_text(card_text(manifest, of_tasks, IMAGES, title), encoding="utf-8")
    places = [{"source": source, "reason": reason, "places": places} for (source, reason), places in sorted(log.places.items())]
    (out / "rejects").mkdir()
    # Places, and values of ids, labels and numbers at most: a rejected record may hold a reviewer's name.
    (out / "rejects" / "places.json").write_text(json.dumps(places, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(out / "staged", ignore_errors=True)
    write_checksums(out, [path for kind in ("data", "images") for path in (out / kind).rglob("*") if path.is_file()])
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Shard:
    """Rows of one file."""

    path: Path
    task: str
    split: str
    rows: Sequence[DatasetRow]

    def __len__(self) -> int:
        return len(self.rows)


def write_splits(out: Path, built: Mapping[str, Split], run: Run = map) -> dict[str, dict[str, SplitSize]]:
    """Writes all rows in files of at most SHARD; gives the sizes of each task's splits that have rows."""
    sizes: dict[str, dict[str, SplitSize]] = {name: {} for name in built}
    for name, split, size in run(_write_shard, _shards(out, built)):
        earlier = sizes[name].get(split, SplitSize(0, 0, 0))
        sizes[name][split] = SplitSize(*(a + b for a, b in zip(astuple(earlier), astuple(size), strict=True)))
    return {name: {split: found[split] for split in SPLITS if split in found} for name, found in sizes.items()}


def _shards(out: Path, built: Mapping[str, Split]) -> Iterator[_Shard]:
    for name, part in built.items():
        for split in SPLITS:
            rows = getattr(part, split)
            starts = range(0, len(rows), SHARD)
            for number, start in enumerate(starts):
                yield _Shard(out / data_file(name, split, number, len(starts)), name, split, rows[start : start + SHARD])


def _write_shard(shard: _Shard) -> tuple[str, str, SplitSize]:
    import pyarrow.parquet as pq

    shard.path.parent.mkdir(parents=True, exist_ok=True)
    table = row_table(shard.rows)
    # As the Hub advises for its viewer: with an index of the pages, and with chunks that are cut by content, of which an
    # upload sends those only that the Hub has not got yet.
    pq.write_table(
        table,
        shard.path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        write_page_index=True,
        use_content_defined_chunking=True,
    )
    return shard.task, shard.split, SplitSize(len(shard.rows), table.nbytes, shard.path.stat().st_size)


def row_table(rows: Sequence[DatasetRow]) -> "pa.Table":
    """The rows as they are published. `rows` may not be empty."""
    import pyarrow as pa

    checked = [(name, pa.type_for_alias(kind)) for name, kind in LABEL_COLUMNS.items() if name in rows[0].checked]
    worded = rows[0].wording > 0
    # Some at a time, since a row takes several times as much memory here as in a table.
    parts = (list(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE))
    return pa.concat_tables([_part_table(part, checked, worded) for part in parts]).combine_chunks()


def _part_table(rows: Sequence[DatasetRow], checked: Sequence[tuple[str, "pa.DataType"]], worded: bool) -> "pa.Table":
    """Column by column: Arrow takes twenty times as long to find the same in rows that are dictionaries."""
    import pyarrow as pa

    columns = {
        "prompt": _turns("user", [row.prompt for row in rows]),
        "completion": _turns("assistant", [row.completion for row in rows]),
        **{name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in TEXT_COLUMNS},
    }
    if worded:
        columns[WORDING] = pa.array([row.wording or None for row in rows], pa.int64())
        columns[UNSEEN] = _turns("user", [(row.wording and row.unseen) or None for row in rows])
    for name, kind in checked:
        columns[name] = pa.array([row.checked.get(name) for row in rows], kind)
    return pa.table(columns)


def _turns(role: str, texts: Sequence[str | None]) -> "pa.ListArray":
    """A list of one turn for each text, null where there is none."""
    import numpy as np
    import pyarrow as pa

    known = np.array([text is not None for text in texts], bool)
    contents = pa.array([text for text in texts if text is not None], pa.string())
    fields = [pa.field("role", pa.string()), pa.field("content", pa.string())]
    turns = pa.StructArray.from_arrays([pa.repeat(pa.scalar(role), len(contents)), contents], fields=fields)
    places = pa.array(np.append(0, np.cumsum(known)).astype(np.int32))
    return pa.ListArray.from_arrays(places, turns, mask=None if known.all() else pa.array(~known))


def write_checksums(folder: Path, paths: Sequence[Path]) -> None:
    """Writes the sha256 of each file in the form that `sha256sum -c` reads."""
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in sorted(paths)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: Path) -> list[str]:
    """Paths that the folder's checksums name. Raises UserError if one is missing or differs, or if they cannot be read."""
    again = "build it again with python -m dataset_builders.build"
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        expected = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        raise UserError(f"{folder / CHECKSUMS} is not what a build writes; {again}") from None
    for path, digest in expected.items():
        if not (folder / path).is_file():
            raise UserError(f"{folder} is half a dataset: {CHECKSUMS} names {path}, which is not there; {again}")
        if sha256_of(folder / path) != digest:
            raise UserError(f"{folder / path} is damaged, its sha256 is not that in {CHECKSUMS}; {again}")
    return list(expected)
