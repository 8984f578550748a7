"""lighteval tasks `shopbench:task1` to `shopbench:task18`: ShopBench, the benchmark of the KDD Cup 2024, by its own scorer.

    SHOPBENCH_DATA=development.json lighteval accelerate "model_name=MODEL,batch_size=16" "shopbench|0" \\
        --custom-tasks eval_tasks/shopbench.py

SHOPBENCH_DATA is the JSON-lines file of the competition, or a dataset folder or Hub id with the same columns. Only tasks in
it are declared; `shopbench|0` is all of them where there are two or more. The tracks are tasks 1 to 7 (concepts), 8 to 10
(reasoning), 11 to 15 (behaviour) and 16 to 18 (languages). A task has two metrics: `score`, by the metric that its rows name,
and `unparsable`. ShopBench's overall score, the mean over tasks, is the `score` in the row `shopbench:_average`.
A task whose metric needs a model or package that cannot be had is left out, and standard error says so.

Generations are kept and used again until rows or weights change: see shop.py.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.metrics.utils.metric_utils import SampleLevelMetric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from dataset_builders.errors import UserError, plain_errors
from eval_tasks.cache_key import data_version, named_after_weights
from eval_tasks.metrics import PARSERS
from eval_tasks.scoring import Row, parse_rows, read_rows, score_samples, task_score, whole_characters

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
        samples = score_samples([_row(doc) for doc in docs], [_text(response) for response in responses])
        if reason := next((sample.reason for sample in samples if sample.reason), None):
            raise UserError(f"ShopBench cannot be scored: {reason}")
        return [list(sample.score) if isinstance(sample.score, tuple) else float(sample.score) for sample in samples]


class Unparsable(SampleLevelComputation):
    """1 where nothing was read from an answer."""

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> float:
        return float(PARSERS[_row(doc).task_type](_text(model_response)) in (-1, [], ""))


def _text(response: ModelResponse) -> str:
    return whole_characters(response.final_text[0])


def _row(doc: Doc) -> Row:
    return Row(**json.loads(doc.specific["row"]))


def corpus_score(scores: Sequence[Any], metric: str) -> dict[str, float]:
    """The task's score. All tasks call it `score`, or lighteval could not average them.

    In a dict lighteval takes it without a standard error, which for an F1 it would find by a slow bootstrap.
    """
    return {"score": float(task_score(metric, scores))}


def prompt(line: dict[str, Any], task_name: str) -> Doc:
    row = Row(**json.loads(line["row"]))
    return Doc(query=row.prompt, choices=[_shown(row)], gold_index=0, specific={"row": line["row"]}, task_name=task_name)


def _shown(row: Row) -> str:
    """A right answer as text, for few-shot examples."""
    if row.task_type == "ranking":
        return ",".join(str(number + 1) for number in sorted(range(len(row.truth)), key=lambda number: -row.truth[number]))
    return ",".join(map(str, row.truth)) if isinstance(row.truth, list) else str(row.truth)


def task_config(task: str, rows: Sequence[Row], folder: Path) -> LightevalTaskConfig:
    """`folder` as `write_folder` leaves it."""
    return LightevalTaskConfig(
        name=f"shopbench:{task}",
        prompt_function=named_after_weights(prompt, sys.argv[1:]),
        hf_repo=str(folder),
        hf_subset=task,
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        few_shots_split="test",
        metrics=[
            SampleLevelMetric(
                metric_name="score",
                higher_is_better=True,
                category=SamplingMethod.GENERATIVE,
                sample_level_fn=ShopBenchScore(rows[0].metric),
                corpus_level_fn=partial(corpus_score, metric=rows[0].metric),
                batched_compute=True,
            ),
            SampleLevelMetric(
                metric_name="unparsable",
                higher_is_better=False,
                category=SamplingMethod.GENERATIVE,
                sample_level_fn=Unparsable(),
                corpus_level_fn=np.mean,
            ),
        ],
        generation_size=GENERATION_SIZES[rows[0].task_type],
        original_num_docs=len(rows),
        version=data_version("\n".join(map(_encoded, rows))),
    )


def task_table(source: str) -> list[LightevalTaskConfig]:
    """A config for each task in the source that can be scored here."""
    tasks: dict[str, list[Row]] = {}
    for row in load_rows(source):
        tasks.setdefault(row.task, []).append(row)
    for name, rows in list(tasks.items()):
        one_per_metric = list({row.metric: row for row in rows}.values())
        # A trial with an empty answer tells whether each metric's model and package are there.
        for sample in score_samples(one_per_metric, [""] * len(one_per_metric)):
            if sample.reason and tasks.pop(name, None):
                print(f"warning: shopbench:{name} is left out: {sample.reason}", file=sys.stderr)
    folder = write_folder(tasks)
    return [task_config(name, rows, folder) for name, rows in tasks.items()]


def load_rows(source: str) -> list[Row]:
    """Rows of a ShopBench file, or of a dataset folder or Hub dataset with its columns."""
    rows = read_rows(Path(source)) if Path(source).is_file() else parse_rows(_dataset_records(source), source)
    if not all(row.prompt for row in rows):
        raise UserError(f'SHOPBENCH_DATA={source}: a row has no "input_field", so there is nothing to ask')
    return rows


def _dataset_records(source: str) -> list[tuple[str, dict[str, Any]]]:
    from datasets import load_dataset

    try:
        splits = load_dataset(source)
    except Exception as error:  # what `datasets` raises has no common class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"SHOPBENCH_DATA={source} is no file, and no dataset that can be loaded ({reason})") from None
    if len(splits) > 1 and "test" not in splits:
        raise UserError(f"SHOPBENCH_DATA={source} has the splits {', '.join(splits)}; it needs one, or one called test")
    split = splits["test"] if "test" in splits else next(iter(splits.values()))
    return [(f"row {number}", row) for number, row in enumerate(split, start=1)]


def write_folder(tasks: dict[str, list[Row]]) -> Path:
    """The rows as a dataset folder that lighteval can load, in the Hugging Face cache under the hash of its content.

    lighteval takes a folder or Hub id only, and Arrow takes one type a column only, where ShopBench's answers have three.
    """
    from huggingface_hub import constants

    files = {
        f"{name}.jsonl": "".join(json.dumps({"row": _encoded(row)}) + "\n" for row in rows) for name, rows in tasks.items()
    }
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": file}]} for name, file in zip(tasks, files, strict=True)
    ]
    files["README.md"] = f"---\nconfigs: {json.dumps(configs)}\n---\n"  # JSON is YAML
    folder = Path(constants.HF_HOME) / "shopbench" / sha256(json.dumps(files).encode()).hexdigest()[:16]
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


def _encoded(row: Row) -> str:
    return json.dumps(vars(row))


with plain_errors():
    if not os.environ.get("SHOPBENCH_DATA"):
        raise UserError(
            "SHOPBENCH_DATA is not set; set it to ShopBench's development.json or to a Hub dataset with its columns"
        )
    TASKS_TABLE = task_table(os.environ["SHOPBENCH_DATA"])
