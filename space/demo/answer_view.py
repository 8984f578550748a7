"""What a model's answer says, for people: products re-ordered, picks among all there were, options with how likely each was,
and how right it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common.answers import gold, listed_numbers, numbered_items, parse_completion, parse_numbers
from common.scoring import score_answer
from common.tasks import GAINS, RANKED, Task, Value

Verdict = Literal["correct", "partly", "wrong"]

GAIN_NAMES = {gain: name for name, gain in GAINS.items()}

UNREADABLE = {
    "multiple_choice": "The answer begins with none of the labels {labels}.",
    "ranking": "The answer is no order of the numbers 1 to 5, so the products stay where they were.",
    "retrieval": "The answer holds no numbers separated by commas, so nothing is picked.",
    "generation": "The answer is empty.",
}


@dataclass(frozen=True)
class Line:
    """One line of a reading: a product in its place, a candidate, an option or a text."""

    text: str
    number: str = ""
    """Its number in the prompt, or its label."""
    note: str = ""
    chosen: bool = False
    """Placed, picked or meant by the answer."""
    right: bool | None = None
    """Whether it belongs to the right answer; None where that is not known or not a question of single lines."""
    moved: int | None = None
    """Places that a product went up, or down where negative."""
    chance: float | None = None
    """How likely the model finds this option, from 0 to 1."""


@dataclass(frozen=True)
class Mark:
    """How good an answer is beside the right one; `note` is the figure behind the verdict."""

    verdict: Verdict
    note: str


def offered_labels(task: Task, prompt: str) -> tuple[str, ...]:
    """The labels of a multiple choice that a prompt offers; none for other tasks."""
    if not has_options(task):
        return task.labels
    listed = set(map(str, listed_numbers(prompt)))
    return tuple(label for label in task.labels if label in listed) or task.labels


def has_options(task: Task) -> bool:
    """Whether the labels stand for statements that each prompt lists by number."""
    return task.family == "multiple_choice" and bool(re.search(r"\{\w+:[0-9]+\}", task.templates[0]))


def unreadable(task: Task) -> str:
    """Why `parse_completion` gave None for an answer to this task."""
    return UNREADABLE[task.family].format(labels=", ".join(task.labels))


def so_far(task: Task, text: str) -> Value | None:
    """What an answer that is still being written says already: numbers that a comma has ended, or the text."""
    if task.family in {"ranking", "retrieval"}:
        ended = [number for number in dict.fromkeys(parse_numbers(text.rpartition(",")[0])) if number > 0]
        return [number for number in ended if number <= RANKED] if task.family == "ranking" else ended
    return parse_completion(task, text) if task.family == "generation" else None


def lines(
    task: Task, prompt: str, value: Value | None, answer: Any = None, chances: Sequence[float] | None = None
) -> tuple[Line, ...]:
    """An answer in lines, where `value` is what it says, or says so far; None where it says nothing (yet).

    `answer` is the row's decoded one, or None where the right answer is not known; `chances` are those of
    `offered_labels`, in their order. A list has all its lines from the beginning, so that nothing jumps while a model writes.
    """
    if task.family == "generation":
        return (Line(str(value)),) if value is not None else ()
    if task.family == "multiple_choice":
        return _options(task, prompt, value, answer, chances)
    items = numbered_items(prompt)
    numbers = value if isinstance(value, list) else []
    return _ranked(items, numbers, answer) if task.family == "ranking" else _picked(items, numbers, answer)


def _ranked(items: dict[int, str], order: list[int], answer: Any) -> tuple[Line, ...]:
    """Products in their new places, those that the answer has not placed behind them."""
    names = {number: GAIN_NAMES.get(gain, "") for number, gain in enumerate(answer or (), 1)}
    rest = [number for number in items if number not in order]
    return tuple(
        Line(
            items.get(number, "not in the list"),
            str(number),
            note=names.get(number, ""),
            chosen=place <= len(order),
            moved=number - place if place <= len(order) else None,
        )
        for place, number in enumerate([*order, *rest], 1)
    )


def _picked(items: dict[int, str], picks: list[int], answer: Any) -> tuple[Line, ...]:
    """All candidates in the order of the prompt, and what was picked beyond them. No more picks count than are right."""
    counted = set(picks if answer is None else picks[: len(answer)])
    strange = [number for number in picks if number not in items]

    def line(number: int, text: str) -> Line:
        chosen, true = number in picks, answer is not None and number in answer
        beyond = chosen and number not in counted
        right = None if answer is None or beyond or not (chosen or true) else true
        return Line(text, str(number), note="not counted" if beyond else "", chosen=chosen, right=right)

    return tuple(line(number, text) for number, text in [*items.items(), *((number, "not in the list") for number in strange)])


def _options(task: Task, prompt: str, value: Value | None, answer: Any, chances: Sequence[float] | None) -> tuple[Line, ...]:
    """All labels that are offered, or the statements that they stand for; the meant one is marked."""
    items = numbered_items(prompt) if has_options(task) else {}
    labels = offered_labels(task, prompt)
    likely = dict(zip(labels, chances or (), strict=False))

    def line(label: str) -> Line:
        statement = items.get(int(label)) if label.isdecimal() else None
        chosen, true = label == value, answer is not None and label == str(answer)
        return Line(
            label if statement is None else statement,
            "" if statement is None else label,
            chosen=chosen,
            right=None if answer is None or not (chosen or true) else true,
            chance=likely.get(label),
        )

    return tuple(map(line, labels))


def mark(task: Task, value: Value | None, answer: Any) -> Mark:
    """How good a parsed answer is beside a row's decoded `answer`; what cannot be read is wrong."""
    if value is None:
        return Mark("wrong", "unreadable")
    score = score_answer(task, value, answer)
    verdict: Verdict = "correct" if score > 1 - 1e-9 else "partly" if score > 0 else "wrong"
    if task.family == "multiple_choice":
        return Mark(verdict, "")
    if task.family == "retrieval":
        return Mark(verdict, f"{round(score * len(answer))} of {len(answer)}")
    return Mark(verdict, f"{'NDCG' if task.family == 'ranking' else 'ROUGE-L'} {score:.2f}")


def right_lines(task: Task, prompt: str, answer: Any) -> tuple[Line, ...]:
    """The right answer in lines; of candidates and options only the right ones."""
    read = lines(task, prompt, gold(task, answer), answer)
    return tuple(line for line in read if line.chosen) if task.family in {"retrieval", "multiple_choice"} else read
