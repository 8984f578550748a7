"""A shop's exports, read as canonical tables through a map (see mapping.py)."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset_builders.mapping import MAPPED_TABLES, MISSING, PRESENT, ColumnMap, FileMap, RowCondition, normal
from dataset_builders.raw_files import TextFormat
from dataset_builders.record_counts import LEFT_OUT, UNMAPPED
from dataset_builders.records import Placed, Rejected, csv_rows, json_records, parquet_rows
from dataset_builders.sources import TableRows
from dataset_builders.sources.own_tables import OwnFile, canonical_row
from dataset_builders.spans import WHOLE, Span, json_spans, parquet_spans, whole_span
from dataset_builders.tables import EVIDENCE, LONGEST_EXAMPLE
from dataset_builders.values import as_list, as_text, is_missing, unwrapped

_HASH_CHARACTERS = 16
_OTHER_IDS = EVIDENCE["product_ids"]
_KEYS = ("attribute_code", "name", "code")
"""What the name is called in lists of names and values, beside `key`."""


@dataclass(frozen=True)
class MappedTable:
    """One table that a file feeds. `floats` names its ids of which every one ends in `.0`."""

    map: FileMap
    file: OwnFile
    floats: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OtherFile:
    """Files in which rows are looked up: the first row whose column `other` has the value of a row's own column `by`. Its
    `columns` are taken. `changed` are the times at which the files did, in nanoseconds."""

    paths: tuple[Path, ...]
    kind: str
    forms: tuple[TextFormat | None, ...]
    by: str
    other: str
    columns: tuple[str, ...]
    changed: tuple[int, ...]


@dataclass(frozen=True)
class MappedFile:
    """A file, how it is read, and what becomes of it. `columns` are those of a Parquet file that the map names."""

    path: Path
    form: TextFormat | None
    columns: tuple[str, ...]
    partitions: Mapping[str, str]
    tables: tuple[MappedTable, ...]
    kind: str
    others: tuple[OtherFile, ...] = ()


def spans(file: MappedFile) -> list[Span]:
    """The parts of the file that can be read alone; where rows take values from those before them, it is one."""
    if file.kind == "csv" or any(mapped.map.fill_down for mapped in file.tables):
        return whole_span(file.path)
    return parquet_spans(file.path) if file.kind == "parquet" else json_spans(file.path)


def read(file: MappedFile, span: Span = WHOLE) -> Iterator[Placed]:
    """The records of a part of the file, as any of its tables reads them."""
    records = _records(file.path, file.kind, file.form, file.columns, span)
    for other in file.others:
        records = _looked_up(records, other)
    for fill in dict.fromkeys(mapped.map.fill_down for mapped in file.tables if mapped.map.fill_down):
        records = _filled(records, *fill)
    return records


def _records(path: Path, kind: str, form: TextFormat | None, columns: Sequence[str], span: Span = WHOLE) -> Iterator[Placed]:
    if kind == "parquet":
        return parquet_rows(path, columns, span)
    return csv_rows(path, form) if kind == "csv" else json_records(path, span)


def _looked_up(records: Iterator[Placed], other: OtherFile) -> Iterator[Placed]:
    """Records with the columns of another file that they have not themselves."""
    rows = _rows_by_key(other)
    for place, record in records:
        if isinstance(record, Rejected):
            yield place, record
        else:
            yield place, {**rows.get(_key(record, other.by), {}), **record}


@lru_cache(maxsize=8)
def _rows_by_key(other: OtherFile) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, form in zip(other.paths, other.forms, strict=True):
        for _, record in _records(path, other.kind, form, (*other.columns, other.other)):
            if not isinstance(record, Rejected) and (key := _key(record, other.other)):
                found.setdefault(key, {name: record[name] for name in other.columns if name in record})
    return found


def _key(record: Mapping[str, Any], name: str) -> str:
    value = looked_up(record, name)
    return "" if is_missing(value) else normal(value)


def _filled(records: Iterator[Placed], by: tuple[str, ...], columns: tuple[str, ...]) -> Iterator[Placed]:
    """Records with the values of the first one of their group, where they have none. A group's records follow each other."""
    group, values = None, dict[str, Any]()
    for place, record in records:
        if isinstance(record, Rejected):
            yield place, record
            continue
        key = next((value for name in by if not is_missing(value := looked_up(record, name))), None)
        if key != group or key is None:
            group, values = key, {}
        values |= {name: record.get(name) for name in columns if not is_missing(record.get(name))}
        yield place, {**record, **values}


