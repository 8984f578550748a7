"""Every column's answers to the same rows, and what each answer scores by the project's own metrics.

Answers are kept in a folder until what they depend on changes, so that a second trial costs no more than its own model's.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import shopbench
from benchmarks.answering import kept, model_answers, prompt
from benchmarks.verdict import Line
from common.answers import parse_completion
from common.tasks import TASKS
from eval_tasks.baselines import encoders, template_rows
from eval_tasks.baselines import shop as baselines
from eval_tasks.baselines import shopbench as shopbench_baselines
from eval_tasks.baselines.template_rows import Question, question
from eval_tasks.suites.shopbench_rows import ShopBenchRow

Questions = dict[str, list[Question]]

READERS = {"TF-IDF": "tfidf", "MiniLM": "minilm"}
"""The columns that read -> the baselines that they are."""


def as_questions(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Questions:
    return {name: [question(row) for row in found] for name, found in rows.items()}


def score_tasks(models: Mapping[str, str], train: Questions, test: Questions, seed: int, answers: Path) -> list[Line]:
    """A line for each task with held-out rows. `models`: column -> folder or Hub id."""
    prompts = [prompt(row.prompt, row.task.max_new_tokens, f"shop:{name}") for name, rows in test.items() for row in rows]
    said = {name: model_answers(model, prompts, answers) for name, model in models.items()}
    lines, start = [], 0
    for name, rows in test.items():
        part = slice(start, start := start + len(rows))
        known = train.get(name, [])
        columns: dict[str, list[str] | None] = {column: texts[part] for column, texts in said.items()}
        unreadable = {
            column: mean(parse_completion(TASKS[name], text) is None for text in texts[part]) for column, texts in said.items()
        }
        columns["majority"] = baselines.commonest(known, rows)
        for column, baseline in READERS.items():
            shown = [[[row.prompt, row.completion, row.group] for row in part] for part in (known, rows)]
            make = partial(_read, baseline, known, rows)
            columns[column] = kept(answers, [column, _source(), shown], make) if known else None
        scores = {column: baselines.scores_of(rows, texts) if texts else None for column, texts in columns.items()}
        scores["random"] = baselines.guess_scores(known, rows, seed)
        lines.append(Line(name, TASKS[name].family, TASKS[name].metric, [row.group for row in rows], scores, unreadable))
    return lines


def score_shopbench(
    models: Mapping[str, str], train: Questions, rows: Sequence[ShopBenchRow], path: Path, answers: Path
) -> tuple[list[Line], dict[str, Any]]:
    """Lines of types of task and of the mean over tasks, and ShopBench's own figures of each model. `path`: the rows' file."""
    prompts = shopbench.prompts(rows, path)
    said = {name: model_answers(model, prompts, answers) for name, model in models.items()}
    for column, baseline in READERS.items():
        shown = [[row.prompt for row in rows], [[row.prompt, row.completion] for found in train.values() for row in found]]
        make = partial(_likeliest, baseline, train, rows)
        said[column] = kept(answers, [column, _source(), shown], make)
    return shopbench.lines(rows, said), {name: shopbench.task_scores(rows, said[name]) for name in models}


def _read(baseline: str, train: Sequence[Question], rows: Sequence[Question]) -> list[str]:
    return baselines.answers(baseline, train, rows) or []


def _likeliest(baseline: str, train: Questions, rows: Sequence[ShopBenchRow]) -> list[str]:
    """Empty where the baseline has no answer."""
    return [text or "" for text in shopbench_baselines.answers(baseline, train, rows)]


def _source() -> list[str]:
    """A baseline that is written anew answers anew."""
    return [inspect.getsource(module) for module in (baselines, encoders, template_rows, shopbench_baselines)]
