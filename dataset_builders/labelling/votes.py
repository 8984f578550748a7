"""Votes: a row's prompt as requests to models, their answers, and the policies that keep or reject the row.

An answer agrees with the constructed one where the evaluation scores it at or above a bound: a label must be equal, a selection
or a ranking similar enough. A policy keeps or rejects a row; none replaces its answer by a model's. Gains and purchases are
what judges and customers did, and a model knows no better; in the test split, labels taken from one model would measure how
similar another is to it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import comb
from typing import Any

from common.answers import listed_numbers, parse_completion, render_completion
from common.errors import UserError
from common.scoring import ndcg, score_answer
from common.tasks import RANKED, TASKS, Task
from common.words import row_task
from dataset_builders.labelling.requests import LabelReply, LabelRequest
from dataset_builders.rows import DatasetRow

SYSTEM = "Answer in exactly the form that is asked for, with nothing before or after it."

POLICIES = ("agree", "majority", "two-models", "all")

BOUNDS = {"multiple_choice": 1.0, "retrieval": 0.67, "ranking": 0.95}
"""Family -> lowest score that agrees, rounded to two digits: two of three right items, or a ranking that puts a single exact
product first."""

UNPARSABLE = "no answer could be read"
DIFFERS = "the answer differs from the label"
SOME_AGREE = "only some of the samples agree"
ONE_MODEL = "only one of the two models agrees"
"""Why a row is rejected, beside the reasons of replies without an answer, such as "content filter"."""

_THINKING = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Vote:
    """One sample of one model's answer. `text` is the parsed completion, None for an unparsable one.

    `score` is from 0 to 1, `refused` the reason of a reply without an answer, else "".
    """

    model: str
    text: str | None
    score: float
    agrees: bool
    refused: str = ""


def comparable(task: Task) -> bool:
    """Whether an answer that differs from the constructed one is wrong; a free text may be as good as another."""
    return task.family in BOUNDS


def row_requests(
    rows: Iterable[DatasetRow],
    samples: int,
    temperature: float,
    max_tokens: int | None = None,
    system: str = SYSTEM,
    extra: str = "",
) -> Iterator[LabelRequest]:
    """`samples` requests with each row's own prompt, in order. `max_tokens` of an answer is by default what the task allows."""
    for row in rows:
        messages = (*((("system", system),) if system else ()), ("user", row.prompt))
        for sample in range(samples):
            limit = max_tokens or row_task(TASKS[row.task], json.loads(row.answer)).max_new_tokens
            yield LabelRequest(messages, limit, temperature, sample, extra=extra)


def read_vote(model: str, row: DatasetRow, reply: LabelReply, bounds: Mapping[str, float]) -> Vote:
    """The vote in a model's reply, without a `<think>` block before the answer."""
    answer = json.loads(row.answer)
    task = row_task(TASKS[row.task], answer)
    value = parse_completion(task, _THINKING.sub("", reply.text, count=1))
    if value is None:  # the kind of the reason, since the rest may differ in every row
        return Vote(model, None, 0.0, False, reply.kind)
    score = score_answer(task, value, answer)
    return Vote(model, render_completion(task, value), score, agrees_at(score, bounds[task.family]))


def agrees_at(score: float, bound: float) -> bool:
    return round(score, 2) >= bound


def rejection(policy: str, votes: Sequence[Vote]) -> str:
    """Why a row with these votes is rejected; "" where the policy keeps it.

    agree: every vote agrees with the constructed answer. majority: more than half of them do.
    two-models: more than half of each model's do. all: every row is kept.
    """
    models = list(dict.fromkeys(vote.model for vote in votes))
    agreeing = [has_majority([vote for vote in votes if vote.model == model]) for model in models]
    kept = {
        "agree": bool(votes) and all(vote.agrees for vote in votes),
        "majority": has_majority(votes),
        "two-models": len(models) == 2 and all(agreeing),
        "all": True,
    }
    if kept[policy]:
        return ""
    if all(vote.text is None for vote in votes):
        return next((vote.refused for vote in votes if vote.refused), UNPARSABLE)
    if policy == "two-models" and any(agreeing):
        return ONE_MODEL
    return SOME_AGREE if any(vote.agrees for vote in votes) else DIFFERS


def has_majority(votes: Sequence[Vote]) -> bool:
    return 2 * sum(vote.agrees for vote in votes) > len(votes)


def chance_agreement(row: DatasetRow, bounds: Mapping[str, float]) -> float:
    """The probability that a random answer agrees: a random order, or a random selection of the right size."""
    answer = json.loads(row.answer)
    task = row_task(TASKS[row.task], answer)
    bound = bounds[task.family]
    if task.family == "ranking":
        return _chance_of_order(tuple(answer), bound)
    listed = listed_numbers(row.prompt)
    if task.family == "retrieval":
        return _chance_of_selection(len(answer), len(listed), bound)
    return 1 / (len(listed) if task.lists_options and listed else len(task.labels))


@lru_cache
def _chance_of_order(gains: tuple[float, ...], bound: float) -> float:
    orders = list(permutations(range(1, RANKED + 1)))
    return sum(agrees_at(ndcg(order, gains), bound) for order in orders) / len(orders)


@lru_cache
def _chance_of_selection(right: int, listed: int, bound: float) -> float:
    """Hits among `right` random picks follow a hypergeometric distribution."""
    wrong = max(listed - right, 0)
    ways = [comb(right, hits) * comb(wrong, right - hits) for hits in range(right + 1)]
    return sum(ways[hits] for hits in range(right + 1) if agrees_at(hits / right, bound)) / sum(ways)


def parse_bounds(text: str | None) -> dict[str, float]:
    """Parses `retrieval=0.5,ranking=0.9`; returns every family's bound. Raises UserError."""
    bounds = dict(BOUNDS)
    for part in text.split(",") if text is not None else ():
        family, _, value = (word.strip() for word in part.partition("="))
        try:
            bound = float(value)
        except ValueError:
            bound = -1.0
        if family not in ("retrieval", "ranking") or not 0 < bound <= 1:
            raise UserError(
                f"Cannot read --agreement {part.strip()!r}. Give retrieval, ranking or both with the lowest score that agrees, "
                "above 0 and at most 1, such as retrieval=0.67,ranking=0.95."
            )
        bounds[family] = bound
    return bounds


def label_columns(policy: str, votes: Sequence[Vote]) -> dict[str, Any]:
    """The label columns of a checked row: see LABEL_COLUMNS of the card."""
    texts: dict[str, list[str | None]] = {}
    for vote in votes:
        texts.setdefault(vote.model, []).append(vote.text)
    return {
        "label_source": policy,
        "label_votes": json.dumps(texts, ensure_ascii=False),
        "label_agreement": sum(vote.agrees for vote in votes) / len(votes),
    }


CONSTRUCTED = {"label_source": "constructed", "label_votes": None, "label_agreement": None}
"""The label columns of an unchecked row."""
