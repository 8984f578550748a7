"""Parsed answers as lines to show: re-ordered products, picked candidates, options with probabilities; and their grades."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common.answers import gold, listed_numbers, numbered_items, parse_completion, parse_numbers
from common.scoring import score_answer
from common.tasks import GAINS, RANKED, Task, Value

Verdict = Literal["correct", "partly", "wrong"]

GAIN_NAMES = {gain: name for name, gain in GAINS.items()}

UNPARSABLE = {
    "multiple_choice": "The answer begins with none of the labels {labels}.",
    "ranking": "The answer is no order of the numbers 1 to 5, so the products stay where they were.",
    "retrieval": "The answer holds no numbers separated by commas, so nothing is picked.",
    "generation": "The answer is empty.",
}


@dataclass(frozen=True)
class AnswerLine:
    """One line of an answer: a ranked product, a candidate, an option or a text."""

    text: str
    number: str = ""
    """Its number in the prompt, or its label."""
    note: str = ""
    chosen: bool = False
    """Ranked, picked or chosen by the answer."""
    right: bool | None = None
    """Whether it belongs to the right answer; None where that is unknown or does not apply to single lines."""
    moved: int | None = None
    """Places that a product went up, or down if negative."""
    probability: float | None = None
    """Of this option, from 0 to 1."""
    score: float | None = None
    """Of a product that is scored by itself, from 0 to 1."""
    likelihood: float | None = None
    """Of a product that is scored by text, as its natural logarithm."""


@dataclass(frozen=True)
class Grade:
    """The verdict on an answer with the score behind it as text."""

    verdict: Verdict
    note: str


def offered_labels(task: Task, prompt: str) -> tuple[str, ...]:
    """The labels of a multiple choice that the prompt offers; empty for other tasks."""
    if not has_options(task):
        return task.labels
    listed = set(map(str, listed_numbers(prompt)))
    return tuple(label for label in task.labels if label in listed) or task.labels


def has_options(task: Task) -> bool:
    """Whether the labels are numbers of statements that each prompt lists."""
    return task.family == "multiple_choice" and bool(re.search(r"\{\w+:[0-9]+\}", task.templates[0]))


def unparsable_reason(task: Task) -> str:
    """Why `parse_completion` returned None for an answer to this task."""
    return UNPARSABLE[task.family].format(labels=", ".join(task.labels))


def parse_partial(task: Task, text: str) -> Value | None:
    """What is certain of an answer during generation: the numbers before the last comma, or the text."""
    if task.family in {"ranking", "retrieval"}:
        numbers = [number for number in dict.fromkeys(parse_numbers(text.rpartition(",")[0])) if number > 0]
        return [number for number in numbers if number <= RANKED] if task.family == "ranking" else numbers
    return parse_completion(task, text) if task.family == "generation" else None


def answer_lines(
    task: Task, prompt: str, parsed: Value | None, answer: Any = None, probabilities: Sequence[float] | None = None
) -> tuple[AnswerLine, ...]:
    """The lines of a parsed answer, or of what is parsed so far; None is an answer without content (yet).

    `answer` is the row's decoded one, None if unknown; `probabilities` are those of `offered_labels`, in their order. All
    lines of a list are there from the beginning, so that the page does not jump during generation.
    """
    if task.family == "generation":
        return (AnswerLine(str(parsed)),) if parsed is not None else ()
    if task.family == "multiple_choice":
        return _option_lines(task, prompt, parsed, answer, probabilities)
    items = numbered_items(prompt)
    numbers = parsed if isinstance(parsed, list) else []
    return _ranking_lines(items, numbers, answer) if task.family == "ranking" else _retrieval_lines(items, numbers, answer)


def _ranking_lines(items: dict[int, str], order: list[int], answer: Any) -> tuple[AnswerLine, ...]:
    """Products in their new order, then those that are not ranked (yet)."""
    names = {number: GAIN_NAMES.get(gain, "") for number, gain in enumerate(answer or (), 1)}
    rest = [number for number in items if number not in order]
    return tuple(
        AnswerLine(
            items.get(number, "not in the list"),
            str(number),
            note=names.get(number, ""),
            chosen=place <= len(order),
            moved=number - place if place <= len(order) else None,
        )
        for place, number in enumerate([*order, *rest], 1)
    )


def _retrieval_lines(items: dict[int, str], picks: list[int], answer: Any) -> tuple[AnswerLine, ...]:
    """All candidates in the order of the prompt, then picks outside it. No more picks count than there are right ones."""
    counted = set(picks if answer is None else picks[: len(answer)])
    unlisted = {number: "not in the list" for number in picks if number not in items}

    def line(number: int, text: str) -> AnswerLine:
        chosen, true = number in picks, answer is not None and number in answer
        beyond = chosen and number not in counted
        right = None if answer is None or beyond or not (chosen or true) else true
        return AnswerLine(text, str(number), note="not counted" if beyond else "", chosen=chosen, right=right)

    return tuple(line(number, text) for number, text in (items | unlisted).items())


def _option_lines(
    task: Task, prompt: str, parsed: Value | None, answer: Any, probabilities: Sequence[float] | None
) -> tuple[AnswerLine, ...]:
    """All labels that the prompt offers, or the statements that they stand for."""
    items = numbered_items(prompt) if has_options(task) else {}
    labels = offered_labels(task, prompt)
    by_label = dict(zip(labels, probabilities or (), strict=False))

    def line(label: str) -> AnswerLine:
        statement = items.get(int(label)) if label.isdecimal() else None
        chosen, true = label == parsed, answer is not None and label == str(answer)
        return AnswerLine(
            label if statement is None else statement,
            "" if statement is None else label,
            chosen=chosen,
            right=None if answer is None or not (chosen or true) else true,
            probability=by_label.get(label),
        )

    return tuple(map(line, labels))


def gold_lines(task: Task, prompt: str, answer: Any) -> tuple[AnswerLine, ...]:
    """The right answer; of candidates and options only the right ones."""
    lines = answer_lines(task, prompt, gold(task, answer), answer)
    return tuple(line for line in lines if line.chosen) if task.family in {"retrieval", "multiple_choice"} else lines


def grade(task: Task, parsed: Value | None, answer: Any) -> Grade:
    """The grade of a parsed answer against a row's decoded `answer`; an unparsable one is wrong."""
    if parsed is None:
        return Grade("wrong", "unreadable")
    score = score_answer(task, parsed, answer)
    verdict: Verdict = "correct" if score > 1 - 1e-9 else "partly" if score > 0 else "wrong"
    if task.family == "multiple_choice":
        return Grade(verdict, "")
    if task.family == "retrieval":
        return Grade(verdict, f"{round(score * len(answer))} of {len(answer)}")
    return Grade(verdict, f"{'NDCG' if task.family == 'ranking' else 'ROUGE-L'} {score:.2f}")
