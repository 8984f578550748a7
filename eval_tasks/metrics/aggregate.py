"""Metrics of answers that were read: ShopBench's, oddities included, and what sums up a task.

The ShopBench part restates metrics.py of the scorer in the KDD Cup 2024 starter kit
(https://gitlab.aicrowd.com/aicrowd/challenges/amazon-kdd-cup-2024/amazon-kdd-cup-2024-starter-kit). Where it looks strange it
is meant to: a score must come out the same to the last digit. NDCG and the metrics of texts are in common/scoring.py and
embeddings.py.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.answers import PARSERS, parse_entities, parse_ranking, parse_retrieval
from common.scoring import MetricUnavailableError, bleu, discounted_sum, jp_bleu, ndcg, rouge_l
from common.tasks import Task
from eval_tasks.metrics.embeddings import PACKAGED_SENTENCE_MODEL, SENTENCE_MODELS, cosine, embed, sentence_model, similarities

__all__ = [
    "AGGREGATES",
    "PACKAGED_SENTENCE_MODEL",
    "PARSERS",
    "SENTENCE_MODELS",
    "TASK_TYPES",
    "TEXT_METRICS",
    "MetricUnavailableError",
    "cosine",
    "embed",
    "is_truth",
    "jp_bleu",
    "ndcg",
    "parse_entities",
    "parse_ranking",
    "parse_retrieval",
    "rouge_l",
    "score_answers",
    "sentence_model",
    "task_score",
    "unavailable",
    "wanted_truth",
]

# --- Metrics of one answer ---


def accuracy(choice: int, truth: int) -> float:
    return float(choice == truth)


def hit_rate_at_3(picks: Sequence[int], truth: Sequence[int]) -> float:
    """Distinct true items among the first three, over the number of true items (at least one)."""
    return len(set(truth) & set(picks[:3])) / len(truth)


def expected_ndcg(weights: Sequence[float]) -> float:
    """The mean of `ndcg` over all orders: at every position stands the mean gain."""
    gains = [2**weight - 1 for weight in weights]
    ideal = discounted_sum(sorted(weights, reverse=True))
    discounts = sum(1 / math.log2(position + 1) for position in range(1, len(weights) + 1))
    return sum(gains) / len(gains) * discounts / ideal if ideal else 0.0


def entity_counts(entities: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    """True positives (distinct), false positives, false negatives; case is ignored, and white space around predictions."""
    predicted = [entity.lower().strip() for entity in entities]
    wanted = [entity.lower() for entity in truth]
    hits = len(set(predicted) & set(wanted))
    return hits, len(predicted) - hits, len(wanted) - hits


def micro_f1(counts: Iterable[Sequence[int]]) -> float:
    """F1 of summed (true positives, false positives, false negatives); 0 where there is nothing to divide by."""
    true_positives, false_positives, false_negatives = (sum(column) for column in zip(*counts, strict=True))
    predicted, wanted = true_positives + false_positives, true_positives + false_negatives
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


TEXT_METRICS: Mapping[str, Callable[[Any, Any], Any]] = {
    "accuracy": accuracy,
    "hit rate@3": hit_rate_at_3,
    "ndcg": ndcg,
    "micro f1": entity_counts,
    "rougel": rouge_l,
    "bleu": bleu,
    "jp-bleu": jp_bleu,
}
"""ShopBench's metric -> function of the parsed answer and the truth. The embedding metrics take many: see `score_answers`."""

TASK_TYPES: Mapping[str, str] = {
    "accuracy": "multiple-choice",
    "hit rate@3": "retrieval",
    "ndcg": "ranking",
    "micro f1": "named_entity_recognition",
    **dict.fromkeys(("rougel", "bleu", "jp-bleu", *SENTENCE_MODELS), "generation"),
}
"""Every ShopBench metric -> the task_type whose answers it can score."""


def is_truth(truth: Any, metric: str) -> bool:
    """Whether answers can be scored against this by a metric of ShopBench."""
    if metric == "accuracy":
        return _is_number(truth)
    if metric in ("hit rate@3", "ndcg"):
        return isinstance(truth, list) and bool(truth) and all(_is_number(item) and 0 <= item <= 1000 for item in truth)
    if metric == "micro f1":
        return isinstance(truth, list) and all(isinstance(item, str) for item in truth)
    if metric in SENTENCE_MODELS and isinstance(truth, list):
        return bool(truth) and all(isinstance(item, str) for item in truth)
    return isinstance(truth, str)


def wanted_truth(metric: str) -> str:
    """What `is_truth` asks for, in words."""
    wanted = {
        "accuracy": "a number",
        "hit rate@3": "a list of numbers, at least one",
        "ndcg": "a list of weights from 0, at least one",
        "micro f1": "a list of strings",
    }
    return wanted.get(metric, "a string")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score_answers(metric: str, answers: Sequence[Any], truths: Sequence[Any], sentence_model: str | None = None) -> list[Any]:
    """The value of each parsed answer by a metric of ShopBench: a number, or (tp, fp, fn) for micro F1.

    `sentence_model`: a folder or Hub id for sent-transformer. Raises MetricUnavailableError.
    """
    if metric in SENTENCE_MODELS:
        return similarities(answers, truths, metric, sentence_model if metric == "sent-transformer" else None)
    return [TEXT_METRICS[metric](answer, truth) for answer, truth in zip(answers, truths, strict=True)]


def macro_f1(pairs: Sequence[Sequence[float]]) -> float:
    """Mean over classes of their F1. `pairs` are (true class, predicted class), numbers from 0; a class below 0 is none.

    A class counts that is true or predicted anywhere, as in scikit-learn's f1_score(average="macro").
    """
    true, predicted = np.asarray(pairs, dtype=int).T
    classes = [number for number in np.union1d(true, predicted) if number >= 0]
    f1s = []
    for number in classes:
        hits = np.sum((true == number) & (predicted == number))
        f1s.append(2 * hits / (np.sum(true == number) + np.sum(predicted == number)))
    return float(np.mean(f1s)) if f1s else 0.0


def share(pairs: Sequence[Sequence[float]]) -> float:
    """The first numbers' sum over the second numbers'; 0 where there is nothing to divide by."""
    part, whole = np.sum(np.asarray(pairs, dtype=float), axis=0)
    return float(part / whole) if whole else 0.0


AGGREGATES: Mapping[str, Callable[[Sequence[Any]], float]] = {
    "micro f1": micro_f1,
    "f1*": micro_f1,
    "f1": micro_f1,
    "macro f1": macro_f1,
    "hr@1": share,
    "accuracy of readable answers": share,
}
"""Metric -> the score of a task from the values of its rows, where that is not their mean.

The last five are ECInstruct's, which leave answers out that cannot be read; see ecinstruct_scoring.py.
"""


def task_score(metric: str, scores: Sequence[Any]) -> Any:
    """The score of a task from those of its samples: their mean, unless the metric has a rule of its own."""
    return AGGREGATES.get(metric, np.mean)(scores)


def unavailable(task: Task) -> str | None:
    """Why no answer to the task can be scored here: a package that is missing. None: they can."""
    try:
        if task.metric == "rougel":
            rouge_l("a", "b")
    except MetricUnavailableError as error:
        return str(error)
    return None
