"""The map from a shop's exports to the canonical tables: which file is which table, and how its columns and values are read.

    tables:
      products:
        - file: products_export_*.csv
          where: {Status: active}
          columns: {product_id: Handle, title: Title, category: {first: [Type, Product Category]}}
          also_known_as: [Variant SKU]
      judgments:
        - file: judgments.csv
          columns:
            query_id: query
            query: query
            product_id: docid
            label: {column: rating, values: {2: exact, 1: substitute, 0: irrelevant}}
    derive:
      also_view: {from: events, support: 2}

dataset_builders/README.md describes every key.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dataset_builders.tables import EVIDENCE, TABLES, Table
from dataset_builders.values import as_text

Take = Literal["first", "join", "hash", "list", "constant"]

PRESENT, MISSING = "present", "missing"
"""In `values` and `where`: any value, and none."""

MAPPED_TABLES: dict[str, Table] = {**TABLES, "baskets": EVIDENCE["baskets"]}
"""The tables that a map may name."""

DERIVED = {"also_buy": ("baskets", "events"), "also_view": ("events", "baskets"), "snippets": ("reviews",)}
"""What can be derived, and from which tables; the first is the default."""

LEAST_SUPPORT = 2
"""Baskets or sessions that must hold two products before they count as bought or viewed together."""

_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")


@dataclass(frozen=True)
class ColumnMap:
    """How one column of a table is made of a file's columns.

    `take` says how several are put together: the first that has a value, joined by `text`, as a hash (of ids of persons, or
    where there is no id), or as a list. A `constant` is `text`. Then, in this order, `pattern` finds the part that counts,
    `values` replaces values (`other`: all that it does not name), `scale` brings numbers between its ends to 1 to 5, and
    `split` cuts a list. `default` stands for a missing value.
    """

    take: Take
    columns: tuple[str, ...] = ()
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    other: str | None = None
    scale: tuple[float, float] | None = None
    pattern: re.Pattern[str] | None = None
    split: str | None = None
    default: str | None = None
    line: int = 0


@dataclass(frozen=True)
class RowCondition:
    """A row counts if the column's value is among `values`, or with `excluded` if it is not."""

    column: str
    values: frozenset[str]
    excluded: bool
    line: int


@dataclass(frozen=True)
class LookUp:
    """Columns of the files that `pattern` matches: of the first row whose column `other` has the value of a row's own `by`."""

    pattern: str
    by: str
    other: str
    line: int


@dataclass(frozen=True)
class FileMap:
    """How the files that `pattern` matches become rows of a table.

    `each` names a list column of which every item is a row. `fill_down` names the column that groups rows (of several, the
    first that has a value), and the columns that only a group's first row fills. `look_up` adds columns of another file.
    `also_known_as` names columns with other ids of a product.
    """

    table: str
    pattern: str
    columns: Mapping[str, ColumnMap]
    where: tuple[RowCondition, ...] = ()
    each: str | None = None
    fill_down: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    null_words: frozenset[str] = frozenset()
    locale: str | None = None
    encoding: str | None = None
    also_known_as: tuple[str, ...] = ()
    look_up: LookUp | None = None
    line: int = 0

    def named_columns(self) -> list[tuple[str, int, bool]]:
        """Every column of the file that the map names, its line, and whether a required column is made of it."""
        required = {column.name for column in MAPPED_TABLES[self.table].columns if column.required}
        named = [(column, made.line, name in required) for name, made in self.columns.items() for column in made.columns]
        named += [(condition.column, condition.line, True) for condition in self.where]
        named += [(name, self.line, True) for name in (*self.also_known_as, *([self.each] if self.each else []))]
        if self.look_up:
            named.append((self.look_up.by, self.look_up.line, True))
        if self.fill_down:
            named += [(name, self.line, True) for name in (*self.fill_down[0], *self.fill_down[1])]
        return named


@dataclass(frozen=True)
class DerivedMap:
    """A table, or a column, that is derived from other tables: `also_buy`, `also_view` or `snippets`."""

    name: str
    source: str
    support: int = LEAST_SUPPORT


@dataclass(frozen=True)
class ShopMap:
    """A whole map. `sha256` is that of its text."""

    path: Path
    files: tuple[FileMap, ...]
    derived: tuple[DerivedMap, ...] = ()
    sha256: str = ""

    def locales(self) -> tuple[str, ...]:
        """The locales that the map names, of files first, then of values."""
        of_files = [file.locale for file in self.files if file.locale]
        made = [file.columns["locale"] for file in self.files if "locale" in file.columns]
        of_values = [value for column in made for value in (column.default, column.text, column.other, *column.values.values())]
        return tuple(dict.fromkeys([*of_files, *(value.lower() for value in of_values if value and value.strip())]))

    def as_json(self) -> dict[str, Any]:
        """The map's name and hash, and which columns of which files each table is made of."""
        tables: dict[str, list[dict[str, Any]]] = {}
        for file in self.files:
            columns = {name: list(made.columns) or [f"constant {made.text}"] for name, made in file.columns.items()}
            others = {"look_up": file.look_up.pattern} if file.look_up else {}
            tables.setdefault(file.table, []).append({"file": file.pattern, **others, "columns": columns})
        return {"name": self.path.name, "sha256": self.sha256, "tables": tables}


def normal(value: object) -> str:
    """A value as `values` and `where` compare it: in lower case, without spaces around it, 3.0 as 3."""
    text = as_text(value).strip().casefold()
    match = _WHOLE_FLOAT.fullmatch(text)
    return match[1] if match else text


def near(name: str, names: Iterable[str]) -> str:
    """A sentence that names the nearest of `names`, or all where they are few."""
    known = list(names)
    if found := get_close_matches(name.casefold(), [each.casefold() for each in known], 1):
        return f"Did you mean {next(each for each in known if each.casefold() == found[0])}?"
    shown = ", ".join(known[:30])
    return f"There are {shown}{' and more' if len(known) > 30 else ''}."
