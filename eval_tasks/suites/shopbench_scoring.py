"""ShopBench rows and model outputs in, scores per sample, per task and overall out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.answers import says_nothing, whole_characters
from common.errors import UserError
from eval_tasks.metrics.aggregate import (
    PARSERS,
    TASK_TYPES,
    MetricUnavailableError,
    is_truth,
    score_answers,
    task_score,
    wanted_truth,
)
from eval_tasks.suites.files import kind, read_records


@dataclass(frozen=True)
class Row:
    """One ShopBench question. `truth` is a number, a list or a text, as its metric needs it."""

    prompt: str
    truth: Any
    task: str
    task_type: str
    metric: str


def read_rows(path: Path) -> list[Row]:
    """Rows of a ShopBench file, JSON lines or one JSON array. Raises UserError naming the row that is wrong."""
    return parse_rows(read_records(path), str(path))


def read_outputs(path: Path) -> list[str]:
    """Texts of a file with one `{"output": "..."}` a line, in the order of the rows."""
    outputs = []
    for where, record in read_records(path):
        if "output" not in record:
            raise UserError(f'{path}, {where}: no "output"; write one {{"output": "..."}} for each row')
        if not isinstance(record["output"], str):
            raise UserError(f'{path}, {where}: "output" is {kind(record["output"])}; it must be a string')
        outputs.append(record["output"])
    return outputs


def parse_rows(records: Sequence[tuple[str, dict[str, Any]]], source: str) -> list[Row]:
    """Rows of raw records, each with the words that say where it stands in `source`."""
    as_json = _texts_are_json([record for _, record in records])
    rows = [_parse_row(record, as_json, f"{source}, {where}") for where, record in records]
    metrics: dict[str, set[str]] = {}
    for row in rows:
        if not unknown(row):
            metrics.setdefault(row.task, set()).add(row.metric)
    for task, names in metrics.items():
        if len(names) > 1 and "micro f1" in names:
            raise UserError(f"{source}: {task} has rows of {' and '.join(sorted(names))}, which have no common mean")
    return rows


def _texts_are_json(records: Sequence[dict[str, Any]]) -> bool:
    """True where a column of one type has forced every `output_field` into JSON text, texts in quotes among them."""

    def is_json_text(record: dict[str, Any]) -> bool:
        value = record.get("output_field")
        try:
            decoded = json.loads(value) if isinstance(value, str) else None
        except (ValueError, RecursionError):
            return False
        return isinstance(decoded, str | list if record.get("task_type") == "generation" else str | list | int | float)

    return all(is_json_text(record) for record in records if record.get("task_type") in list(PARSERS))


def _parse_row(record: dict[str, Any], as_json: bool, where: str) -> Row:
    for key in ("output_field", "task_name", "task_type", "metric"):
        if key not in record:
            raise UserError(f'{where}: no "{key}"; is this a ShopBench file?')
    task, task_type, metric, truth = (record[key] for key in ("task_name", "task_type", "metric", "output_field"))
    for key in ("task_name", "task_type", "metric"):
        if not isinstance(record[key], str) or not record[key]:
            raise UserError(f'{where}: "{key}" must be a string')
    row = Row(str(record.get("input_field", "")), truth, task, task_type, metric)
    if unknown(row):
        return row
    if TASK_TYPES[metric] != task_type:
        raise UserError(
            f"{where}: the metric {metric!r} scores {TASK_TYPES[metric]} rows, and this row's task_type is {task_type}"
        )
    if isinstance(truth, str) and (as_json or task_type != "generation"):
        try:
            truth = json.loads(truth)
        except (ValueError, RecursionError):
            raise UserError(f'{where}: "output_field" {truth!r} is no JSON; {task_type} needs {wanted_truth(metric)}') from None
    if not is_truth(truth, metric):
        raise UserError(f'{where}: "output_field" is {kind(truth)}; {metric} needs {wanted_truth(metric)}')
    return replace(row, truth=_whole(truth))


def unknown(row: Row) -> str | None:
    """Why a row cannot be scored whatever its answer is: a task_type or metric that is not ShopBench's. None: it can."""
    if row.task_type not in PARSERS:
        return f"its task_type {row.task_type!r} is unknown; known are {', '.join(PARSERS)}"
    if row.metric not in TASK_TYPES:
        return f"its metric {row.metric!r} is unknown; known are {', '.join(TASK_TYPES)}"
    return None


def _whole(truth: Any) -> Any:
    if isinstance(truth, list):
        return [_whole(item) for item in truth]
    return whole_characters(truth) if isinstance(truth, str) else truth


# --- Scores ---


@dataclass(frozen=True)
class Sample:
    """One answer as it was read, and its score: a number, (tp, fp, fn) for micro F1, or None where `reason` says why not."""

    parsed: Any
    score: Any
    reason: str | None = None


def read_answer(row: Row, text: str) -> Any:
    """An answer as ShopBench's parsers read it."""
    return PARSERS[row.task_type](text)


def score_samples(
    rows: Sequence[Row],
    outputs: Sequence[str],
    sentence_model: str | None = None,
    read: Callable[[Row, str], Any] = read_answer,
) -> list[Sample]:
    """One sample for each row and output. What a metric can score together, such as texts to embed, it gets in one call."""
    samples: dict[int, Sample] = {}
    by_metric: dict[str, list[int]] = {}
    answers: dict[int, Any] = {}
    for index, (row, output) in enumerate(zip(rows, outputs, strict=True)):
        if reason := unknown(row):
            samples[index] = Sample(None, None, reason)
        else:
            answers[index] = read(row, whole_characters(output))
            by_metric.setdefault(row.metric, []).append(index)
    for metric, indices in by_metric.items():
        said, truths = [answers[index] for index in indices], [rows[index].truth for index in indices]
        try:
            scores = score_answers(metric, said, truths, sentence_model)
        except MetricUnavailableError as error:
            samples |= {index: Sample(answer, None, str(error)) for index, answer in zip(indices, said, strict=True)}
        else:
            samples |= dict(zip(indices, map(Sample, said, scores), strict=True))
    return [samples[index] for index in range(len(rows))]


def why_unscored(rows: Sequence[Row]) -> str | None:
    """Why rows cannot be scored, by a trial with empty answers: a metric is unknown, or its model or package is not there."""
    one_per_kind = list({(row.task_type, row.metric): row for row in rows}.values())
    return next((sample.reason for sample in score_samples(one_per_kind, [""] * len(one_per_kind)) if sample.reason), None)


def score(rows: Sequence[Row], outputs: Sequence[str], sentence_model: str | None = None) -> dict[str, Any]:
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
