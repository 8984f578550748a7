"""Comparison of models on the same tasks: scores and differences with confidence intervals, and means over tasks.

The first model is the reference: every other one's difference is taken to it, over the rows that both answered. Baselines come
last and have no difference. Intervals are bootstrapped from the answers where a run kept them (lighteval's --save-details),
else they come from lighteval's standard errors, as if two runs were independent.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from eval_tasks.metrics.task_scores import AGGREGATES, task_score
from eval_tasks.reporting.details import paired_values, task_values
from eval_tasks.reporting.intervals import TaskValues, overall_interval, overall_paired
from eval_tasks.reporting.report import (
    EvaluatedModel,
    Report,
    ScoreCell,
    ScoreGain,
    ScoreGroup,
    ScoreLine,
    WordingCell,
    WordingLine,
)
from eval_tasks.suites.suite import SHOP, UNSEEN, place, suite_name

Z95 = 1.96
"""Half-width of a 95 % interval in standard errors."""

Progress = Callable[[Sequence[Any], str], Iterable[Any]]
Pair = tuple[TaskValues, TaskValues]


def make_report(models: Sequence[EvaluatedModel], seed: int = 0, progress: Progress = lambda items, _: items) -> Report:
    """Lines by family, in the order of the tasks' declaration.

    `progress` hands on the items of its first argument, and may show how far it is.
    """
    if not all(model.run.baseline for model in models):
        models = sorted(models, key=lambda model: model.run.baseline)
    else:  # nothing to set them apart from
        models = [replace(model, run=replace(model.run, baseline=False)) for model in models]
    every = sorted({task for model in models for task in model.run.scores}, key=place)
    tasks = [task for task in every if suite_name(task) != UNSEEN] or every
    contestants = [model for model in models if not model.run.baseline]
    shared = [task for task in tasks if all(task in model.run.scores for model in contestants)]
    known = {task: next(model.run.scores[task] for model in models if task in model.run.scores) for task in tasks}
    lines = {
        task: ScoreLine(task, known[task].metric, *_figures([task], models, seed))
        for task in progress(tasks, "Intervals of tasks")
    }
    suites = list(dict.fromkeys(map(suite_name, tasks)))

    def mean(name: str, members: Sequence[str]) -> ScoreLine:
        return ScoreLine(name, "", *_figures([task for task in members if task in shared], models, seed))

    groups = []
    families = list(dict.fromkeys((suite_name(task), known[task].family) for task in tasks))
    for suite, family in progress(families, "Intervals of means"):
        own = [task for task in tasks if (suite_name(task), known[task].family) == (suite, family)]
        groups.append(ScoreGroup(suite, family, tuple(lines[task] for task in own), mean(family, own)))
    of_suites = [mean(f"{suite}, all tasks", [task for task in tasks if suite_name(task) == suite]) for suite in suites]
    return Report(
        models=tuple(models),
        groups=tuple(groups),
        means=tuple(of_suites) if len(suites) > 1 else (),
        mean=mean("all tasks", tasks) if len(suites) > 1 else replace(of_suites[0], name="all tasks"),
        wordings=wording_lines(contestants, seed),
    )


def _figures(
    tasks: Sequence[str], models: Sequence[EvaluatedModel], seed: int
) -> tuple[tuple[ScoreCell | None, ...], tuple[ScoreGain | None, ...]]:
    """Each model's score of a task, or mean over several, and its gain; None where it was not scored on all of them."""
    cells = tuple(_cell(tasks, model, seed) for model in models)
    gains = (
        None if not (cell and cells[0]) or model is models[0] or model.run.baseline else _gain(tasks, model, models[0], seed)
        for model, cell in zip(models, cells, strict=True)
    )
    return cells, tuple(gains)


def _cell(tasks: Sequence[str], model: EvaluatedModel, seed: int) -> ScoreCell | None:
    scores = [model.run.scores[task] for task in tasks if task in model.run.scores]
    if not scores or len(scores) < len(tasks):
        return None
    value = fmean(score.value for score in scores)
    drawn = [values for task in tasks if (values := _values(task, model))]
    low: float | None
    high: float | None
    if len(drawn) == len(tasks):
        low, high = overall_interval(drawn, seed)
    else:  # no further than scores reach
        low, high = _around(value, [score.stderr for score in scores])
        low, high = None if low is None else max(low, 0.0), None if high is None else min(high, 1.0)
    shares = [score.unparsable for score in scores if score.unparsable is not None]
    counts = [len(model.answers.get(task, {})) or model.run.scores[task].rows for task in tasks]
    rows = [count for count in counts if count is not None]
    return ScoreCell(
        value, low, high, fmean(shares) if len(shares) == len(tasks) else None, sum(rows) if len(rows) == len(tasks) else None
    )


