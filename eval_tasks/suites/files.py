"""Reads the records of an evaluation set: JSON lines, JSON arrays, CSV or Parquet, in a folder or on the Hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.dataset import find_folder
from common.errors import UserError
from dataset_builders.records import Rejected, csv_rows, parquet_rows

ENDINGS = (".json", ".jsonl", ".csv", ".parquet")

Records = list[tuple[str, dict[str, Any]]]
"""("line 3", "item 3" or "row 3", record) for each record of a file."""


def local_copy(source: str, variable: str, revision: str | None = None) -> Path:
    """The file or folder itself, or where the files of a Hub dataset are kept. Raises UserError naming the variable."""
    return find_folder(source, [f"*{ending}" for ending in ENDINGS], revision, option=variable)


def files_below(path: Path) -> list[Path]:
    """The file itself, or a folder's files that records can be read from, in the order of their names."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())


def read_records(path: Path) -> Records:
    """The file's records, at least one. Raises UserError naming the record that is not an object."""
    records = list(_read(path))
    if not records:
        raise UserError(f"{path}: the file is empty; it needs one JSON object a line")
    for where, record in records:
        if isinstance(record, Rejected):
            raise UserError(f"{path}, {where}: {record.reason}")
        if not isinstance(record, dict):
            raise UserError(f"{path}, {where}: {kind(record)}; it must be a JSON object")
    return records


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix in (".csv", ".parquet") and path.is_file():
        rows = csv_rows(path) if path.suffix == ".csv" else parquet_rows(path)
        for number, (_, row) in enumerate(rows, start=1):
            yield f"row {number}", row
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    yield from _array_items(path, text) if text.lstrip().startswith("[") else _lines(path, text)


def _array_items(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(_decode(path, text, first_line=1), start=1):
        yield f"item {number}", item


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _decode(path, line, first_line=number)


def _decode(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise UserError(f"{path}, line {line}: not JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}, line {first_line}: JSON that cannot be read ({error})") from None


def kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    names = {"NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number", "str": "a string"}
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return names.get(type(value).__name__, "an object")
