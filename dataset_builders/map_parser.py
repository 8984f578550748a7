"""Reads a map, or a preset, from YAML: every refusal names the file and the line, and the nearest name that there is."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from common.errors import UserError
from dataset_builders.mapping import (
    DERIVED,
    LEAST_SUPPORT,
    MAPPED_TABLES,
    ColumnMap,
    DerivedMap,
    FileMap,
    LookUp,
    RowCondition,
    ShopMap,
    Take,
    near,
    normal,
)
from dataset_builders.tables import Column
from dataset_builders.values import LABELS, as_boolean
from dataset_builders.yaml_nodes import YamlNode, read_yaml

_TAKES: dict[str, Take] = {"column": "first", "first": "first", "join": "join", "hash": "hash", "list": "list"}
_COLUMN_KEYS = (*_TAKES, "constant", "with", "values", "other", "scale", "pattern", "split", "default")
_FILE_KEYS = ("file", "columns", "where", "each", "fill_down", "look_up", "null_words", "locale", "encoding", "also_known_as")
_BY_CONTENT = frozenset({"separator", "delimiter", "sep", "compression", "format"})


def read_map(path: Path) -> ShopMap:
    """The map in a YAML file. Raises UserError, with the line, for whatever it does not know."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"There is no map {path}. Make one with python -m dataset_builders.map --tables DIR --out {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        told = "it is not UTF-8; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"The map {path} cannot be read: {told}.") from None
    return parse_map(text, path)


def parse_map(text: str, path: Path) -> ShopMap:
    parser = _MapParser(path)
    root = parser.section(read_yaml(text, path), "the map", ("locale", "tables", "derive"))
    locale = parser.text(root["locale"]) if "locale" in root else None
    if "tables" not in root:
        parser.refuse(1, "the map has no tables: section, which says which file is which table")
    derived = parser.derived(root["derive"]) if "derive" in root else ()
    files = parser.files(root["tables"], locale, {each.name for each in derived})
    present = {file.table for file in files}
    for each in derived:
        needed = {each.source} | ({"questions"} if each.name == "snippets" else set())
        if absent := sorted(needed - present):
            parser.refuse(
                root["derive"].line, f"{each.name} is derived from {' and '.join(absent)}, which no file is mapped to"
            )
    return ShopMap(path, files, derived, hashlib.sha256(text.encode()).hexdigest())


def parse_preset(text: str, path: Path) -> tuple[str, dict[str, str], list[tuple[FileMap, tuple[str, ...]]]]:
    """What a preset is about, its notes by `table` or `table.column`, and its entries, each with the columns that tell its
    file."""
    parser = _MapParser(path)
    root = parser.section(read_yaml(text, path), "the preset", ("about", "notes", "tables"))
    notes = (
        {name: parser.text(node) for name, node in parser.mapping(root["notes"], "notes").items()} if "notes" in root else {}
    )
    entries = []
    for table, node in parser.mapping(root["tables"], "tables").items():
        for entry in parser.items(node):
            keys = parser.section(entry, table, ("recognised_by", *_FILE_KEYS))
            told = tuple(parser.texts(keys.pop("recognised_by")))
            entries.append((parser.file(table, entry.line, keys, None), told))
    return parser.text(root["about"]), notes, entries


def _bare(file: FileMap) -> dict[str, ColumnMap]:
    """The columns without the lines that they are in, to compare files by."""
    return {name: replace(made, line=0) for name, made in file.columns.items()}


class _MapParser:
    """Reads the nodes of a map; every refusal names the file and the line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refuse(self, line: int, told: str) -> NoReturn:
        raise UserError(f"{self.path}, line {line}: {told.rstrip('.?')}{'?' if told.endswith('?') else '.'}")

    def mapping(self, node: YamlNode, what: str) -> dict[str, YamlNode]:
        if not isinstance(node.value, dict):
            self.refuse(node.line, f"{what} must be `name: value` lines")
        return dict(node.value)

    def section(self, node: YamlNode, what: str, keys: Sequence[str]) -> dict[str, YamlNode]:
        found = self.mapping(node, what)
        for name, value in found.items():
            if name in _BY_CONTENT:
                self.refuse(value.line, f"{what} takes no {name}, which is found by content; take the line out")
            if name not in keys:
                self.refuse(value.line, f"{what} takes no {name}. {near(name, keys)}")
        return found

    def text(self, node: YamlNode) -> str:
        if not isinstance(node.value, str):
            self.refuse(node.line, "a single text is expected here")
        return node.value

    def texts(self, node: YamlNode) -> list[str]:
        return [self.text(item) for item in self.items(node)]

    def items(self, node: YamlNode) -> list[YamlNode]:
        return node.value if isinstance(node.value, list) else [node]

    def number(self, node: YamlNode) -> float:
        try:
            return float(self.text(node))
        except ValueError:
            self.refuse(node.line, f"{node.value} is not a number")

    def derived(self, node: YamlNode) -> tuple[DerivedMap, ...]:
        found = []
        for name, value in self.section(node, "derive", tuple(DERIVED)).items():
            if value.value == "":
                found.append(DerivedMap(name, DERIVED[name][0]))
                continue
            keys = self.section(value, name, ("from",) if name == "snippets" else ("from", "support"))
            source = self.text(keys["from"]) if "from" in keys else DERIVED[name][0]
            if source not in DERIVED[name]:
                self.refuse(value.line, f"{name} is derived from {' or '.join(DERIVED[name])}, not from {source}")
            support = self.number(keys["support"]) if "support" in keys else float(LEAST_SUPPORT)
            if support < 1 or not support.is_integer():
                self.refuse(keys["support"].line, "support must be a whole number of 1 or more")
            found.append(DerivedMap(name, source, int(support)))
        return tuple(found)

    def files(self, node: YamlNode, locale: str | None, derived: set[str]) -> tuple[FileMap, ...]:
        found: list[FileMap] = []
        for table, entries in self.mapping(node, "tables").items():
            if table not in MAPPED_TABLES:
                self.refuse(entries.line, f"there is no table {table}. {near(table, MAPPED_TABLES)}")
            for entry in self.items(entries):
                if isinstance(entry.value, str):
                    self.refuse(
                        entry.line, f"write `- file: {entry.value or 'NAME'}` below {table}, and its `columns:` below that"
                    )
                keys = self.section(entry, f"a file of {table}", _FILE_KEYS)
                if "file" not in keys:
                    self.refuse(entry.line, f"this file of {table} lacks `file:`")
                if isinstance(keys["file"].value, list):
                    self.refuse(entry.line, "`file:` takes one name or pattern; give each file an entry of its own")
                found.append(self.file(table, entry.line, keys, locale))
                if any(replace(other, line=entry.line, columns=_bare(other)) == replace(found[-1], columns=_bare(found[-1]))
                       for other in found[:-1]):  # fmt: skip
                    self.refuse(entry.line, f"{found[-1].pattern} is there twice as {table}; take one of the two out")
        if not found:
            self.refuse(node.line, "the map names no file")
        tables = {file.table for file in found}
        for file in found:
            self.complete(file, tables, derived)
        return tuple(found)

    def file(self, table: str, line: int, keys: dict[str, YamlNode], locale: str | None) -> FileMap:
        if "columns" not in keys:
            self.refuse(line, f"this file of {table} lacks `columns:`")
        columns = {}
        known = {column.name: column for column in MAPPED_TABLES[table].columns}
        for name, node in self.mapping(keys["columns"], "columns").items():
            if name not in known:
                self.refuse(node.line, f"the table {table} has no column {name}. {near(name, known)}")
            columns[name] = self.column(known[name], node)
        splits = [name for name, made in columns.items() if made.split and known[name].kind != "strings"]
        if len(splits) > 1:
            self.refuse(line, f"only one column may be split into rows, not {' and '.join(splits)}")
        if "also_known_as" in keys and table != "products":
            self.refuse(keys["also_known_as"].line, "also_known_as is for products, whose other ids it names")
        fill = None
        if "fill_down" in keys:
            filled = self.section(keys["fill_down"], "fill_down", ("by", "columns"))
            if set(filled) != {"by", "columns"}:
                self.refuse(keys["fill_down"].line, "fill_down needs `by:`, the column that groups rows, and `columns:`")
            fill = (tuple(self.texts(filled["by"])), tuple(self.texts(filled["columns"])))
        return FileMap(
            table,
            self.text(keys["file"]) if "file" in keys else "",
            columns,
            self.conditions(keys["where"]) if "where" in keys else (),
            self.text(keys["each"]) if "each" in keys else None,
            fill,
            frozenset(normal(word) for word in self.texts(keys["null_words"])) if "null_words" in keys else frozenset(),
            self.text(keys["locale"]).strip().lower() if "locale" in keys else locale and locale.strip().lower(),
            self.text(keys["encoding"]) if "encoding" in keys else None,
            tuple(self.texts(keys["also_known_as"])) if "also_known_as" in keys else (),
            self.look_up(keys["look_up"]) if "look_up" in keys else None,
            line,
        )

    def look_up(self, node: YamlNode) -> LookUp:
        keys = self.section(node, "look_up", ("file", "by"))
        by = self.texts(keys["by"]) if "by" in keys else []
        if "file" not in keys or len(by) not in (1, 2) or not all(by):
            self.refuse(
                node.line, "look_up needs `file:`, and `by:` with the column here, and behind it that of the other file"
            )
        return LookUp(self.text(keys["file"]), by[0], by[-1], node.line)

    def conditions(self, node: YamlNode) -> tuple[RowCondition, ...]:
        found = []
        for column, value in self.mapping(node, "where").items():
            excluded = isinstance(value.value, dict)
            chosen = self.section(value, f"where {column}", ("not",))["not"] if isinstance(value.value, dict) else value
            words = self.texts(chosen)
            if not words or words == [""]:
                self.refuse(value.line, f"where {column} names no value; write `missing` for rows without one")
            found.append(RowCondition(column, frozenset(normal(word) for word in words), excluded, value.line))
        return tuple(found)

    def column(self, column: Column, node: YamlNode) -> ColumnMap:
        if isinstance(node.value, str):
            if not node.value:
                self.refuse(node.line, f"{column.name} names no column of the file; take the line out if there is none")
            return ColumnMap("first", (node.value,), line=node.line)
        keys = self.section(node, column.name, _COLUMN_KEYS)
        takes = [name for name in (*_TAKES, "constant") if name in keys]
        if len(takes) != 1:
            self.refuse(node.line, f"{column.name} needs one of column, first, join, hash, list and constant")
        if unused := [name for name in keys if takes == ["constant"] and name != "constant"]:
            self.refuse(node.line, f"a constant takes no {', '.join(unused)}")
        if "with" in keys and takes != ["join"]:
            self.refuse(node.line, "`with` says what stands between the columns of a join")
        if "constant" in keys:
            text = self.text(keys["constant"])
            self.check_value(column, text, node.line)
            return ColumnMap("constant", text=text, line=node.line)
        values = {}
        if "values" in keys:
            for value, target in self.mapping(keys["values"], "values").items():
                if normal(value) in values:
                    self.refuse(target.line, f"the value {value} of {column.name} is there twice")
                self.check_value(column, self.text(target), target.line)
                values[normal(value)] = self.text(target)
        for name in ("other", "default"):
            if name in keys:
                self.check_value(column, self.text(keys[name]), keys[name].line)
        if "split" in keys and keys["split"].value == "":
            self.refuse(
                keys["split"].line, f'split of {column.name} names nothing to split at; write it in quotes, such as ";"'
            )
        return ColumnMap(
            _TAKES[takes[0]],
            tuple(self.texts(keys[takes[0]])),
            self.text(keys["with"]) if "with" in keys else " ",
            values,
            self.text(keys["other"]) if "other" in keys else None,
            self.scale(keys["scale"], column) if "scale" in keys else None,
            self.pattern(keys["pattern"]) if "pattern" in keys else None,
            self.text(keys["split"]) if "split" in keys else None,
            self.text(keys["default"]) if "default" in keys else None,
            node.line,
        )

    def scale(self, node: YamlNode, column: Column) -> tuple[float, float]:
        ends = [self.number(item) for item in self.items(node)]
        if column.name != "rating":
            self.refuse(node.line, f"scale is for ratings; write `values:` for {column.name}")
        if len(ends) != 2 or not ends[0] < ends[1]:
            self.refuse(node.line, "scale needs the lowest and the highest rating, such as [1, 10]")
        return ends[0], ends[1]

    def pattern(self, node: YamlNode) -> re.Pattern[str]:
        try:
            return re.compile(self.text(node))
        except re.error as error:
            self.refuse(node.line, f"{node.value} is no regular expression ({error})")

    def check_value(self, column: Column, value: str, line: int) -> None:
        """Refuses a value that the table's column cannot hold. An empty one leaves the row out."""
        if value == "":
            return
        if column.allowed and value not in column.allowed and LABELS.get(value) not in column.allowed:
            self.refuse(line, f"{column.name} cannot be {value}. {near(value, column.allowed)}")
        if column.name == "rating" and value not in ("1", "2", "3", "4", "5"):
            self.refuse(line, f"a rating is 1, 2, 3, 4 or 5, not {value}")
        if column.kind == "bool":
            try:
                as_boolean(value)
            except ValueError:
                self.refuse(line, f"{column.name} is true or false, not {value}")

    def complete(self, file: FileMap, tables: set[str], derived: set[str]) -> None:
        """Refuses a file that lacks a required column."""
        if file.table == "reviews" and "category" not in file.columns and "products" not in tables:
            told = "reviews need a category, and no products are mapped to take it from; write category: {constant: Shoes}"
            self.refuse(file.line, told)
        spared = {"locale", "snippets"} if "snippets" in derived else {"locale"}
        absent = [
            column.name
            for column in MAPPED_TABLES[file.table].columns
            if column.required and column.default is None and column.name not in file.columns and column.name not in spared
        ]
        if absent:
            hint = ""
            if "snippets" in absent:
                hint = "; snippets can be cut from reviews, with `derive: {snippets: {from: reviews}}`"
            elif absent[0].endswith("_id") and absent[0] != "product_id":
                hint = f"; where there is no id, write {absent[0]}: {{hash: [column, column]}}"
            self.refuse(
                file.line, f"{file.table} needs {', '.join(absent)}, which no column of {file.pattern} is mapped to{hint}"
            )
