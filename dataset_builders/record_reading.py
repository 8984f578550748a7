"""Reads parts of raw files into canonical tables: what one process does, alone or beside others."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from dataset_builders.locales import locales_named
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Placed, Rejected
from dataset_builders.sources import HELD_OUT, REVIEWER, TableRows
from dataset_builders.spans import Span
from dataset_builders.tables import STAGED, admitted, arrow_schema
from dataset_builders.text import NO_LIMIT, clean

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 20_000
"""Rows in a row group of a staged file."""

AT_ONCE = 2_000
"""Rows that wait as objects of Python: so many lie in the processor's cache when they are converted."""

PARTLY = "partly_rejected"
"""The staged table of records of which some rows may not enter their tables: `record`, `source`, `reason`."""


@dataclass(frozen=True)
class RawFile:
    """One file and how it is read. `source` and `licence` go into every row made from it; `snapshot` is the date in its path.

    `tables` are those that a file of a shop's own tables belongs to, and `note` what a reader should know of how it was read.
    """

    path: Path
    source: str
    licence: str
    spans: Callable[[], list[Span]]
    read: Callable[[Span], Iterator[Placed]]
    canonical: Callable[[dict[str, Any]], TableRows | Rejected]
    tables: tuple[str, ...] = ()
    snapshot: str = ""
    note: str = ""


@dataclass(frozen=True)
class FilePart:
    """A part of a file. `name` is the file's for people, `number` its place among all files."""

    file: RawFile
    name: str
    number: int
    span: Span


@dataclass(frozen=True)
class ReadJob:
    """Parts that one process reads, in order. Its rows go to `<out>/<table>.parquet/<number>.parquet`."""

    number: int
    parts: tuple[FilePart, ...]
    out: Path
    locales: frozenset[str]

    def size(self) -> int:
        """About how many bytes of text are read."""
        return sum(part.span.size for part in self.parts)


@dataclass(frozen=True)
class ReadParts:
    """What a job made: the counts, and how many records or rejects each file part yielded."""

    number: int
    counts: RecordCounts
    yielded: tuple[int, ...]


def read_job(job: ReadJob) -> ReadParts | UserError | OSError:
    """Reads the parts and writes their rows. What a user can mend is returned, since an engine wraps what a job raises."""
    counts, yielded = RecordCounts(), []
    with ExitStack() as stack:
        writers: dict[str, TableWriter] = {}

        def add(table: str, row: dict[str, Any]) -> None:
            if table not in writers:
                path = job.out / f"{table}.parquet" / f"{job.number:06}.parquet"
                writers[table] = stack.enter_context(open_writer(path, staged_schema(table)))
            writers[table].add(row)

        try:
            for part in job.parts:
                number = 0
                for place, record in _records(part):
                    number += 1
                    _take(part, place, record, job.locales, add, counts)
                yielded.append(number)
        except (UserError, OSError) as error:
            return error
    return ReadParts(job.number, counts, tuple(yielded))


