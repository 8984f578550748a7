"""Rows as a build makes them, and what a model may say of them."""

from typing import Any

from common.tasks import TASKS
from dataset_builders.labelling.requests import LabelReply
from dataset_builders.labelling.votes import BOUNDS, Vote, read_vote
from dataset_builders.rows import DatasetRow, make_row

RELATIONS = ["substitute", "narrowing", "irrelevant", "complement"]
"""As the prompt of `relation` numbers them from 0."""


def row(task: str, answer: Any, key: int = 0, **fields: Any) -> DatasetRow:
    harvested = {"answer": answer, "key": str(key), "group": f"g{key}", "source": "shop", "records": [key], **fields}
    made = make_row(TASKS[task], harvested, {"shop": "own data"}, 0)
    assert isinstance(made, DatasetRow)
    return made


def relation(label: str, number: int = 0) -> DatasetRow:
    """Two queries; the label is the number of an option."""
    return row("query_relation", label, number, query=f"mug {number}", other_query="red mug", options=RELATIONS)


def rating(label: str, number: int = 0) -> DatasetRow:
    return row("review_rating", label, number, category="Home", review=f"It is number {number}.")


def ranking(gains: list[float], number: int = 0) -> DatasetRow:
    products = [f"mug {place} of {number}" for place in range(5)]
    return row("query_product_ranking", gains, number, query="mug", products=products)


def selection(answer: list[int], number: int = 0) -> DatasetRow:
    told = {"product": f"mug {number}", "number": f"{len(answer)} products", "candidates": [f"thing {n}" for n in range(15)]}
    return row("also_buy", answer, number, **told)


def vote(found: DatasetRow, text: str, model: str = "one", reason: str = "") -> Vote:
    return read_vote(model, found, LabelReply(text, reason), BOUNDS)
