"""Why a task has no rows: what its tables hold, which of their keys match, and what its recipe left out, in numbers and
examples."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.tasks import Task
from dataset_builders.record_counts import UNMAPPED, TableCounts
from dataset_builders.scales import PROPOSE

if TYPE_CHECKING:
    import ibis.expr.types as ir

JOINS = (
    ("judgments", "product_id", "products"),
    ("co_purchases", "product_id", "products"),
    ("co_purchases", "other_product_id", "products"),
    ("events", "product_id", "products"),
    ("reviews", "product_id", "products"),
)
"""Table, its column, and the table whose `product_id` the column's values are."""

MOST_REASONS = 3

MOST_UNMATCHED = 0.5
"""Share of a column's keys that another table may lack before it is asked whether it spells them otherwise."""

_CONVERTIBLE = re.compile(r"is none of|is not a whole number|is not true or false|is not 1 to 5|is not a list of texts")
"""Reasons of rows whose values a map can convert."""

_OTHER_ENCODING = re.compile(r"^row is not [A-Z0-9_-]+$")


@dataclass(frozen=True)
class KeyMatch:
    """How many of a column's distinct keys another table has, with one that it has not and one of its own.

    `alike` are those that it would have but for case, leading zeros, braces, quotes, a `.0` behind them or a path before them,
    where few match.
    """

    table: str
    column: str
    other: str
    keys: int
    matched: int
    unmatched_example: str
    other_example: str
    alike: int = 0

    def text(self) -> str:
        found = f"{self.matched:,} of {self.keys:,} values of {self.table}.{self.column} are in {self.other}"
        if self.matched == self.keys:
            return found
        but = "but for case, leading zeros, braces, quotes, .0 or what is before a /"
        alike = f"; {self.alike:,} would be, {but}" if self.alike else ""
        return f"{found}, e.g. {self.unmatched_example!r} is not, {self.other_example!r} is{alike}"

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "alike"}


def _bare(keys: "ir.Table") -> "ir.Table":
    bare = keys.key.lower().re_replace(r"^.*/", "").re_replace(r"[{}\"']", "").re_replace(r"\.0$", "").re_replace("^0+", "")
    return keys.select("source", key=bare).distinct()


def key_matches(tables: Mapping[str, "ir.Table"]) -> list[KeyMatch]:
    """Of every join whose two tables are there. Keys of different sources are different keys."""
    found = []
    for name, column, other in JOINS:
        if name not in tables or other not in tables:
            continue
        keys = tables[name].select("source", key=column).filter(lambda table: table.key.notnull()).distinct()
        others = tables[other].select("source", key="product_id").distinct()
        unmatched = keys.anti_join(others, ["source", "key"])
        counts = keys.agg(keys=keys.count()).to_pyarrow()["keys"][0].as_py()
        missing = unmatched.agg(count=unmatched.count(), example=unmatched.key.min()).to_pyarrow().to_pylist()[0]
        example = others.agg(example=others.key.min()).to_pyarrow()["example"][0].as_py()
        alike = 0
        if missing["count"] > MOST_UNMATCHED * counts:
            agreeing = _bare(unmatched).semi_join(_bare(others), ["source", "key"])
            alike = agreeing.agg(keys=agreeing.count()).to_pyarrow()["keys"][0].as_py()
        if counts:
            matched = counts - missing["count"]
            found.append(KeyMatch(name, column, other, counts, matched, missing["example"] or "", example or "", alike))
    return found


def missing_tables(absent: Sequence[str], counts: Mapping[str, TableCounts], unread: str) -> str:
    """What is missing for a task whose tables are empty or not there."""
    parts, never = [], []
    for name in absent:
        found = counts.get(name)
        if found and found.files:
            parts.append(f"{name}: {found.text()}{_advice(found)}")
        elif found and found.read:
            parts.append(f"no row of the table {name} is usable: {found.text()}")
        if found and found.note:
            parts.append(found.note)
        elif not found or not (found.files or found.read):
            never.append(name)
    if never:
        told = f"needs the table{'s' * (len(never) > 1)} {', '.join(never)}"
        parts.append(f"{told} (not read: {unread})" if unread else told)
    return "; ".join(parts)


