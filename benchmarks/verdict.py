"""Comparison of a tuned model with its base and baselines: means, bootstrap intervals and differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from eval_tasks.reporting.intervals import interval

COLUMNS = ("base", "tuned", "random", "majority", "TF-IDF", "MiniLM")
DRAWS = 4000
LEAST_ROWS = 20
"""Rows below which no verdict is said in words."""


@dataclass(frozen=True)
class TaskScores:
    """One task: for each column the scores of the same rows in the same order, or None where it gives no answers.

    `groups` says which rows belong together, such as those of one product; `unreadable` is a column's share of answers
    that say nothing.
    """

    name: str
    family: str
    metric: str
    groups: Sequence[str]
    scores: Mapping[str, Sequence[float] | None]
    unreadable: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """`best_other` is the best column but the tuned one; `gain` is what the tuned one has more, over the same rows.

    All but `means` are None where there is no tuned column or nothing else."""

    line: TaskScores
    means: dict[str, float | None]
    interval: tuple[float, float] | None
    best_other: str | None
    gain: float | None
    gain_interval: tuple[float, float] | None

    @property
    def beats_all(self) -> bool:
        return self.gain is not None and self.gain > 0

    @property
    def clearly(self) -> bool:
        """Whether the gain's interval excludes 0."""
        return self.gain_interval is not None and self.gain_interval[0] > 0

    def figures(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "family": self.line.family,
            "metric": self.line.metric,
            "rows": len(self.line.groups),
            "groups": len(set(self.line.groups)),
            "scores": self.means,
            "unreadable": dict(self.line.unreadable),
            "tuned_interval": self.interval,
            "best_other": self.best_other,
            "gain": self.gain,
            "gain_interval": self.gain_interval,
            "beats_all": self.beats_all if self.gain is not None else None,
            "beats_all_clearly": self.clearly if self.gain is not None else None,
        }


def judge(line: TaskScores, seed: int) -> Verdict:
    """The verdict on one task. A line has at least one row."""
    means = {name: mean(scores) if (scores := line.scores.get(name)) else None for name in COLUMNS}
    others = {name: value for name, value in means.items() if name != "tuned" and value is not None}
    tuned = line.scores.get("tuned")
    if not tuned:
        return Verdict(line, means, None, None, None, None)
    own = interval(tuned, groups=line.groups, seed=seed, draws=DRAWS)
    if not others:
        return Verdict(line, means, own, None, None, None)
    best = max(others, key=lambda name: others[name])
    gains = [mine - theirs for mine, theirs in zip(tuned, line.scores[best] or (), strict=True)]
    return Verdict(line, means, own, best, mean(gains), interval(gains, groups=line.groups, seed=seed, draws=DRAWS))


def sentences(verdicts: Sequence[Verdict]) -> list[str]:
    """One sentence for each multiple-choice task that has a verdict."""
    said = []
    for verdict in verdicts:
        if verdict.line.family != "multiple_choice" or verdict.gain is None or verdict.gain_interval is None:
            continue
        rows = len(verdict.line.groups)
        if rows < LEAST_ROWS:
            said.append(f"{verdict.line.name}: {rows} rows are too few to tell.")
            continue
        low, high = verdict.gain_interval
        figures = f"{verdict.gain:+.3f} on {verdict.best_other}, 95 % interval {low:+.3f} to {high:+.3f}"
        if not verdict.beats_all:
            said.append(f"{verdict.line.name}: tuned does NOT beat every other column ({figures}).")
        elif verdict.clearly:
            said.append(f"{verdict.line.name}: tuned beats every other column, and clearly ({figures}).")
        else:
            said.append(f"{verdict.line.name}: tuned beats every other column, within the error of the rows ({figures}).")
    return said


def print_table(verdicts: Sequence[Verdict], title: str) -> None:
    """The best score of a task is bold."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", title=title)
    table.add_column("n", justify="right")
    table.add_column("metric")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in verdicts:
        best = max((value for value in verdict.means.values() if value is not None), default=None)
        cells = [_cell(verdict, name, best) for name in COLUMNS]
        table.add_row(verdict.line.name, f"{len(verdict.line.groups):,}", verdict.line.metric, *cells)
    Console(width=None if Console().is_terminal else 140).print(table)


def _cell(verdict: Verdict, name: str, best: float | None) -> str:
    value = verdict.means[name]
    if value is None:
        return ""
    text = f"{value:.3f}"
    if name == "tuned" and verdict.interval:
        text += " ({:.3f} to {:.3f})".format(*verdict.interval)
    return f"[bold]{text}[/bold]" if value == best else text
