"""Shared parts of the files of lighteval tasks: declaring tasks over a suite's rows, and their metrics."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.metrics.utils.metric_utils import SampleLevelMetric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

from common.answers import whole_characters
from common.errors import UserError
from common.thinking import without_thoughts
from eval_tasks.backends.cache_key import data_version, named_after, weights_stamp
from eval_tasks.metrics.task_scores import task_score
from eval_tasks.suites.shopbench_rows import ShopBenchRow, pattern, right_answer, row_of
from eval_tasks.suites.shopbench_scoring import plain_scores, score_parsed
from eval_tasks.suites.suite import Suite, is_readable, parse_answer


@dataclass(frozen=True)
class DeclaredTask:
    """A task as it is handed to lighteval: its rows as JSON text, and the benchmark's name of the metric that scores them."""

    name: str
    metric: str
    rows: tuple[str, ...]
    generation_size: int


@dataclass
class SuiteMetric(SampleLevelMetric):
    """A metric of generated answers. `official_name` is what its benchmark calls it, which lighteval writes to the results."""

    official_name: str = ""


class Unparsable(SampleLevelComputation):
    """1 where the suite's parser reads nothing from an answer, unless it is unfinished."""

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> float:
        return float(not is_unfinished(model_response) and not is_readable(doc.task_name, parsed_answer(model_response, doc)))


class Unfinished(SampleLevelComputation):
    """1 where a model spent all its tokens on reasoning, and gave no answer."""

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> float:
        return float(is_unfinished(model_response))


class ShopBenchScores(SampleLevelComputation):
    """Scores of all answers of a task whose rows have ShopBench's form, so that their texts are embedded in one call."""

    def compute(self, responses: list[ModelResponse], docs: list[Doc], **_: Any) -> list[Any]:  # type: ignore[override]
        rows = [row_of(row_text(doc)) for doc in docs]
        return plain_scores(score_parsed(rows, list(map(parsed_answer, responses, docs))))


def parsed_answer(response: ModelResponse, doc: Doc) -> Any:
    """A model's answer as the suite's parser reads it."""
    return parse_answer(doc.task_name, row_text(doc), answer_text(response))


def row_text(doc: Doc) -> str:
    """The document's row as JSON text; "" in the suite `shop`."""
    return str((doc.specific or {}).get("row", ""))


def answer_text(response: ModelResponse) -> str:
    """The answer without the reasoning before it."""
    return whole_characters(without_thoughts(response.final_text[0]) or "")


def is_unfinished(response: ModelResponse) -> bool:
    return without_thoughts(response.final_text[0]) is None


def shopbench_doc(line: dict[str, Any], task_name: str) -> Doc:
    """lighteval's document of a row in ShopBench's form."""
    row = row_of(line["row"])
    specific = {"row": line["row"], "pattern": pattern(row)}
    return Doc(query=row.prompt, choices=[right_answer(row)], gold_index=0, specific=specific, task_name=task_name)


def sample_metric(
    name: str,
    computation: SampleLevelComputation,
    aggregate: Callable[..., Any] = np.mean,
    at_once: bool = False,
    official_name: str = "",
) -> SuiteMetric:
    """A metric of generated answers. `at_once`: the computation takes all answers of a task."""
    return SuiteMetric(
        metric_name=name,
        higher_is_better=name not in ("unparsable", "unfinished"),
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=computation,
        corpus_level_fn=aggregate,
        batched_compute=at_once,
        official_name=official_name or name,
    )


def form_metrics() -> list[SuiteMetric]:
    """The metrics of every task beside its score: shares of answers that cannot be parsed, and of those without an end."""
    return [sample_metric("unparsable", Unparsable()), sample_metric("unfinished", Unfinished())]


def score_metric(metric: str, computation: SampleLevelComputation, name: str = "score", at_once: bool = False) -> SuiteMetric:
    """A benchmark's own metric. All its tasks call it `name`, or lighteval could not average them."""
    return sample_metric(name, computation, partial(corpus_score, metric=metric, name=name), at_once, official_name=metric)


