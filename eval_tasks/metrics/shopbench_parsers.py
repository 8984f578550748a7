"""ShopBench's parsers of answers, a parser for each of its task types. None raises, whatever the text is.

They restate parsers.py of the scorer in the KDD Cup 2024 starter kit
(https://gitlab.aicrowd.com/aicrowd/challenges/amazon-kdd-cup-2024/amazon-kdd-cup-2024-starter-kit). Where they look strange
they are meant to: an answer must be read as it is there.
"""

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from common.answers import MAX_CHARACTERS, parse_numbers


def parse_choice(text: str) -> int:
    """The first character as a number, in any script that `int` knows, or -1."""
    try:
        return int(text[:MAX_CHARACTERS].strip()[:1])
    except ValueError:
        return -1


def parse_ranking(text: str) -> list[int]:
    """The first five numbers up to 5; none at all if one repeats."""
    order = [number for number in parse_numbers(text[:MAX_CHARACTERS]) if number <= 5][:5]
    return order if len(set(order)) == len(order) else []


def parse_retrieval(text: str) -> list[int]:
    """The first three numbers, repeated ones too."""
    return parse_numbers(text[:MAX_CHARACTERS])[:3]


def parse_entities(text: str) -> list[str]:
    """A Python literal that is a list of strings, as it is; else the text split at commas."""
    text = text[:MAX_CHARACTERS]
    literal = _literal(text) if "[" in text else None  # no list without a bracket, and most answers have none
    if isinstance(literal, list) and all(isinstance(entity, str) for entity in literal):
        return literal
    return [entity.strip() for entity in text.split(",") if entity.strip()]


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in an answer is nobody's business
            return ast.literal_eval(text)
    except Exception:  # as the official scorer: a model's text can make the parser raise nearly anything
        return None


def parse_text(text: str) -> str:
    """The text without the white space around it."""
    return text[:MAX_CHARACTERS].strip()


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "multiple-choice": parse_choice,
    "ranking": parse_ranking,
    "retrieval": parse_retrieval,
    "named_entity_recognition": parse_entities,
    "generation": parse_text,
}
"""ShopBench's task_type -> parser."""


def says_nothing(answer: Any) -> bool:
    """Whether this is what a parser makes of a text that it cannot read."""
    return answer in (-1, [], "")