def canonical(record: dict[str, Any], file: MappedFile) -> TableRows | Rejected:
    """The record's rows of every table that the file feeds. A row that the map leaves out is a Rejected in its place."""
    record = {**file.partitions, **record}
    return [(name, row) for mapped in file.tables for name, row in _rows(record, mapped)]


def _rows(record: dict[str, Any], mapped: MappedTable) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    for each in exploded(record, mapped.map.each):
        failed = next((condition for condition in mapped.map.where if not holds(condition, each)), None)
        if failed:
            value = looked_up(each, failed.column)
            shown = "" if is_missing(value) else as_text(value)[:LONGEST_EXAMPLE]
            yield mapped.map.table, Rejected(f"{LEFT_OUT} (where {failed.column})", shown)
        else:
            for row in mapped_rows(each, mapped.map):
                yield mapped.map.table, _canonical(row, mapped)
        if mapped.map.also_known_as:
            product_id = _canonical(next(mapped_rows(each, mapped.map)), mapped)["product_id"]
            for column in mapped.map.also_known_as:
                other = _stripped(looked_up(each, column))
                if isinstance(product_id, str) and not is_missing(other):
                    ids = {"other_id": other, "product_id": product_id}
                    yield _OTHER_IDS.name, canonical_row(ids, replace(mapped.file, table=_OTHER_IDS))


def kept(record: dict[str, Any], file: FileMap) -> Iterator[dict[str, Any]]:
    """The record, or one for each of its items, where the map's conditions hold."""
    for each in exploded(record, file.each):
        if all(holds(condition, each) for condition in file.where):
            yield each


def _canonical(row: dict[str, Any], mapped: MappedTable) -> dict[str, Any]:
    bad = {name: value for name, value in row.items() if isinstance(value, Rejected)}
    return {**canonical_row({**row, **dict.fromkeys(bad)}, mapped.file, mapped.floats), **bad}


def mapped_rows(record: dict[str, Any], file: FileMap) -> Iterator[dict[str, Any]]:
    """The record under the names of the table, once for each item of a column that is split into rows."""
    row = {name: value_of(record, made, file.null_words) for name, made in file.columns.items()}
    kinds = {column.name: column.kind for column in MAPPED_TABLES[file.table].columns}
    split = next((name for name, made in file.columns.items() if made.split and kinds[name] != "strings"), None)
    if split is None or not isinstance(row[split], list):
        yield row
        return
    for item in row[split] or [None]:
        yield {**row, split: item}


def value_of(record: Mapping[str, Any], made: ColumnMap, null_words: frozenset[str] = frozenset()) -> Any:
    """A column's value; a Rejected where the map does not say what to make of it."""
    if made.take == "constant":
        return made.text
    found = [_stripped(looked_up(record, name)) for name in made.columns]  # databases pad ids to the width of their column
    values = [None if is_missing(value) or (null_words and normal(value) in null_words) else value for value in found]
    value = _taken(made, values)
    if made.pattern and value is not None:
        match = made.pattern.search(as_text(value))
        value = match and (match[1] if match.re.groups else match[0])
    if made.values or made.other is not None:
        value = _replaced(made, value)
    if made.scale and value is not None and not isinstance(value, Rejected):
        value = _scaled(value, *made.scale)
    if made.split and isinstance(value, str):
        value = [item.strip() for item in value.split(made.split) if not is_missing(item)]
    return made.default if value is None else value


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _taken(made: ColumnMap, values: list[Any]) -> Any:
    if made.take == "first":
        return next((value for value in values if value is not None), None)
    if made.take == "list":
        return [as_text(item) for value in values if value is not None for item in _items(value)]
    if made.take == "join":
        items = (item for value in values if value is not None for item in _items(value))
        return made.text.join(as_text(item).strip() for item in items) or None
    if values[0] is None:  # what tells it apart: without it, all others would be one
        return None
    text = json.dumps([None if value is None else as_text(value) for value in values])
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]


