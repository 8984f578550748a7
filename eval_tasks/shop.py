"""lighteval tasks `shop:<task>`: the twelve tasks on the test split of a built dataset, and `shop_unseen:<task>`: some of its
rows in a wording that is never trained on.

    SHOP_DATASET=data/shop lighteval accelerate "model_name=MODEL,batch_size=16" "shop|0" --custom-tasks eval_tasks/shop.py

SHOP_DATASET is the folder of a build or its Hub id (SHOP_DATASET_REVISION: a branch, tag or commit of it). Only tasks that
the dataset has test rows for are declared; `shop|0` is all of them where there are two or more, and SHOP_TASKS keeps it to
some, by their names or their families': `SHOP_TASKS=ranking,review_rating`. A task has two metrics: its own, and
`unparsable`, the share of answers that cannot be read, which score 0.

`shop_unseen|0` asks a quarter of each task's rows with the prompt in the column `unseen`; a dataset without it, of an earlier
version, has no such tasks. A report pairs both scores by row.

Two things to know of lighteval's own table: it averages tasks of different metrics (`shop:_average`) by taking a metric that a
task does not have for 0, and lists that 0 with the task. `python -m eval_tasks.report` shows what was measured and no more.

Give a batch size: without one lighteval looks for the largest that does not run out of memory, which on a CPU takes long.
lighteval keeps generations and uses them again. Rows or weights that changed make new ones (see cache_key.py); to force that
for any other reason, name an empty folder: `model_name=MODEL,cache_dir=FOLDER`.
"""

import json
import os
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.answers import decode_answer, row_pattern
from common.dataset import data_file, read_manifest, read_split, split_revision
from common.errors import UserError, plain_errors
from common.scoring import score_answer
from common.tasks import TASKS, Task
from common.words import row_task
from dataset_builders.rows import UNSEEN as COLUMN
from eval_tasks.backends.cache_key import data_version, folder_stamp, named_after, weights_stamp
from eval_tasks.reporting.details import PAIRED_WITH
from eval_tasks.suites.lighteval_tasks import (
    form_metrics,
    parsed_answer,
    rows_source,
    runnable,
    sample_metric,
    write_folder,
)
from eval_tasks.suites.suite import SUITES, UNSEEN, UNSEEN_SHARE, chosen_tasks, left_out, unavailable

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


def unseen_prompt(line: dict[str, Any], task_name: str) -> Doc | None:
    """lighteval's document of a row in its unseen wording. `specific` also has the prompt that it is paired with."""
    row = json.loads(line["row"])
    doc = prompt(row, task_name)
    return doc and replace(doc, query=row[COLUMN][0]["content"], specific={**(doc.specific or {}), PAIRED_WITH: doc.query})


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


def places_asked_first(rows: int, most: int) -> list[int]:
    """Places of the `most` rows that lighteval asks first, in an order in which it asks them in the same order again.

    It shuffles a task's rows before it takes the first ones (LightevalTask.get_docs). Without this, --max-samples would take
    other rows in the unseen wording than in their own, and few would be left to compare.
    """
    first = _shuffled(rows)[:most]
    places = [0] * len(first)
    for place, row in zip(_shuffled(len(first)), first, strict=True):
        places[place] = row
    return places


def _shuffled(count: int) -> list[int]:
    numbers = list(range(count))
    random.Random(42).shuffle(numbers)
    return numbers


def unseen_table(shop: Sequence[LightevalTaskConfig]) -> list[LightevalTaskConfig]:
    """A config for each of these tasks whose rows have an unseen wording. It has no examples in the prompt."""
    table = []
    for config in shop:
        found = read_split(config.hf_repo, "test", [config.hf_subset], config.hf_revision, SUITE.variable)
        rows = [row for part in found.values() for row in part.to_pylist()]
        asked = [row for row in rows if row_task(TASKS[row["task"]], decode_answer(row)) is TASKS[row["task"]]]
        first = [asked[place] for place in places_asked_first(len(asked), ceil(len(asked) * UNSEEN_SHARE))]
        if lines := [json.dumps(row) for row in first if row.get(COLUMN)]:
            unseen = replace(
                config,
                name=f"{UNSEEN}:{config.hf_subset}",
                prompt_function=named_after(unseen_prompt, weights_stamp(sys.argv[1:])),
                hf_repo=str(write_folder(UNSEEN, {config.hf_subset: lines})),
                hf_revision=None,
                hf_avail_splits=["test"],
                few_shots_split="test",  # None is the same, with a warning even where no example is asked for
                original_num_docs=len(lines),
                version=data_version("\n".join(lines)),
            )
            table.append(unseen)
    return table


with plain_errors():
    SHOP_TABLE = task_table(
        rows_source(SUITE), os.environ.get("SHOP_DATASET_REVISION") or None, os.environ.get("SHOP_TASKS", "").strip()
    )
    TASKS_TABLE = [*SHOP_TABLE, *unseen_table(SHOP_TABLE)]