def _gain(tasks: Sequence[str], model: EvaluatedModel, reference: EvaluatedModel, seed: int) -> ScoreGain | None:
    """Of the rows that both answered; None where there are none of some task."""
    scores = [(model.run.scores[task], reference.run.scores[task]) for task in tasks]
    if all(_values(task, model) and _values(task, reference) for task in tasks):
        pairs = [
            paired_values(model.answers[task], reference.answers[task], mine.metric)
            for task, (mine, _) in zip(tasks, scores, strict=True)
        ]
        return _paired_gain(pairs, seed) if all(first.values for first, _ in pairs) else None
    value = fmean(mine.value - theirs.value for mine, theirs in scores)
    return ScoreGain(value, *_around(value, [score.stderr for both in scores for score in both], len(tasks)))


def _paired_gain(pairs: Sequence[Pair], seed: int) -> ScoreGain:
    found = overall_paired([first for first, _ in pairs], [second for _, second in pairs], seed)
    return ScoreGain(found.value, found.low, found.high, found.p_value, sum(len(first.values) for first, _ in pairs))


def _values(task: str, model: EvaluatedModel) -> TaskValues | None:
    """What intervals are drawn from, or None where the run kept no answers of the task."""
    answers = list(model.answers.get(task, {}).values())
    if not answers or task not in model.run.scores:
        return None
    metric = model.run.scores[task].metric
    if metric not in AGGREGATES and any(isinstance(answer.value, list) for answer in answers):
        return None  # of a metric that is not known here
    return task_values(answers, metric)


def _around(value: float, stderrs: Sequence[float | None], count: int | None = None) -> tuple[float | None, float | None]:
    """The interval of a sum of independent scores, with these standard errors, over their number (or `count`)."""
    known = [error for error in stderrs if error is not None]
    if len(known) < len(stderrs):
        return None, None
    half = Z95 * math.hypot(*known) / (count or len(known))
    return value - half, value + half


# --- Robustness to wording ---


def wording_lines(models: Sequence[EvaluatedModel], seed: int = 0) -> tuple[WordingLine, ...]:
    """Scores of the same rows in a wording that was trained on and in one that never is (suite `shop_unseen`): a line for each
    task that some model has answers to in both, and one of the mean where there are several.

    A score here is not that of all test rows. `models` without baselines. Empty where no model has such answers.
    """
    pairs = [_wording_pairs(model) for model in models]
    tasks = sorted({task for own in pairs for task in own}, key=place)
    lines = [
        WordingLine(
            task,
            next(own[task][0].metric for own in pairs if task in own),
            tuple(_wording_cell([own[task]], seed) if task in own else None for own in pairs),
        )
        for task in tasks
    ]
    if len(lines) > 1:
        means = (_wording_cell([own[task] for task in tasks], seed) if set(own) == set(tasks) else None for own in pairs)
        lines.append(WordingLine("all tasks", "", tuple(means)))
    return tuple(lines)


def _wording_pairs(model: EvaluatedModel) -> dict[str, Pair]:
    """Task -> a model's values of the rows that it answered in both wordings, those of the unseen one first."""
    found = {}
    for name, score in model.run.scores.items():
        unseen = model.answers.get(f"{UNSEEN}:{name.removeprefix(f'{SHOP}:')}", {})
        if suite_name(name) == SHOP and unseen:
            pair = paired_values(unseen, model.answers.get(name, {}), score.metric)
            if pair[0].values:
                found[name] = pair
    return found


def _wording_cell(pairs: Sequence[Pair], seed: int) -> WordingCell:
    """Of the mean over tasks."""
    unseen, seen = (fmean(float(task_score(task.metric, task.values)) for task in tasks) for tasks in zip(*pairs, strict=True))
    return WordingCell(seen, unseen, _paired_gain(pairs, seed))
