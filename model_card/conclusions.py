"""Conclusions from the scores, in sentences: where the tuned model gains, where it loses, where a baseline is better."""

from collections.abc import Iterable, Sequence

from eval_tasks.reporting.report import Report, ScoreCell, ScoreGain, ScoreLine
from eval_tasks.reporting.table import number, signed
from eval_tasks.suites.suite import task_title
from model_card.markdown import plain


def conclusions(report: Report) -> list[str]:
    """Sentences on a report of one suite; the tuned model is the last one before the baselines."""
    return [*_against_base(report), *_of_mean(report), *_of_wordings(report), *_against_baselines(report)]


def headline(report: Report) -> str:
    """The mean score as one clause."""
    tuned, base = report.mean.cells[report.last], report.mean.cells[0] if report.last else None
    if tuned is None:
        return ""
    of_base = f", the base's {number(base.value)}" if base else ""
    return f"{number(tuned.value)}{_interval(tuned)}{of_base}"


def _against_base(report: Report) -> Iterable[str]:
    if not report.last:
        yield "The base model was not measured, so nothing can be said about what tuning changed."
        return
    gains = [(line, gain) for line in report.lines if (gain := line.gains[report.last])]
    if not gains:
        yield "The base model was not measured on the same rows, so nothing can be said about what tuning changed."
        return
    better, worse = ([(line, gain) for line, gain in gains if sign * round(gain.value, 3) > 0] for sign in (1, -1))
    equal = len(gains) - len(better) - len(worse)
    also = f", and the same on {equal}" if equal else ""
    none = "" if worse else ", and lower on none"
    yield f"The tuned model scores higher than the base on {len(better)} of {len(gains)} {_tasks(len(gains))}{also}{none}."
    if worse:
        yield f"**It scores lower than the base on {len(worse)}:** {_listed(worse)}."
    if unclear := [(line, gain) for line, gain in (*better, *worse) if gain.low is not None and not gain.clear]:
        yield f"Possibly by chance: {_listed(unclear)}."


def _of_mean(report: Report) -> Iterable[str]:
    mean, tasks = report.mean, len(report.lines)
    tuned, base, gain = mean.cells[report.last], mean.cells[0], mean.gains[report.last]
    if tasks < 2 or not tuned or not base or not gain:
        return
    chance = " This may be chance." if gain.low is not None and not gain.clear else ""
    yield (
        f"The mean over all {tasks} tasks goes from {number(base.value)} to {number(tuned.value)}: {signed(gain.value)}"
        f"{_interval(gain)}.{chance}"
    )


def _of_wordings(report: Report) -> Iterable[str]:
    if not report.wordings or not (cell := report.wordings[-1].cells[report.last]):
        return
    tasks = len(report.wordings) - 1
    mean = f", mean over {tasks} tasks" if tasks else ""
    chance = "" if cell.gain.clear else " This may be chance."
    yield (
        f"In a wording that it was not trained on it scores {number(cell.unseen)} where it scores {number(cell.seen)} in the "
        f"trained ones ({cell.gain.rows:,} rows asked in both{mean}): {signed(cell.gain.value)}{_interval(cell.gain)}.{chance}"
    )


def _against_baselines(report: Report) -> Iterable[str]:
    known = [
        (line, tuned.value, best)
        for line in report.lines
        if (tuned := line.cells[report.last]) and (best := report.best_baseline(line)) is not None
    ]
    if not known:
        return
    below = [(line, best) for line, tuned, best in known if round(best, 3) > round(tuned, 3)]
    if below:
        shown = ", ".join(
            f"{task_title(line.name)} ({plain(_baseline(report, line, best))} {number(best)})" for line, best in below
        )
        yield f"**A baseline without a language model scores higher on {len(below)} of {len(known)}:** {shown}."
    else:
        yield f"No baseline without a language model scores higher on any of {len(known)} {_tasks(len(known))}."


def _baseline(report: Report, line: ScoreLine, score: float) -> str:
    """Name of the first baseline that has this score."""
    beside = zip(report.names[report.last + 1 :], line.cells[report.last + 1 :], strict=True)
    return next(name for name, cell in beside if cell and cell.value == score)


def _interval(cell: ScoreCell | ScoreGain) -> str:
    if cell.low is None or cell.high is None:
        return ""
    shown = signed if isinstance(cell, ScoreGain) else number
    return f" (95 % interval {shown(cell.low)} to {shown(cell.high)})"


def _tasks(count: int) -> str:
    return "task" if count == 1 else "tasks"


def _listed(found: Sequence[tuple[ScoreLine, ScoreGain]]) -> str:
    return ", ".join(f"{task_title(line.name)} ({signed(gain.value)})" for line, gain in found)
