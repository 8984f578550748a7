"""What the values of a column most likely mean: grades, ratings, names of events, locales, and whether that is unsure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_builders.file_profiles import FileProfile
from dataset_builders.locales import locales_named
from dataset_builders.mapping import normal
from dataset_builders.scales import scale_of
from dataset_builders.sources.mapped_tables import looked_up
from dataset_builders.tables import RELATIONS
from dataset_builders.values import LABELS, as_integer, as_text, is_missing

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
    (
        "",
        re.compile(
            r"remove|(?<!wish)(?<!wish[ _-])list|hover|impression|promotion|refund|fail|cancel|begin|checkout_(start|progress)"
        ),
    ),
    ("query", re.compile(r"search")),
    ("like", re.compile(r"wish|fav|like|save")),
    ("cart", re.compile(r"cart|basket|bag|(product|item)[ _]?added")),
    ("buy", re.compile(r"purchase|order|buy|bought|transaction|checkout_complete")),
    ("offer", re.compile(r"offer|bid")),
    ("view", re.compile(r"view|detail|pdp|product|item|click")),
)
"""Action of the first pattern that an event's name has; none for the first of all."""

RELATION_WORDS = (
    ("also_view", re.compile(r"view")),
    ("also_buy", re.compile(r"buy|bought|purchase|cross|accessor|together|complement|bundle")),
    ("similar", re.compile(r"up.?sell|similar|related|alternative|substitute")),
)
"""Relation of the first pattern that a word has."""

_NUMBER_WORDS = ("one", "two", "three", "four", "five")
RATING_WORDS = {
    **{word: str(number) for number, word in enumerate(_NUMBER_WORDS, 1)},
    **dict.fromkeys(("\U0001f44d", "up", "thumbs up", "like", "positive", "good", "recommended"), "5"),
    **dict.fromkeys(("neutral",), "3"),
    **dict.fromkeys(("\U0001f44e", "down", "thumbs down", "dislike", "negative", "bad", "not recommended"), "1"),
}
"""Ratings in words or as thumbs."""

_NUMBER = r"(\d+(?:[.,]\d+)?)"
_PERCENT = re.compile(rf"\s*{_NUMBER}\s*%\s*")
_RATING_TEXT = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:/|out of|of|stars?|★).*", re.IGNORECASE)
_FULL_STAR = re.compile("[★⭐]")
_STARS = re.compile(r"(?=.*[★⭐])[★⭐☆\ufe0f]+")
_BEST = re.compile(r"(?:/|of)\s*(\d+)", re.IGNORECASE)
_CODE = re.compile(r"[a-z]{2}([-_][a-z]{2})?([.@].*)?")


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


def relation_guess(values: Iterable[Any]) -> ValueGuess:
    """Relations of two products from what shops call their recommendations."""
    words = sorted({normal(value) for value in values})
    if set(words) <= set(RELATIONS) or len(words) > MOST_WORDS:
        return ValueGuess({})
    found = {word: next((name for name, known in RELATION_WORDS if known.search(word)), "") for word in words}
    chosen = {word: name for word, name in found.items() if name}
    return ValueGuess({"values": chosen} if chosen else {}, f"which relations {', '.join(words[:5])} are")


def rating_guess(values: Sequence[Any]) -> ValueGuess:
    """Ratings as whole numbers from 1 to 5, or how they become such."""
    texts = [as_text(value).strip() for value in values]
    if guess := _rating_in_words({normal(text) for text in texts}):
        return guess
    pattern: dict[str, Any] = {}
    best: list[float] = []
    if texts and all(_PERCENT.fullmatch(text) for text in texts):
        pattern, best = {"pattern": _NUMBER}, [100.0]
        texts = [text.rstrip(" %") for text in texts]
    elif texts and sum(bool(_RATING_TEXT.fullmatch(text)) for text in texts) > len(texts) / 2:
        pattern = {"pattern": _NUMBER}
        best = [float(match[1]) for text in texts if (match := _BEST.search(text))]
        texts = [match[1] for text in texts if (match := _RATING_TEXT.fullmatch(text))]
    try:
        numbers = [float(text.replace(",", ".")) for text in texts]
    except ValueError:
        return ValueGuess(pattern, f"how {next(iter(texts))} becomes 1 to 5")
    if not numbers:
        return ValueGuess(pattern)
    scale, unsure = scale_of([*numbers, *best], any("," in text for text in texts))
    if best and scale is None and max(numbers) < 5:  # the texts say that they go up to 5
        scale = (1, 5)
    return ValueGuess({**pattern, **({"scale": [f"{end:g}" for end in scale]} if scale else {})}, unsure)


def _rating_in_words(words: set[str]) -> ValueGuess | None:
    if words and words <= {"true", "false"}:
        return ValueGuess({"values": {"true": "5", "false": "1"}}, "whether true is the best rating")
    stars = {word: len(_FULL_STAR.findall(word)) for word in sorted(words) if _STARS.fullmatch(word)}
    if stars and len(stars) == len(words) and max(stars.values()) <= 5:
        return ValueGuess({"values": {word: str(count) for word, count in stars.items()}})
    if words and words <= RATING_WORDS.keys():
        chosen = {word: RATING_WORDS[word] for word in sorted(words)}
        return ValueGuess({"values": chosen}, "" if words <= set(_NUMBER_WORDS) else f"whether {min(words)} is a rating")
    return None


def action_guess(profile: FileProfile, column: str, products: Sequence[str], queries: Sequence[str]) -> ValueGuess:
    """Actions from names of events. One that mostly names no product, or no query, is none of its kind."""
    counts: dict[str, int] = {}
    filled: dict[str, dict[str, int]] = {}
    for record in profile.records:
        name = normal(looked_up(record, column) or "")
        counts[name] = counts.get(name, 0) + 1
        for kind, sources in (("product", products), ("query", queries)):
            if any(not is_missing(looked_up(record, source)) for source in sources):
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
    return ValueGuess({"values": chosen} if chosen else {}, f"not used: {', '.join(left)}" if left else "")


def locale_guess(values: Iterable[Any], locales: Sequence[str], certain: bool) -> ValueGuess | None:
    """Locales from codes such as en_US, or None where the column holds none.

    `certain` says that the column's name leaves no doubt: values that were not asked for are kept then, so that their rows are
    rejected with that reason. Else one of the values must be among `locales`, or be the language of one.
    """
    words = sorted({normal(value) for value in values})
    named = {word: locales_named(word, locales) for word in words}
    if not words or len(words) > MOST_WORDS or not all(named[word] or _CODE.fullmatch(word) for word in words):
        return None
    chosen = {word: named[word][0] if named[word] else word for word in words}
    others = sorted(set(chosen.values()) - set(locales))
    if len(others) == len(set(chosen.values())) and not certain:
        return None
    unsure = f"{', '.join(others)} is not among --locales {','.join(locales)}" if others else ""
    return ValueGuess({} if all(word == locale for word, locale in chosen.items()) else {"values": chosen}, unsure)


def is_position(values: Sequence[Any]) -> bool:
    """Whether the values are whole numbers or times."""
    try:
        return all(as_integer(value, times=True) is not None for value in values[:200])
    except ValueError:
        return False
