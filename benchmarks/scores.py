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
from benchmarks.verdict import TaskScores
from common.answers import parse_completion
from common.tasks import TASKS
from eval_tasks.baselines import encoders, template_rows
from eval_tasks.baselines import shop as baselines
from eval_tasks.baselines import shopbench as shopbench_baselines
from eval_tasks.baselines.template_rows import TemplateRow, template_row
from eval_tasks.suites.shopbench_rows import ShopBenchRow

TemplateRows = dict[str, list[TemplateRow]]

READERS = {"TF-IDF": "tfidf", "MiniLM": "minilm"}
"""The columns that read -> the baselines that they are."""


def as_template_rows(rows: Mapping[str, Sequence[dict[str, Any]]]) -> TemplateRows:
    return {name: [template_row(row) for row in found] for name, found in rows.items()}


def score_tasks(
    models: Mapping[str, str], train: TemplateRows, test: TemplateRows, seed: int, answers: Path
) -> list[TaskScores]:
    """The scores of each task with held-out rows. `models`: column -> folder or Hub id."""
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
        columns["majority"] = baselines.majority_answers(known, rows)
        for column, baseline in READERS.items():
            shown = [[[row.prompt, row.completion, row.group] for row in part] for part in (known, rows)]
            make = partial(_read, baseline, known, rows)
            columns[column] = kept(answers, [column, _source(), shown], make) if known else None
        scores = {column: baselines.scores_of(rows, texts) if texts else None for column, texts in columns.items()}
        scores["random"] = baselines.expected_scores(known, rows, seed)
        lines.append(TaskScores(name, TASKS[name].family, TASKS[name].metric, [row.group for row in rows], scores, unreadable))
    return lines


def score_shopbench(
    models: Mapping[str, str], train: TemplateRows, rows: Sequence[ShopBenchRow], path: Path, answers: Path
) -> tuple[list[TaskScores], dict[str, Any]]:
    """Lines of types of task and of the mean over tasks, and ShopBench's own figures of each model. `path`: the rows' file."""
    prompts = shopbench.prompts(rows, path)
    said = {name: model_answers(model, prompts, answers) for name, model in models.items()}
    for column, baseline in READERS.items():
        shown = [[row.prompt for row in rows], [[row.prompt, row.completion] for found in train.values() for row in found]]
        make = partial(_likeliest, baseline, train, rows)
        said[column] = kept(answers, [column, _source(), shown], make)
    return shopbench.lines(rows, said), {name: shopbench.task_scores(rows, said[name]) for name in models}


def _read(baseline: str, train: Sequence[TemplateRow], rows: Sequence[TemplateRow]) -> list[str]:
    return baselines.baseline_answers(baseline, train, rows) or []


def _likeliest(baseline: str, train: TemplateRows, rows: Sequence[ShopBenchRow]) -> list[str]:
    """Empty where the baseline has no answer."""
    return [text or "" for text in shopbench_baselines.shopbench_answers(baseline, train, rows)]


def _source() -> list[str]:
    """A baseline that is written anew answers anew."""
    return [inspect.getsource(module) for module in (baselines, encoders, template_rows, shopbench_baselines)]
