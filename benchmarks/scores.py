"""Every column's answers to the same rows, and what each answer scores by the project's own metrics.

Answers are kept in a folder until what they depend on changes, so that a second trial costs no more than its own model's.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Any

from benchmarks import baselines, questions, shopbench
from benchmarks.answering import Prompt, kept, model_answers
from benchmarks.baselines import Encoder
from benchmarks.questions import Question, question
from benchmarks.verdict import Line
from dataset_builders.tasks import TASKS, parse_completion
from eval_tasks.cache_key import weights_stamp
from eval_tasks.scoring import Row

Questions = dict[str, list[Question]]


def as_questions(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Questions:
    return {name: [question(row) for row in found] for name, found in rows.items()}


def score_tasks(models: Mapping[str, str], train: Questions, test: Questions, seed: int, answers: Path) -> list[Line]:
    """A line for each task with held-out rows. `models`: column -> folder or Hub id."""
    prompts = [Prompt(row.prompt, row.task.max_new_tokens) for rows in test.values() for row in rows]
    said = {name: _ask(model, prompts, answers) for name, model in models.items()}
    lines, start = [], 0
    for name, rows in test.items():
        part = slice(start, start := start + len(rows))
        known = train.get(name, [])
        columns: dict[str, list[str] | None] = {column: texts[part] for column, texts in said.items()}
        unreadable = {
            column: mean(parse_completion(TASKS[name], text) is None for text in texts[part]) for column, texts in said.items()
        }
        columns["majority"] = baselines.commonest(known, rows)
        for column, encoder in _encoders([known]).items():
            shown = [[[row.prompt, row.completion, row.group] for row in part] for part in (known, rows)]
            make = partial(_read, known, rows, encoder)
            columns[column] = kept(answers, [column, _source(), shown], make) if known else None
        scores = {column: baselines.scores_of(rows, texts) if texts else None for column, texts in columns.items()}
        scores["random"] = baselines.guess_scores(known, rows, seed)
        lines.append(Line(name, TASKS[name].family, TASKS[name].metric, [row.group for row in rows], scores, unreadable))
    return lines


def score_shopbench(
    models: Mapping[str, str], train: Questions, rows: Sequence[Row], path: Path, answers: Path
) -> tuple[list[Line], dict[str, Any]]:
    """Lines of types of task and of the mean over tasks, and ShopBench's own figures of each model. `path`: the rows' file."""
    prompts = shopbench.prompts(rows, path)
    said = {name: _ask(model, prompts, answers) for name, model in models.items()}
    reviews = train.get("review_rating", [])
    for column, encoder in _encoders(list(train.values())).items():
        shown = [[row.prompt for row in rows], [[row.prompt, row.completion] for found in train.values() for row in found]]
        make = partial(_likeliest, rows, reviews, encoder)
        said[column] = kept(answers, [column, _source(shopbench), shown], make)
    return shopbench.lines(rows, said), {name: shopbench.task_scores(rows, said[name]) for name in models}


def _ask(model: str, prompts: Sequence[Prompt], answers: Path) -> list[str]:
    """The model's answers, kept until its weights or the prompts change."""
    key = ["model", model, weights_stamp([f"model_name={model}"]), [[prompt.text, prompt.max_new_tokens] for prompt in prompts]]
    return kept(answers, key, lambda: model_answers(model, prompts))


def _encoders(train: Sequence[Sequence[Question]]) -> dict[str, Callable[[], Encoder]]:
    """The two columns that read, each made when it is needed."""
    texts = (text for rows in train for row in rows for text in (*row.about(), *row.listed()))
    return {"TF-IDF": lambda: baselines.tfidf(list(texts)), "MiniLM": baselines.minilm}


def _read(train: Sequence[Question], rows: Sequence[Question], encoder: Callable[[], Encoder]) -> list[str]:
    return baselines.answers(train, rows, encoder())


def _likeliest(rows: Sequence[Row], reviews: Sequence[Question], encoder: Callable[[], Encoder]) -> list[str]:
    return shopbench.likeliest(rows, encoder(), reviews)


def _source(*modules: ModuleType) -> list[str]:
    """A baseline that is written anew answers anew."""
    return [inspect.getsource(module) for module in (baselines, questions, *modules)]
