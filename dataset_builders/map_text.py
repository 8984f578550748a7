"""A proposed map as YAML for people: a line a column, with a comment where something is unsure."""

import json
import re
from typing import Any

from dataset_builders.proposed import ProposedFile, ProposedMap

_PLAIN = re.compile(r"[\w(*][\w .()/*+-]*(?<! )")


def map_text(proposed: ProposedMap, folder: str) -> str:
    """The map as YAML text."""
    lines = [
        f"# Proposed by python -m dataset_builders.map from the names and values in {' '.join(folder.split())}.",
        '# Look at the lines that say "unsure"; dataset_builders/README.md describes what else a map can say.',
        f"locale: {flow(proposed.locale)} # of rows that name none",
        "tables:",
    ]
    table = ""
    for file in proposed.files:
        if file.table != table:
            table = file.table
            lines.append(f"  {table}:")
        lines += _entry(file)
    if proposed.derived:
        lines += ["derive:", *(f"  {name}: {flow(made)}" for name, made in proposed.derived.items())]
    lines += [f"# Not used: {' '.join(name.split())}" for name in proposed.left]
    return "\n".join(lines) + "\n"


def _entry(file: ProposedFile) -> list[str]:
    about = f" # preset {file.preset}" if file.preset else ""
    lines = [f"    - file: {flow(file.profile.pattern)}{about}"]
    for key, value in file.entry.items():
        if key != "columns":
            lines.append(f"      {key}: {flow(value)}{_comment(file, key)}")
    lines.append("      columns:")
    lines += [f"        {name}: {flow(made)}{_comment(file, name)}" for name, made in file.entry["columns"].items()]
    return lines


def _comment(file: ProposedFile, name: str) -> str:
    return f" # {' '.join(file.notes[name].split())}" if name in file.notes else ""


def flow(value: Any) -> str:
    """A value in YAML's flow style. Quotes are those of JSON, which YAML reads as its own."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    text = str(value)
    return text if _PLAIN.fullmatch(text) and not text.startswith("*") else json.dumps(text, ensure_ascii=False)
