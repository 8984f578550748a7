"""Generated answers of several models by several backends to the same rows, for benchmarks of scoring: of every task of the
twelve, and every metric of ShopBench whose model is here. The texts are those of the sample corpora's invented shop.

Models differ in how likely they are right, and a word that a worse model has right a better one has right too. Backends of the
same model give the same answer, but for some (see benchmarks/agreement.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

from common.tasks import GAINS, TASKS
from dataset_builders.samples.catalog import LINES, Product, kits
from dataset_builders.samples.text import description, question, review

RANKED = 5
LISTED = 15
WORST, BEST = 0.2, 0.9
SHOPBENCH = ("accuracy", "hit rate@3", "ndcg", "micro f1", "rougel", "bleu", "jp-bleu", "sent-transformer")
"""multilingual-sent-transformer is not among them: its model comes in no package."""

SILENT = 0.02
"""Share of answers that say nothing."""

DIFFER = 0.1
"""Share of answers in which a backend differs from the first one."""


@dataclass(frozen=True)
class Stored:
    """An answer, and the truth that it is scored against by a task of the twelve or by a metric of ShopBench (`kind`)."""

    kind: str
    text: str
    truth: Any


def stored_answers(rows: int, models: int, backends: int, seed: int) -> list[Stored]:
    """`rows` rows of each kind, answered by each model through each backend: those of a run together."""
    rng = Random(seed)
    questions = [(kind, _truth(rng, kind), rng.random()) for kind in (*TASKS, *SHOPBENCH) for _ in range(rows)]
    found = []
    for model, backend in product(range(models), range(backends)):
        skill = WORST + (BEST - WORST) * model / max(1, models - 1)
        for kind, truth, luck in questions:
            other = backend if rng.random() < DIFFER else 0
            own = Random(f"{seed} {kind} {truth} {luck} {other}")  # the same draws for every model
            found.append(Stored(kind, _said(own, kind, truth, skill), truth))
    return found


def _truth(rng: Random, kind: str) -> Any:
    task = TASKS.get(kind)
    if kind == "accuracy":
        return rng.randrange(4)
    if task and task.labels:
        return rng.choice(task.labels)
    if kind in ("ndcg", "query_product_ranking"):
        return [rng.choice(list(GAINS.values())) for _ in range(RANKED)]
    if kind in ("hit rate@3", "also_buy", "next_query"):
        return sorted(rng.sample(range(1, LISTED + 1), 3))
    if kind == "micro f1":
        return rng.sample([part for kit in kits() for part in kit.parts], rng.randint(1, 4))
    return _text(rng, kind)


def _text(rng: Random, kind: str) -> str:
    locale = {"bleu": "es", "jp-bleu": "jp"}.get(kind, "us")
    kit = rng.choice(kits(locale))
    of = rng.choice(kit.types)
    values = rng.choice(kit.shared.values), rng.choice(of.attribute.values)
    goods = Product(kit, of, rng.choice(kit.brands), rng.choice(LINES), *values)
    if kind in ("bleu", "jp-bleu"):
        return description(rng, goods, locale)
    if kind in ("next_title_merrec", "next_title_amazon"):
        return goods.title
    if kind == "query_generation":
        return f"{goods.shared} {goods.noun}".lower()
    if kind == "answer_generation":
        return question(rng, goods, answerable=True).answers[0]
    if kind == "sent-transformer":
        return f"{description(rng, goods)} {review(rng, goods, 5)[1]}"
    return review(rng, goods, rng.randint(1, 5))[1]


def _said(rng: Random, kind: str, truth: Any, skill: float) -> str:
    if rng.random() < SILENT:
        return ""
    if isinstance(truth, list):
        return ", ".join(_items(rng, kind, truth, skill))
    if kind == "accuracy" or TASKS.get(kind, TASKS["query_generation"]).labels:
        wrong = rng.choice([str(number) for number in range(4)] if kind == "accuracy" else TASKS[kind].labels)
        return str(truth) if rng.random() < skill else wrong
    between = " " if kind != "jp-bleu" else ""
    right, other = (list(text) if not between else text.split() for text in (str(truth), _text(rng, kind)))
    return between.join(word if rng.random() < skill else rng.choice(other) for word in right)


def _items(rng: Random, kind: str, truth: Sequence[Any], skill: float) -> list[str]:
    if kind in ("ndcg", "query_product_ranking"):
        order = sorted(range(RANKED), key=lambda place: -truth[place])
        shuffled = rng.sample(order, RANKED)
        return [str(place + 1) for place in (order if rng.random() < skill else shuffled)]
    wrong = [str(number) for number in range(1, LISTED + 1)] if kind != "micro f1" else _text(rng, "rougel").split()
    return [str(item) if rng.random() < skill else rng.choice(wrong) for item in truth]
