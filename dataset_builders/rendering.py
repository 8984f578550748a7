"""Renders what a recipe draws as rows of the dataset, in a pool of processes, onto disk."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from common.tasks import TASKS, Task
from dataset_builders.contamination import text_hash
from dataset_builders.near_duplicates import BANDS, SKETCH, first_of_alike, keys_and_sketches
from dataset_builders.records import Rejected
from dataset_builders.row_store import StoredRows, encode_row, row_writer
from dataset_builders.rows import DatasetRow, is_drawn_in_words, make_row, make_word_rows
from dataset_builders.splits import is_test
from dataset_builders.workers import Run

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1000
"""Recipe rows that a process renders at a time."""

RECORDS_OF = 10_000
"""Rows whose records' numbers are held at a time."""

Dropped = dict[str, "array[int]"]
"""Reason -> numbers of the raw records."""


def _numbers() -> "array[int]":
    return array("q")


@dataclass(frozen=True)
class RenderedRows:
    """A task's rows in the file `path`, and what tells them apart in others beside it; `number` is how many they are.

    `chunks`: the rows' order, as runs of (first, rows) of those in the files with the keys and the sketches of their contents.
    `drawn` is the number of rows that the recipe gave.
    """

    path: Path
    number: int
    chunks: tuple[tuple[int, int], ...]
    dropped: Dropped
    drawn: int


@dataclass(frozen=True)
class DrawnRows:
    """A task's distinct rows in order of their keys, whether each is one to test on, and what was dropped.

    `drawn` is the number of rows that the recipe gave for `limit`; `near_duplicates` of them were dropped as such.
    """

    rows: StoredRows
    tested: Any
    dropped: Dropped
    near_duplicates: int
    limit: int
    drawn: int


@dataclass(frozen=True)
class _Chunk:
    """Recipe rows, and what they are rendered with."""

    number: int
    task: str
    rows: "pa.RecordBatch"
    licences: Mapping[str, str]
    seed: int
    word_share: float

    def __len__(self) -> int:
        return int(self.rows.num_rows)


@dataclass(frozen=True)
class _RenderedChunk:
    """`lines`: the rows, of `lengths` bytes each, int64 (rows,). `prompts`, `tested` as above. `keys`: uint64 (rows, bands).
    `sketches`: SKETCH (rows,).

    `counts`: int64 (recipe rows,), how many rows were made of each that made any.
    """

    number: int
    lines: bytes
    lengths: Any
    prompts: Any
    tested: Any
    counts: Any
    keys: Any
    sketches: Any
    dropped: Dropped
    drawn: int


def render_rows(
    task: Task,
    batches: "Iterable[pa.RecordBatch]",
    licences: Mapping[str, str],
    seed: int,
    path: Path,
    run: Run = map,
    word_share: float = 0.0,
) -> RenderedRows:
    """What a recipe drew, as rows in the file `path`; and in others beside it their keys, and what else tells them apart.

    The latter are arrays in order of the recipe's keys: `numbers`, int32 (rows,), the places of the rows in the file;
    `prompts`, uint64 (rows,), a hash of each prompt; `tested`, bool (rows,), whether the row is one to test on; `origins`,
    int32 (rows,), the recipe row that each was made of, rising. Of the rows to train on, `word_share` are in words.
    """
    import numpy as np

    parts = enumerate(_of_at_most(CHUNK, batches))
    chunks = (_Chunk(number, task.name, batch, licences, seed, word_share) for number, batch in parts)
    found: dict[int, tuple[Any, Any, Any, Any, tuple[int, int]]] = {}
    dropped: Dropped = defaultdict(_numbers)
    drawn = 0
    with row_writer(path) as rows, _keys_path(path).open("wb") as keys, _sketches_path(path).open("wb") as sketches:
        for chunk in run(_render, chunks):
            numbers = rows.add(chunk.lines, chunk.lengths)
            found[chunk.number] = numbers, chunk.prompts, chunk.tested, chunk.counts, (rows.rows - len(numbers), len(numbers))
            keys.write(chunk.keys.T.tobytes())
            sketches.write(chunk.sketches.tobytes())
            for reason, records in chunk.dropped.items():
                dropped[reason] += records
            drawn += chunk.drawn
    empty = np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, bool), np.empty(0, np.int64), (0, 0)
    ordered = list(zip(*(found[number] for number in sorted(found)), strict=True)) or [(part,) for part in empty]
    numbers, prompts, tested, counts = (np.concatenate(parts) for parts in ordered[:4])
    origins = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    # On disk, since the rows of all tasks wait to be compared while the engine may hold all that it is allowed to.
    np.savez(_arrays_path(path), numbers=numbers, prompts=prompts, tested=tested, origins=origins)
    return RenderedRows(path, len(numbers), tuple(ordered[4]), dropped, drawn)


@dataclass(frozen=True)
class DistinctJob:
    """A task's rows to compare with each other, and the limit that its recipe had."""

    task: str
    rendered: RenderedRows
    limit: int

    def __len__(self) -> int:
        return self.rendered.number


