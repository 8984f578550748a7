"""Draws a report: one line a task with a dot for each model, joined, coloured by family; the mean below."""

from pathlib import Path
from typing import Any

from dataset_builders.tasks import TASKS
from eval_tasks.report import Line, Report

COLOURS = ("#3366a6", "#c2571a", "#2f8f5b", "#8d4a97", "#7a7a7a")
INK, FAINT = "#222222", "#8a8a8a"
PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
"""Behind text, so that no grid line crosses it."""


def write_plot(report: Report, path: Path) -> None:
    """Writes the picture as PNG, whatever the name of `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = sum(len(lines) for _, lines, _ in report.families)
    height = lines + 1.4 * len(report.families) + 1.6  # in lines
    figure = Figure(figsize=(9, 0.34 * height + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()

    place = 0.0
    places, labels = [], []
    for number, (family, members, mean) in enumerate(report.families):
        colour = COLOURS[number % len(COLOURS)]
        title = axes.text(-0.02, place, family.replace("_", " "), color=colour, fontweight="bold", va="center")
        title.set_bbox(PLATE)
        metric = axes.annotate(_metrics(report, members), (1, 0.5), xycoords=title, xytext=(10, 0), textcoords="offset points")
        metric.set(color=FAINT, fontsize=9, va="center", bbox=PLATE)
        _note_mean(axes, mean, place, colour)
        place += 0.95
        for line in members:
            _draw(axes, line, place, colour)
            places.append(place)
            labels.append(_label(line.name))
            place += 1
        place += 0.45
    axes.axhline(place - 0.35, color="#dddddd", linewidth=0.8)
    _draw(axes, report.mean, place + 0.45, INK)
    places.append(place + 0.45)
    labels.append("mean over tasks")

    axes.set_yticks(places, labels, color=INK)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_ylim(place + 1.1, -0.8)
    axes.set_xlim(-0.02, 1.12)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "0.2", "0.4", "0.6", "0.8", "1"], color=FAINT)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    _legend(axes, report)
    figure.savefig(path, format="png", dpi=160, facecolor="white")


def _draw(axes: Any, line: Line, place: float, colour: str) -> None:
    known = [value for value in line.values if value is not None]
    if not known:
        return
    axes.hlines(place, min(known), max(known), color=colour, alpha=0.35, linewidth=2.6)
    for number, value in enumerate(line.values):
        if value is not None:
            last = number == len(line.values) - 1
            axes.scatter(
                value, place, s=46, color=colour if last else "white", edgecolor=colour, linewidth=1.5, zorder=4 if last else 3
            )
    if line.difference is not None:
        axes.text(max(known) + 0.018, place, f"{line.difference:+.2f}", color=colour, va="center", fontsize=8.5)


def _note_mean(axes: Any, mean: Line, place: float, colour: str) -> None:
    values = [f"{value:.2f}" for value in mean.values if value is not None]
    if values:
        text = "mean " + " \u2192 ".join(values)
        axes.text(1.12, place, text, color=colour, va="center", ha="right", fontsize=9, bbox=PLATE)


def _metrics(report: Report, lines: tuple[Line, ...]) -> str:
    names = dict.fromkeys(run[line.name].metric for line in lines for run in report.runs if line.name in run)
    return ", ".join(name.replace("_", " ") for name in names)


def _label(name: str) -> str:
    suite, _, task = name.partition(":")
    return TASKS[task].title if suite == "shop" else task


def _legend(axes: Any, report: Report) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=6.5, markeredgewidth=1.5, markeredgecolor=INK,
               markerfacecolor=INK if number == len(report.names) - 1 else "white", label=name)
        for number, name in enumerate(report.names)
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False, labelcolor=INK,
        borderaxespad=0.2, handletextpad=0.2,
    )  # fmt: skip
