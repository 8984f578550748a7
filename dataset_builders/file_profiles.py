"""A look into exported files: their columns and a sample of their records, for a map to be proposed from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.file_paths import is_copy, partition_values
from dataset_builders.mapped_files import file_columns, kind_of
from dataset_builders.raw_files import TextFormat, format_of, text_format
from dataset_builders.record_reading import plain_read_errors, readable
from dataset_builders.records import Rejected, csv_rows, json_records, parquet_rows
from dataset_builders.sources import own_tables
from dataset_builders.sources.mapped_tables import exploded, key_of, looked_up
from dataset_builders.staging import input_files
from dataset_builders.values import as_text, id_or_text, is_missing

SAMPLED = 20_000
"""Records that a proposal is made from, of files that are alike together."""

NESTED = 200
"""Records in which paths are looked for."""

DEEPEST = 3
"""Objects in objects that paths go into."""

_DIGITS = re.compile(r"\d+")
_PARTITION = re.compile(r"([^=/]+=)[^/]*(?=/)")


@dataclass(frozen=True)
class FileProfile:
    """The files that `pattern` matches, their columns in order, and their first records."""

    pattern: str
    columns: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]

    @cached_property
    def _values(self) -> dict[str, list[Any]]:
        return {}

    @cached_property
    def _exploded(self) -> dict[str, "FileProfile"]:
        return {}

    def values(self, name: str) -> list[Any]:
        """The values of a column, or of a path into one, that are not missing."""
        if name not in self._values:
            found = (looked_up(record, name) for record in self.records)
            self._values[name] = [value for value in found if not is_missing(value)]
        return self._values[name]

    def texts(self, name: str) -> set[str]:
        """The different values of a column as text."""
        return {as_text(value).strip() for value in _flat(self.values(name))}

    def ids(self, name: str) -> set[str]:
        """The different values of a column as ids, and as text where they can be none."""
        return {id_or_text(value) for value in _flat(self.values(name))}

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The columns, with paths into objects such as `product.sku`, and into lists of names and values."""
        found = dict.fromkeys(self.columns)
        for record in self.records[:NESTED]:
            for name, value in record.items():
                found.update(dict.fromkeys(_paths(value, name)))
        return tuple(found)

    @cached_property
    def lists(self) -> tuple[str, ...]:
        """Paths to lists of objects of which each may be a row, such as the items of an order."""
        found: dict[str, None] = {}
        for record in self.records[:NESTED]:
            for name in self.paths:
                value = looked_up(record, name)
                if isinstance(value, list) and any(isinstance(item, dict) and "value" not in item for item in value):
                    found[name] = None
        return tuple(found)

    def exploded(self, each: str) -> "FileProfile":
        """The same with a record for each item of a list."""
        if each not in self._exploded:
            records = tuple(one for record in self.records for one in exploded(dict(record), each))
            self._exploded[each] = FileProfile(self.pattern, self.columns, records)
        return self._exploded[each]

    def has(self, name: str) -> bool:
        return name in self.columns or name.split(".", maxsplit=1)[0] in self.columns


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    """Values and the items of lists, without objects."""
    for value in values:
        items = value if isinstance(value, list) else [value]
        yield from (item for item in items if not isinstance(item, list | dict) and not is_missing(item))


def _paths(value: Any, name: str, depth: int = 0) -> list[str]:
    """Paths to what lies in an object or in a list of names and values, and to the names of a list of objects."""
    if isinstance(value, dict) and depth < DEEPEST:
        inner = [(f"{name}.{key}", item) for key, item in value.items() if "." not in key]
        return [path for each, item in inner for path in (each, *_paths(item, each, depth + 1))]
    keys = [key_of(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    named = isinstance(value, list) and any(isinstance(item, dict) and "name" in item and "value" not in item for item in value)
    return [f"{name}.{key}" for key in (*keys, *(["name"] if named else [])) if isinstance(key, str) and "." not in key]


def profile_files(folder: Path, encoding: str | None = None) -> tuple[list[FileProfile], list[str]]:
    """Profiles of the files that can be read, and why others cannot. Part files and dated ones are one profile."""
    groups: dict[tuple[str, tuple[str, ...]], list[Path]] = {}
    refused = []
    paths = input_files(folder)
    for path in paths:
        name = readable(path.relative_to(folder))
        if format_of(path) is None:
            refused.append(f"{name} is no CSV, TSV, JSON or Parquet file")
            continue
        if is_copy(path, folder):
            refused.append(f"{name} looks like a backup; name it in the map if it is none")
            continue
        try:
            with plain_read_errors(path):
                own_tables.refuse_other_formats(path, folder)
                header = file_columns(path, path.relative_to(folder), kind_of(path), text_format_of(path, encoding))
        except UserError as error:
            refused.append(str(error).rstrip("."))
            continue
        if header:
            partitions = partition_values(path, folder)
            groups.setdefault((_DIGITS.sub("*", _PARTITION.sub(r"\1*", name)), (*header, *partitions)), []).append(path)
        else:
            refused.append(f"{name} is empty")
    alone = {pattern for pattern, _ in groups if sum(other == pattern for other, _ in groups) == 1}
    profiles = []
    for (pattern, columns), members in groups.items():
        together = [members] if pattern in alone else [[path] for path in members]
        for some in together:
            name = pattern if len(some) > 1 else readable(some[0].relative_to(folder))
            most = max(SAMPLED // len(some), 1)
            records = tuple(record for path in some[:SAMPLED] for record in sample(path, folder, encoding, most))
            profiles.append(FileProfile(name, columns, records))
    return profiles, refused


def text_format_of(path: Path, encoding: str | None) -> TextFormat | None:
    return text_format(path, encoding) if kind_of(path) == "csv" else None


def sample(path: Path, folder: Path, encoding: str | None, most: int) -> list[Mapping[str, Any]]:
    """The first records of a file, with its partition columns."""
    kind = kind_of(path)
    if kind == "parquet":
        records = parquet_rows(path)
    else:
        records = csv_rows(path, text_format_of(path, encoding)) if kind == "csv" else json_records(path)
    partitions = partition_values(path, folder)
    good = (record for _, record in islice(records, most) if not isinstance(record, Rejected))
    return [{**partitions, **record} for record in good]


def overlap(values: set[str], others: set[str]) -> float:
    """Share of the values that are among the others."""
    return len(values & others) / len(values) if values else 0.0
