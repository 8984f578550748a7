"""Examples for the report's page: rows with every model's answer, drawn evenly over the tasks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval_tasks.metrics.task_scores import AGGREGATES, macro_f1, micro_f1, task_score
from eval_tasks.reporting.details import Answer
from eval_tasks.reporting.report import EvaluatedModel, Report
from eval_tasks.reporting.table import group_name, metric_name
from eval_tasks.suites.suite import shown_answer, task_title

HEAD, TAIL = 4500, 1500
"""Characters of a longer text that are shown from its beginning and from its end, where a prompt has its question."""

AS_IT_IS, UNKNOWN = 1, 2
"""In the place of a parsed answer: it is the text itself; how it was read is not known."""


@dataclass(frozen=True)
class ReportExamples:
    """`chosen` are rows as (task, row of details.by_row), of `total` that the models answered."""

    chosen: tuple[tuple[str, str], ...]
    total: int
    shortened: bool


def draw(report: Report, limit: int, seed: int) -> ReportExamples:
    """No more than `limit` rows: as many of each task, or all that it has; which ones is drawn."""
    rng = random.Random(seed)
    rows = {line.name: _rows(line.name, report.models) for line in report.lines}
    shares = equal_shares({task: len(of_task) for task, of_task in rows.items()}, limit)
    chosen = []
    for task, of_task in rows.items():
        drawn = set(rng.sample(of_task, shares[task]))
        chosen += [(task, row) for row in of_task if row in drawn]
    texts = (text for task, row in chosen for text in _texts(task, row, report.models))
    return ReportExamples(tuple(chosen), sum(map(len, rows.values())), any(len(text) > HEAD + TAIL for text in texts))


def _rows(task: str, models: Sequence[EvaluatedModel]) -> list[str]:
    return list(dict.fromkeys(row for model in models for row in model.answers.get(task, {})))


def equal_shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """Rows for each task: equal shares, what a small task leaves going to the others."""
    shares, left = {}, limit
    for number, (task, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        shares[task] = min(size, left // (len(sizes) - number))
        left -= shares[task]
    return shares


def _texts(task: str, row: str, models: Sequence[EvaluatedModel]) -> list[str]:
    answers = [answer for model in models if (answer := model.answers.get(task, {}).get(row))]
    return [text for answer in answers for text in (answer.prompt, answer.gold, answer.text, answer.thoughts)]


def as_data(report: Report, examples: ReportExamples) -> dict[str, Any]:
    """What page.js reads.

    An example is [number of its task, id, prompt, right answer, answers], an answer None where a model has none, else
    [text, parsed, score, thoughts], the last left out where there are none; parsed is a text, None where the answer cannot be
    read, AS_IT_IS or UNKNOWN.
    """
    tasks = [line.name for line in report.lines]
    metrics = {line.name: line.metric for line in report.lines}
    titles = [task_title(task) for task in tasks]
    families = [group_name(report, group.suite, group.family) for group in report.groups for _ in group.lines]
    data = []
    for task, row in examples.chosen:
        answers = [model.answers.get(task, {}).get(row) for model in report.models]
        known = next(answer for answer in answers if answer)
        shown = [answer and _shown(task, metrics[task], answer) for answer in answers]
        data.append([tasks.index(task), known.id, _cut(known.prompt), _cut(known.gold), shown])
    return {
        "models": [[model.name, model.run.baseline] for model in report.models],
        "tasks": [list(about) for about in zip(tasks, titles, families, map(metric_name, report.lines), strict=True)],
        "last": report.last,
        "examples": data,
    }


def _shown(task: str, metric: str, answer: Answer) -> list[Any]:
    read = _read(task, answer)
    score = row_score(metric, answer)
    parts = [_cut(answer.text), AS_IT_IS if read == answer.text else _cut(read), round(score, 4)]
    return [*parts, _cut(answer.thoughts)] if answer.thoughts else parts


def row_score(metric: str, answer: Answer) -> float:
    """How well a row was answered, from 0 to 1, also where only a task has a score.

    An F1 says nothing of a "no" that is right; it is a right answer all the same.
    """
    value = answer.value
    if not isinstance(value, list):
        return value
    if answer.unparsable:
        return 0.0
    aggregate = AGGREGATES.get(metric)
    if aggregate is micro_f1 and not any(value[1:]):
        return 1.0
    if aggregate is macro_f1:
        return float(value[0] == value[1])
    return float(task_score(metric, [value]))


def _read(task: str, answer: Answer) -> Any:
    if answer.unparsable:
        return None
    try:
        return shown_answer(task, answer.text, answer.specific)
    except (LookupError, TypeError, ValueError):  # of an older run, whose rows do not say how they are read
        return UNKNOWN


def _cut(text: Any) -> Any:
    """A long text without its middle."""
    if not isinstance(text, str) or len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n[… {len(text) - HEAD - TAIL:,} characters left out …]\n{text[-TAIL:]}"
