"""The files of a built dataset: Parquet, pictures, card, checksums and manifest."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dataset import MANIFEST, SPLITS, data_file
from common.errors import UserError
from common.files import sha256_of
from common.tasks import TASKS
from common.words import row_task
from dataset_builders.card import SplitSize, TaskFacts, card_text, config_tasks
from dataset_builders.record_counts import RecordCounts
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
LONGEST_EXAMPLE = 1500
"""Characters of a prompt on the card, if the task has one so short."""


def fingerprint(parts: Sequence[Split]) -> str:
    """sha256 over the sorted sha256 of the rows, each as JSON with its split: the same for the same rows in any order."""
    return _joined([_digests(part) for part in parts])


def _digests(part: Split) -> Any:
    """S32 (rows,): the sha256 of each row."""
    import numpy as np

    found = bytearray()
    for name in SPLITS:
        for row in getattr(part, name):
            line = json.dumps({"split": name, **row.as_columns()}, sort_keys=True, ensure_ascii=False)
            found += hashlib.sha256(line.encode()).digest()
    return np.frombuffer(bytes(found), "S32")


def _named_digests(task: tuple[str, Split]) -> tuple[str, Any]:
    name, part = task
    return name, _digests(part)


def _joined(digests: Sequence[Any]) -> str:
    import numpy as np

    return hashlib.sha256(np.sort(np.concatenate([np.empty(0, "S32"), *digests])).tobytes()).hexdigest()


def config_facts(built: Mapping[str, Split], run: Run = map) -> dict[str, dict[str, Any]]:
    """Rows of each split and fingerprint of every config, as the manifest tells them."""
    digests = dict(run(_named_digests, built.items()))
    return {
        config: {
            **{split: sum(len(getattr(built[name], split)) for name in names) for split in SPLITS},
            "fingerprint": _joined([digests[name] for name in names]),
        }
        for config, names in config_tasks(list(built)).items()
    }


def word_counts(built: Mapping[str, Split]) -> dict[str, int]:
    """Task -> how many of its rows are in words, of the tasks that have that form."""

    def is_in_words(row: DatasetRow) -> bool:
        task = TASKS[row.task]
        return row_task(task, json.loads(row.answer)) is not task

    return {
        name: sum(is_in_words(row) for part in SPLITS for row in getattr(split, part))
        for name, split in built.items()
        if TASKS[name].words
    }


def write_dataset(
    out: Path, manifest: dict[str, Any], built: dict[str, Split], log: RecordCounts, title: str, run: Run = map
) -> None:
    """Parquet of every split, pictures, card, checksums, the places of some rejected records and, last, the manifest.

    The staged tables in `out` go, if there are any, and pictures that lie there already stay. The same rows, manifest and
    title give the same bytes with the same libraries.
    """
    import shutil

    from dataset_builders.plots import IMAGES, write_plots

    written = dict(run(_write_task, [(out, name, part) for name, part in built.items()]))
    facts = {name: written[name] for name in built}
    write_plots(out, built)
    (out / "README.md").write_text(card_text(manifest, facts, IMAGES, title), encoding="utf-8")
    places = [{"source": source, "reason": reason, "places": places} for (source, reason), places in sorted(log.places.items())]
    (out / "rejects").mkdir()
    # Places, and values of ids, labels and numbers at most: a rejected record may hold a reviewer's name.
    (out / "rejects" / "places.json").write_text(json.dumps(places, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(out / "staged", ignore_errors=True)
    write_checksums(out, [path for kind in ("data", "images") for path in (out / kind).rglob("*") if path.is_file()])
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_task(job: tuple[Path, str, Split]) -> tuple[str, TaskFacts]:
    out, name, part = job
    licences: Counter[str] = Counter()
    shown = (True, "~", "", "", 0)  # behind every row
    for row in chain(part.train, part.test):  # read once: there may be millions
        licences[row.licence] += 1
        example = (len(row.prompt) > LONGEST_EXAMPLE, row.sample_id, row.prompt, row.completion, row.wording)
        shown = min(shown, example)
    splits = {split: write_split(out, name, split, found) for split in SPLITS if (found := getattr(part, split))}
    _, _, prompt, completion, wording = shown
    return name, TaskFacts(splits, licences, prompt, completion, worded=wording > 0)


def write_split(out: Path, task: str, split: str, rows: Sequence[DatasetRow]) -> SplitSize:
    """Writes the rows in files of at most SHARD. Raises nothing of its own; `rows` may not be empty."""
    import pyarrow.parquet as pq

    starts = range(0, len(rows), SHARD)
    memory = files = 0
    for number, start in enumerate(starts):
        path = out / data_file(task, split, number, len(starts))
        path.parent.mkdir(parents=True, exist_ok=True)
        table = row_table(rows[start : start + SHARD])
        # As the Hub advises for its viewer: with an index of the pages, and with chunks that are cut by content, of which an
        # upload sends those only that the Hub has not got yet.
        pq.write_table(
            table,
            path,
            row_group_size=ROW_GROUP,
            compression="zstd",
            write_page_index=True,
            use_content_defined_chunking=True,
        )
        memory += table.nbytes
        files += path.stat().st_size
    return SplitSize(len(rows), memory, files)


def row_table(rows: Sequence[DatasetRow]) -> "pa.Table":
    """The rows as they are published. `rows` may not be empty."""
    import pyarrow as pa

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    checked = [(name, pa.type_for_alias(kind)) for name, kind in LABEL_COLUMNS.items() if name in rows[0].checked]
    texts = [(name, pa.string()) for name in TEXT_COLUMNS]
    worded = [(WORDING, pa.int64()), (UNSEEN, turns)] if rows[0].wording else []
    schema = pa.schema([("prompt", turns), ("completion", turns), *texts, *worded, *checked])
    # Some at a time, since a row takes several times as much memory here as in a table.
    parts = (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
    tables = [pa.Table.from_pylist([row.as_columns() for row in part], schema) for part in parts]
    return pa.concat_tables(tables).combine_chunks()


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
