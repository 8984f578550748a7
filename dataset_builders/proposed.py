"""A proposed map: files as tables, with what a person should look at."""

from dataclasses import dataclass, field, replace
from typing import Any

from dataset_builders.file_profiles import FileProfile

UNSURE = "unsure: "


@dataclass(frozen=True)
class ProposedFile:
    """Files of a table as a map describes them: `entry` without its file, and `notes` by column, or by a key of the entry.

    A note on what a person should look at begins with UNSURE.
    """

    table: str
    profile: FileProfile
    entry: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)
    preset: str = ""

    def column(self, name: str) -> tuple[str, ...]:
        """The columns of the file that a column is made of."""
        return tuple(columns_of(self.entry["columns"].get(name, {})))

    def with_column(self, name: str, made: Any, unsure: str = "") -> "ProposedFile":
        columns = {**self.entry["columns"], name: made}
        changed = replace(self, entry={**self.entry, "columns": columns})
        return changed.with_note(name, unsure) if unsure else changed

    def with_note(self, name: str, unsure: str) -> "ProposedFile":
        return replace(self, notes={**self.notes, name: UNSURE + unsure})


@dataclass(frozen=True)
class ProposedMap:
    """What is proposed for a folder, and the files of which no table could be made, with why."""

    files: tuple[ProposedFile, ...]
    derived: dict[str, dict[str, str]]
    locale: str
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def columns_of(made: Any) -> list[str]:
    """The columns of the file that a column of the map names."""
    if isinstance(made, str):
        return [made]
    return [name for take in ("column", "first", "join", "hash", "list") for name in _listed(made.get(take, []))]


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
