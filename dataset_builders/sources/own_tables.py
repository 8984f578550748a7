"""A shop's own tables: `<table>.parquet`, `<table>.csv`, or a folder `<table>/` of either, with the canonical columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.records import Record, Rejected, column_names, csv_rows, parquet_rows
from dataset_builders.sources import TableRows, identifier
from dataset_builders.tables import TABLES, Column, Table

NAME = "own"
LICENCE = "own data"


def table_of(path: Path, folder: Path) -> Table | None:
    """The canonical table that a file below `folder` belongs to, or None."""
    if path.suffix not in (".parquet", ".csv"):
        return None
    top = path.relative_to(folder).parts[0]
    return TABLES.get(top) or TABLES.get(Path(top).stem)


def check_columns(path: Path, table: Table) -> None:
    """Raises UserError where a required column is missing."""
    present = column_names(path)
    absent = [column.name for column in table.columns if column.required and column.name not in present]
    if absent:
        raise UserError(
            f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)} of table {table.name}; it has "
            f"{', '.join(sorted(present)) or 'none'}. Rename or add them, or take the file away to build without this table."
        )


def read(path: Path, table: Table) -> Iterator[Record]:
    columns = tuple(column.name for column in table.columns)
    return csv_rows(path) if path.suffix == ".csv" else parquet_rows(path, columns)


def canonical(record: dict[str, Any], table: Table) -> TableRows | Rejected:
    row = {}
    for column in table.columns:
        try:
            row[column.name] = _typed(column, record.get(column.name))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return Rejected(f"{column.name} is not of type {column.kind}")
    return [(table.name, row)]


def _typed(column: Column, value: Any) -> Any:
    """CSV knows only text, and Parquet writers differ in how they hold ids: both are brought to the column's type."""
    if value is None or value == "" or value != value:  # noqa: PLR0124 - only nan, a hole for pandas, is not itself
        return None
    if column.kind == "string":
        if isinstance(value, list | dict):
            raise TypeError
        text = value.decode() if isinstance(value, bytes) else value
        return identifier(text) if column.name.endswith("_id") else str(text)
    if column.kind == "int":
        number = float(value)
        if not number.is_integer():
            raise ValueError
        return int(value) if isinstance(value, str) and value.lstrip("+-").isdecimal() else int(number)
    if column.kind == "bool":
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).strip().lower()]
    return json.loads(value) if isinstance(value, str) else value
