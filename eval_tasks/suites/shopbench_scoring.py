"""Scores of ShopBench's rows: of each answer, of each task and overall."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.answers import whole_characters
from common.errors import UserError
from common.scoring import MetricUnavailableError
from eval_tasks.metrics.shopbench import PARSERS, says_nothing, score_answers
from eval_tasks.metrics.task_scores import task_score
from eval_tasks.suites.shopbench_rows import ShopBenchRow, unknown


@dataclass(frozen=True)
class ShopBenchSample:
    """One answer as it was read, and its score: a number, (tp, fp, fn) for micro F1, or None where `reason` says why not."""

    parsed: Any
    score: Any
    reason: str | None = None


def parse_answer(row: ShopBenchRow, text: str) -> Any:
    """An answer as ShopBench's parsers read it."""
    return PARSERS[row.task_type](text)


def score_samples(
    rows: Sequence[ShopBenchRow], outputs: Sequence[str], sentence_model: str | None = None
) -> list[ShopBenchSample]:
    """One sample for each row and output."""
    answers = [
        None if unknown(row) else parse_answer(row, whole_characters(output)) for row, output in zip(rows, outputs, strict=True)
    ]
    return score_parsed(rows, answers, sentence_model)


def score_parsed(
    rows: Sequence[ShopBenchRow], answers: Sequence[Any], sentence_model: str | None = None
) -> list[ShopBenchSample]:
    """One sample for each row and parsed answer. What a metric scores together, such as texts to embed, it gets in one call."""
    samples: dict[int, ShopBenchSample] = {}
    by_metric: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if reason := unknown(row):
            samples[index] = ShopBenchSample(None, None, reason)
        else:
            by_metric.setdefault(row.metric, []).append(index)
    for metric, indices in by_metric.items():
        parsed, truths = [answers[index] for index in indices], [rows[index].truth for index in indices]
        try:
            scores = score_answers(metric, parsed, truths, sentence_model)
        except MetricUnavailableError as error:
            samples |= {index: ShopBenchSample(answers[index], None, str(error)) for index in indices}
        else:
            samples |= dict(zip(indices, map(ShopBenchSample, parsed, scores), strict=True))
    return [samples[index] for index in range(len(rows))]


def plain_scores(samples: Sequence[ShopBenchSample]) -> list[float | list[float]]:
    """The samples' scores as numbers and lists of numbers. Raises UserError where there is none."""
    if reason := next((sample.reason for sample in samples if sample.reason), None):
        raise UserError(f"these rows cannot be scored: {reason}")
    return [_plain(sample.score) for sample in samples]


def why_unscored(rows: Sequence[ShopBenchRow]) -> str | None:
    """Why rows cannot be scored, by a trial with empty answers: a metric is unknown, or its model or package is not there."""
    one_per_kind = list({(row.task_type, row.metric): row for row in rows}.values())
    return next((sample.reason for sample in score_samples(one_per_kind, [""] * len(one_per_kind)) if sample.reason), None)


def score(rows: Sequence[ShopBenchRow], outputs: Sequence[str], sentence_model: str | None = None) -> dict[str, Any]:
    """`overall` (mean over scored tasks, or None), `tasks` and `samples`, ready for JSON.

    A task of which a sample could not be scored has the score None and a `reason`, and does not count in `overall`.
    `unparsable` is the share of a task's answers in which nothing could be read (None where it is unknown how to read them);
    they count in its score.
    """
    if len(rows) != len(outputs):
        raise UserError(f"{len(outputs)} outputs for {len(rows)} rows; there must be one for each row, in the same order")
    samples = score_samples(rows, outputs, sentence_model)
    by_task: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_task.setdefault(row.task, []).append(index)
    tasks: dict[str, dict[str, Any]] = {}
    for name, indices in by_task.items():
        metric = rows[indices[0]].metric
        read = [answer for index in indices if (answer := samples[index].parsed) is not None]
        unparsable = float(np.mean([says_nothing(answer) for answer in read])) if read else None
        tasks[name] = {"metric": metric, "num_samples": len(indices), "score": None, "unparsable": unparsable}
        reasons = [reason for index in indices if (reason := samples[index].reason)]
        if reasons:
            tasks[name]["reason"] = reasons[0]
        else:
            # The scores go in with the types that they have: NumPy's mean of float32 is a float32, as in the official scorer.
            tasks[name]["score"] = float(task_score(metric, [samples[index].score for index in indices]))
    scored = [task["score"] for task in tasks.values() if task["score"] is not None]
    return {
        "overall": float(np.mean(scored)) if scored else None,
        "tasks": tasks,
        "samples": [{"parsed": sample.parsed, "score": _plain(sample.score)} for sample in samples],
    }


def _plain(value: Any) -> Any:
    if value is None:
        return None
    return list(value) if isinstance(value, tuple) else float(value)
