"""ShopBench in the quality benchmark: its own prompts, parsers and scorer."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.answering import prompt
from benchmarks.verdict import TaskScores
from common.errors import UserError
from eval_tasks.backends.prompts import Prompt
from eval_tasks.baselines.shopbench import LISTED, expected_score
from eval_tasks.metrics.task_scores import micro_f1
from eval_tasks.suites.shopbench_rows import ShopBenchRow, read_rows
from eval_tasks.suites.shopbench_scoring import score, score_samples

MODELS = ("base", "tuned")


def read(path: Path) -> list[ShopBenchRow]:
    """Rows of a ShopBench file. Raises UserError for one without a question."""
    rows = read_rows(path)
    if not all(row.prompt for row in rows):
        raise UserError(f'{path}: a row has no "input_field", so there is nothing to ask. Give the file of the competition.')
    return rows


def prompts(rows: Sequence[ShopBenchRow], path: Path) -> list[Prompt]:
    """As lighteval asks them. `path` is the rows' file, which the module of lighteval's tasks reads when it is imported."""
    os.environ["SHOPBENCH_DATA"] = str(path)
    sizes = import_module("eval_tasks.shopbench").GENERATION_SIZES
    return [prompt(row.prompt, sizes[row.task_type]) for row in rows]


def row_scores(rows: Sequence[ShopBenchRow], outputs: Sequence[str]) -> list[float | None]:
    """Each answer's score, of entities the F1 of this one answer; None where a metric cannot be had."""
    samples = score_samples(rows, outputs)
    return [
        micro_f1([sample.score]) if isinstance(sample.score, tuple) else None if sample.score is None else float(sample.score)
        for sample in samples
    ]


def task_scores(rows: Sequence[ShopBenchRow], outputs: Sequence[str]) -> dict[str, Any]:
    """ShopBench's own figures: `overall`, the mean over tasks, and each task's score."""
    result = score(rows, outputs)
    return {"overall": result["overall"], "tasks": {name: task["score"] for name, task in result["tasks"].items()}}


def lines(rows: Sequence[ShopBenchRow], said: Mapping[str, Sequence[str]]) -> list[TaskScores]:
    """A line for each type of task, of the rows' own scores, and one of which every value is the score of a task.

    said: column -> an answer to each row. A baseline that does not answer a type has no score there.
    """
    by_column: dict[str, list[float | None]] = {name: row_scores(rows, outputs) for name, outputs in said.items()}
    by_column["random"] = [expected_score(row) for row in rows]
    found = []
    for task_type in dict.fromkeys(row.task_type for row in rows):
        places = [place for place, row in enumerate(rows) if row.task_type == task_type]
        metrics = list(dict.fromkeys(rows[place].metric for place in places))
        scores = {
            name: None if name not in MODELS and task_type not in LISTED else _all([values[place] for place in places])
            for name, values in by_column.items()
        }
        name = f"ShopBench {task_type.replace('_', ' ')}"
        metric = metrics[0] if len(metrics) == 1 else f"mean of {len(metrics)} metrics"
        found.append(TaskScores(name, "shopbench", metric, [rows[place].task for place in places], scores))
    tasks = list(dict.fromkeys(row.task for row in rows))
    overall = {name: _all(list(task_scores(rows, said[name])["tasks"].values())) for name in MODELS if name in said}
    return [*found, TaskScores("ShopBench overall", "shopbench", "mean of tasks", tasks, overall)]


def _all(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None
