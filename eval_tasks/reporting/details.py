"""Reads lighteval's details (--save-details): every prompt, answer and score of a run.

lighteval 0.13 writes `OUT/results/MODEL/results_TIME.json`, and then one Parquet file a task,
`OUT/details/MODEL/TIME/details_TASK|SHOTS_TIME.parquet`, with the same TIME (lighteval/logging/evaluation_tracker.py,
EvaluationTracker.save). A run that was pushed to the Hub has the folder TIME beside the results file.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.reporting.intervals import TaskValues
from eval_tasks.reporting.results import results_files, task_of
from eval_tasks.suites.suite import metric_key

COLUMNS = (
    *("doc.id", "doc.query", "doc.choices", "doc.gold_index", "doc.specific", "metric"),
    *("model_response.text", "model_response.text_post_processed"),
)
"""What is read of a file. Token ids are most of the rest."""

PAIRED_WITH = "paired_with"
"""Key of `specific` of a row that was asked in another wording: the prompt in its own one."""


@dataclass(frozen=True)
class Answer:
    """One row of a task and what a model said to it.

    `text` is what was scored; `thoughts` what was taken off before that, such as a <think> block. `value` is the row's value of
    the task's metric: a number, or a list of numbers where the metric is no mean. `group` names rows that belong together ("":
    the row is its own group). `specific` is that of lighteval's Doc.
    """

    id: str
    prompt: str
    gold: str
    text: str
    value: float | list[float]
    unparsable: bool
    group: str
    specific: dict[str, Any]
    thoughts: str = ""


def read_details(path: Path) -> dict[str, list[Answer]]:
    """Task -> answers in the order of the rows, of a results file, or of the files that `results_files` takes of a folder.

    Tasks without details are not in it; a run without --save-details gives {}. Raises UserError where a file cannot be read.
    """
    answers: dict[str, list[Answer]] = {}
    for file, tasks in results_files(path).items():
        folder = details_folder(file)
        for details in sorted(folder.glob("details_*.parquet")) if folder else []:
            task = task_of(details.name.removeprefix("details_").removesuffix(f"_{_time(file)}.parquet"))
            if task in tasks:
                answers[task] = read_file(details, task)
    return answers


def details_folder(file: Path) -> Path | None:
    """Where the details of the run are that wrote this results file, or None."""
    for parent in file.parents:
        if parent.name == "results":
            folder = parent.with_name("details") / file.parent.relative_to(parent) / _time(file)
            if folder.is_dir():
                return folder
    beside = file.parent / _time(file)
    return beside if beside.is_dir() else None


def read_file(file: Path, task: str) -> list[Answer]:
    """The answers of one details file. Raises UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(file).read(columns=list(COLUMNS)).to_pylist()
        answers = [_answer(row, metric_key(task)) for row in rows]
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: is no whole file of lighteval's details ({type(error).__name__}), as a run leaves that was stopped; "
            "evaluate again with --save-details, or remove its folder to do without"
        ) from None
    return sorted(answers, key=lambda answer: (_number(answer.id), answer.id))


def _answer(row: dict[str, Any], key: str) -> Answer:
    doc, response, metric = row["doc"], row["model_response"], row["metric"]
    specific = {name: value for name, value in (doc["specific"] or {}).items() if value is not None}
    right = doc["gold_index"] if isinstance(doc["gold_index"], list) else [doc["gold_index"]]
    raw = response["text"][0]
    text = response["text_post_processed"][0] if response["text_post_processed"] else raw
    return Answer(
        id=str(doc["id"]),
        prompt=doc["query"],
        gold="\n".join(doc["choices"][index] for index in right),
        text=text,
        value=_value(metric[key]),
        unparsable=bool(metric.get("unparsable")),
        group=str(specific.get("group", "")),
        specific=specific,
        thoughts="" if raw == text else raw.removesuffix(text),
    )


def _value(value: Any) -> float | list[float]:
    numbers = [float(number) for number in (value if isinstance(value, list) else [value])]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a value is no number")
    return numbers if isinstance(value, list) else numbers[0]


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else math.inf


def _time(file: Path) -> str:
    return file.stem.removeprefix("results_")


def by_row(answers: Sequence[Answer]) -> dict[str, Answer]:
    """Answers by a key of their rows that is the same in every model's details.

    That is a hash of prompt and right answer, and which one it is of several that are alike. A row in its unseen wording has
    the key of the row in its own.
    """
    seen: Counter[str] = Counter()
    rows = {}
    for answer in answers:
        prompt = answer.specific.get(PAIRED_WITH, answer.prompt)
        digest = hashlib.md5(json.dumps([prompt, answer.gold]).encode()).hexdigest()
        rows[f"{digest}-{seen[digest]}"] = answer
        seen[digest] += 1
    return rows


def task_values(answers: Sequence[Answer], metric: str) -> TaskValues:
    """The rows' values, for eval_tasks.reporting.intervals."""
    values: Any = [answer.value for answer in answers]
    # An answer without a group is a group of its own.
    groups = [answer.group or f"\0{number}" for number, answer in enumerate(answers)]
    return TaskValues(values, metric, groups if any(answer.group for answer in answers) else None)


def paired_values(mine: Mapping[str, Answer], theirs: Mapping[str, Answer], metric: str) -> tuple[TaskValues, TaskValues]:
    """Two models' values of the rows that both answered, in the same order."""
    rows = [row for row in mine if row in theirs]
    first, second = (task_values([answers[row] for row in rows], metric) for answers in (mine, theirs))
    return first, TaskValues(second.values, metric, first.groups)
