"""Raw records out of JSON lines, JSON documents, CSV and Parquet files. A bad one is yielded as a Rejected, never raised.

Every reader yields `(place, record)`: the number of the line where the record begins, or of its row in a Parquet file or a JSON
list, from 1. What a file holds is counted without its reader: the lines of a text file, the rows that a Parquet file's footer
names. Whatever a reader cannot yield is a Rejected with that many records, so that nothing disappears from both sides of `read
= used + rejects`.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dataset_builders.csv_lines import TOTALS, ReplayedLines, columns_named, escaped_row, is_header, swallows_rows, unquoted_row
from dataset_builders.json_items import BrokenJson, RepeatedKey, json_items, unique_keys, with_unique_keys
from dataset_builders.raw_files import (
    DAMAGED,
    TextFormat,
    delimiter_of,
    format_of,
    open_bytes,
    open_text,
    text_format,
)
from dataset_builders.spans import BOM, WHOLE, Span, is_json_document

MAX_LINE_BYTES = 32 * 2**20
"""A longer line is skipped without being held in memory."""


@dataclass(frozen=True)
class Rejected:
    """Raw records that yield nothing, or the unreadable rest of a file, and why. `value` is an example to show, if there is
    one."""

    reason: str
    value: str = ""
    records: int = 1


Record = dict[str, Any] | Rejected
Placed = tuple[int, Record]


def json_lines(path: Path, span: Span = WHOLE, unique: bool = False) -> Iterator[Placed]:
    """One JSON object a line, compressed or not.

    With `unique`, one that has a key twice with other values is a Rejected; else the last counts, as in the published corpora,
    whose lines are many.
    """
    import orjson

    for number, line in _lines(path, span):
        if isinstance(line, Rejected):
            yield number, line
            continue
        try:
            record = orjson.loads(line.removeprefix(BOM))
            # At a glance: a text may hold such marks too, and nested objects have keys of their own.
            if unique and isinstance(record, dict) and line.count(b'":') != len(record):
                record = with_unique_keys(record, line)
        except orjson.JSONDecodeError:
            record = _json_of_python(line)
        yield number, _object(record, "line")


def _object(value: Any, what: str) -> Record:
    if isinstance(value, RepeatedKey):
        return Rejected(f"key {value.key} stands twice in an object, with other values")
    return value if isinstance(value, dict | Rejected) else Rejected(f"{what} is not a JSON object")


def _json_of_python(line: bytes) -> Any:
    """The line with what Python writes beyond JSON, such as NaN, and with a comma behind it; else a Rejected."""
    try:
        return json.loads(line.decode("utf-8-sig").rstrip().removesuffix(","), object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        return Rejected("line is not UTF-8")
    except (ValueError, RecursionError):
        return Rejected("line is not JSON")


def json_document(path: Path) -> Any:
    """The whole of a JSON file, or a Rejected. A byte that is not UTF-8 becomes a lone surrogate, which no table admits."""
    try:
        with open_bytes(path) as file:
            text = file.read().decode("utf-8-sig", errors="surrogateescape")
        # Control characters are let in too: one bad value is not a bad file.
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return Rejected("file is not JSON")
    except DAMAGED:
        return Rejected("compressed file is damaged")


def json_records(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    """The objects of JSON lines, of a JSON list, or of JSON documents one behind the other."""
    for number, value in json_values(path, span):
        yield number, _object(value, "item")


def json_values(path: Path, span: Span = WHOLE) -> Iterator[tuple[int, Any]]:
    """All items of a JSON list or of JSON documents, whatever they are, or JSON lines.

    A byte that is not UTF-8 becomes a lone surrogate, which no table admits.
    """
    if not is_json_document(path):
        yield from json_lines(path, span, unique=True)
        return
    try:
        with open_bytes(path) as file:
            text = file.read().decode("utf-8-sig", errors="surrogateescape")
    except DAMAGED:
        yield 1, Rejected("compressed file is damaged")
        return
    for number, item in enumerate(json_items(text), 1):
        if isinstance(item, BrokenJson):
            yield number, Rejected("what follows is not JSON: it is lost" if item.rest else "file is not JSON")
        else:
            yield number, item


def csv_rows(path: Path, form: TextFormat | None = None) -> Iterator[Placed]:
    """One record a row, all values text; the first row names the columns.

    A quote that is opened and never closed, or closed in a later row by chance, would swallow the rows between. Such a row is
    rejected and reading goes on with the line behind it. Blank lines are no records. Empty fields beyond the header's are
    left out. Where files were joined, a later header names the columns of the rows behind it.
    """
    form = form or text_format(path)
    delimiter = delimiter_of(path, form)
    strange = _SURROGATES if form.encoding.startswith("utf-8") else _REPLACED
    with open_text(path, form) as file:
        lines = ReplayedLines(file)
        names, fewest, header = None, 0, set[str]()
        for number, row in _csv_records(lines, delimiter):
            if names is None:
                if isinstance(row, Rejected):
                    yield number, row
                    return
                names, fewest = columns_named(row)
                header = {name.lower() for name in names}
            elif isinstance(row, Rejected):
                yield number, row
            elif (first := row[0].strip().lower()) in header and is_header(row, header):
                names, fewest = columns_named(row, names)
                yield number, Rejected("row repeats the header")
            elif len(row) != len(names) and (len(row) < fewest or any(row[len(names) :])):
                yield number, Rejected("row has another number of fields than the header")
            elif first in TOTALS:
                yield number, Rejected("row is a total")
            elif row[0].startswith("--") and all(set(value.strip()) == {"-"} for value in row):
                yield number, Rejected("row is a line under the header")
            elif any(not value.isascii() and strange.search(value) for value in row):
                yield number, Rejected(f"row is not {form.encoding.removesuffix('-sig').upper()}")
            else:
                yield number, dict(zip(names, row, strict=False))


def _has_spaced_quotes(row: list[str], width: int) -> bool:
    """Whether a value stands in quotes behind a blank, also one that a delimiter in it cuts in two."""
    quoted = [value.strip() for value in row if value.startswith(" ") and value.lstrip().startswith('"')]
    return any(len(value) > 1 and value.endswith('"') for value in quoted) or (quoted != [] and len(row) > width > 0)


_SURROGATES = re.compile(r"[\ud800-\udfff]")
_REPLACED = re.compile(r"[\ud800-\udfff\ufffd]")
"""What stands for bytes that are not of the encoding: see open_text."""


def _csv_records(lines: ReplayedLines, delimiter: str) -> Iterator[tuple[int, list[str] | Rejected]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    width, spaced = 0, False
    while True:
        number = lines.begin()
        try:
            # Strict, since a stray quote would otherwise swallow the rows behind it without a word.
            row = next(csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced))
            if not spaced and any(' "' in line for line in lines.taken) and _has_spaced_quotes(row, width):
                spaced = True  # "a", "b": the quotes are no part of the values
                lines.put_back()
                continue
        except StopIteration:
            return
        except DAMAGED as error:
            yield number, _cut_off(error)
            return
        except csv.Error as error:
            if width and (escaped := escaped_row(lines, width, delimiter)):
                yield number, escaped
                continue
            if literal := unquoted_row(lines, width, delimiter):
                yield number, literal
                continue
            unclosed = "unexpected end of data" in str(error) or len(lines.taken) > 1
            lines.rewind()
            yield number, Rejected("row has a quote that is not closed" if unclosed else f"row is not CSV: {error}")
            continue
        if not row:
            continue
        width = width or len(row)
        swallowed = swallows_rows(lines.taken, width, delimiter)
        if (swallowed or len(row) != width) and (escaped := escaped_row(lines, width, delimiter)):
            yield number, escaped
            continue
        if swallowed:
            lines.rewind()
            yield number, Rejected("row has a quote that is not closed")
            continue
        yield number, row


def parquet_rows(path: Path, columns: Sequence[str] | None = None, span: Span = WHOLE) -> Iterator[Placed]:
    """One record a row, of those `columns` that the file has, or of all. What a damaged row group lacks is one Rejected."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    damage = (pa.ArrowException, OSError, UnicodeDecodeError)
    if not path.stat().st_size:  # as writers leave for a part without rows
        return
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        present = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
    except damage:
        yield 1, Rejected("file is not readable as Parquet")
        return
    number = end = span.before
    for group in range(file.num_row_groups)[span.start : span.stop]:
        end += file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(batch_size=8192, columns=present, row_groups=[group]):
                for record in _batch_rows(batch):
                    number += 1
                    yield number, record
        except damage:
            yield number + 1, Rejected("row group of the Parquet file is damaged", records=end - number)
            number = end