def _items(value: Any) -> list[Any]:
    return as_list(value) if isinstance(value, list | tuple) else [value]


def _replaced(made: ColumnMap, value: Any) -> Any:
    if value is None:
        return made.values.get(MISSING)
    found = made.values.get(normal(value), made.values.get(PRESENT, made.other))
    if found is None:
        return Rejected(UNMAPPED, as_text(value)[:LONGEST_EXAMPLE])
    return found or None


def _scaled(value: Any, low: float, high: float) -> Any:
    """A rating between `low` and `high` as one from 1 to 5, halves rounded up."""
    try:
        number = float(as_text(value).strip().replace(",", "."))
    except ValueError:
        return Rejected("is not a number", as_text(value)[:LONGEST_EXAMPLE])
    if not low <= number <= high:
        return Rejected(f"is beyond the map's scale {low:g} to {high:g}", as_text(value)[:LONGEST_EXAMPLE])
    return math.floor(1 + (number - low) * 4 / (high - low) + 0.5)


def holds(condition: RowCondition, record: Mapping[str, Any]) -> bool:
    value = looked_up(record, condition.column)
    words = {MISSING} if is_missing(value) else {PRESENT, normal(value)}
    return bool(words & condition.values) != condition.excluded


def exploded(record: dict[str, Any], each: str | None) -> list[dict[str, Any]]:
    """The record once for each item of a list column; once where there is none."""
    items = looked_up(record, each) if each else None
    if not each or not isinstance(items, list) or not items:
        return [record]
    return [_with(record, [each] if each in record else each.split("."), item) for item in items]


def _with(record: Mapping[str, Any], path: Sequence[str], item: Any) -> dict[str, Any]:
    inner = unwrapped(record.get(path[0]))
    return {**record, path[0]: item if len(path) == 1 or not isinstance(inner, Mapping) else _with(inner, path[1:], item)}


def looked_up(record: Mapping[str, Any], name: str) -> Any:
    """A column's value. `event_params.ga_session_id` goes into a struct, or into a list of keys and values, as GA4 has them
    (https://support.google.com/analytics/answer/7029846) and Adobe Commerce has `attribute_code` and `value`. Of a list of
    other objects it is the list of what is in each.
    """
    if name in record:
        return unwrapped(record[name])
    value: Any = record
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = unwrapped(value.get(part))
        elif isinstance(value, list):
            found = [item[part] for item in value if isinstance(item, Mapping) and item.get(part) is not None]
            value = next((_of_pair(item) for item in value if key_of(item) == part), found or None)
        else:
            return None
    return value


def key_of(item: Any) -> Any:
    """The name in a pair of a name and a value, if it is one."""
    if isinstance(item, Mapping):
        names = ("key",) if "key" in item else _KEYS if "value" in item else ()
        return next((item[name] for name in names if name in item), None)
    return item[0] if isinstance(item, tuple) and len(item) == 2 else None


def _of_pair(item: Any) -> Any:
    value = item.get("value") if isinstance(item, Mapping) else item[1]
    if isinstance(value, Mapping):  # of string_value, int_value, float_value and double_value one is there
        return next((each for each in value.values() if each is not None), None)
    return value
