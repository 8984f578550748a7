"""Whether ratings and labels are on the scale of their table, told by all values of the column."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import UserError
from dataset_builders.tables import LONGEST_EXAMPLE
from dataset_builders.values import as_boolean, as_label, is_missing

PROPOSE = "python -m dataset_builders.map --tables DIR --out shop.yaml"
"""The command that proposes a map, as messages name it."""

SCALED = {"reviews": "rating", "judgments": "label", "questions": "answerable"}
"""Table -> its column of which the scale is checked."""

MOST_OFF_SCALE = 0.05
"""Share of a column's values that may be off its scale. Beyond it the column is taken to have another scale, and refused."""

FEWEST_OFF_SCALE = 5
"""Values off the scale below which a column is only refused if most are: part files may have few rows."""

NO_RATING = frozenset({-1.0, 9.0, 99.0, 999.0, -9.0, -99.0, -999.0})
"""Numbers that stand for a missing one beside ratings from 1 to 5."""

FEWEST_KINDS = 4
"""Different numbers, of which some are ratings, that tell such a number."""

FEWEST_RATINGS = 20
"""Ratings of which some are 5 on a scale from 1 to 5: most customers give it."""


class ScaleCounts:
    """What the values of a table's scaled column are, counted."""

    def __init__(self, table: str) -> None:
        self.table, self.column = table, SCALED.get(table, "")
        self.kinds, self.examples = Counter[str](), dict[str, str]()
        self.numbers = Counter[float]()
        self.meanings = set[str | bool]()

    def add(self, record: Mapping[str, Any]) -> None:
        value = record.get(self.column)
        if is_missing(value):
            return
        if self.table == "reviews":
            kind, number = _rating_kind(value)
        else:
            kind, number = self._choice_kind(value), None
        self.kinds[kind] += 1
        self.examples.setdefault(kind, str(value)[:LONGEST_EXAMPLE])
        if number is not None:
            self.numbers[number] += 1

    def _choice_kind(self, value: Any) -> str:
        text = _text(value)
        try:
            self.meanings.add(as_label(text) if self.table == "judgments" else as_boolean(text))
            return "right"
        except ValueError:
            pass
        if self.table == "questions":
            return "text"
        if text.lower() in ("true", "false"):
            return "verdict"
        return "text" if _number(text) is None else "grade"

    def check(self, name: str) -> None:
        """Raises UserError where the column of the file is on another scale than the table's, or where all values that can be
        read say the same: then those that cannot are the other ones."""
        total = self.kinds.total()
        unread = self.kinds["text"]
        if len(self.meanings) == 1 and unread > MOST_OFF_SCALE * total and unread >= FEWEST_OFF_SCALE:
            only, other = str(*self.meanings).lower(), self.examples["text"]
            raise UserError(
                f"{name}: {self.column} says {only} in all rows but {unread:,} of {total:,}, which say {other!r} or the like. "
                f"Say what these mean in a map ({PROPOSE}): {self.column}: {{column: {self.column}, values: {{{other}: …, "
                f"{self.examples['right']}: {only}}}}}."
            )
        off = [kind for kind in _TOLD if self.kinds[kind]]
        count = sum(self.kinds[kind] for kind in off)
        if count > MOST_OFF_SCALE * total and (count >= FEWEST_OFF_SCALE or count > total / 2):
            kind = max(off, key=lambda kind: self.kinds[kind])
            raise UserError(
                f"{name}: {self.column} holds {_TOLD[kind]}, such as {self.examples[kind]}, in {count:,} of {total:,} rows. "
                f"Convert the column, or write in a map ({PROPOSE}) {self.column}: {self._conversion(kind)}."
            )

    def _conversion(self, kind: str) -> str:
        if kind != "beyond":
            return _CONVERSIONS[kind].format(column=self.column)
        ends, _ = scale_of(sorted(self.numbers))
        if ends == (1, 5):
            other = ", or [0, 5]" if 0 in self.numbers else ""
            return f"{{column: {self.column}, scale: [1, 5]}}, which leaves {self.examples['beyond']} out{other}"
        low, high = ends or (1, 10)
        return f"{{column: {self.column}, scale: [{low:g}, {high:g}]}} with the scale's ends"


