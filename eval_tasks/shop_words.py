"""lighteval tasks `shop_words:<task>`: the dataset's test rows asked in words, answered by lighteval's log-likelihoods.

    SHOP_DATASET=data/shop lighteval accelerate "model_name=MODEL,batch_size=16" "shop_words|0" \\
        --custom-tasks eval_tasks/shop_words.py

For any model of lighteval's that gives log-likelihoods; `python -m eval_tasks.run --answers scored` asks the same prompts of
this project's backends, and its results are comparable row by row with written answers. A choice is one document; a ranking or
retrieval one for each of its items, whose expected gains are put in order by row when all are there. SHOP_LISTS=text scores
lists by text, as --lists text does: each document's only choice is the text that may be behind the item. SHOP_DATASET,
SHOP_DATASET_REVISION and SHOP_TASKS are those of shop.py. The metrics are those of the tasks, by the same functions.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.answers import decode_answer, parse_completion
from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.prompts import read_fields
from common.scoring import score_answer
from common.tasks import TASKS, Task
from common.words import (
    completion_by_text,
    in_words,
    is_scored,
    scored_completion,
    text_questions,
    word_candidates,
    word_prompts,
)
from eval_tasks.backends.cache_key import data_version, named_after, weights_stamp
from eval_tasks.backends.prompts import LISTS
from eval_tasks.suites.lighteval_tasks import SuiteMetric, rows_source, runnable, write_folder
from eval_tasks.suites.suite import SUITES, chosen_tasks

SUITE = replace(SUITES["shop"], name="shop_words")


class RowLikelihoods(SampleLevelComputation):
    """A document's row, its place in it and the likelihoods of its candidates, as JSON text for `RowScores`."""

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> str:
        known = json.loads((doc.specific or {})["row"])
        return json.dumps([known["number"], known["item"], list(map(float, model_response.logprobs))])


class RowScores:
    """The score of a task's rows, each answered by the likelihoods of its documents; those that miss some are left out."""

    def __init__(self, task: Task, documents: Sequence[dict[str, Any]]) -> None:
        self.task = task
        self.rows = {document["number"]: document for document in documents}
        self.__name__ = "row_scores"

    def __call__(self, found: Sequence[str]) -> dict[str, float]:
        rows: dict[int, dict[int, list[float]]] = defaultdict(dict)
        for number, item, likelihoods in map(json.loads, found):
            rows[number][item] = likelihoods
        scores = []
        for number, by_item in rows.items():
            row = self.rows[number]
            if len(by_item) == row["items"]:
                likelihoods = [by_item[item] for item in sorted(by_item)]
                if row["by_text"]:
                    said = completion_by_text(self.task, [own for (own,) in likelihoods])
                else:
                    said = scored_completion(self.task, row["fields"], likelihoods)
                scores.append(score_answer(self.task, parse_completion(self.task, said), row["answer"]))
        return {self.task.metric: sum(scores) / len(scores) if scores else 0.0, "rows": float(len(scores))}


def documents_of(task: Task, rows: Sequence[dict[str, Any]], lists: str = "words") -> Iterator[dict[str, Any]]:
    """What each document is made of, in the order of the rows; none of a row that cannot be asked in words.

    `lists`: one of prompts.LISTS.
    """
    for number, row in enumerate(rows):
        prompt = row["prompt"][0]["content"]
        fields = dict(read_fields(task, prompt))
        candidates = word_candidates(task, fields) if fields else ()
        by_text = bool(task.by_text and fields and lists == "text")
        asked: list[tuple[str, tuple[str, ...]]]
        if by_text:
            asked = [(text, (candidate,)) for text, candidate in text_questions(task, fields)]
        else:  # a choice whose labels are words keeps its own wording
            prompts = [prompt] if task.words is None else word_prompts(task, fields) if candidates else []
            asked = [(text, candidates or in_words(task).labels) for text in prompts]
        for item, (text, choices) in enumerate(asked):
            about = {"number": number, "item": item, "items": len(asked), "answer": decode_answer(row), "by_text": by_text}
            yield {**about, "fields": fields, "prompt": text, "candidates": choices}


def prompt(line: dict[str, Any], task_name: str) -> Doc:
    """No right answer is given: a row's is compared when all of its documents are scored."""
    known = json.loads(line["row"])
    return Doc(known["prompt"], known["candidates"], 0, specific={"row": line["row"]}, task_name=task_name)


def task_table(dataset: str, revision: str | None, only: str, lists: str = "words") -> list[LightevalTaskConfig]:
    """A config for each task whose answers can be scored, of those that `only` names (see shop.py). Raises UserError."""
    if lists not in LISTS:
        raise UserError(f"SHOP_LISTS must be {' or '.join(LISTS)}, not {lists!r}")
    names = [name for name in chosen_tasks(only) if is_scored(TASKS[name])]
    tables = read_split(dataset, "test", names, revision, SUITE.variable)
    asked = {name: list(documents_of(TASKS[name], table.to_pylist(), lists)) for name, table in tables.items()}
    lines = {name: [json.dumps(document) for document in documents] for name, documents in asked.items() if documents}
    folder = write_folder(SUITE.name, lines)
    named = named_after(prompt, weights_stamp(sys.argv[1:]))
    table = [
        LightevalTaskConfig(
            name=f"{SUITE.name}:{name}",
            prompt_function=named,
            hf_repo=str(folder),
            hf_subset=name,
            hf_avail_splits=["test"],
            evaluation_splits=["test"],
            metrics=[row_metric(TASKS[name], asked[name])],
            original_num_docs=len(texts),
            version=data_version("\n".join(texts)),
        )
        for name, texts in lines.items()
    ]
    return runnable(SUITE, table, dataset)


def row_metric(task: Task, documents: Sequence[dict[str, Any]]) -> SuiteMetric:
    return SuiteMetric(
        metric_name="likelihoods",
        higher_is_better=True,
        category=SamplingMethod.LOGPROBS,
        sample_level_fn=RowLikelihoods(),
        corpus_level_fn=RowScores(task, documents),
        official_name=task.metric,
    )


with plain_errors():
    TASKS_TABLE = task_table(
        rows_source(SUITE),
        os.environ.get("SHOP_DATASET_REVISION") or None,
        os.environ.get("SHOP_TASKS", "").strip(),
        os.environ.get("SHOP_LISTS", "").strip() or "words",
    )
