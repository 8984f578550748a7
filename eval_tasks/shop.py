"""lighteval tasks `shop:<task>`: the twelve tasks on the test split of a built dataset.

    SHOP_DATASET=data/shop lighteval accelerate "model_name=MODEL,batch_size=16" "shop|0" --custom-tasks eval_tasks/shop.py

SHOP_DATASET is the folder of a build or its Hub id (SHOP_DATASET_REVISION: a branch, tag or commit of it). Only tasks that
the dataset has test rows for are declared; `shop|0` is all of them where there are two or more, and SHOP_TASKS keeps it to
some, by their names or their families': `SHOP_TASKS=ranking,review_rating`. A task has two metrics: its own, and
`unparsable`, the share of answers that cannot be read, which score 0.

Two things to know of lighteval's own table: it averages tasks of different metrics (`shop:_average`) by taking a metric that a
task does not have for 0, and lists that 0 with the task. `python -m eval_tasks.report` shows what was measured and no more.

Give a batch size: without one lighteval looks for the largest that does not run out of memory, which on a CPU takes long.
lighteval keeps generations and uses them again. Rows or weights that changed make new ones (see cache_key.py); to force that
for any other reason, name an empty folder: `model_name=MODEL,cache_dir=FOLDER`.
"""

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

from common.answers import decode_answer, row_pattern
from common.dataset import data_file, read_manifest, split_revision
from common.errors import UserError, plain_errors
from common.scoring import score_answer
from common.tasks import TASKS, Task
from common.words import row_task
from eval_tasks.backends.cache_key import data_version, folder_stamp, named_after, weights_stamp
from eval_tasks.suites.lighteval_tasks import form_metrics, left_out, parsed_answer, rows_source, runnable, sample_metric
from eval_tasks.suites.shop_rows import chosen_tasks, unavailable
from eval_tasks.suites.suite import SUITES

SUITE = SUITES["shop"]


class ShopScores(SampleLevelComputation):
    """Scores of all answers of a task at once, by its own metric."""

    def __init__(self, task: str) -> None:
        self.task = task

    def compute(self, responses: list[ModelResponse], docs: list[Doc], **_: Any) -> list[float]:  # type: ignore[override]
        return [
            score_answer(TASKS[self.task], parsed_answer(response, doc), decode_answer(doc.specific or {}))
            for response, doc in zip(responses, docs, strict=True)
        ]


def prompt(row: dict[str, Any], task_name: str) -> Doc | None:
    """A dataset row as lighteval's document; the completion is what few-shot examples show. None of a row in words, which would
    be an example of another form.

    `specific` has the answer to score against, the pattern of answers that can be read, and the row's group, if it has one.
    """
    task, answer = TASKS[row["task"]], decode_answer(row)
    if row_task(task, answer) is not task:
        return None
    text = row["prompt"][0]["content"]
    specific = {"answer": row["answer"], "pattern": row_pattern(task, text, answer)}
    return Doc(
        query=text,
        choices=[row["completion"][0]["content"]],
        gold_index=0,
        specific=specific | ({"group": row["group"]} if row.get("group") else {}),
        task_name=task_name,
    )


def task_config(
    task: Task, dataset: str, revision: str | None, rows: int, fingerprint: str, stamps: Sequence[str]
) -> LightevalTaskConfig:
    """`stamps`: of what an answer depends on beside the rows and this config; see cache_key.py."""
    return LightevalTaskConfig(
        name=f"shop:{task.name}",
        prompt_function=named_after(prompt, *stamps),
        hf_repo=dataset,
        hf_subset=task.name,
        hf_revision=revision,
        hf_avail_splits=["train", "test"],
        evaluation_splits=["test"],
        few_shots_split="train",
        metrics=[
            sample_metric(task.metric, ShopScores(task.name), at_once=True),
            *form_metrics(),
        ],
        generation_size=task.max_new_tokens,
        # For models without a chat template, which do not know when to end; chat models end their turn. Prompts end with
        # "Answer: " or the like, so an answer is on that line.
        stop_sequence=["\n"],
        original_num_docs=rows,
        version=data_version(fingerprint),
    )


def task_table(dataset: str, revision: str | None = None, only: str = "") -> list[LightevalTaskConfig]:
    """A config for each task that the dataset has test rows for, of those that `only` names."""
    names = chosen_tasks(only)
    dataset, own = split_revision(dataset)
    revision = own or revision
    manifest = read_manifest(dataset, revision, "SHOP_DATASET")
    weights = weights_stamp(sys.argv[1:])

    def declare(task: Task, rows: int, fingerprint: str) -> LightevalTaskConfig:
        # The fingerprint does not tell the order of the rows.
        files = (manifest.revision or "")[:16] or folder_stamp((Path(dataset) / data_file(task.name, "test")).parent)
        return task_config(task, dataset, revision, rows, fingerprint, (weights, files))

    table = [
        declare(TASKS[name], found.test, str(found.fingerprint))
        for name in names
        if (found := manifest.configs.get(name)) and found.test
    ]
    declared = {config.hf_subset for config in table}
    for name in names:
        if name not in declared and name in re.split(r"[,\s]+", only):
            left_out(f"shop:{name}", "the dataset has no test rows of it")
    if not table:
        which = f" of SHOP_TASKS={only}" if only else ""
        raise UserError(f"SHOP_DATASET={dataset}: no task{which} has test rows; build it from more data or with other --tasks")
    for config in list(table):
        if reason := unavailable(TASKS[config.hf_subset]):
            table.remove(config)
            left_out(config.name, reason)
    return runnable(SUITE, table, dataset)


with plain_errors():
    TASKS_TABLE = task_table(
        rows_source(SUITE), os.environ.get("SHOP_DATASET_REVISION") or None, os.environ.get("SHOP_TASKS", "").strip()
    )
