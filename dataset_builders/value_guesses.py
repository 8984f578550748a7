"""What the values of a column most likely mean: grades, ratings, names of events, locales, and whether that is unsure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.languages import language_of
from dataset_builders.file_profiles import FileProfile
from dataset_builders.mapping import normal
from dataset_builders.values import LABELS, as_integer, as_text

MOST_WORDS = 30
"""Different values of a column that may still be names of something; more are free text."""

GRADES: dict[int, dict[str, str]] = {
    1: {"1": "exact", "0": "irrelevant"},
    2: {"2": "exact", "1": "substitute", "0": "irrelevant"},
    3: {"3": "exact", "2": "substitute", "1": "complement", "0": "irrelevant"},
    4: {"4": "exact", "3": "substitute", "2": "complement", "1": "complement", "0": "irrelevant"},
}
"""Highest grade -> labels. Of 0 to 3 and 0 to 4 the order of the grades is that of the labels' gains in a ranking."""

LABEL_WORDS = {
    "exact": ("perfect", "excellent", "highly relevant", "very relevant", "relevant", "exact match", "best"),
    "substitute": ("good", "partially relevant", "somewhat relevant", "partial match", "partial", "related"),
    "complement": ("fair", "marginally relevant", "complementary"),
    "irrelevant": ("poor", "bad", "not relevant", "non-relevant", "nonrelevant", "no match", "wrong"),
}

EVENT_WORDS = (
    ("", re.compile(r"remove|list|promotion|refund|fail|cancel|begin|checkout_(start|progress)")),
    ("query", re.compile(r"search")),
    ("like", re.compile(r"wish|fav|like|save")),
    ("cart", re.compile(r"cart|basket|bag")),
    ("buy", re.compile(r"purchase|order|buy|bought|transaction|checkout_complete")),
    ("offer", re.compile(r"offer|bid")),
    ("view", re.compile(r"view|detail|pdp|product|item|click")),
)
"""Action of the first pattern that an event's name has; none for the first of all."""

_RATING_TEXT = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:/|out of|of|stars?|★).*", re.IGNORECASE)
_FULL_STAR = re.compile("[★⭐]")
_STARS = re.compile(r"(?=.*[★⭐])[★⭐☆\ufe0f]+")
_BEST = re.compile(r"(?:/|of)\s*(\d+)", re.IGNORECASE)
_CODE = re.compile(r"[a-z]{2}([-_][a-z]{2})?")


@dataclass(frozen=True)
class ValueGuess:
    """What to write for a column beside its name, and what a person should look at."""

    keys: Mapping[str, Any]
    unsure: str = ""


def label_guess(values: Iterable[Any]) -> ValueGuess:
    """Labels of judgments from words or grades."""
    words = {normal(value) for value in values}
    if words <= set(LABELS):
        return ValueGuess({})
    numbers = {int(word) for word in words if re.fullmatch(r"\d{1,2}", word)}
    if numbers and len(numbers) == len(words):
        highest = max(numbers)
        if highest in GRADES:
            return ValueGuess({"values": GRADES[highest]}, f"what the grades 0 to {highest} mean")
        ends = {"exact": 0.8, "substitute": 0.5, "complement": 0.2, "irrelevant": 0.0}
        chosen = {
            str(number): next(name for name, end in ends.items() if number >= end * highest) for number in sorted(numbers)
        }
        return ValueGuess({"values": chosen}, f"what the grades up to {highest} mean")
    known = {word: label for label, synonyms in LABEL_WORDS.items() for word in (label, label[0], *synonyms)}
    chosen = {word: known[word] for word in sorted(words) if word in known}
    other = sorted(words - set(chosen))[:5]
    return ValueGuess(
        {"values": chosen} if chosen else {}, f"what {', '.join(other)} mean" if other else "what the labels mean"
    )