def _text(value: Any) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _rating_kind(value: Any) -> tuple[str, float | None]:
    text = _text(value)
    if text.lower() in ("true", "false"):
        return "boolean", None
    if (number := _number(text)) is None:
        return "text", None
    if not number.is_integer():
        return "fraction", number
    return ("right" if 1 <= number <= 5 else "beyond"), number


def check_narrow(counts: Sequence[ScaleCounts]) -> None:
    """Raises UserError where none of a table's ratings, of all its files, is as high as they go."""
    numbers = sum((each.numbers for each in counts if each.table == "reviews"), Counter[float]())
    if numbers.total() >= FEWEST_RATINGS and max(numbers) < 5:
        high = max(numbers)
        raise UserError(
            f"reviews: no rating of {numbers.total():,} is above {high:g}, as on a scale that ends there. Write in a map "
            f"({PROPOSE}) rating: {{column: rating, scale: [1, {high:g}]}}, or scale: [1, 5] if they are right."
        )


def scale_of(numbers: Sequence[float], decimal_commas: bool = False) -> tuple[tuple[float, float] | None, str]:
    """The ends of a scale of ratings, or None where it is that of the table, and what is unsure."""
    low, high = min(numbers), max(numbers)
    if unsure := _says_none(set(numbers)):
        return (1, 5), unsure
    if high > 5 and not any(number % 20 for number in numbers) and 20 <= low <= high <= 100:
        return (20, 100), "whether 20 to 100 are one to five stars"
    if high > 5 or low < 0 or (low < 1 and high <= 4) or (1 < high < 5 and len(numbers) >= FEWEST_RATINGS):
        top = high if high <= 5 else 10 if high <= 10 else 100 if high <= 100 else round(high)
        bottom = low if low < 0 else int(low >= 1)
        return ((bottom, top) if bottom < top else None), f"whether {bottom:g} to {top:g} is the scale"
    if any(not number.is_integer() for number in numbers):
        return (int(low >= 1), 5), "halves are rounded up"
    if decimal_commas:  # which a scale reads
        return (int(low >= 1), 5), ""
    return None, ""


def _says_none(kinds: set[float]) -> str:
    """What is unsure where one of the numbers may say that there is no rating, else nothing."""
    beyond = {number for number in kinds if not 1 <= number <= 5}
    if len(beyond) != 1 or not all(number.is_integer() for number in kinds):
        return ""
    if beyond == {0} and max(kinds) == 5:
        return "whether 0 is a rating, as in scale: [0, 5], or says that there is none; its rows are left out"
    if beyond <= NO_RATING and len(kinds) >= FEWEST_KINDS:
        return f"whether {beyond.pop():g} says that there is no rating; its rows are left out"
    return ""


_TOLD = {
    "boolean": "true or false instead of 1 to 5",
    "fraction": "fractions instead of whole numbers from 1 to 5",
    "beyond": "numbers beyond 1 to 5",
    "grade": "grades instead of exact, substitute, complement or irrelevant",
    "verdict": "true or false instead of exact, substitute, complement or irrelevant",
}
_CONVERSIONS = {
    "boolean": "{{column: {column}, values: {{true: 5, false: 1}}}}",
    "fraction": "{{column: {column}, scale: [1, 5]}}, which rounds halves up",
    "grade": "{{column: {column}, values: {{3: exact, 2: substitute, 1: complement, 0: irrelevant}}}} with your grades",
    "verdict": "{{column: {column}, values: {{true: exact, false: irrelevant}}}}",
}
"""What to write in a map for a column on another scale."""
