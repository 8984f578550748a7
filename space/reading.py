"""What a model's answer says, for people: products re-ordered, picks with titles, the option meant, and how right it is."""

import re
from dataclasses import dataclass
from math import log2
from typing import Any, Literal

from tasks import GAINS, TASKS, Task, Value, gold

Verdict = Literal["correct", "partly", "wrong"]

GAIN_NAMES = {gain: name for name, gain in GAINS.items()}

UNREADABLE = {
    "multiple_choice": "It does not begin with one of the labels: {labels}.",
    "ranking": "It is not an order of the five numbers 1 to 5.",
    "retrieval": "It holds no numbers separated by commas.",
    "generation": "It is empty.",
}


@dataclass(frozen=True)
class Line:
    """One line of a reading: a product in its new place, a pick, an option or a text."""

    text: str
    number: str = ""
    note: str = ""
    chosen: bool = False
    right: bool | None = None
    """Whether it belongs to the right answer; None where that is not known or not a question of single lines."""


@dataclass(frozen=True)
class Mark:
    """How good an answer is beside the right one; `note` is the figure behind the verdict."""

    verdict: Verdict
    note: str


def numbered_items(prompt: str) -> dict[int, str]:
    """The last list in a prompt whose lines are numbered upwards from 0 or 1, by number."""
    items: dict[int, str] = {}
    for line in prompt.split("\n"):
        match = re.match(r"(\d{1,3})\. (.*)", line)
        if match is None:
            continue
        number, text = int(match[1]), match[2]
        if items and number == max(items) + 1:
            items[number] = text
        elif number <= 1:
            items = {number: text}
    return items


def unreadable(task: Task) -> str:
    """Why `parse_completion` gave None for an answer to this task."""
    return UNREADABLE[task.family].format(labels=", ".join(task.labels))


def lines(task: Task, prompt: str, value: Value, answer: Any = None) -> tuple[Line, ...]:
    """A parsed answer in lines. `answer` is the row's decoded one, or None where the right answer is not known."""
    if isinstance(value, str):
        return _option_lines(task, prompt, value, answer) if task.family == "multiple_choice" else (Line(value),)
    items = numbered_items(prompt)
    if task.family == "ranking":
        names = [GAIN_NAMES.get(gain, "") for gain in answer] if answer else []
        return tuple(
            Line(_title(items, number), str(number), note=names[number - 1] if number <= len(names) else "") for number in value
        )
    if answer is None:
        return tuple(Line(_title(items, number), str(number)) for number in value)
    counted, beyond = value[: len(answer)], value[len(answer) :]
    return (
        *(Line(_title(items, number), str(number), right=number in answer) for number in counted),
        *(Line(_title(items, number), str(number), note="not counted") for number in beyond),
    )


def _option_lines(task: Task, prompt: str, value: str, answer: Any) -> tuple[Line, ...]:
    """All labels, the chosen one marked; with the statements that they stand for where the prompt lists some."""
    items = numbered_items(prompt) if any("{options" in template for template in task.templates) else {}
    return tuple(
        Line(
            items.get(int(label), "") if label.isdecimal() else "",
            label,
            chosen=label == value,
            right=None if answer is None or label != value else label == str(answer),
        )
        for label in task.labels
    )


def _title(items: dict[int, str], number: int) -> str:
    return items.get(number, "not in the list")


def mark(task: Task, value: Value | None, answer: Any) -> Mark:
    """How good a parsed answer is beside a row's decoded `answer`; what cannot be read is wrong."""
    if value is None:
        return Mark("wrong", "unreadable")
    if task.family == "multiple_choice":
        return Mark("correct", "") if value == str(answer) else Mark("wrong", "")
    if task.family == "ranking" and isinstance(value, list):
        score = ndcg(value, answer)
        return Mark(_verdict(score), f"NDCG {score:.2f}")
    if task.family == "retrieval" and isinstance(value, list):
        hits = len(set(value[: len(answer)]) & set(answer))
        return Mark(_verdict(hits / len(answer)), f"{hits} of {len(answer)}")
    score = rouge_l(str(value), str(answer))
    return Mark(_verdict(score), f"ROUGE-L {score:.2f}")


def right_lines(task: Task, prompt: str, answer: Any) -> tuple[Line, ...]:
    """The right answer in lines."""
    return lines(task, prompt, gold(task, answer), answer)


def _verdict(score: float) -> Verdict:
    if score > 1 - 1e-9:
        return "correct"
    return "partly" if score > 0 else "wrong"


def ndcg(order: list[int], gains: list[float]) -> float:
    """NDCG of an order of 1-based numbers, gain 2^g - 1, as ShopBench computes it for a permutation."""

    def dcg(ranked: list[float]) -> float:
        return sum((2**gain - 1) / log2(place + 1) for place, gain in enumerate(ranked, 1))

    best = dcg(sorted(gains, reverse=True))
    return dcg([gains[number - 1] for number in order if number <= len(gains)]) / best if best else 0.0


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F with stemming, from 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rougeL"], use_stemmer=True).score(reference, text)["rougeL"].fmeasure)


def task_order(first: str, with_rows: set[str]) -> list[str]:
    """Names of all tasks: those with rows of the dataset before those without, and `first` before its equals."""
    return sorted(TASKS, key=lambda name: (name not in with_rows, name != first))
