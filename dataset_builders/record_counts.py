"""What became of the raw records while tables were staged: read, usable, rejected with a reason, a place and an example."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from dataset_builders.records import Rejected

UNMAPPED = "has no value in the map"
"""End of the reason of a row with a value that its map does not name."""

LEFT_OUT = "map leaves the row out"
"""Begin of the reason of a row that does not meet a condition of its map."""

SAMPLES = 20
"""How many places of rejected records are kept for each reason."""


@dataclass
class TableCounts:
    """TableRows that were offered to a canonical table: `read`, of them `usable`, and why others are not, with an example of
    each. `note` says how rows came about that no file holds, or why there are none."""

    files: list[str] = field(default_factory=list)
    read: int = 0
    usable: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    note: str = ""

    def reject(self, reason: str, value: str, place: str, records: int = 1) -> None:
        self.reasons[reason] += records
        self.examples.setdefault(reason, f"{value!r} ({place})" if value else place)
        if value and (value in self.values[reason] or len(self.values[reason]) < SAMPLES):
            self.values[reason][value] += records

    def merge(self, later: "TableCounts") -> None:
        """Adds the counts of files that come after these."""
        self.files += later.files
        self.read += later.read
        self.usable += later.usable
        self.note = self.note or later.note
        self.reasons.update(later.reasons)
        self.examples |= {reason: example for reason, example in later.examples.items() if reason not in self.examples}
        for reason, values in later.values.items():
            self.values[reason].update(values)

    def text(self, most: int = 3) -> str:
        """`60 read, 0 usable: rating is not a whole number, e.g. '1/5' (reviews.csv:2)`"""
        reasons = [
            f"{reason}{f' ({count:,})' if len(self.reasons) > 1 else ''}, e.g. {self.examples[reason]}{self._others(reason)}"
            for reason, count in self.reasons.most_common(most)
        ]
        if not self.read and self.files:
            return f"0 read: no row is in {', '.join(self.files[:most])}{' and others' * (len(self.files) > most)}"
        return f"{self.read:,} read, {self.usable:,} usable{': ' * bool(reasons)}{'; '.join(reasons)}"

    def _others(self, reason: str, most: int = 5) -> str:
        """The commonest values that were rejected for a reason, where a map should say what they mean."""
        found = self.values[reason].most_common(most) if reason.endswith(UNMAPPED) else []
        return f"; values: {', '.join(f'{value!r} ({count:,})' for value, count in found)}" if len(found) > 1 else ""

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "read": self.read,
            "usable": self.usable,
            "reasons": [
                {
                    "reason": reason,
                    "rows": count,
                    "example": self.examples[reason],
                    **({"values": dict(self.values[reason].most_common())} if reason.endswith(UNMAPPED) else {}),
                }
                for reason, count in self.reasons.most_common(3)
            ],
            **({"note": self.note} if self.note else {}),
        }


@dataclass
class RecordCounts:
    """What became of the raw records: `read` and `rejects` count them by source, `places` keeps a few for a look.

    `tables` counts what was offered to each canonical table, `dropped` the optional values that were left out of a row.
    """

    read: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    places: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    tables: dict[str, TableCounts] = field(default_factory=lambda: defaultdict(TableCounts))
    dropped: Counter[str] = field(default_factory=Counter)

    def reject(self, source: str, rejected: Rejected, place: str) -> None:
        self.rejects[source][rejected.reason] += rejected.records
        if len(self.places[source, rejected.reason]) < SAMPLES:
            self.places[source, rejected.reason].append(f"{place}: {rejected.value!r}" if rejected.value else place)

    def merge(self, later: "RecordCounts") -> None:
        """Adds the counts of files that come after these, as if all had been counted here in order."""
        self.read.update(later.read)
        self.dropped.update(later.dropped)
        for source, reasons in later.rejects.items():
            self.rejects[source].update(reasons)
        for key, places in later.places.items():
            self.places[key] += places[: SAMPLES - len(self.places[key])]
        for name, table in later.tables.items():
            self.tables[name].merge(table)
