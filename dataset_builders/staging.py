"""Raw files in, canonical tables as Parquet out, with every record that yields none counted by its reason."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from dataset_builders.raw_files import snapshot_date
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Placed, Rejected
from dataset_builders.sources import HELD_OUT, HELPERS, REVIEWER, TableRows, corpus_modules, own_tables
from dataset_builders.tables import STAGED, TABLES, admitted, arrow_schema
from dataset_builders.text import NO_LIMIT, clean

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 20_000
SAMPLE_MARKER = "sample_corpora.json"
GUESSED = "is not UTF-8 and was read as cp1252; give --encoding if letters look wrong"
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
    read: Callable[[], Iterator[Placed]]
    canonical: Callable[[dict[str, Any]], TableRows | Rejected]
    tables: tuple[str, ...] = ()
    snapshot: str = ""
    note: str = ""


def find_corpora(folder: Path, commercial_only: bool) -> tuple[list[RawFile], list[Path]]:
    """The raw files below `folder` that a corpus claims, in order of their names, and those that none does.

    Files of the sample corpora are named so, and carry the sample's licence: they only look like the real ones.
    """
    sample = (folder / SAMPLE_MARKER).exists()
    claimed, unclaimed, barred = [], [], set()
    for path in input_files(folder):
        with plain_read_errors(path):
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
            f"{folder} holds no file of a known corpus. Expected are, for example, Gift_Cards.jsonl, meta_Gift_Cards.jsonl, "
            "Gift_Cards_5.json.gz, shopping_queries_dataset_examples.parquet or train-qar.jsonl; for your own tables "
            "use --tables."
        )
    return claimed, unclaimed


def find_tables(folder: Path, encoding: str | None = None, locale: str = "us") -> tuple[list[RawFile], list[Path]]:
    """The same for a shop's own tables; `locale` is that of rows that name none. Raises UserError for a file that is no
    table."""
    claimed, unclaimed, opened = [], [], []
    for path in input_files(folder):
        table = own_tables.table_of(path, folder)
        if table is None:
            unclaimed.append(path)
            continue
        with plain_read_errors(path):
            file = own_tables.open_file(path, folder, table, encoding, locale)
            floats = own_tables.whole_float_ids(file)
        opened.append(file)
        guessed = file.form is not None and file.form.guessed
        claimed.append(
            RawFile(
                path,
                own_tables.NAME,
                own_tables.LICENCE,
                partial(own_tables.read, file),
                partial(own_tables.canonical, file=file, floats=floats),
                (table.name,),
                snapshot_date(path, folder),
                GUESSED if guessed else "",
            )
        )
    if not claimed:
        names = ", ".join(f"{name}.csv" for name in TABLES)
        raise UserError(
            f"{folder} holds no canonical table. Expected is at least one of {names}, or the same as Parquet, TSV or JSON. "
            f"Not read: {unread_names(unclaimed, folder) or 'nothing, it is empty'}. Give the files these names, or let "
            f"{own_tables.PROPOSE} say in a map which file is which table."
        )
    own_tables.check_categories(opened)
    return claimed, unclaimed


def unread_names(paths: list[Path], folder: Path, most: int = 10) -> str:
    """Names of files that were not read, with the table that a near name may mean."""
    shown = [_with_hint(readable(path.relative_to(folder))) for path in paths[:most]]
    return ", ".join(shown) + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def _with_hint(name: str) -> str:
    from difflib import get_close_matches

    stem = Path(name).stem.lower()
    near = [table for table in TABLES if table in stem or stem.rstrip("s") == table.rstrip("s")] or get_close_matches(
        stem, TABLES, 1
    )
    return f"{name} (is it {near[0]}?)" if near else name


def input_files(folder: Path) -> list[Path]:
    """The files below a folder that may be input, in order of their names."""
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
    return any(part.startswith((".", "_")) and part != "_delta_log" for part in path.parts)


def stage(files: list[RawFile], folder: Path, out: Path, locales: frozenset[str], counts: RecordCounts) -> None:
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
        writers = {name: _TableWriter(out / f"{name}.parquet", arrow_schema(table)) for name, table in STAGED.items()}
        writers[PARTLY] = _TableWriter(out / f"{PARTLY}.parquet", text_schema("record", "source", "reason"))
        writers[HELD_OUT] = _TableWriter(out / f"{HELD_OUT}.parquet", text_schema("source", "query"))
        writers[REVIEWER] = _TableWriter(out / f"{REVIEWER}.parquet", text_schema("source", "review_id", "customer"))
        for writer in writers.values():
            stack.callback(writer.close)
        bar = progress.add_task("", total=len(files))
        for file_number, file in enumerate(files):
            # A name that is not UTF-8 can be opened, but neither printed nor written down.
            name = readable(file.path.relative_to(folder))
            progress.update(bar, description=name)
            for table in file.tables:
                counts.tables[table].files.append(name)
            number = -1
            for number, (place, record) in enumerate(_records(file)):
                _take(file, record, (file_number << 40) + number, f"{name}:{place}", locales, writers, counts)
            if number < 0 and not file.tables:
                counts.read[file.source] += 1
                counts.reject(file.source, Rejected("file is empty"), name)
            progress.advance(bar)
        progress.update(bar, description=f"{sum(counts.read.values()):,} records")


def _take(
    file: RawFile,
    record: dict[str, Any] | Rejected,
    number: int,
    place: str,
    locales: frozenset[str],
    writers: dict[str, "_TableWriter"],
    counts: RecordCounts,
) -> None:
    """Writes a record's rows to their tables, or counts why there are none."""
    counts.read[file.source] += record.records if isinstance(record, Rejected) else 1
    rows = record if isinstance(record, Rejected) else _canonical(file, record)
    if isinstance(rows, Rejected):
        counts.reject(file.source, rows, place)
        for table in file.tables:
            counts.tables[table].read += rows.records
            counts.tables[table].reject(rows.reason, rows.value, place, rows.records)
        return
    rejected = []
    offers = [(table, row) for table, row in rows if table not in HELPERS]
    for table, offered in offers:
        of_table = counts.tables[table]
        of_table.read += 1
        made = offered if isinstance(offered, Rejected) else admitted(STAGED[table], offered)
        if not isinstance(made, Rejected) and made[0].get("locale", next(iter(locales))) not in locales:
            made = Rejected("locale was not asked for", made[0]["locale"])
        if isinstance(made, Rejected):
            of_table.reject(made.reason, made.value, place)
            rejected.append(made)
            continue
        row, dropped = made
        of_table.usable += 1
        counts.dropped.update(f"{table}: {reason}" for reason in dropped)
        writers[table].add({**row, "source": file.source, "record": number, "snapshot": file.snapshot})
    for held_out in (row for table, row in rows if table == HELD_OUT and not isinstance(row, Rejected)):
        writers[HELD_OUT].add({"source": file.source, "query": clean(str(held_out["query"]), NO_LIMIT).lower()})
    for reviewer in (row for table, row in rows if table == REVIEWER and not isinstance(row, Rejected)):
        writers[REVIEWER].add({"source": file.source, **reviewer})
    if rejected and len(rejected) == len(offers):
        counts.reject(file.source, rejected[0], place)
    elif rejected:
        # Whatever else becomes of the record: this is what was wrong with it.
        writers[PARTLY].add({"record": number, "source": file.source, "reason": rejected[0].reason})


def _records(file: RawFile) -> Iterator[Placed]:
    with plain_read_errors(file.path):
        yield from file.read()


@contextmanager
def plain_read_errors(path: Path) -> Iterator[None]:
    """For reading a file of the input: an OSError becomes a UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{readable(path)} cannot be read: {error.strerror}. Mend it or take it away.") from None


def _canonical(file: RawFile, record: dict[str, Any]) -> TableRows | Rejected:
    try:
        return file.canonical(record)
    except RecursionError:
        return Rejected("record is nested too deeply")


def text_schema(*names: str) -> "pa.Schema":
    """Columns of text, and `record` and `customer` of numbers."""
    import pyarrow as pa

    return pa.schema([(name, pa.int64() if name in ("record", "customer") else pa.string()) for name in names])


class _TableWriter:
    """TableRows in batches into one Parquet file, which is made with the first of them."""

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        self.path, self.schema = path, schema
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
