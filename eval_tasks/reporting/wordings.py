"""Robustness to wording: scores of the same rows in a wording that was trained on and in one that never is.

The rows are those that a model answered in both (suite `shop_unseen`, see eval_tasks/shop.py), so that a score here is not that
of all test rows. Differences have paired intervals, as those of two models have. Results without kept answers give none.
"""

from collections.abc import Sequence

from eval_tasks.metrics.task_scores import AGGREGATES, task_score
from eval_tasks.reporting.details import paired_values
from eval_tasks.reporting.intervals import TaskValues, overall_paired
from eval_tasks.reporting.report import EvaluatedModel, ScoreGain, WordingCell, WordingLine
from eval_tasks.suites.suite import SHOP, UNSEEN, place, suite_name


def wording_lines(models: Sequence[EvaluatedModel], seed: int = 0) -> tuple[WordingLine, ...]:
    """A line for each task that some model has answers to in both wordings, and one of the mean where there are several.

    `models` without baselines. Empty where no model has such answers.
    """
    pairs = {model.name: _pairs(model) for model in models}
    tasks = sorted({task for own in pairs.values() for task in own}, key=place)
    lines = [
        WordingLine(
            task,
            next(own[task][0].metric for own in pairs.values() if task in own),
            tuple(_cell([own[task]], seed) if task in own else None for own in pairs.values()),
        )
        for task in tasks
    ]
    if len(lines) > 1:
        means = (_cell([own[task] for task in tasks], seed) if set(own) == set(tasks) else None for own in pairs.values())
        lines.append(WordingLine("all tasks", "", tuple(means)))
    return tuple(lines)


def _pairs(model: EvaluatedModel) -> dict[str, tuple[TaskValues, TaskValues]]:
    """Task -> a model's values of the rows that it answered in both wordings, those of the unseen one first."""
    found = {}
    for name, score in model.run.scores.items():
        unseen = model.answers.get(f"{UNSEEN}:{name.removeprefix(f'{SHOP}:')}", {})
        if suite_name(name) == SHOP and unseen:
            pair = paired_values(unseen, model.answers.get(name, {}), score.metric)
            if pair[0].values:
                found[name] = pair
    return found


def _cell(pairs: Sequence[tuple[TaskValues, TaskValues]], seed: int) -> WordingCell:
    """Of the mean over tasks."""
    unseen, seen = (sum(map(_score, values)) / len(pairs) for values in zip(*pairs, strict=True))
    found = overall_paired([first for first, _ in pairs], [second for _, second in pairs], seed)
    rows = sum(len(first.values) for first, _ in pairs)
    return WordingCell(seen, unseen, ScoreGain(found.value, found.low, found.high, found.p_value, rows))


def _score(values: TaskValues) -> float:
    if values.metric in AGGREGATES:
        return float(task_score(values.metric, values.values))
    return sum(map(float, values.values)) / len(values.values)  # type: ignore[arg-type]  # numbers, of a metric that is a mean
