"""One module per raw corpus. Each offers NAME, LICENCE, `claims(path)`, `spans(path)`, `read(path, span)` and
`canonical(record, path)`.

`spans` are the parts of a file that can be read alone (see spans.py); `read` streams the raw records of one; `canonical` turns
one into rows of canonical tables, or says why it yields none. They are plain functions over dicts and not engine expressions,
since only so can one bad record out of millions be counted and named without losing the file; what follows, on canonical
tables, is relational work and the engine's.
"""

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from dataset_builders.records import Rejected
from dataset_builders.tables import LONGEST_EXAMPLE
from dataset_builders.values import as_identifier, as_integer, as_list, is_missing

TableRows = list[tuple[str, dict[str, Any] | Rejected]]
"""(canonical table, row) pairs; a row has every column of its table but `source`, `record` and `snapshot`.

A Rejected stands for a row that the record was to yield."""


HELD_OUT = "held_out"
"""In place of a table: the row's `query` is of the corpus's own test split, and must not be trained on."""
REVIEWER = "reviewers"
"""In place of a table: a `review_id` and its `customer`, an int64 hash, of which `co_purchases.py` makes co-purchases."""


def corpus_modules() -> tuple[ModuleType, ...]:
    """The modules of all corpora, in the order in which they may claim a file."""
    from dataset_builders.sources import (
        amazon_reviews,
        amazon_reviews_2014,
        amazon_reviews_2023,
        amazonqa,
        ecinstruct,
        esci,
        merrec,
    )

    return (amazon_reviews_2023, amazon_reviews_2014, amazon_reviews, esci, merrec, amazonqa, ecinstruct)


_FLOAT = re.compile(r"\d+\.0")


def missing(record: dict[str, Any], keys: Iterable[str]) -> Rejected | None:
    """A Rejected that names the first key that the record lacks, or has only white space or a null word for."""
    for key in keys:
        if is_missing(record.get(key)):
            return Rejected(f"{key} is missing")
    return None


def identifier(value: Any) -> str | Rejected | None:
    """An id as text. Pandas makes 12 into 12.0 and 12.0 into "12.0" where its column has holes, and nan of the holes. A
    Rejected for one that lost its digits, as 4.2E+12 has."""
    if is_missing(value):
        return None
    if isinstance(value, str) and value.isascii() and value.isalnum():
        return value  # as nearly all are: no mark of a spreadsheet, no point of a float
    try:
        text = as_identifier(value)
    except ValueError as error:
        return Rejected(str(error), str(value)[:LONGEST_EXAMPLE])
    return text.removesuffix(".0") if _FLOAT.fullmatch(text) else text


def given(value: Any) -> Any:
    """The value, or None where it says that there is none."""
    return None if is_missing(value) else value


def whole_number(value: Any) -> Any:
    """The value as a whole number, or as it is where it is none: the table's rules then reject it and show it."""
    try:
        return as_integer(value)
    except ValueError:
        return value


def listed(value: Any, name: str) -> list[Any]:
    """The items of a list, also of one that was written as text; one Rejected where it is none."""
    if is_missing(value):
        return []
    try:
        return value if isinstance(value, list) else as_list(value)
    except ValueError:
        return [Rejected(f"is not known: {name} is not a list", str(value)[:LONGEST_EXAMPLE])]


def optional_text(value: Any) -> str | None:
    """The value where it is text that says something, and no null word, else None."""
    return value if isinstance(value, str) and not is_missing(value) else None
