"""Parsers of Shopping MMLU's answers by the rules of its own scripts; the metrics are ShopBench's.

Source: metrics.py in https://github.com/KL4805/ShoppingMMLU/tree/main/skill_wise_eval. A task's score is the mean over its
rows (of entities the micro F1), a skill's the mean over its tasks. As there:

- Of a choice the first character that is no space counts.
- Picks are what lies between the commas of the whole text, without what is no integer; the first three count.
- An order is read in the same way from the first line, and is cut to the number of products. 0 means the last product and so
  on backwards, as it does in Python.
- Entities are what lies between the commas of the first line; case and spaces around them do not matter.

Where this differs: a product that an order names twice gains once, where the script counts it again and NDCG exceeds 1; where
the script breaks off, on a number too far below 0, on an order without gains and on an F1 without entities, the answer gains 0.
Only the first 5,000 characters of an answer are read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from common.answers import MAX_CHARACTERS
from eval_tasks.metrics.shopbench import parse_text
from eval_tasks.suites.shopbench_rows import ShopBenchRow

SKILLS = {
    "concept": "shopping concept understanding",
    "reasoning": "shopping knowledge reasoning",
    "behavior": "user behavior alignment",
    "multilingual": "multilingual abilities",
}
"""What a task's name begins with, as in `shopping_mmlu:concept:...` -> the skill. Files number them 1 to 4 in this order."""


def parse_answer(row: ShopBenchRow, text: str) -> Any:
    """What an answer says, as ShopBench's metrics take it; -1 or something empty where it says nothing. Never raises."""
    return _PARSERS[row.task_type](text[:MAX_CHARACTERS], row.truth)


def _choice(text: str, truth: Any) -> int:
    first = text.strip(" ")[:1]
    return int(first) if first.isascii() and first.isdecimal() else -1


def _picks(text: str, truth: Any) -> list[int]:
    return _integers(text)[:3]


def _order(text: str, weights: list[float]) -> list[int]:
    """Places from 1; what gains nothing is a place beyond the weights."""
    count = len(weights)
    order: list[int] = []
    for number in _integers(text.strip("\n").split("\n")[0])[:count]:
        place = number if number > 0 else number + count
        order.append(place if 1 <= place <= count and place not in order else count + 1)
    return order


def _entities(text: str, truth: Any) -> list[str]:
    pieces = text.lstrip("\n").split("\n")[0].strip(" ").split(",")
    return [piece.lower().strip(" ") for piece in pieces if piece]


def _integers(text: str) -> list[int]:
    numbers = []
    for piece in text.strip().split(","):
        try:
            numbers.append(int(piece))
        except ValueError:
            continue
    return numbers


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "multiple-choice": _choice,
    "retrieval": _picks,
    "ranking": _order,
    "named_entity_recognition": _entities,
    "generation": lambda text, truth: parse_text(text),
}