def _batch_rows(batch: Any) -> list[Record]:
    """The batch's rows. Text that is not UTF-8 or a time beyond the year 9999 spoils its row, not the batch."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError, KeyError):  # the last for a time zone that there is not
        if batch.num_rows > 1:
            middle = batch.num_rows // 2
            return _batch_rows(batch.slice(0, middle)) + _batch_rows(batch.slice(middle))
        return [Rejected("row holds a value that cannot be read")]


def csv_header(path: Path, form: TextFormat) -> list[str] | Rejected:
    """Names of a CSV file's columns, in order; empty where it has no first row, a Rejected where that cannot be read."""
    with open_text(path, form) as file:
        for _, row in _csv_records(ReplayedLines(file), delimiter_of(path, form)):
            return row if isinstance(row, Rejected) else columns_named(row)[0]
    return []


def column_names(path: Path) -> frozenset[str]:
    """Columns of a CSV or Parquet file; empty where it is not one."""
    if format_of(path) == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return frozenset(pq.read_schema(path).names)
        except (pa.ArrowException, OSError, UnicodeDecodeError):  # the last for a column's name
            return frozenset()
    header = csv_header(path, text_format(path))
    return frozenset() if isinstance(header, Rejected) else frozenset(header)


def _lines(path: Path, span: Span) -> Iterator[tuple[int, bytes | Rejected]]:
    number = span.before
    with open_bytes(path) as file:
        if span.start:
            file.seek(span.start)
        left = math.inf if span.stop is None else span.stop - span.start
        try:
            for number, line in _bounded_lines(file, span.before, left):
                yield number, line
        except DAMAGED as error:
            yield number + 1, _cut_off(error)


def _cut_off(error: BaseException) -> Rejected:
    return Rejected(f"compressed file is {'cut short' if isinstance(error, EOFError) else 'damaged'}: the rest is lost")


def _bounded_lines(file: IO[bytes], number: int, left: float) -> Iterator[tuple[int, bytes | Rejected]]:
    """The lines of the next `left` bytes, numbered after `number`."""
    while left > 0 and (line := file.readline(MAX_LINE_BYTES)):
        number += 1
        left -= len(line)
        if line.endswith(b"\n") or len(line) < MAX_LINE_BYTES:
            if not line.isspace():
                yield number, line
            continue
        while rest := file.readline(MAX_LINE_BYTES):
            left -= len(rest)
            if rest.endswith(b"\n"):
                break
        yield number, Rejected(f"line is longer than {MAX_LINE_BYTES // 2**20} MiB")