def _take(
    part: FilePart,
    place: int,
    record: dict[str, Any] | Rejected,
    locales: frozenset[str],
    add: Callable[[str, dict[str, Any]], None],
    counts: RecordCounts,
) -> None:
    """Adds a record's rows to their tables, or counts why there are none.

    A record's number is its file's number and its place in that file, so it does not change with the number of processes.
    """
    file, source = part.file, part.file.source
    counts.read[source] += record.records if isinstance(record, Rejected) else 1
    rows = record if isinstance(record, Rejected) else _canonical(file, record)
    if isinstance(rows, Rejected):
        counts.reject(source, rows, _where(part, place))
        for table in file.tables:
            counts.tables[table].read += rows.records
            counts.tables[table].reject(rows.reason, rows.value, _where(part, place), rows.records)
        return
    number = (part.number << 40) + place
    rejected, offers = [], 0
    for table, offered in rows:
        if table == HELD_OUT and not isinstance(offered, Rejected):
            add(HELD_OUT, {"source": source, "query": clean(str(offered["query"]), NO_LIMIT).lower()})
            continue
        if table == REVIEWER and not isinstance(offered, Rejected):
            add(REVIEWER, {"source": source, **offered})
            continue
        offers += 1
        of_table = counts.tables[table]
        of_table.read += 1
        made = offered if isinstance(offered, Rejected) else admitted(STAGED[table], offered)
        if not isinstance(made, Rejected) and "locale" in made[0] and made[0]["locale"] not in locales:
            named = locales_named(made[0]["locale"], sorted(locales))
            if len(named) == 1:
                made[0]["locale"] = named[0]
            else:
                told = f"locale may be each of {', '.join(named)}" if named else "locale was not asked for"
                made = Rejected(told, made[0]["locale"])
        if isinstance(made, Rejected):
            of_table.reject(made.reason, made.value, _where(part, place))
            rejected.append(made)
            continue
        row, dropped = made
        of_table.usable += 1
        for reason in dropped:
            counts.dropped[f"{table}: {reason}"] += 1
        row["source"], row["record"], row["snapshot"] = source, number, file.snapshot
        add(table, row)
    if rejected and len(rejected) == offers:
        counts.reject(source, rejected[0], _where(part, place))
    elif rejected:
        # Whatever else becomes of the record: this is what was wrong with it.
        add(PARTLY, {"record": number, "source": source, "reason": rejected[0].reason})


def _where(part: FilePart, place: int) -> str:
    return f"{part.name}:{place}"


def _records(part: FilePart) -> Iterator[Placed]:
    with plain_read_errors(part.file.path):
        yield from part.file.read(part.span)


@contextmanager
def plain_read_errors(path: Path) -> Iterator[None]:
    """For reading a file of the input: an OSError becomes a UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{readable(path)} cannot be read: {error.strerror}. Mend it or take it away.") from None


def readable(path: Path) -> str:
    """A path for people and for JSON, whatever bytes its name is made of."""
    return os.fsencode(path).decode(errors="replace")


def _canonical(file: RawFile, record: dict[str, Any]) -> TableRows | Rejected:
    try:
        return file.canonical(record)
    except RecursionError:
        return Rejected("record is nested too deeply")


def staged_schema(table: str) -> "pa.Schema":
    """Columns of a staged table: a canonical one, or one of the helpers beside them."""
    helpers = {
        PARTLY: ("record", "source", "reason"),
        HELD_OUT: ("source", "query"),
        REVIEWER: ("source", "review_id", "customer"),
    }
    return text_schema(*helpers[table]) if table in helpers else arrow_schema(STAGED[table])


def text_schema(*names: str) -> "pa.Schema":
    """Columns of text, and `record` and `customer` of numbers."""
    import pyarrow as pa

    return pa.schema([(name, pa.int64() if name in ("record", "customer") else pa.string()) for name in names])


class TableWriter:
    """Rows in batches into a Parquet file."""

    def __init__(self, writer: "pq.ParquetWriter", schema: "pa.Schema") -> None:
        self.writer, self.schema = writer, schema
        self.rows: list[dict[str, Any]] = []
        self.converted: list[pa.RecordBatch] = []

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) >= AT_ONCE:
            self._convert()
            if len(self.converted) * AT_ONCE >= BATCH:
                self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        self._convert()
        if self.converted:
            self.writer.write_table(pa.Table.from_batches(self.converted, self.schema))
            self.converted = []

    def _convert(self) -> None:
        import pyarrow as pa

        if self.rows:
            self.converted.append(pa.RecordBatch.from_pylist(self.rows, self.schema))
            self.rows = []


@contextmanager
def open_writer(path: Path, schema: "pa.Schema") -> Iterator[TableWriter]:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema) as file:
        writer = TableWriter(file, schema)
        yield writer
        writer.flush()
