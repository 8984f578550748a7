"""lighteval tasks `ecinstruct:<task>` and `ecinstruct:<task>_ood`: the ten tasks of ECInstruct, in and out of domain.

    ECINSTRUCT_DATA=ECInstruct.json lighteval accelerate "model_name=MODEL,batch_size=16" "ecinstruct|0" \\
        --custom-tasks eval_tasks/ecinstruct.py

ECINSTRUCT_DATA is the JSON file, a folder of files (see ecinstruct_rows.py) or a Hub id such as NingLab/ECInstruct
(ECINSTRUCT_REVISION: a branch, tag or commit of it). Test rows of the settings IND_Diverse_Instruction and
OOD_Diverse_Instruction are asked; ECINSTRUCT_INSTRUCTIONS=Single or Unseen takes those of the other settings. Only tasks with
such rows are declared; `ecinstruct|0` is all of them where there are two or more.

A task has three metrics: `score`, the paper's own by its own rules; `strict`, the same where answers that cannot be read are
wrong instead of left out; and `unparsable`, their share, the paper's "#failed". See ecinstruct_scoring.py for the rules, and
for the two tasks whose score is not the paper's: answer_generation (ROUGE-L) and query_product_rank without label.json.

Generations are kept and used again until rows or weights change: see shop.py.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError, plain_errors
from eval_tasks.suites.ecinstruct_rows import read_rows
from eval_tasks.suites.ecinstruct_scoring import BY_PLACE, TASKS, EcinstructRow, pattern, row_of, value
from eval_tasks.suites.files import local_copy
from eval_tasks.suites.lighteval_tasks import (
    DeclaredTask,
    SuiteMetric,
    answer_text,
    declared_table,
    row_text,
    rows_source,
    score_metric,
)
from eval_tasks.suites.suite import SUITES, left_out

SUITE = SUITES["ecinstruct"]

INSTRUCTIONS = ("Diverse", "Single", "Unseen")


class EcinstructScore(SampleLevelComputation):
    """The value of one answer; `strict` takes for wrong what the paper leaves out."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> float | list[float]:
        return value(row_of(row_text(doc)), answer_text(model_response), self.strict)


def prompt(line: dict[str, Any], task_name: str) -> Doc:
    row = row_of(line["row"])
    specific = {"row": line["row"], "pattern": pattern(row)}
    return Doc(query=row.prompt, choices=[row.output], gold_index=0, specific=specific, task_name=task_name)


def task_table(source: str, revision: str | None = None, instructions: str = "Diverse") -> list[LightevalTaskConfig]:
    """A config for each task that the source has test rows for."""
    if instructions not in INSTRUCTIONS:
        raise UserError(f"ECINSTRUCT_INSTRUCTIONS={instructions} is unknown; it is one of {', '.join(INSTRUCTIONS)}")
    rows = read_rows(local_copy(source, SUITE.variable, revision), instructions, left_out)
    return declared_table(SUITE, source, [declare(name, own) for name, own in rows.items()], prompt, metrics)


def declare(name: str, rows: list[EcinstructRow]) -> DeclaredTask:
    task = TASKS[rows[0].task]
    metric = BY_PLACE if task.form == "order" and not rows[0].labelled else task.metric
    return DeclaredTask(name, metric, tuple(json.dumps(vars(row)) for row in rows), task.generation_size)


def metrics(task: DeclaredTask) -> list[SuiteMetric]:
    return [
        score_metric(task.metric, EcinstructScore(strict=False)),
        score_metric(task.metric, EcinstructScore(strict=True), name="strict"),
    ]


with plain_errors():
    TASKS_TABLE = task_table(
        rows_source(SUITE),
        os.environ.get("ECINSTRUCT_REVISION") or None,
        os.environ.get("ECINSTRUCT_INSTRUCTIONS") or "Diverse",
    )
