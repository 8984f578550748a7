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

from eval_tasks.metrics.task_scores import AGGREGATES
from eval_tasks.reporting.details import paired_values, task_values
from eval_tasks.reporting.intervals import TaskValues, overall_interval, overall_paired
from eval_tasks.reporting.report import EvaluatedModel, Report, ScoreCell, ScoreGain, ScoreGroup, ScoreLine
from eval_tasks.reporting.wordings import wording_lines
from eval_tasks.suites.suite import UNSEEN, place, suite_name

Z95 = 1.96
"""Half-width of a 95 % interval in standard errors."""

Progress = Callable[[Sequence[Any], str], Iterable[Any]]


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
    lines = {task: _task_line(task, models, seed) for task in progress(tasks, "Intervals of tasks")}
    suites = list(dict.fromkeys(map(suite_name, tasks)))

    def mean(name: str, members: Sequence[str]) -> ScoreLine:
        return _mean_line(name, [lines[task] for task in members if task in shared], models, seed)

    groups = []
    families = list(dict.fromkeys((suite_name(task), _family(task, models)) for task in tasks))
    for suite, family in progress(families, "Intervals of means"):
        own = [task for task in tasks if (suite_name(task), _family(task, models)) == (suite, family)]
        groups.append(ScoreGroup(suite, family, tuple(lines[task] for task in own), mean(family, own)))
    of_suites = [mean(f"{suite}, all tasks", [task for task in tasks if suite_name(task) == suite]) for suite in suites]
    return Report(
        models=tuple(models),
        groups=tuple(groups),
        means=tuple(of_suites) if len(suites) > 1 else (),
        mean=mean("all tasks", tasks) if len(suites) > 1 else replace(of_suites[0], name="all tasks"),
        wordings=wording_lines(contestants, seed),
    )


def _family(task: str, models: Sequence[EvaluatedModel]) -> str:
    return next(model.run.scores[task].family for model in models if task in model.run.scores)


# --- One task ---


def _task_line(task: str, models: Sequence[EvaluatedModel], seed: int) -> ScoreLine:
    reference = models[0]
    metric = next(model.run.scores[task].metric for model in models if task in model.run.scores)
    return ScoreLine(
        task,
        metric,
        tuple(_cell(task, model, seed) for model in models),
        tuple(None if model.run.baseline else _gain(task, model, reference, seed) for model in models),
    )


def _cell(task: str, model: EvaluatedModel, seed: int) -> ScoreCell | None:
    score = model.run.scores.get(task)
    if score is None:
        return None
    values = _values(task, model)
    low, high = overall_interval([values], seed) if values else _score_around(score.value, score.stderr)
    return ScoreCell(score.value, low, high, score.unparsable, len(model.answers.get(task, {})) or score.rows)


def _gain(task: str, model: EvaluatedModel, reference: EvaluatedModel, seed: int) -> ScoreGain | None:
    mine, theirs = model.run.scores.get(task), reference.run.scores.get(task)
    if model is reference or mine is None or theirs is None:
        return None
    if _values(task, model) and _values(task, reference):
        first, second = paired_values(model.answers[task], reference.answers[task], mine.metric)
        if not first.values:
            return None
        found = overall_paired([first], [second], seed)
        return ScoreGain(found.value, found.low, found.high, found.p_value, len(first.values))
    errors = (mine.stderr, theirs.stderr)
    low, high = _around(mine.value - theirs.value, _combined(errors))
    return ScoreGain(mine.value - theirs.value, low, high)


def _values(task: str, model: EvaluatedModel) -> TaskValues | None:
    """What intervals are drawn from, or None where the run kept no answers of the task."""
    answers = list(model.answers.get(task, {}).values())
    if not answers or task not in model.run.scores:
        return None
    metric = model.run.scores[task].metric
    if metric not in AGGREGATES and any(isinstance(answer.value, list) for answer in answers):
        return None  # of a metric that is not known here
    return task_values(answers, metric)


def _around(value: float, stderr: float | None) -> tuple[float | None, float | None]:
    return (None, None) if stderr is None else (value - Z95 * stderr, value + Z95 * stderr)


def _score_around(value: float, stderr: float | None) -> tuple[float | None, float | None]:
    """No further than scores reach."""
    low, high = _around(value, stderr)
    return None if low is None else max(low, 0.0), None if high is None else min(high, 1.0)


def _combined(errors: Sequence[float | None]) -> float | None:
    """Standard error of a sum or difference of independent scores."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if known and len(known) == len(errors) else None


# --- Means ---


def _mean_line(name: str, lines: Sequence[ScoreLine], models: Sequence[EvaluatedModel], seed: int) -> ScoreLine:
    """A model's mean over all these tasks, None where it was not scored on all."""
    tasks = [line.name for line in lines]
    cells = tuple(
        _mean_cell(tasks, [line.cells[column] for line in lines], models[column], seed) for column in range(len(models))
    )
    gains = tuple(
        None if cell is None or cells[0] is None or model.run.baseline else _mean_gain(tasks, model, models[0], seed)
        for model, cell in zip(models, cells, strict=True)
    )
    return ScoreLine(name, "", cells, gains)


def _mean_cell(tasks: Sequence[str], cells: Sequence[ScoreCell | None], model: EvaluatedModel, seed: int) -> ScoreCell | None:
    known = [cell for cell in cells if cell is not None]
    if not known or len(known) < len(cells):
        return None
    value = fmean(cell.value for cell in known)
    values = [_values(task, model) for task in tasks]
    drawn = [task for task in values if task is not None]
    error = _combined([model.run.scores[task].stderr for task in tasks])
    of_errors = _score_around(value, None if error is None else error / len(tasks))
    low, high = overall_interval(drawn, seed) if len(drawn) == len(tasks) else of_errors
    shares = [cell.unparsable for cell in known if cell.unparsable is not None]
    rows = [cell.rows for cell in known if cell.rows is not None]
    return ScoreCell(
        value, low, high, fmean(shares) if len(shares) == len(known) else None, sum(rows) if len(rows) == len(known) else None
    )


def _mean_gain(tasks: Sequence[str], model: EvaluatedModel, reference: EvaluatedModel, seed: int) -> ScoreGain | None:
    if model is reference:
        return None
    if all(_values(task, model) and _values(task, reference) for task in tasks):
        pairs = [paired_values(model.answers[task], reference.answers[task], model.run.scores[task].metric) for task in tasks]
        if not all(first.values for first, _ in pairs):
            return None
        found = overall_paired([first for first, _ in pairs], [second for _, second in pairs], seed)
        return ScoreGain(found.value, found.low, found.high, found.p_value, sum(len(first.values) for first, _ in pairs))
    scores = [(model.run.scores[task], reference.run.scores[task]) for task in tasks]
    value = fmean(mine.value - theirs.value for mine, theirs in scores)
    error = _combined([score.stderr for both in scores for score in both])
    return ScoreGain(value, *_around(value, None if error is None else error / len(tasks)))