def corpus_score(scores: Sequence[Any], metric: str, name: str = "score") -> dict[str, float]:
    """The task's score. In a dict lighteval takes it without a standard error, which it would find by a slow bootstrap."""
    return {name: float(task_score(metric, scores))}


def rows_source(suite: Suite) -> str:
    """Where the suite's rows are, from its environment variable. Raises UserError."""
    if not (source := os.environ.get(suite.variable)):
        raise UserError(f"{suite.variable} is not set; set it to {suite.rows}")
    return source


def shopbench_task(name: str, rows: Sequence[ShopBenchRow], generation_size: int) -> DeclaredTask:
    """A task of rows (at least one) in ShopBench's form."""
    return DeclaredTask(name, rows[0].metric, tuple(json.dumps(vars(row)) for row in rows), generation_size)


def shopbench_metrics(task: DeclaredTask) -> list[SuiteMetric]:
    return [score_metric(task.metric, ShopBenchScores(), at_once=True)]


def declared_table(
    suite: Suite,
    source: str,
    tasks: Sequence[DeclaredTask],
    prompt: Callable[..., Doc] = shopbench_doc,
    metrics: Callable[[DeclaredTask], Sequence[SuiteMetric]] = shopbench_metrics,
) -> list[LightevalTaskConfig]:
    """A config for each task, with `form_metrics` beside its own. `prompt` is given {"row": JSON text}.

    `source` is where the rows were read from, for errors.
    """
    subsets = {task.name: task.name.replace(":", "-") for task in tasks}
    folder = write_folder(suite.name, {subsets[task.name]: task.rows for task in tasks})
    named_prompt = named_after(prompt, weights_stamp(sys.argv[1:]))
    table = [
        LightevalTaskConfig(
            name=f"{suite.name}:{task.name}",
            prompt_function=named_prompt,
            hf_repo=str(folder),
            hf_subset=subsets[task.name],
            hf_avail_splits=["test"],
            evaluation_splits=["test"],
            few_shots_split="test",
            metrics=[*metrics(task), *form_metrics()],
            generation_size=task.generation_size,
            original_num_docs=len(task.rows),
            version=data_version("\n".join(task.rows)),
        )
        for task in tasks
    ]
    return runnable(suite, table, source)


def write_folder(suite: str, tasks: Mapping[str, Sequence[str]]) -> Path:
    """The rows as a dataset folder that lighteval can load, in the Hugging Face cache under the hash of its content.

    lighteval takes a folder or Hub id only, and Arrow takes one type a column only, where answers have several.
    """
    from huggingface_hub import constants

    files = {f"{name}.jsonl": "".join(json.dumps({"row": row}) + "\n" for row in rows) for name, rows in tasks.items()}
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": file}]} for name, file in zip(tasks, files, strict=True)
    ]
    files["README.md"] = f"---\nconfigs: {json.dumps(configs)}\n---\n"  # JSON is YAML
    folder = Path(constants.HF_HOME) / suite / sha256(json.dumps(files).encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, text in files.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        try:
            unfinished.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
            if not folder.is_dir():
                raise
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); set HF_HOME to a folder that can") from None
    return folder


def runnable(suite: Suite, table: list[LightevalTaskConfig], source: str) -> list[LightevalTaskConfig]:
    """The table, where the command line's task names can be found in it. Raises UserError.

    lighteval takes a suite's name for all of its tasks only where there are two or more.
    """
    if not table:
        raise UserError(f"{suite.variable}={source}: there is no {suite.name} task in it that can be scored here")
    # A word behind an option is its value, such as `--suite shop`, unless it can only be a task.
    words = [word for before, word in pairwise(sys.argv) if "|" in word or not before.startswith("--")]
    asked = {name.strip().split("|", maxsplit=1)[0] for word in words for name in word.split(",")}
    if len(table) == 1 and suite.name in asked:
        raise UserError(
            f'{suite.variable}={source}: {table[0].name} is its only task, and lighteval takes "{suite.name}" for two or more; '
            f'write "{table[0].name}|0" instead of "{suite.name}|0"'
        )
    return table
