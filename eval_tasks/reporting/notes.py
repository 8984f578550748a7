"""A comparison's summary in a few sentences, and caveats before its columns are compared."""

from collections.abc import Iterable, Sequence

from common.tasks import TASKS
from common.words import is_scored
from eval_tasks.backends.prompts import LISTS
from eval_tasks.metrics.task_scores import AGGREGATES, task_score
from eval_tasks.reporting.report import EvaluatedModel, Report, ScoreGain
from eval_tasks.reporting.results import shown_time
from eval_tasks.suites.suite import place

ROUNDING = 1e-6
"""What a score may differ by from the one that its answers add up to."""


def summary(report: Report) -> str:
    """How the last model does against the first and against the baselines; of more than two models also their order."""
    return " ".join([*_order(report), *_against_first(report), *_against_baselines(report)])


def _order(report: Report) -> Iterable[str]:
    if report.last > 1:
        cells = zip(report.mean.cells[: report.last + 1], report.names, strict=False)
        ranked = sorted(((cell.value, name) for cell, name in cells if cell), key=lambda pair: -pair[0])
        if ranked:
            yield f"Means over tasks: {', '.join(f'{name} {value:.3f}' for value, name in ranked)}."


def _against_first(report: Report) -> Iterable[str]:
    gains = [gain for line in report.lines if (gain := line.gains[report.last])]
    if gains:
        better, worse = (_counted([gain for gain in gains if gain.value * sign > 0]) for sign in (1, -1))
        last, first = report.names[report.last], report.names[0]
        yield f"{last} is better than {first} on {better} and worse on {worse} of {len(gains)} tasks."
    overall, before, after = report.mean.gains[report.last], report.mean.cells[0], report.mean.cells[report.last]
    if overall and before and after and report.last == 1:
        interval = "" if overall.low is None else f" (95 % interval {overall.low:+.3f} to {overall.high:+.3f})"
        yield f"Mean over tasks: {before.value:.3f} \u2192 {after.value:.3f}, {overall.value:+.3f}{interval}."


def _counted(gains: Sequence[ScoreGain]) -> str:
    return f"{len(gains)} ({sum(1 for gain in gains if gain.clear)} beyond chance)" if gains else "none"


def _against_baselines(report: Report) -> Iterable[str]:
    pairs = [(line.cells[report.last], report.best_baseline(line)) for line in report.lines]
    known = [(cell.value, best) for cell, best in pairs if cell and best is not None]
    if known:
        above = sum(1 for value, best in known if value > best)
        yield f"{report.names[report.last]} scores more than every baseline on {above} of {len(known)} tasks."


# --- Before comparing ---


def notes(report: Report, advice: bool = True) -> list[str]:
    """Sentences, none where there is nothing to mind; with `advice` on what to do about it."""
    contestants, baselines = report.models[: report.last + 1], report.models[report.last + 1 :]
    tasks = [line.name for line in report.lines]
    shared = [task for task in tasks if all(task in model.run.scores for model in contestants)]
    found: list[str] = []
    for lists in LISTS:
        if scored := [model.name for model in contestants if (model.run.answers, model.run.lists) == ("scored", lists)]:
            found.append(_how_scored(scored, tasks, lists))
    if lone := [task for task in tasks if task not in shared]:
        found.append(f"Not scored for every model, and in no mean: {_listed(lone)}.")
    for model in baselines:
        if without := [task for task in shared if task not in model.run.scores]:
            found.append(f"The baseline {model.name} has no score, and so no mean, with {_listed(without)}.")
    found += [sentence for model in report.models for sentence in _of_run(model)]
    for limit in sorted({model.run.max_samples for model in report.models if model.run.max_samples}):
        limited = [model.name for model in report.models if model.run.max_samples == limit]
        found.append(f"Asked no more than {limit} rows of a task (--max-samples): {', '.join(limited)}.")
    found += _of_rows(shared, report.models)
    found += _of_examples(report.models)
    found += [sentence for model in report.models for sentence in _of_answers(model)]
    if silent := [model.name for model in report.models if not any(model.answers.values())]:
        found.append(
            f"No answers were kept of {', '.join(silent)}, so intervals come from lighteval's standard errors"
            + (" and there are no examples: evaluate with --save-details." if advice else ".")
        )
    if len({line.metric for line in report.lines}) > 1:
        found.append("A mean over tasks of different metrics is one of unlike things: it orders models, and measures nothing.")
    return found


