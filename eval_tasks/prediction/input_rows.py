"""Rows of a shop's own files, Parquet, CSV or JSON lines, one after another: memory does not grow with their number."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from common.answers import whole_characters
from common.dataset import find_folder
from common.errors import UserError
from common.files import folder_files
from dataset_builders.other_formats import not_a_table
from dataset_builders.raw_files import COMPRESSIONS, FORMATS, format_of, is_parquet
from dataset_builders.record_reading import plain_read_errors, readable
from dataset_builders.records import Placed, Rejected, csv_rows, json_records, parquet_rows

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_INT64 = 2**63 - 1
LONGEST_IN_FLOAT64 = 2**53
"""Whole numbers up to here are exact as floating-point numbers."""
LARGE = "a whole number beyond LONGEST_IN_FLOAT64"


@dataclass(frozen=True)
class InputRow:
    """`number` counts from 1 over all files. A row that cannot be read has no values, and `error` says why."""

    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class InputTable:
    """The rows of some files: their columns with Arrow's types, their number (0: not counted), and `read`, which starts anew.

    `stamp` changes with the files: their names, sizes and times.
    """

    columns: Mapping[str, "pa.DataType"]
    rows: int
    read: Callable[[], Iterator[InputRow]]
    stamp: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def open_input(name: str, revision: str | None = None) -> InputTable:
    """The rows of a file, a folder's files or a dataset on the Hub, after one look at all of them. Raises UserError."""
    files = tuple(path.absolute() for path in input_files(name, revision))
    columns, rows = survey(files)
    if not rows:
        raise UserError(f"--input {name} has no rows")

    stamp = tuple(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files)
    return InputTable(columns, rows, partial(read_rows, files), stamp, files)


def read_rows(files: Sequence[Path]) -> Iterator[InputRow]:
    numbers = count(1)
    for path in files:
        with plain_read_errors(path):
            for place, record in records(path):
                if isinstance(record, Rejected):
                    reason = f"{record.reason}: {path.name}, from line or row {place}"
                    yield from (InputRow(next(numbers), error=reason) for _ in range(record.records))
                else:
                    yield InputRow(next(numbers), record)


def input_files(name: str, revision: str | None) -> list[Path]:
    endings = [f"*{ending}{packed}" for ending in FORMATS for packed in ("", *COMPRESSIONS)]
    found = find_folder(name, endings, revision, option="--input")
    paths = [found / path for path in folder_files(found)] if found.is_dir() else [found]
    files = [path for path in paths if format_of(path) or (path == found and is_parquet(path))]
    if not files:
        raise UserError(f"--input {name} has no table; give Parquet, CSV or JSON lines ({', '.join(FORMATS)})")
    for path in files:
        with plain_read_errors(path):
            if problem := not_a_table(path):
                raise UserError(f"{readable(path)} {problem}")
    return files


def records(path: Path) -> Iterator[Placed]:
    if is_parquet(path) or format_of(path) == "parquet":
        return parquet_rows(path)
    return csv_rows(path) if format_of(path) == "csv" else json_records(path)


