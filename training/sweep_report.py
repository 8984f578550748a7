"""What a sweep says: each weight's scores, the best of them, the table and the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.tasks import TASKS
from eval_tasks.reporting.results import Score


@dataclass(frozen=True)
class Point:
    """A weight's scores on some rows."""

    weight: float
    run: dict[str, Score]

    @property
    def mean(self) -> float:
        return sum(score.value for score in self.run.values()) / len(self.run)

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean, where every score has one."""
        errors = [score.stderr for score in self.run.values()]
        known = [error for error in errors if error is not None]
        return sum(error**2 for error in known) ** 0.5 / len(errors) if len(known) == len(errors) else None


def best(points: Sequence[Point]) -> Point:
    """The one of the highest mean; of several, the nearest to the base."""
    return max(points, key=lambda point: (point.mean, -point.weight))


def conclusion(points: Sequence[Point]) -> str:
    """The best weight, and which others a standard error of its mean does not tell from it."""
    found = best(points)
    sentence = f"best weight by mean: {found.weight:g} ({found.mean:.3f}"
    if found.stderr is None:
        return sentence + ")"
    near = [f"{point.weight:g}" for point in points if point is not found and found.mean - point.mean <= found.stderr]
    return sentence + f" ± {found.stderr:.3f})" + (f"; as good within that error: {', '.join(near)}" if near else "")


def print_table(title: str, points: Sequence[Point], chosen: float) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "metric", box=SIMPLE_HEAD, title=title, title_justify="left")
    for point in points:
        table.add_column(f"{point.weight:g}", justify="right", style="bold" if point.weight == chosen else "")
    for name, score in points[0].run.items():
        table.add_row(name.removeprefix("shop:"), score.metric, *(f"{point.run[name].value:.3f}" for point in points))
    table.add_section()
    table.add_row("mean", "", *(f"{point.mean:.3f}" for point in points))
    Console().print(table)


def write_plot(points: Sequence[Point], path: Path) -> None:
    """Writes the picture as PNG: score by weight, a line for each task, and the mean with its standard error."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = sorted(points, key=lambda point: point.weight)
    weights = [point.weight for point in points]
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in points[0].run:
        label = TASKS[name.removeprefix("shop:")].title
        axes.plot(weights, [point.run[name].value for point in points], marker=".", linewidth=1.2, alpha=0.75, label=label)
    means, errors = [point.mean for point in points], [point.stderr or 0 for point in points]
    low, high = ([mean + sign * error for mean, error in zip(means, errors, strict=True)] for sign in (-1, 1))
    axes.fill_between(weights, low, high, color="#222222", alpha=0.12, linewidth=0)
    axes.plot(weights, means, color="#222222", marker="o", linewidth=3, label="mean over tasks")
    axes.axvline(best(points).weight, color="#8a8a8a", linestyle=":", zorder=0)
    axes.set(xlabel="weight of the adapter (0: base, 1: tuned)", ylabel="score", xticks=weights)
    axes.set_title(f"Score by weight; {best(points).weight:g} has the best mean", loc="left")
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, format="png", dpi=160, facecolor="white")
