"""The records of a JSON file that is not JSON lines: a list, documents one behind the other, or a list in an object."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_BETWEEN = re.compile(r"[\s,\ufeff]*(?:\][\s,\[\ufeff]*)?")
"""What stands between two items: commas also where none belong, the end of one list and the begin of the next, and the marks of
UTF-8 of files that were joined."""

_NEXT_DOCUMENT = re.compile(r"\n(?=\{)")


ENVELOPES = frozenset({"data", "results", "items", "records", "rows", "value", "response", "result", "payload", "content"})
"""Keys under which services put the list that was asked for, or the object that holds it."""


_OF_RECORD = re.compile(r"(^|_)(id|uuid|number|name|title|sku|email)$", re.IGNORECASE)
"""Keys that a record has and an envelope has not."""


class BrokenJson(ValueError):
    """A file holds something that is not JSON. `rest` says that items came before it."""

    def __init__(self, rest: bool) -> None:
        self.rest = rest


@dataclass(frozen=True)
class RepeatedKey:
    """Stands for an object that has a key twice, with different values: readers differ in which of them counts."""

    key: str


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKey:
    """An object of its keys and values, or a RepeatedKey, also for one that holds one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                return RepeatedKey(key)
    return next((value for value in found.values() if isinstance(value, RepeatedKey)), found)


def with_unique_keys(record: dict[str, Any], line: bytes) -> dict[str, Any] | RepeatedKey:
    """The record, which was read from the line by a reader that takes the last of two values; a RepeatedKey if it had to.

    Only the record's own keys are looked at, and only where one may stand twice.
    """
    if all(line.count(_written(key)) == 1 for key in record):
        return record
    try:
        found = json.loads(line.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError):
        return record
    return found if isinstance(found, RepeatedKey) else record


@lru_cache(maxsize=4096)
def _written(key: str) -> bytes:
    return f'"{key}":'.encode()


# Control characters are let in: one bad value is not a bad file.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=unique_keys)


def json_items(text: str) -> Iterator[Any]:
    """The items one by one; a BrokenJson in place of one that is not JSON, behind which reading goes on with the next line
    that begins a document, or ends."""
    place = _behind_separators(text, 0)
    listed = text[place : place + 1] == "["
    place += listed
    found: list[Any] = []
    number, pages = 0, False
    while (place := _behind_separators(text, place)) < len(text):
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            yield BrokenJson(number > 0)
            match = None if listed else _NEXT_DOCUMENT.search(text, place)
            if match is None:
                return
            place = match.end()
            continue
        number += 1
        rows = isinstance(value, list) and len(value) > 0 and _are_objects(value)
        pages = rows and (pages or number == 1)  # pages of a service that were put into a list
        if number == 1 and not listed:
            found = [value]  # it may be the only one
            continue
        yield from found
        found = []
        yield from value if pages else [value]
    if listed and not text.rstrip().endswith("]"):
        yield BrokenJson(number > 0)
    for value in found:
        yield from _rows(value)


def _behind_separators(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place


def _rows(document: Any) -> list[Any]:
    """The rows in a file's only document: the list in `{"page": 1, "reviews": [...]}`, or what pandas' to_json makes of a
    table without `orient="records"`; else the document."""
    if not isinstance(document, dict):
        return [document]
    values = list(document.values())
    if len(values) > 1 and (rows := _rows_of_table(document, values)):
        return rows
    if set(document) >= {"columns", "data"} and isinstance(document["data"], list):
        names = document["columns"]
        fits = isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in document["data"])
        return [dict(zip(names, row, strict=True)) for row in document["data"]] if fits else [document]
    if any(_OF_RECORD.search(name) for name in document):  # an order with its items is a record
        return [document]
    inner = [value for name, value in document.items() if name.lower() in ENVELOPES and isinstance(value, dict)]
    if len(inner) == 1 and not any(isinstance(value, list) for value in values):
        return _rows(inner[0])
    named = {name: value for name, value in document.items() if isinstance(value, list) and value and _are_objects(value)}
    told = [value for name, value in named.items() if name.lower() in ENVELOPES]
    alone = len(named) == 1 and not any(isinstance(value, str | list) and value not in named.values() for value in values)
    if len(told) != 1:  # it may stand beside what pages have, such as the address of the next one
        told = list(named.values()) if alone else [[document]]
    return told[0]


def _rows_of_table(document: dict[str, Any], values: list[Any]) -> list[Any]:
    """The rows in an object of lists, which are columns, or of objects: columns by name as pandas writes them, or records by id
    as Firebase; else none."""
    if all(isinstance(value, list) and value and len(value) == len(values[0]) for value in values):
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    if not _are_objects(values):
        return []
    if any(isinstance(value, RepeatedKey) for value in values):
        return values
    numbers = list(values[0])
    if numbers and all(number.isdigit() for number in numbers) and all(list(value) == numbers for value in values):
        return [{name: column[number] for name, column in document.items()} for number in numbers]
    return values if set[str].intersection(*map(set, values)) else []


def _are_objects(items: list[Any]) -> bool:
    return all(isinstance(item, dict | RepeatedKey) for item in items)