def survey(files: Sequence[Path]) -> tuple[dict[str, "pa.DataType"], int]:
    """The columns of all files with the type that holds every value of theirs, and the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, set[Any]] = {}
    rows = 0
    for path in files:
        with plain_read_errors(path):
            if is_parquet(path):
                try:
                    schema, number = pq.read_schema(path), pq.read_metadata(path).num_rows
                except (pa.ArrowException, OSError, UnicodeDecodeError):
                    rows += 1  # which says that the file cannot be read
                    continue
                rows += number
                for name, kind in zip(schema.names, schema.types, strict=True):
                    found.setdefault(name, set()).add(kind if is_kept(kind) else pa.string())
                continue
            for _, record in records(path):
                rows += record.records if isinstance(record, Rejected) else 1
                for name, value in () if isinstance(record, Rejected) else record.items():
                    kinds = found.setdefault(name, set())
                    if value is not None:
                        kinds.add(kind_of(value))
    return {name: common_type(kinds) for name, kinds in found.items()}, rows


def is_kept(kind: "pa.DataType") -> bool:
    """Whether values of this type go into the output as they are; others as JSON text."""
    from pyarrow import types

    texts = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    plain = (*texts, types.is_boolean, types.is_integer, types.is_floating, types.is_temporal)
    listed = types.is_list(kind) or types.is_large_list(kind)
    return any(test(kind) for test in plain) or types.is_decimal(kind) or (listed and types.is_string(kind.value_type))


def kind_of(value: Any) -> Any:
    """The Arrow type of a value of JSON, or LARGE."""
    import pyarrow as pa

    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        if abs(value) > LONGEST_INT64:
            return pa.string()
        return pa.int64() if abs(value) <= LONGEST_IN_FLOAT64 else LARGE
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return pa.list_(pa.string())
    return pa.string()


def common_type(kinds: set[Any]) -> "pa.DataType":
    """The type of a column whose values have these types: text, where a number would not be kept as it is."""
    import pyarrow as pa
    from pyarrow import types

    if LARGE in kinds:
        return pa.int64() if kinds <= {LARGE, pa.int64()} else pa.string()
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    if len(kinds) > 1 and all(types.is_signed_integer(kind) for kind in kinds):
        return pa.int64()
    return next(iter(kinds)) if len(kinds) == 1 else pa.string()


def as_type(value: Any, kind: "pa.DataType") -> Any:
    """A value as its column holds it: of a column of texts, anything else is JSON."""
    from pyarrow import types

    if value is None:
        return None
    if types.is_string(kind) or types.is_large_string(kind):
        return whole_characters(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    if types.is_list(kind) or types.is_large_list(kind):
        return [None if item is None else whole_characters(item) for item in value]
    return float(value) if types.is_floating(kind) else value


def shard_of(table: InputTable, number: int, shards: int, group: str = "") -> InputTable:
    """Every `shards`-th row, from the one with this number on. Where `group` names a column, about as many, and all rows with
    the same value there are in one shard. Rows keep their numbers.
    """
    if shards == 1:
        return table
    own: Any = partial(shard_groups, group, table.columns[group]) if group else shard_rows
    rows = 0 if group or not table.rows else max(-(-(table.rows - number + 1) // shards), 0)
    return replace(table, rows=rows, read=partial(own, table.read, number, shards))


def shard_rows(read: Callable[[], Iterator[InputRow]], number: int, shards: int) -> Iterator[InputRow]:
    return (row for row in read() if (row.number - 1) % shards == number - 1)


def shard_groups(
    group: str, kind: "pa.DataType", read: Callable[[], Iterator[InputRow]], number: int, shards: int
) -> Iterator[InputRow]:
    """By a checksum of the value, which is the same on every machine. Rows that cannot be read are a group."""
    for row in read():
        value = repr(as_type(row.values.get(group), kind))  # as it is grouped by in the output
        if crc32(value.encode()) % shards == number - 1:
            yield row


def one_row_an_item(table: InputTable, column: str, item: str) -> InputTable:
    """The table with a row for each item of a list's column, in the column `item`; a list that is none stays one row."""
    import pyarrow as pa

    columns = {name: kind for name, kind in table.columns.items() if name != column}
    return replace(table, columns={**columns, item: pa.string()}, rows=0, read=partial(item_rows, table.read, column, item))


def item_rows(read: Callable[[], Iterator[InputRow]], column: str, item: str) -> Iterator[InputRow]:
    numbers = count(1)
    for row in read():
        rest = {name: value for name, value in row.values.items() if name != column}
        items = list_items(row.values.get(column))
        if row.error or not items:
            yield replace(row, number=next(numbers), values=rest, error=row.error or f"{column} is missing or empty")
        else:
            yield from (InputRow(next(numbers), {**rest, item: value}) for value in items)


def list_items(value: Any) -> list[Any]:
    """The items of a list: one, its JSON, or the lines of a text."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                found = json.loads(value)
            except ValueError:
                found = None
            if isinstance(found, list):
                return found
        return [line for line in value.splitlines() if line.strip()]
    return list(value) if isinstance(value, list | tuple) else []