def _how_scored(names: Sequence[str], tasks: Sequence[str], lists: str) -> str:
    """Which prompts and candidates answers by likelihood are from, by the tasks that were scored so."""
    known = [TASKS[name] for task in tasks if (name := task.partition(":")[2]) in TASKS and task.startswith("shop:")]
    listed = [task for task in known if task.words and task.words.items]
    by_text = [task for task in listed if task.by_text and lists == "text"]
    weighed = ", and less so each item behind the text" if any(task.by_text.direct for task in by_text if task.by_text) else ""
    ways = [
        ("each of the labels in words", [task for task in known if task.family == "multiple_choice"]),
        (
            "each item's expected gain, asked in words of one item at a time",
            [task for task in listed if task not in by_text],
        ),
        ("how likely the text of the row is behind each item" + weighed, by_text),
        ("no likelihood but the written text", [task for task in known if not is_scored(task)]),
    ]
    parts = [f"{', '.join(task.name for task in own)} by {way}" for way, own in ways if own]
    if len(known) < len(tasks):
        parts.append(
            "other lists by how much likelier the prompt makes each item"
            if lists == "text"
            else "numbered choices by each number, without the model's preference for some of them"
        )
    return f"Answered by likelihood ({', '.join(names)}): {'; '.join(parts)}."


def _of_run(model: EvaluatedModel) -> Iterable[str]:
    run = model.run
    if run.unscored:
        yield f"{model.name} was run on {_listed(run.unscored)} and has no number for it."
    if spent := {task: score.unfinished for task, score in run.scores.items() if score.unfinished}:
        shares = ", ".join(f"{share:.0%} of {task}" for task, share in sorted(spent.items(), key=lambda pair: place(pair[0])))
        yield (
            f"{model.name} spent all its tokens on reasoning in some answers ({shares}): they score 0, and are not among the "
            "unparsable."
        )
    if len(run.times) > 1:
        yield f"{model.name}'s scores come from {len(run.times)} runs, of {', '.join(map(shown_time, run.times))}."


def _of_examples(models: Sequence[EvaluatedModel]) -> Iterable[str]:
    shots = {model.name: {score.few_shots for score in model.run.scores.values()} for model in models}
    if len(set().union(*shots.values())) > 1:
        counts = [f"{name} {'/'.join(map(str, sorted(numbers)))}" for name, numbers in shots.items()]
        yield f"Asked with different numbers of examples in the prompt: {', '.join(counts)}."


def _of_rows(shared: Sequence[str], models: Sequence[EvaluatedModel]) -> Iterable[str]:
    """Scores stand beside each other that are over other rows, or other versions of them."""
    counted, unlike = [], []
    for task in shared:
        scored = [model for model in models if task in model.run.scores]
        answers = [model.answers.get(task, {}) for model in scored]
        if all(answers):
            common = len(set(answers[0]).intersection(*answers[1:]))
            if any(len(rows) != common for rows in answers):
                counted.append(f"{task} ({common} of up to {max(map(len, answers))} are the same)")
        elif len({(model.run.scores[task].version, model.run.scores[task].rows) for model in scored}) > 1:
            unlike.append(task)
    if counted:
        yield f"Scored on different rows, so compare differences (over the same ones) and not scores: {', '.join(counted)}."
    if unlike:
        yield f"Scored on different rows, so not comparable: {_listed(unlike)}."


def _of_answers(model: EvaluatedModel) -> Iterable[str]:
    scored = model.run.scores
    kept = [task for task in scored if model.answers.get(task)]
    if kept and (missing := scored.keys() - set(kept)):
        yield f"{model.name} kept no answers of {_listed(missing)}: its run was stopped while it wrote them."
    if other := [task for task in kept if not _adds_up(task, model)]:
        yield f"{model.name}'s answers do not add up to its scores of {_listed(other)}."


def _adds_up(task: str, model: EvaluatedModel) -> bool:
    score = model.run.scores[task]
    values = [answer.value for answer in model.answers[task].values()]
    if score.metric not in AGGREGATES and any(isinstance(value, list) for value in values):
        return False
    return abs(float(task_score(score.metric, values)) - score.value) <= ROUNDING


def _listed(tasks: Iterable[str]) -> str:
    return ", ".join(sorted(tasks, key=place))
