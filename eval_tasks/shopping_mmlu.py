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

import os
import sys
from pathlib import Path

from lighteval.tasks.lighteval_task import LightevalTaskConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError, plain_errors
from eval_tasks.suites.files import local_copy
from eval_tasks.suites.lighteval_tasks import declared_table, rows_source, shopbench_task
from eval_tasks.suites.shopping_mmlu_rows import read_rows
from eval_tasks.suites.shopping_mmlu_scoring import SKILLS
from eval_tasks.suites.suite import OTHER, SUITES, left_out

SUITE = SUITES["shopping_mmlu"]


def task_table(source: str, revision: str | None = None, only: str = "") -> list[LightevalTaskConfig]:
    """A config for each task in the source that can be scored here, of the skills that `only` names."""
    skills = [name.strip() for name in only.split(",") if name.strip()] or [*SKILLS, OTHER]
    if unknown := [name for name in skills if name not in (*SKILLS, OTHER)]:
        raise UserError(f"SHOPPING_MMLU_SKILLS={only}: {unknown[0]!r} is no skill; they are {', '.join(SKILLS)}")
    tasks = read_rows(local_copy(source, SUITE.variable, revision), left_out)
    declared = [
        # Their script generates one token for a choice and 100 else; of a choice only the first character is read.
        shopbench_task(name, rows, 8 if rows[0].metric == "accuracy" else 100)
        for name, rows in tasks.items()
        if name.partition(":")[0] in skills
    ]
    return declared_table(SUITE, source, declared)


with plain_errors():
    TASKS_TABLE = task_table(
        rows_source(SUITE),
        os.environ.get("SHOPPING_MMLU_REVISION") or None,
        os.environ.get("SHOPPING_MMLU_SKILLS", "").strip(),
    )
