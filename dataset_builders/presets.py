"""Presets: how the exports of well-known systems become tables, as YAML files in presets/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.file_profiles import FileProfile
from dataset_builders.map_parser import parse_preset
from dataset_builders.mapping import near
from dataset_builders.yaml_nodes import YamlNode, read_yaml

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class PresetEntry:
    """One kind of file of a preset. `entry` is its part of a map, as it is written; `notes` are by column, or `where`."""

    preset: str
    about: str
    table: str
    recognised_by: tuple[str, ...]
    entry: Mapping[str, Any]
    notes: Mapping[str, str]

    def fits(self, columns: Sequence[str]) -> bool:
        return set(self.recognised_by) <= set(columns)


def preset_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_presets(names: Sequence[str]) -> list[PresetEntry]:
    """The entries of presets, in order. Raises UserError for a name that there is not."""
    found = []
    for name in names:
        path = FOLDER / f"{name}.yaml"
        if name not in preset_names():
            raise UserError(f"There is no --preset {name}. {near(name, preset_names())}")
        text = path.read_text(encoding="utf-8")
        about, notes, typed = parse_preset(text, path)
        root = plain(read_yaml(text, path))
        entries = [
            (table, entry)
            for table, given in root["tables"].items()
            for entry in (given if isinstance(given, list) else [given])
        ]
        for (table, entry), (_, recognised_by) in zip(entries, typed, strict=True):
            own = {key.partition(".")[2]: note for key, note in notes.items() if key.partition(".")[0] == table}
            kept = {key: value for key, value in entry.items() if key != "recognised_by"}
            found.append(PresetEntry(name, about, table, recognised_by, kept, own))
    return found


def fitted(entry: Mapping[str, Any], profile: FileProfile) -> dict[str, Any]:
    """A preset's entry without the columns that the file lacks."""
    kept: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "columns":
            columns = {name: _fitted_column(made, profile) for name, made in value.items()}
            kept[key] = {name: made for name, made in columns.items() if made is not None}
        elif key == "where":
            kept[key] = {name: condition for name, condition in value.items() if profile.has(name)}
        elif key == "also_known_as":
            kept[key] = [name for name in value if profile.has(name)]
        elif key == "fill_down":
            kept[key] = {**value, "columns": [name for name in value["columns"] if profile.has(name)]}
        elif key != "each" or profile.has(value):
            kept[key] = value
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def _fitted_column(made: Any, profile: FileProfile) -> Any:
    if isinstance(made, str):
        return made if profile.has(made) else None
    kept = dict(made)
    for take in ("column", "first", "join", "hash", "list"):
        if take in made:
            names = made[take] if isinstance(made[take], list) else [made[take]]
            present = [name for name in names if profile.has(name)]
            if not present:
                return None
            kept[take] = present if isinstance(made[take], list) else present[0]
    if list(kept) == ["first"] and len(kept["first"]) == 1:
        return kept["first"][0]
    return kept


def plain(node: YamlNode) -> Any:
    """A node as texts, lists and dicts."""
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return node.value
