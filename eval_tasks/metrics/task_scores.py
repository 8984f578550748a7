"""A task's score from the values of its rows: the mean, or what its metric needs instead, such as F1 over summed counts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def micro_f1(counts: Iterable[Sequence[int]]) -> float:
    """F1 of summed (true positives, false positives, false negatives); 0 where there is nothing to divide by."""
    true_positives, false_positives, false_negatives = (sum(column) for column in zip(*counts, strict=True))
    predicted, wanted = true_positives + false_positives, true_positives + false_negatives
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


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
