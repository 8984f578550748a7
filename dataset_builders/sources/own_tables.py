"""A shop's own tables: `reviews.csv` or a folder `reviews/`, in any common format, with the canonical columns.

Formats are those of raw_files.py, compressed or not. A folder's files are one table; folders such as `locale=de/` in it are
columns, as Hive and Spark lay them out, and files whose path holds a date are snapshots, of which the newest counts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.column_checks import check_columns, check_rounded_ids
from dataset_builders.file_paths import is_copy, partition_values, table_format_of
from dataset_builders.other_formats import not_a_table
from dataset_builders.raw_files import (
    DAMAGED,
    FORMATS,
    TextFormat,
    format_of,
    header_line,
    is_parquet,
    open_bytes,
    stem_and_ending,
    text_format,
    wide_encoding,
)
from dataset_builders.records import Placed, Rejected, csv_header, csv_rows, json_records, parquet_rows
from dataset_builders.scales import ScaleCounts
from dataset_builders.sources import TableRows
from dataset_builders.spans import WHOLE, Span, json_spans, parquet_spans, whole_span
from dataset_builders.tables import LONGEST_EXAMPLE, TABLES, Column, Table, shown
from dataset_builders.values import (
    as_boolean,
    as_free_text,
    as_identifier,
    as_integer,
    as_list,
    as_text,
    cell_text,
    is_missing,
    label_or_text,
    unwrapped,
    visible,
)

NAME = "own"
LICENCE = "own data"

_WHOLE_FLOAT = re.compile(r"\d+\.0")
_BETWEEN_WORDS = re.compile("[ -]+")

SAMPLED_RECORDS = 10_000
"""Records of a JSON file among which a column is looked for, since JSON has no header."""


@dataclass(frozen=True)
class OwnFile:
    """A file of a table, how its text is read, and what its path says: partition columns."""

    path: Path
    table: Table
    columns: frozenset[str]
    form: TextFormat | None = None
    partitions: Mapping[str, str] = field(default_factory=dict)
    default_locale: str = "us"


def table_of(path: Path, folder: Path) -> Table | None:
    """The canonical table that a file below `folder` belongs to, or None. A copy such as `reviews.bak/` or `reviews/old/`
    belongs to none."""
    if format_of(path) is None or is_copy(path, folder):
        return None
    top = path.relative_to(folder).parts[0]
    if top == path.name:
        return TABLES.get(stem_and_ending(path)[0])
    stem, ending = stem_and_ending(Path(top))  # as Spark and pandas name what they write
    return TABLES.get(stem) if ending in ("", *FORMATS) else None


def open_file(path: Path, folder: Path, table: Table, encoding: str | None, default_locale: str) -> OwnFile:
    """How the file is read. Raises UserError where it is no table or lacks a required column."""
    name = path.relative_to(folder)
    refuse_other_formats(path, folder)
    partitions = partition_values(path, folder)
    if is_parquet(path) or format_of(path) == "parquet":
        names, form = parquet_columns(path, name), None
        check_rounded_ids(path, name, table)
    elif format_of(path) == "csv":
        form = text_format(path, encoding)
        names = header_of(path, name, form)
    else:
        form, names = None, json_keys(path)
        if not names:
            refuse_no_json(path, name)
    if not names:
        return OwnFile(path, table, frozenset(), form, partitions, default_locale)
    check_columns(str(name), table, [*names, *(key for key in partitions if key not in names)])
    if format_of(path) in ("json", "jsonl"):
        names = [column.name for column in table.columns]  # any record may have any of them
    return OwnFile(path, table, frozenset(names), form, partitions, default_locale)


def header_of(path: Path, name: Path, form: TextFormat) -> list[str]:
    """Names of a CSV file's columns, in order; empty where it has none. Raises UserError where they cannot be read."""
    header = csv_header(path, form)
    if isinstance(header, Rejected):
        raise UserError(f"{name}: the first line, which names the columns, cannot be read: {header.reason}. Mend or export it.")
    if line := header_line(path, form):
        raise UserError(f"{name} seems to name its columns in line {line}. Take out the lines before it.")
    return header


def json_keys(path: Path) -> list[str]:
    """The keys of a JSON file's first records, in order."""
    records = (record for _, record in islice(json_records(path), SAMPLED_RECORDS) if not isinstance(record, Rejected))
    return list(dict.fromkeys(key for record in records for key in record))


def refuse_no_json(path: Path, name: Path) -> None:
    """Raises UserError where a JSON file without a single object begins with something else."""
    try:
        with open_bytes(path) as file:
            beginning = file.read(LONGEST_EXAMPLE).decode(errors="replace").removeprefix("\ufeff").strip()
    except DAMAGED:  # which its reader counts
        return
    if beginning and not beginning.startswith(("{", "[")):
        raise UserError(
            f"{name} is not JSON: it begins with {beginning.splitlines()[0]!r}. Export it again, or name it .csv if it is CSV."
        )


def refuse_other_formats(path: Path, folder: Path) -> None:
    """Raises UserError for a file of a Delta Lake, Iceberg or Hudi table, and for a workbook and the like."""
    holder = next((parent for parent in path.parents if parent != folder.parent and table_format_of(parent)), None)
    if holder is not None and (holder == folder or folder in holder.parents):
        name = folder if holder == folder else holder.relative_to(folder)
        raise UserError(
            f"{name} is a table of {table_format_of(holder)}: its files alone would bring removed rows back. Export the "
            "table as Parquet."
        )
    if told := not_a_table(path):
        raise UserError(f"{path.relative_to(folder)} {told}.")
    if format_of(path) in ("json", "jsonl") and not is_parquet(path) and (encoding := wide_encoding(path)):
        raise UserError(f"{path.relative_to(folder)} is JSON in {encoding.upper()}; save it in UTF-8.")


