"""Reads raw records from JSON lines, JSON documents, CSV and Parquet files; a bad one is yielded as a Rejected, never raised.

A record is what an input file holds; the rows of the dataset are in rows.py.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_LINE_BYTES = 32 * 2**20
"""A longer line is skipped without being held in memory."""


@dataclass(frozen=True)
class Rejected:
    """A raw record, or the unreadable rest of a file, that yields nothing, and why."""

    reason: str


Record = dict[str, Any] | Rejected

_BOM = b"\xef\xbb\xbf"
_MORE: Any = object()
_LESS: Any = object()
"""Key of the fields beyond a CSV file's header, and value of those that a row lacks; "" and None may be real ones."""


def json_lines(path: Path) -> Iterator[Record]:
    """One JSON object a line, plain or gzip by the file's ending."""
    import orjson

    for line in _lines(path):
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            record = orjson.loads(line.removeprefix(_BOM))
        except orjson.JSONDecodeError:
            yield Rejected("line is not UTF-8") if _is_not_utf8(line) else Rejected("line is not JSON")
            continue
        yield record if isinstance(record, dict) else Rejected("line is not a JSON object")


def json_document(path: Path) -> Any:
    """The whole of a JSON file, or a Rejected. A byte that is not UTF-8 becomes a lone surrogate, which no table admits."""
    try:
        # Control characters are let in too: one bad value is not a bad file.
        return json.loads(path.read_text(encoding="utf-8-sig", errors="surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return Rejected("file is not JSON")


def csv_rows(path: Path) -> Iterator[Record]:
    """One record a row, all values text; the first row names the columns."""
    csv.field_size_limit(MAX_LINE_BYTES)
    # Strict, since a stray quote would otherwise swallow the rows behind it without a word.
    # A byte that is not UTF-8 becomes a lone surrogate, which the row check below finds: one bad row is not a bad file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, restkey=_MORE, restval=_LESS, strict=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Rejected(f"row is not CSV: {error}")
                continue
            values = list(row.values())
            if _MORE in row or _LESS in values:
                yield Rejected("row has another number of fields than the header")
            elif any(not value.isascii() and _has_surrogate(value) for value in values):
                yield Rejected("row is not UTF-8")
            else:
                yield row


def parquet_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    """One record a row, of those `columns` that the file has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        present = [name for name in file.schema_arrow.names if name in columns]
        for batch in file.iter_batches(batch_size=8192, columns=present):
            yield from _batch_rows(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        yield Rejected("file is not readable as Parquet from here on")


def _batch_rows(batch: Any) -> list[Record]:
    """The batch's rows. Text that is not UTF-8 or a time beyond the year 9999 spoils its row, not the batch."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError, KeyError):  # the last for a time zone that there is not
        if batch.num_rows > 1:
            middle = batch.num_rows // 2
            return _batch_rows(batch.slice(0, middle)) + _batch_rows(batch.slice(middle))
        return [Rejected("row holds a value that cannot be read")]


def column_names(path: Path) -> frozenset[str]:
    """Columns of a CSV or Parquet file; empty where it is not one."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return frozenset(pq.read_schema(path).names)
        except (pa.ArrowException, OSError, UnicodeDecodeError):  # the last for a column's name
            return frozenset()
    csv.field_size_limit(MAX_LINE_BYTES)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return frozenset(next(csv.reader([file.readline(MAX_LINE_BYTES)]), []))
        except csv.Error:
            return frozenset()


def _lines(path: Path) -> Iterator[bytes | Rejected]:
    with _open(path) as file:
        try:
            yield from _bounded_lines(file)
        except EOFError:
            yield Rejected("gzip file is cut short: the rest is lost")
        except (gzip.BadGzipFile, zlib.error):
            yield Rejected("gzip file is damaged: the rest is lost")


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _bounded_lines(file: BinaryIO) -> Iterator[bytes | Rejected]:
    while line := file.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n") or len(line) < MAX_LINE_BYTES:
            if line.strip():
                yield line
            continue
        while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield Rejected(f"line is longer than {MAX_LINE_BYTES // 2**20} MiB")


def _is_not_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in value)