def _advice(counts: TableCounts) -> str:
    """What to write in a map, where the commonest reasons are values that it can convert."""
    reasons = [reason for reason, _ in counts.reasons.most_common(MOST_REASONS)]
    if any(reason.endswith(UNMAPPED) for reason in reasons):
        return "; name these values under `values:` in the map"
    if any(_OTHER_ENCODING.search(reason) for reason in reasons):
        return "; give --encoding, such as cp1252 or shift_jis, or save the file in UTF-8"
    if any(reason.startswith("locale ") for reason in reasons):
        return "; name the locales to take in --locales, or change the column"
    if "line is not UTF-8" in reasons:
        return "; save the file in UTF-8"
    return f"; a map can say what the values mean ({PROPOSE})" if convertible(reasons) else ""


def convertible(reasons: Iterable[str]) -> bool:
    """Whether records were rejected for values that a map can convert."""
    return any(_CONVERTIBLE.search(reason) for reason in reasons)


def table_origins(manifest: Mapping[str, Any]) -> list[str]:
    """How each table came from which file, by a map, and what was derived: a line each."""
    lines = []
    for name, files in manifest["map"]["tables"].items():
        for file in files:
            made = ", ".join(f"{column} from {' and '.join(columns)}" for column, columns in file["columns"].items())
            lines.append(f"{name}: {file['file']}: {made}")
    for name, counts in manifest["tables"].items():
        reasons = "; ".join(_reason(each) for each in counts["reasons"])
        lines.append(f"{name}: {counts['read']:,} read, {counts['usable']:,} usable{': ' * bool(reasons)}{reasons}")
    for name, facts in manifest["derived"].items():
        lines.append(f"derived: {name}: {', '.join(f'{key} {value}' for key, value in facts.items())}")
    return lines


def _reason(facts: Mapping[str, Any]) -> str:
    values = ", ".join(f"{value} ({count:,})" for value, count in facts.get("values", {}).items())
    return f"{facts['reason']} ({facts['rows']:,}), {f'values: {values}' if values else 'e.g. ' + facts['example']}"


def with_derived(not_built: Mapping[str, str], derived: Mapping[str, Any]) -> dict[str, str]:
    """Adds to why tasks have no rows that too few products were bought together."""
    found = dict(not_built)
    facts = derived.get("also_buy")
    for name in ("also_buy", "next_title_amazon"):
        if name in found and facts and not facts["links"]:
            unit = "sessions" if "sessions" in facts else "baskets"
            found[name] += (
                f"; no two products are bought in {facts['least_support']} {unit}, of which "
                f"{facts[f'{unit}_of_several_products']:,} hold more than one (support of also_buy in the map)"
            )
    return found


def no_rows(task: Task, reasons: Counter[str], matches: Sequence[KeyMatch]) -> str:
    """What became of the records of a task whose tables have rows: the commonest reasons, and the keys that did not match."""
    told = [f"{reason} ({count:,})" for reason, count in reasons.most_common(MOST_REASONS) if count]
    joins = [match.text() for match in matches if match.table in task.tables and match.matched < match.keys]
    return "; ".join([f"no record passed its filters: {', '.join(told)}" if told else "no record passed its filters", *joins])


def unused_reasons(tables: Sequence["ir.Table"], prefix: str) -> Counter[str]:
    """Records by reason of what a recipe did not use, without the task's name before the reason."""
    found: Counter[str] = Counter()
    for table in tables:
        counted = table.group_by("reason").agg(records=table.count()).to_pyarrow().to_pylist()
        for row in counted:
            found[row["reason"].removeprefix(prefix)] += row["records"]
    return found
