"""lighteval tasks `shopbench:task1` to `shopbench:task18`: ShopBench, the benchmark of the KDD Cup 2024, by its own scorer.

    SHOPBENCH_DATA=development.json lighteval accelerate "model_name=MODEL,batch_size=16" "shopbench|0" \\
        --custom-tasks eval_tasks/shopbench.py

SHOPBENCH_DATA is the JSON-lines file of the competition, or a dataset folder or Hub id with the same columns. Only tasks in
it are declared; `shopbench|0` is all of them where there are two or more. The tracks are tasks 1 to 7 (concepts), 8 to 10
(reasoning), 11 to 15 (behaviour) and 16 to 18 (languages). A task has two metrics: `score`, by the metric that its rows name,
and `unparsable`. ShopBench's overall score, the mean over tasks, is the `score` in the row `shopbench:_average`.
A task whose metric or task_type is unknown, or whose metric needs a model or package that cannot be had, is left out, and
standard error says so.

Generations are kept and used again until rows or weights change: see shop.py.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.dataset import load_dataset
from common.errors import UserError, plain_errors
from eval_tasks.suites.lighteval_tasks import Declared, answer_text, declared_table, left_out, score_metric
from eval_tasks.suites.shopbench_patterns import pattern, right_answer
from eval_tasks.suites.shopbench_scoring import Row, parse_rows, read_rows, score_samples, why_unscored

GENERATION_SIZES = {
    "multiple-choice": 8,  # only the first character is read
    "ranking": 24,
    "retrieval": 24,
    "named_entity_recognition": 64,
    "generation": 100,
}
"""task_type -> tokens to generate. There are no stop sequences: the official scorer reads all that a model says."""


class ShopBenchScore(SampleLevelComputation):
    """Scores of all answers of a task at once, so that their texts are embedded in one call.

    `metric` is ShopBench's name of it, for the results file to tell.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def compute(self, responses: list[ModelResponse], docs: list[Doc], **_: Any) -> list[Any]:  # type: ignore[override]
        samples = score_samples([_row(doc.specific) for doc in docs], [answer_text(response) for response in responses])
        if reason := next((sample.reason for sample in samples if sample.reason), None):
            raise UserError(f"ShopBench cannot be scored: {reason}")
        return [list(sample.score) if isinstance(sample.score, tuple) else float(sample.score) for sample in samples]


def _row(record: dict[str, str]) -> Row:
    return Row(**json.loads(record["row"]))


def prompt(line: dict[str, Any], task_name: str) -> Doc:
    row = _row(line)
    specific = {"row": line["row"], "pattern": pattern(row)}
    return Doc(query=row.prompt, choices=[right_answer(row)], gold_index=0, specific=specific, task_name=task_name)


def task_table(source: str) -> list[LightevalTaskConfig]:
    """A config for each task in the source that can be scored here."""
    tasks: dict[str, list[Row]] = {}
    for row in load_rows(source):
        tasks.setdefault(row.task, []).append(row)
    for name, rows in list(tasks.items()):
        if reason := why_not(name, rows):
            del tasks[name]
            left_out(f"shopbench:{name}", reason)
    declared = [
        Declared(name, rows[0].metric, tuple(json.dumps(vars(row)) for row in rows), GENERATION_SIZES[rows[0].task_type])
        for name, rows in tasks.items()
    ]
    return declared_table(
        "shopbench",
        f"SHOPBENCH_DATA={source}",
        declared,
        prompt,
        lambda task: [score_metric(task.metric, ShopBenchScore(task.metric), at_once=True)],
    )


def why_not(name: str, rows: Sequence[Row]) -> str | None:
    """Why a task cannot be declared. None: it can."""
    if not re.fullmatch(r"[\w.-]+", name):
        return "lighteval takes letters, digits, _, . and - in a task's name only"
    return why_unscored(rows)


def load_rows(source: str) -> list[Row]:
    """Rows of a ShopBench file, or of a dataset folder or Hub dataset with its columns."""
    rows = read_rows(Path(source)) if Path(source).is_file() else parse_rows(_dataset_records(source), source)
    if not all(row.prompt for row in rows):
        raise UserError(f'SHOPBENCH_DATA={source}: a row has no "input_field", so there is nothing to ask')
    return rows


def _dataset_records(source: str) -> list[tuple[str, dict[str, Any]]]:
    splits = load_dataset(source, option="SHOPBENCH_DATA")
    if len(splits) > 1 and "test" not in splits:
        raise UserError(f"SHOPBENCH_DATA={source} has the splits {', '.join(splits)}; it needs one, or one called test")
    split = splits["test"] if "test" in splits else next(iter(splits.values()))
    return [(f"row {number}", row) for number, row in enumerate(split, start=1)]


with plain_errors():
    if not os.environ.get("SHOPBENCH_DATA"):
        raise UserError(
            "SHOPBENCH_DATA is not set; set it to ShopBench's development.json or to a Hub dataset with its columns"
        )
    TASKS_TABLE = task_table(os.environ["SHOPBENCH_DATA"])
