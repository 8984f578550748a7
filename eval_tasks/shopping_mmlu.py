"""lighteval tasks `shopping_mmlu:<skill>:<task>`: the tasks of Shopping MMLU, four skills of an online shop's assistant.

    SHOPPING_MMLU_DATA=data lighteval accelerate "model_name=MODEL,batch_size=16" "shopping_mmlu|0" \\
        --custom-tasks eval_tasks/shopping_mmlu.py

SHOPPING_MMLU_DATA is the folder that data.zip of https://github.com/KL4805/ShoppingMMLU was unpacked into, or the Hub id of a
dataset with its files (SHOPPING_MMLU_REVISION: a branch, tag or commit of it); see shopping_mmlu_rows.py for what is read.
Only tasks in it are declared; `shopping_mmlu|0` is all of them where there are two or more, and SHOPPING_MMLU_SKILLS keeps it
to some skills: `SHOPPING_MMLU_SKILLS=concept,reasoning`. The skill is `other` where the files do not tell it.

A task has two metrics: `score`, by the metric that its rows name (see shopping_mmlu_scoring.py), and `unparsable`. A task that
cannot be scored here, or has a row that is wrong, is left out, and standard error says why.

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
from eval_tasks.suites.files import local_copy
from eval_tasks.suites.lighteval_tasks import Declared, answer_text, declared_table, left_out, score_metric
from eval_tasks.suites.names import OTHER
from eval_tasks.suites.shopbench_patterns import pattern, right_answer
from eval_tasks.suites.shopbench_scoring import Row
from eval_tasks.suites.shopping_mmlu_rows import read_rows
from eval_tasks.suites.shopping_mmlu_scoring import SKILLS, score_answers


class ShoppingMmluScore(SampleLevelComputation):
    """Scores of all answers of a task at once, so that their texts are embedded in one call.

    `metric` is the benchmark's name of it, for the results file to tell.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def compute(self, responses: list[ModelResponse], docs: list[Doc], **_: Any) -> list[Any]:  # type: ignore[override]
        return score_answers([_row(doc.specific) for doc in docs], [answer_text(response) for response in responses])


def _row(record: dict[str, str]) -> Row:
    return Row(**json.loads(record["row"]))


def prompt(line: dict[str, Any], task_name: str) -> Doc:
    row = _row(line)
    specific = {"row": line["row"], "pattern": pattern(row)}
    return Doc(query=row.prompt, choices=[right_answer(row)], gold_index=0, specific=specific, task_name=task_name)


def task_table(source: str, revision: str | None = None, only: str = "") -> list[LightevalTaskConfig]:
    """A config for each task in the source that can be scored here, of the skills that `only` names."""
    skills = [name.strip() for name in only.split(",") if name.strip()] or [*SKILLS, OTHER]
    if unknown := [name for name in skills if name not in (*SKILLS, OTHER)]:
        raise UserError(f"SHOPPING_MMLU_SKILLS={only}: {unknown[0]!r} is no skill; they are {', '.join(SKILLS)}")
    tasks = read_rows(local_copy(source, "SHOPPING_MMLU_DATA", revision), left_out)
    declared = [
        # Their script generates one token for a choice and 100 else; of a choice only the first character is read.
        Declared(name, rows[0].metric, tuple(json.dumps(vars(row)) for row in rows), 8 if rows[0].metric == "accuracy" else 100)
        for name, rows in tasks.items()
        if name.partition(":")[0] in skills
    ]
    return declared_table(
        "shopping_mmlu",
        f"SHOPPING_MMLU_DATA={source}",
        declared,
        prompt,
        lambda task: [score_metric(task.metric, ShoppingMmluScore(task.metric), at_once=True)],
    )


with plain_errors():
    if not os.environ.get("SHOPPING_MMLU_DATA"):
        raise UserError("SHOPPING_MMLU_DATA is not set; set it to the folder that Shopping MMLU's data.zip was unpacked into")
    TASKS_TABLE = task_table(
        os.environ["SHOPPING_MMLU_DATA"],
        os.environ.get("SHOPPING_MMLU_REVISION") or None,
        os.environ.get("SHOPPING_MMLU_SKILLS", "").strip(),
    )
