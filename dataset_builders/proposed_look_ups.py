"""Which other file holds what a file lacks for a table, such as the texts of the queries of which judgments have the ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_builders.file_profiles import FileProfile, overlap
from dataset_builders.plain_names import plain_name
from dataset_builders.sources.mapped_tables import looked_up
from dataset_builders.values import id_or_text, is_missing

FEWEST_FOUND = 0.5
"""Share of a file's keys that the other must have."""


@dataclass(frozen=True)
class Joined:
    """A file with the columns of another one, and what a map says of that."""

    profile: FileProfile
    other: FileProfile
    look_up: dict[str, Any]
    added: frozenset[str]


def joined(profile: FileProfile, others: Sequence[FileProfile]) -> Iterator[Joined]:
    """The file with each of the others in which its ids of something are keys."""
    for other in others:
        for name in profile.columns:
            key = _key(name, other) if other is not profile else None
            if key and overlap(profile.ids(name), other.ids(key)) > FEWEST_FOUND:
                yield _with(profile, other, name, key)
                break


def _key(name: str, other: FileProfile) -> str | None:
    """The other file's column that is called like an id, or is `id`, and has no value twice."""
    plain = plain_name(name)
    if not plain.endswith("id") or plain == "id":
        return None
    thing = plain.removesuffix("id").strip("_")
    named = [column for column in other.columns if plain_name(column) == plain]
    if thing and thing.rstrip("y") in other.pattern.lower():
        named += [column for column in other.columns if plain_name(column) == "id"]
    return next((column for column in named if len(other.ids(column)) == len(other.values(column)) > 0), None)


def _with(profile: FileProfile, other: FileProfile, name: str, key: str) -> Joined:
    added = [column for column in other.columns if column not in profile.columns]
    rows = {id_or_text(looked_up(record, key)): record for record in other.records if not is_missing(looked_up(record, key))}
    records = []
    for record in profile.records:
        found = rows.get(id_or_text(looked_up(record, name)), {})
        records.append({**{column: found[column] for column in added if column in found}, **record})
    both = FileProfile(profile.pattern, (*profile.columns, *added), tuple(records))
    by = name if name == key else [name, key]
    return Joined(both, other, {"file": other.pattern, "by": by}, frozenset(added))
