"""Parsing of answers: gold completions, parsers of a model's text, and regular expressions of all that can be parsed.

No parser raises, whatever the text is. Only the standard library is imported, so that the Space can take this file along.
"""

import json
import re
from collections.abc import Iterable
from itertools import permutations
from math import perm
from typing import Any

from common.tasks import RANKED, Task, Value

LONGEST_INT = 4300
"""Python's default limit of digits in an int, which libraries change."""


def gold(task: Task, answer: Any) -> Value:
    """The parsed gold answer, from a row's decoded `answer`.

    `answer` is what the metric needs, in ShopBench's shapes: a label, the gain of each product (ranking), the numbers of
    the true items (retrieval), or a text.
    """
    if task.family == "ranking":
        return sorted(range(1, len(answer) + 1), key=lambda number: -answer[number - 1])
    if task.family == "retrieval":
        return list(answer)
    return str(answer)


def render_completion(task: Task, value: Value) -> str:
    """The completion's text for a label, an order, a selection or a text; `parse_completion` takes it back."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def parse_completion(task: Task, text: str) -> Value | None:
    """Parses a model's text; None where it cannot be parsed. Never raises.

    A label counts where the text begins with it, whatever follows. Numbers are read as `parse_numbers` does; a ranking is
    a permutation of 1 to 5, a selection has distinct numbers from 1. Only the first line of a generated text counts.
    """
    text = text.strip()
    if task.family == "multiple_choice":
        return _leading_label(task.labels, text)
    if task.family == "ranking":
        order = [number for number in parse_numbers(text) if number <= RANKED][:RANKED]
        return order if sorted(order) == list(range(1, RANKED + 1)) else None
    if task.family == "retrieval":
        picks = list(dict.fromkeys(number for number in parse_numbers(text) if number > 0))
        return picks or None
    return text.split("\n")[0].strip() or None


def _leading_label(labels: tuple[str, ...], text: str) -> str | None:
    for label in labels:
        if re.match(re.escape(label) + r"(?![^\W_])", text, re.IGNORECASE):
            return label
    return None


def parse_numbers(text: str) -> list[int]:
    """Comma-separated numbers as ShopBench reads them: keep numeric characters, commas and spaces; skip what is no int."""
    numbers = []
    for piece in "".join(char for char in text if char.isnumeric() or char in ", ").split(","):
        if len(piece.strip()) > LONGEST_INT:
            continue
        try:
            numbers.append(int(piece))
        except ValueError:
            continue
    return numbers


def answer_pattern(task: Task) -> str:
    """A regular expression that every readable completion of the task matches in full."""
    if task.family == "multiple_choice":
        return "|".join(map(re.escape, task.labels))
    if task.family == "ranking":
        return "|".join(",".join(order) for order in permutations("12345"[:RANKED]))
    if task.family == "retrieval":
        return r"[1-9][0-9]?(?:,[1-9][0-9]?)*"
    return r"[^\n]+"


MOST_ORDERS = 720
"""Ordered selections, 3 of 10, that a pattern spells out. Beyond, a number may repeat; `parse_completion` drops repeats."""


def row_pattern(task: Task, prompt: str, answer: Any) -> str:
    """A regular expression for the readable completions of one row, whose decoded answer is `answer`; "" where any will do.

    Of a multiple choice a label that the prompt offers, of a ranking a permutation of 1 to 5, of a retrieval as many numbers of
    the prompt's list as are true, since no more are scored. It needs no lookaround and no backreference, so that engines
    of automata take it.
    """
    if task.family == "generation":
        return ""
    listed = listed_numbers(prompt)
    pattern = answer_pattern(task)
    if task.lists_options:
        pattern = "|".join(label for label in task.labels if label in map(str, listed))
    elif task.family == "retrieval":
        pattern = selection_pattern(listed, len(answer))
    # A product's text may hold a list of its own; what forbids the right answer was read from such a one.
    return pattern if re.fullmatch(pattern, render_completion(task, gold(task, answer))) else answer_pattern(task)


_NUMBER_IN_FRONT = re.compile(r"^[ \t]*(?P<number>[0-9]{1,3})\.(?![0-9]) ?(?P<item>.*)", re.MULTILINE)
_NUMBER_BEHIND = re.compile(r"^(?P<item>.*) \((?P<number>[0-9]{1,3})\)$", re.MULTILINE)


def numbered_items(prompt: str) -> dict[int, str]:
    """The items of a prompt's last numbered list, "1. item" or "item (1)", by number, from 0 or 1 upwards; {} where no list has
    two items or more."""
    return {int(line["number"]): line["item"] for line in _list_lines(prompt)}


def rotated_items(prompt: str, by: int) -> str:
    """The prompt with the items of its last numbered list moved on by so many places, the last ones to its beginning."""
    lines = _list_lines(prompt)
    for place in reversed(range(len(lines))):
        line = lines[place]
        prompt = prompt[: line.start("item")] + lines[(place - by) % len(lines)]["item"] + prompt[line.end("item") :]
    return prompt


def without_items(prompt: str) -> str:
    """The prompt without the lines of its last numbered list."""
    lines = _list_lines(prompt)
    return prompt[: lines[0].start()].rstrip("\n") + prompt[lines[-1].end() :] if lines else prompt


def _list_lines(prompt: str) -> list[re.Match[str]]:
    """The lines of the last numbered list; of two that end on the same line the longer one."""
    lists = [_last_list(pattern.finditer(prompt)) for pattern in (_NUMBER_IN_FRONT, _NUMBER_BEHIND)]
    return max(lists, key=lambda lines: (lines[-1].start(), len(lines)) if lines else (-1, 0))


def _last_list(lines: Iterable[re.Match[str]]) -> list[re.Match[str]]:
    """The last two lines or more whose numbers rise by one from 0 or 1; lines between them with other numbers are text."""
    found: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for line in lines:
        number = int(line["number"])
        if run and number == int(run[-1]["number"]) + 1:
            run = [*run, line]
        elif number <= 1:
            run = [line]
        found = run if len(run) > 1 else found
    return found


def listed_numbers(prompt: str) -> range:
    """The numbers of `numbered_items`."""
    items = numbered_items(prompt)
    return range(min(items), max(items) + 1) if items else range(0)


def selection_pattern(numbers: range, count: int) -> str:
    """`count` of the numbers, separated by commas, distinct where MOST_ORDERS allows to spell them out."""
    if 0 < perm(len(numbers), count) <= MOST_ORDERS:  # 0 where there are fewer than so many
        return _orders(tuple(map(str, numbers)), count)
    one = f"(?:{'|'.join(map(str, numbers))})"
    return one + f"(?:,{one}){{{count - 1}}}"


def _orders(items: tuple[str, ...], count: int) -> str:
    if count <= 1:
        return "|".join(items)
    rests = ((item, tuple(other for other in items if other != item)) for item in items)
    return "|".join(f"{item},(?:{_orders(rest, count - 1)})" for item, rest in rests)


def decode_answer(row: dict[str, Any]) -> Any:
    """A row's `answer` column, decoded from JSON."""
    return json.loads(row["answer"])


MAX_CHARACTERS = 5000
"""What comes later in an answer is not read, as in ShopBench's scorer."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which a JSON file can hold but no tokenizer takes."""
    return _SURROGATES.sub("\ufffd", text)
