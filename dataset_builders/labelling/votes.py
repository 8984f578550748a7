"""What models said of a row, and whether the row is kept for it.

A model's answer agrees with the constructed one where the evaluation would score it at or above a bound: a label must be the
same, a selection and a ranking alike enough. Policies only ever keep or reject a row; none replaces its answer by a model's.
Gains and purchases are what customers and judges did, of which a model's opinion is no better source, and labels taken from a
model would measure in the test split how like that model another one is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import comb
from typing import Any

from common.answers import listed_numbers, parse_completion, render_completion
from common.errors import UserError
from common.scoring import ndcg, score_answer
from common.tasks import RANKED, TASKS, Task
from dataset_builders.labelling.requests import Reply
from dataset_builders.rows import DatasetRow

POLICIES = ("agree", "majority", "two-models", "all")

BOUNDS = {"multiple_choice": 1.0, "retrieval": 0.67, "ranking": 0.95}
"""Family -> the least score that agrees, to two digits: two of three right items do, and of a ranking with one exact product
only what puts that first."""

UNREADABLE = "no answer could be read"
DIFFERS = "the answer differs from the label"
SOME = "only some of the samples agree"
ONE_MODEL = "only one of the two models agrees"
"""Why a row is rejected, beside the reasons of replies that hold no answer, such as "content filter"."""

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Vote:
    """One sample of one model's answer. `text` is the completion that was read from it, None where none could be read.

    `score` is from 0 to 1, `refused` why the endpoint gave no answer, "" where it gave one.
    """

    model: str
    text: str | None
    score: float
    agrees: bool
    refused: str = ""


def comparable(task: Task) -> bool:
    """Whether an answer that differs from the constructed one is wrong. Of a free text another one may be as good."""
    return task.family in BOUNDS


def read_vote(model: str, row: DatasetRow, reply: Reply, bounds: Mapping[str, float]) -> Vote:
    """The vote that a model's reply is; what a model thought aloud in `<think>` before its answer does not count."""
    task, answer = TASKS[row.task], json.loads(row.answer)
    said = parse_completion(task, _THOUGHT.sub("", reply.text, count=1))
    if said is None:  # of a reason only the kind, since what follows may be another one for every row
        return Vote(model, None, 0.0, False, reply.kind)
    score = score_answer(task, said, answer)
    return Vote(model, render_completion(task, said), score, is_alike(score, bounds[task.family]))


def is_alike(score: float, bound: float) -> bool:
    return round(score, 2) >= bound


def rejection(policy: str, votes: Sequence[Vote]) -> str:
    """Why a row with these votes is rejected; "" where the policy keeps it.

    agree: every vote agrees with the constructed answer. majority: more than half of them do, so a tie is none.
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
        return next((vote.refused for vote in votes if vote.refused), UNREADABLE)
    if policy == "two-models" and any(agreeing):
        return ONE_MODEL
    return SOME if any(vote.agrees for vote in votes) else DIFFERS


def has_majority(votes: Sequence[Vote]) -> bool:
    return 2 * sum(vote.agrees for vote in votes) > len(votes)


def chance(row: DatasetRow, bounds: Mapping[str, float]) -> float:
    """The probability that an answer drawn at random agrees: an order, or a selection as large as the right one."""
    task, answer = TASKS[row.task], json.loads(row.answer)
    bound = bounds[task.family]
    if task.family == "ranking":
        return _chance_of_order(tuple(answer), bound)
    listed = listed_numbers(row.prompt)
    if task.family == "retrieval":
        return _chance_of_selection(len(answer), len(listed), bound)
    return 1 / (len(listed) if "{options:0}" in task.templates[0] and listed else len(task.labels))


@lru_cache
def _chance_of_order(gains: tuple[float, ...], bound: float) -> float:
    orders = list(permutations(range(1, RANKED + 1)))
    return sum(is_alike(ndcg(order, gains), bound) for order in orders) / len(orders)


@lru_cache
def _chance_of_selection(right: int, listed: int, bound: float) -> float:
    """Of `right` picks of a list, as many are right as the hypergeometric distribution says."""
    wrong = max(listed - right, 0)
    ways = [comb(right, hits) * comb(wrong, right - hits) for hits in range(right + 1)]
    return sum(ways[hits] for hits in range(right + 1) if is_alike(hits / right, bound)) / sum(ways)


def parse_bounds(text: str | None) -> dict[str, float]:
    """`retrieval=0.5,ranking=0.9` -> the bound of every family. Raises UserError."""
    bounds = dict(BOUNDS)
    for part in (text or "").split(",") if text is not None else []:
        family, _, value = (word.strip() for word in part.partition("="))
        try:
            bound = float(value)
        except ValueError:
            bound = -1.0
        if family not in ("retrieval", "ranking") or not 0 < bound <= 1:
            raise UserError(
                f"--agreement {part.strip() or 'of nothing'} is no bound. Give retrieval, ranking or both with the least score "
                "that agrees, above 0 and at most 1, such as retrieval=0.67,ranking=0.95."
            )
        bounds[family] = bound
    return bounds


def label_columns(policy: str, votes: Sequence[Vote]) -> dict[str, Any]:
    """The columns that tell how the label of an asked row was checked: see LABEL_COLUMNS of the card."""
    said: dict[str, list[str | None]] = {}
    for vote in votes:
        said.setdefault(vote.model, []).append(vote.text)
    return {
        "label_source": policy,
        "label_votes": json.dumps(said, ensure_ascii=False),
        "label_agreement": sum(vote.agrees for vote in votes) / len(votes),
    }


CONSTRUCTED = {"label_source": "constructed", "label_votes": None, "label_agreement": None}
"""The same columns of a row of which no model was asked."""