def find_distinct(job: DistinctJob) -> tuple[str, DrawnRows]:
    return job.task, distinct_rows(TASKS[job.task], job.rendered, job.limit)


def distinct_rows(task: Task, rendered: RenderedRows, limit: int) -> DrawnRows:
    """The rows whose prompt is no earlier one's, without near-duplicates of an earlier one.

    Where a recipe row made several, the second ones follow all first ones, so that a split that is full before has as many
    different ones as it can.
    """
    import numpy as np

    dropped: Dropped = defaultdict(_numbers, {reason: array("q", records) for reason, records in rendered.dropped.items()})
    with np.load(_arrays_path(rendered.path)) as arrays:
        numbers, prompts, tested, origins = (arrays[name] for name in ("numbers", "prompts", "tested", "origins"))
    rows = StoredRows(rendered.path, numbers)
    _, first = np.unique(prompts, return_index=True)
    unlike = np.zeros(len(rows), bool)
    unlike[first] = True
    _, whole = np.unique(origins, return_index=True)
    repeated = whole[~np.isin(origins[whole], origins[unlike])]
    dropped[f"{task.name}: prompt repeats another's"] += records_of(rows.taken(repeated))
    rows, tested, origins = rows.taken(unlike), tested[unlike], origins[unlike]
    _, heads, counts = np.unique(origins, return_index=True, return_counts=True)
    compared = rows.taken(heads)  # rows of one recipe row have the same content
    stored = np.memmap(_sketches_path(rows.path), SKETCH, "r") if rendered.number else np.empty(0, SKETCH)
    with compared.opened() as row, _keys_path(rows.path).open("rb") as keys:

        def keys_of(band: int) -> Any:
            return np.concatenate([_band(keys, first, number, band) for first, number in rendered.chunks])[unlike][heads]

        kept = first_of_alike(
            len(compared), keys_of, lambda places: stored[compared.numbers[places]], lambda place: row(place).content
        )
    dropped[f"{task.name}: prompt is nearly another's"] += records_of(compared.taken(~kept))
    turns = np.arange(len(rows)) - np.repeat(heads, counts)
    places = np.flatnonzero(np.repeat(kept, counts))
    places = places[np.argsort(turns[places], kind="stable")]
    near = len(compared) - int(kept.sum())
    return DrawnRows(rows.taken(places), tested[places], dropped, near, limit, rendered.drawn)


def records_of(rows: Iterable[DatasetRow]) -> "array[int]":
    """Numbers of the raw records that the rows were made of."""
    return array("q", (record for row in rows for record in row.records))


def record_parts(rows: Sequence[DatasetRow]) -> "Iterator[array[int]]":
    """The same, of some of the rows at a time."""
    for start in range(0, len(rows), RECORDS_OF):
        yield records_of(rows[start : start + RECORDS_OF])


def _band(file: BinaryIO, first: int, number: int, band: int) -> Any:
    import numpy as np

    file.seek(8 * (BANDS * first + number * band))
    return np.frombuffer(file.read(8 * number), np.uint64)


def _arrays_path(path: Path) -> Path:
    return path.with_suffix(".npz")


def _keys_path(path: Path) -> Path:
    return path.with_suffix(".keys")


def _sketches_path(path: Path) -> Path:
    return path.with_suffix(".sketches")


def _of_at_most(size: int, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    for batch in batches:
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)


def _render(chunk: _Chunk) -> _RenderedChunk:
    import numpy as np

    task = TASKS[chunk.task]
    made: list[list[DatasetRow]] = []
    dropped: Dropped = defaultdict(_numbers)
    for fields in chunk.rows.to_pylist():
        rows = _made_rows(task, fields, chunk)
        if isinstance(rows, Rejected):
            dropped[f"{task.name}: {rows.reason}"].extend(record for record in fields["records"] if record is not None)
        else:
            made.append(rows)
    counts = np.array([len(rows) for rows in made], np.int64)
    every = [row for rows in made for row in rows]
    lines = [encode_row(row) for row in every]
    keys, sketches = keys_and_sketches([rows[0].content for rows in made])
    return _RenderedChunk(
        chunk.number,
        b"".join(lines),
        np.array([len(line) for line in lines], np.int64),
        np.array([text_hash(row.prompt) for row in every], np.uint64),
        np.array([is_test(row.group, chunk.seed) for row in every], bool),
        counts,
        np.repeat(keys, counts, axis=0),
        np.repeat(sketches, counts),
        dropped,
        chunk.rows.num_rows,
    )


def _made_rows(task: Task, fields: dict[str, Any], chunk: _Chunk) -> list[DatasetRow] | Rejected:
    """At least one row. What is tested on is asked as it always was, so that scores stay comparable."""
    tested = is_test(fields["group"], chunk.seed)
    if not tested and is_drawn_in_words(task, fields["key"], chunk.seed, chunk.word_share):
        return make_word_rows(task, fields, chunk.licences, chunk.seed)
    row = make_row(task, fields, chunk.licences, chunk.seed, tested)
    return row if isinstance(row, Rejected) else [row]
