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

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lighteval.tasks.lighteval_task import LightevalTaskConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import plain_errors
from eval_tasks.suites.lighteval_tasks import declared_table, rows_source, shopbench_task
from eval_tasks.suites.shopbench_rows import GENERATION_SIZES, ShopBenchRow, load_tasks
from eval_tasks.suites.shopbench_scoring import why_unscored
from eval_tasks.suites.suite import SUITES, left_out

SUITE = SUITES["shopbench"]


def task_table(source: str) -> list[LightevalTaskConfig]:
    """A config for each task in the source that can be scored here."""
    tasks = load_tasks(source)
    for name, rows in list(tasks.items()):
        if reason := why_not(name, rows):
            del tasks[name]
            left_out(f"shopbench:{name}", reason)
    declared = [shopbench_task(name, rows, GENERATION_SIZES[rows[0].task_type]) for name, rows in tasks.items()]
    return declared_table(SUITE, source, declared)


def why_not(name: str, rows: Sequence[ShopBenchRow]) -> str | None:
    """Why a task cannot be declared. None: it can."""
    if not re.fullmatch(r"[\w.-]+", name):
        return "lighteval takes letters, digits, _, . and - in a task's name only"
    return why_unscored(rows)


with plain_errors():
    TASKS_TABLE = task_table(rows_source(SUITE))