def parquet_columns(path: Path, name: Path) -> list[str]:
    """Names of a Parquet file's columns, in order; none of an empty file. Raises UserError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.stat().st_size:  # as writers leave for a part without rows
        return []
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise UserError(f"{name} cannot be read as Parquet; it may be cut short. Copy or export it again.") from None


def spans(file: OwnFile) -> list[Span]:
    if is_parquet(file.path):
        return parquet_spans(file.path)
    return whole_span(file.path) if format_of(file.path) == "csv" else json_spans(file.path)


def read(file: OwnFile, span: Span = WHOLE) -> Iterator[Placed]:
    if is_parquet(file.path):
        return parquet_rows(file.path, tuple(column.name for column in file.table.columns), span)
    return csv_rows(file.path, file.form) if format_of(file.path) == "csv" else json_records(file.path, span)


@dataclass(frozen=True)
class ColumnFacts:
    """What all values of a file's columns tell: which ids all end in `.0`, as pandas writes a column of numbers that has holes,
    and what the ratings or labels are."""

    floats: frozenset[str]
    scale: ScaleCounts


def column_facts(file: OwnFile, records: Iterable[Placed] | None = None) -> ColumnFacts:
    """Reads all values of the columns; `records` stand for those of the file.

    Raises UserError where ratings or labels are on another scale than the table's.
    """
    scale, parquet = ScaleCounts(file.table.name), is_parquet(file.path)
    ids = [column.name for column in file.table.columns if column.name.endswith("_id") and column.name in file.columns]
    ids = [] if parquet else ids  # there a number is a number
    if parquet and not scale.column:
        return ColumnFacts(frozenset(), scale)
    floats, values = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0)
    if records is None:
        records = parquet_rows(file.path, (scale.column,)) if parquet else read(file)
    for _, record in records:
        if isinstance(record, Rejected):
            continue
        for name in ids:
            value = record.get(name)
            if not is_missing(value):
                values[name] += 1
                floats[name] += isinstance(value, str) and _WHOLE_FLOAT.fullmatch(value) is not None
        if not scale.column and all(floats[name] < values[name] for name in ids):
            break  # nothing is left to be found out
        scale.add({**file.partitions, **record})
    scale.check(file.path.name)
    return ColumnFacts(frozenset(name for name in ids if values[name] and floats[name] == values[name]), scale)


def check_categories(files: Sequence[OwnFile]) -> None:
    """Raises UserError where reviews name no category and no products are there to take it from."""
    if any(file.table.name == "products" for file in files):
        return
    reviews = [file for file in files if file.table.name == "reviews" and file.columns]
    if reviews and not any("category" in file.columns | file.partitions.keys() for file in reviews):
        raise UserError(
            f"{reviews[0].path.name} lacks the column category of table reviews, and there is no products table to take it "
            "from. Add one of them, or give all reviews one in a map: category: {constant: Shoes}."
        )


def canonical(record: dict[str, Any], file: OwnFile, floats: frozenset[str] = frozenset()) -> TableRows | Rejected:
    return [(file.table.name, canonical_row(record, file, floats))]


def canonical_row(record: Mapping[str, Any], file: OwnFile, floats: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The record's values in the kinds of the table's columns; a Rejected in place of one that cannot be read."""
    row: dict[str, Any] = {}
    for column in file.table.columns:
        value = record.get(column.name, file.partitions.get(column.name))
        try:
            row[column.name] = _typed(column, value, column.name in floats)
        except ValueError as error:
            row[column.name] = Rejected(str(error), shown(column, value))
        except (TypeError, OverflowError, RecursionError):
            row[column.name] = Rejected(f"is not of type {column.kind}")
    if "locale" in row:
        locale = row["locale"] or file.default_locale
        row["locale"] = locale if isinstance(locale, Rejected) else visible(locale).lower()
    return row


def _typed(column: Column, value: Any, trim: bool) -> Any:
    """CSV knows only text, and Parquet writers differ in how they hold ids: both are brought to the column's type."""
    if isinstance(value, bytes):  # text in Parquet files of Impala, Hive and others
        value = as_text(value)
    value = unwrapped(cell_text(value) if isinstance(value, str) else value)
    if is_missing(value):
        return None
    if column.kind == "string":
        return _text(column, value, trim)
    if column.kind == "int":
        return as_integer(value, times=column.name == "position")
    return as_boolean(value) if column.kind == "bool" else as_list(value)


def _text(column: Column, value: Any, trim: bool) -> str:
    if column.name.endswith("_id"):
        if isinstance(value, list | dict):
            raise ValueError("is not text")
        text = as_identifier(value)
        if trim:
            as_identifier(float(text))  # refuses one that lost digits
        return text.removesuffix(".0") if trim else text
    if column.name == "label":
        return label_or_text(value)
    text = as_free_text(value)
    if not column.required and text.lower() in ("true", "false"):  # as pandas writes what PHP and Odoo leave there
        raise ValueError("is true or false and not text")
    return _BETWEEN_WORDS.sub("_", visible(text).lower()) if column.allowed else text
