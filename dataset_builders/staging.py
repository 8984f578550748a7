"""Stages raw files as canonical tables in Parquet, and counts every record that yields no row by its reason."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from dataset_builders.records import Record, Rejected
from dataset_builders.sources import TableRows, corpus_modules, own_tables
from dataset_builders.tables import TABLES, arrow_schema, reject_reason

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH = 20_000
SAMPLES = 20
"""How many places of rejected records are kept for each reason."""
SAMPLE_MARKER = "sample_corpora.json"


@dataclass(frozen=True)
class RawFile:
    """One file and how it is read. `source` and `licence` go into every row made from it."""

    path: Path
    source: str
    licence: str
    read: Callable[[], Iterator[Record]]
    canonical: Callable[[dict[str, Any]], TableRows | Rejected]


@dataclass
class RejectLog:
    """Counts of raw records read and, by reason, rejected, for each source; `places` keeps where a few of them are."""

    read: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    places: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def reject(self, source: str, reason: str, place: str) -> None:
        self.rejects[source][reason] += 1
        if len(self.places[source, reason]) < SAMPLES:
            self.places[source, reason].append(place)


def find_corpora(folder: Path, commercial_only: bool) -> tuple[list[RawFile], list[Path]]:
    """The raw files below `folder` that a corpus claims, in order of their names, and those that none does.

    Files of the sample corpora are named so, and carry the sample's licence: they only look like the real ones.
    """
    sample = (folder / SAMPLE_MARKER).exists()
    claimed, unclaimed, barred = [], [], set()
    for path in _files(folder):
        with _plain_read_errors(path):
            corpus = next((corpus for corpus in corpus_modules() if corpus.claims(path)), None)
        if corpus is None:
            unclaimed.append(path)
            continue
        source = f"{corpus.NAME}_sample" if sample else corpus.NAME
        licence = "Apache-2.0" if sample else corpus.LICENCE
        if commercial_only and licence not in ("Apache-2.0", "CC-BY-4.0"):
            barred.add(corpus.NAME)
            continue
        claimed.append(RawFile(path, source, licence, partial(corpus.read, path), partial(corpus.canonical, path=path)))
    if barred and not claimed:
        raise UserError(
            f"{folder} holds only corpora whose licence does not allow commercial use: {', '.join(sorted(barred))}. "
            "Add others, or leave out --licences commercial."
        )
    if not claimed:
        raise UserError(
            f"{folder} holds no file of a known corpus. Expected are, for example, Gift_Cards_5.json.gz, "
            "meta_Gift_Cards.json.gz, shopping_queries_dataset_examples.parquet or train-qar.jsonl; for your own tables "
            "use --tables."
        )
    return claimed, unclaimed


def find_tables(folder: Path) -> tuple[list[RawFile], list[Path]]:
    """The same for a shop's own tables. Raises UserError where one lacks a required column."""
    claimed, unclaimed = [], []
    for path in _files(folder):
        table = own_tables.table_of(path, folder)
        if table is None:
            unclaimed.append(path)
            continue
        with _plain_read_errors(path):
            own_tables.check_columns(path, table)
        claimed.append(
            RawFile(
                path,
                own_tables.NAME,
                own_tables.LICENCE,
                partial(own_tables.read, path, table),
                partial(own_tables.canonical, table=table),
            )
        )
    if not claimed:
        names = ", ".join(f"{name}.parquet" for name in TABLES)
        raise UserError(f"{folder} holds no canonical table. Expected is at least one of {names}, or the same as .csv.")
    return claimed, unclaimed


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the folder that holds the input.")
    found, seen = [], set()
    # Links to folders are followed, since corpora often lie on another disk, but no folder is entered twice.
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        paths = (Path(parent, name) for name in names)
        found += [path for path in paths if path.is_file() and not _is_hidden(path.relative_to(folder))]
    found.sort()
    return [path for path in found if path.name != SAMPLE_MARKER and path.suffix.lower() not in (".md", ".txt")]


def readable(path: Path) -> str:
    """A path for people and for JSON, whatever bytes its name is made of."""
    return os.fsencode(path).decode(errors="replace")


def _is_hidden(path: Path) -> bool:
    """Also in a hidden folder: downloaders and notebooks keep theirs beside the data, copies of it among them."""
    return any(part.startswith(".") for part in path.parts)


def stage(files: list[RawFile], folder: Path, out: Path, locales: frozenset[str], log: RejectLog) -> None:
    """Writes `<out>/<table>.parquet` for every table that a record yielded a row of.

    A record's number is its file's number and its own in that file, so it does not change with the number of processes.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("Reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns) as progress, ExitStack() as stack:
        writers = {name: _TableWriter(out, name) for name in TABLES}
        for writer in writers.values():
            stack.callback(writer.close)
        bar = progress.add_task("", total=len(files))
        for file_number, file in enumerate(files):
            # A name that is not UTF-8 can be opened, but neither printed nor written down.
            name = readable(file.path.relative_to(folder))
            progress.update(bar, description=name)
            number = -1
            for number, record in enumerate(_records(file)):
                log.read[file.source] += 1
                rows = record if isinstance(record, Rejected) else _canonical(file, record)
                if isinstance(rows, list):
                    reason = _admit(rows, file.source, (file_number << 40) + number, locales, writers)
                else:
                    reason = rows.reason
                if reason:
                    log.reject(file.source, reason, f"{name}:{number + 1}")
            if number < 0:
                log.read[file.source] += 1
                log.reject(file.source, "file is empty", name)
            progress.advance(bar)
        progress.update(bar, description=f"{sum(log.read.values()):,} records")


def _records(file: RawFile) -> Iterator[Record]:
    with _plain_read_errors(file.path):
        yield from file.read()


@contextmanager
def _plain_read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{readable(path)} cannot be read: {error.strerror}. Mend it or take it away.") from None


def _canonical(file: RawFile, record: dict[str, Any]) -> TableRows | Rejected:
    try:
        return file.canonical(record)
    except RecursionError:
        return Rejected("record is nested too deeply")


def _admit(
    rows: TableRows, source: str, record: int, locales: frozenset[str], writers: dict[str, "_TableWriter"]
) -> str | None:
    """Writes the rows that may enter their tables; the first reason against one, where none may."""
    reasons = []
    for table, row in rows:
        reason = reject_reason(TABLES[table], row)
        if reason is None and row.get("locale", next(iter(locales))) not in locales:
            reason = "locale was not asked for"
        if reason:
            reasons.append(reason)
        else:
            writers[table].add({**row, "source": source, "record": record})
    return reasons[0] if reasons and len(reasons) == len(rows) else None


class _TableWriter:
    """Rows in batches into one Parquet file, which is made with the first of them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.schema = folder / f"{name}.parquet", arrow_schema(TABLES[name])
        self.rows: list[dict[str, Any]] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) >= BATCH:
            self._flush()

    def close(self) -> None:
        if self.rows:
            self._flush()
        if self.writer:
            self.writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.writer = self.writer or pq.ParquetWriter(self.path, self.schema)
        self.writer.write_table(pa.Table.from_pylist(self.rows, self.schema))
        self.rows = []