def rating_guess(values: Sequence[Any]) -> ValueGuess:
    """Ratings as whole numbers from 1 to 5, or how they become such."""
    texts = [as_text(value).strip() for value in values]
    if texts and all(text.lower() in ("true", "false") for text in texts):
        return ValueGuess({"values": {"true": "5", "false": "1"}}, "whether true is the best rating")
    stars = {text: len(_FULL_STAR.findall(text)) for text in sorted(set(texts)) if _STARS.fullmatch(text)}
    if stars and len(stars) == len(set(texts)) and max(stars.values()) <= 5:
        return ValueGuess({"values": {text: str(count) for text, count in stars.items()}})
    pattern: dict[str, Any] = {}
    best: list[float] = []
    if texts and sum(bool(_RATING_TEXT.fullmatch(text)) for text in texts) > len(texts) / 2:
        pattern = {"pattern": "(\\d+(?:[.,]\\d+)?)"}
        best = [float(match[1]) for text in texts if (match := _BEST.search(text))]
        texts = [match[1] for text in texts if (match := _RATING_TEXT.fullmatch(text))]
    try:
        numbers = [float(text.replace(",", ".")) for text in texts]
    except ValueError:
        return ValueGuess(pattern, f"how {next(iter(texts))} becomes 1 to 5")
    if not numbers:
        return ValueGuess(pattern)
    scale, unsure = _scale_of([*numbers, *best], any("," in text for text in texts))
    return ValueGuess({**pattern, **({"scale": [f"{end:g}" for end in scale]} if scale else {})}, unsure)


def _scale_of(numbers: Sequence[float], decimal_commas: bool) -> tuple[tuple[float, float] | None, str]:
    """The ends of the scale, or None where it is that of the table, and what is unsure."""
    low, high = min(numbers), max(numbers)
    if high > 5 or low < 0 or (low < 1 and high <= 4):
        top = high if high <= 5 else 10 if high <= 10 else 100 if high <= 100 else round(high)
        bottom = low if low < 0 else int(low >= 1)
        return ((bottom, top) if bottom < top else None), f"whether {bottom:g} to {top:g} is the scale"
    if any(not number.is_integer() for number in numbers):
        return (int(low >= 1), 5), "halves are rounded up"
    if decimal_commas:  # which a scale reads
        return (int(low >= 1), 5), ""
    return None, "" if low >= 1 else "whether 0 is a rating or says that there is none; its rows are left out"


def action_guess(profile: FileProfile, column: str, product: str | None, query: str | None) -> ValueGuess:
    """Actions from names of events. One that mostly names no product, or no query, is none of its kind."""
    counts: dict[str, int] = {}
    filled: dict[str, dict[str, int]] = {}
    for record in profile.records:
        name = normal(record.get(column) or "")
        counts[name] = counts.get(name, 0) + 1
        for kind, source in (("product", product), ("query", query)):
            if source and str(record.get(source) or "").strip():
                filled.setdefault(name, {}).setdefault(kind, 0)
                filled[name][kind] += 1
    if len(counts) > MOST_WORDS:
        return ValueGuess({}, "which of the many event names are actions")
    chosen = {}
    for name in sorted(counts, key=lambda name: -counts[name]):
        action = next((action for action, pattern in EVENT_WORDS if pattern.search(name)), "")
        needs = "query" if action == "query" else "product"
        if action and filled.get(name, {}).get(needs, 0) > counts[name] / 2:
            chosen[name] = action
    if chosen and all(name == action for name, action in chosen.items()) and len(chosen) == len(counts):
        return ValueGuess({})
    left = sorted(set(counts) - set(chosen) - {""})
    return ValueGuess({"values": chosen}, f"not used: {', '.join(left)}" if left else "")


def locale_guess(values: Iterable[Any], locales: Sequence[str], certain: bool) -> ValueGuess | None:
    """Locales from codes such as en_US, or None where the column holds none.

    `certain` says that the column's name leaves no doubt: values that were not asked for are kept then, so that their rows are
    rejected with that reason. Else one of the values must be among `locales`, or be the language of one.
    """
    words = sorted({normal(value) for value in values})
    if not words or len(words) > MOST_WORDS or not all(_CODE.fullmatch(word) for word in words):
        return None
    chosen = {word: _locale_of(word, locales) for word in words}
    others = sorted(set(chosen.values()) - set(locales))
    if len(others) == len(set(chosen.values())) and not certain:
        return None
    unsure = f"{', '.join(others)} is not among --locales {','.join(locales)}" if others else ""
    return ValueGuess({} if all(word == locale for word, locale in chosen.items()) else {"values": chosen}, unsure)


def _locale_of(word: str, locales: Sequence[str]) -> str:
    """The locale that a code names: `us` for en_US, for us, and for en where no other of the locales is English."""
    language, _, country = word.replace("-", "_").partition("_")
    if word in locales or country in locales:
        return word if word in locales else country
    with suppress(UserError):
        return next((locale for locale in locales if not country and language_of(locale) == language_of(language)), word)
    return word


def is_position(values: Sequence[Any]) -> bool:
    """Whether the values are whole numbers or times."""
    try:
        return all(as_integer(value, times=True) is not None for value in values[:200])
    except ValueError:
        return False
