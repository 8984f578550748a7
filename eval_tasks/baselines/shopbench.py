"""Baselines for ShopBench's prompts, as far as these list what may be answered.

ShopBench has no rows to learn from. What a baseline has learnt, it has from the dataset's train rows: how rare words are, and
how reviews are rated.
"""

import random
import re
from collections.abc import Mapping, Sequence

from common.answers import numbered_items
from common.tasks import TASKS
from eval_tasks.baselines import shop as baselines
from eval_tasks.baselines.encoders import Ranker, ranker
from eval_tasks.baselines.template_rows import TemplateRow
from eval_tasks.suites.shopbench_rows import ShopBenchRow

LISTED = ("multiple-choice", "retrieval", "ranking")
"""Types of task whose prompts list what may be answered."""

RATINGS = TASKS["review_rating"].labels


def shopbench_answers(
    name: str, train: Mapping[str, Sequence[TemplateRow]], rows: Sequence[ShopBenchRow], seed: int = 0
) -> list[str | None]:
    """What a baseline says to each row; None to one that it has no answer to. `train`: task -> rows.

    A choice without a list is the rating of a review, which the task `review_rating` teaches.
    """
    if name == "random":
        return [_random_answer(row, random.Random(f"{seed} {row.prompt}")) for row in rows]
    said: list[str | None] = [None] * len(rows)
    texts = baselines.texts_of([row for found in train.values() for row in found])
    if name != "majority" and (texts or name.startswith("cross-encoder=")):
        weigh = ranker(name, texts)
        said = [_best_first(row, weigh) for row in rows]
    rated = [place for place, row in enumerate(rows) if is_rating(row)]
    reviews = [_review(rows[place]) for place in rated]
    ratings = baselines.baseline_answers(name, train.get("review_rating", ()), reviews, seed) if reviews else None
    for place, rating in zip(rated, ratings or (), strict=False):
        said[place] = rating
    return said


def is_rating(row: ShopBenchRow) -> bool:
    return row.task_type == "multiple-choice" and not numbered_items(row.prompt)


def _random_answer(row: ShopBenchRow, rng: random.Random) -> str | None:
    items = list(numbered_items(row.prompt)) or (list(map(int, RATINGS)) if is_rating(row) else [])
    if not items or row.task_type not in LISTED:
        return None
    return str(rng.choice(items)) if row.task_type == "multiple-choice" else _text(rng.sample(items, len(items)))


def _best_first(row: ShopBenchRow, weigh: Ranker) -> str | None:
    """The numbers of the prompt's list, the text that fits the rest of the prompt best first; of a choice only that one."""
    items = numbered_items(row.prompt)
    if not items or row.task_type not in LISTED:
        return None
    rest = "\n".join(line for line in row.prompt.split("\n") if not re.match(r"\s*\d{1,2}\.", line))
    weights = dict(zip(items, weigh(rest, list(items.values())), strict=True))
    order = sorted(items, key=lambda number: -weights[number])
    return _text(order[:1] if row.task_type == "multiple-choice" else order)


def _text(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _review(row: ShopBenchRow) -> TemplateRow:
    """The text between the instruction and the words "Output:"."""
    text = row.prompt.rpartition("Output:")[0].partition("\n")[2] or row.prompt
    return TemplateRow(TASKS["review_rating"], row.prompt, "", "", "", {"review": text})
