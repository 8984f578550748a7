"""Draws a report: for each task every model's score with its interval, and beside it what each gains on the first one.

A grey field reaches as far as the best baseline: what needs no language model. Two models share a line, more have one each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_tasks.reporting.report import Report, ScoreCell, ScoreGain, ScoreLine
from eval_tasks.reporting.table import group_name, metric_name, signed
from eval_tasks.suites.suite import task_title

COLOURS = ("#5b6472", "#0b66c3", "#c2410c", "#0f766e", "#7c3aed", "#a16207", "#be185d", "#4d7c0f")
"""Of models, the first one's first; from the ninth on again. page.css has the same for the page."""

INK, FAINT, RULE, FIELD = "#1f2430", "#707783", "#e3e6ea", "#eceef1"
BETTER, WORSE = "#15803d", "#b91c1c"
STEPS = (0.02, 0.05, 0.1, 0.2, 0.25, 0.5)
MOST_TICKS = 5
ROUNDING = 1e-9


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, and where they are marked."""

    low: float
    high: float
    ticks: tuple[float, ...]


@dataclass(frozen=True)
class PlotRow:
    """A line of the picture: the heading of a family with its metrics, or scores."""

    label: str
    line: ScoreLine | None = None
    metrics: str = ""
    mean: bool = False


def rows_of(report: Report) -> list[PlotRow]:
    """The mean over tasks, then families with their tasks and, where there are several, their mean."""
    rows = [PlotRow("Mean over tasks", report.mean, mean=True)]
    for group in report.groups:
        metrics = dict.fromkeys(map(metric_name, group.lines))
        name = group_name(report, group.suite, group.family)
        rows.append(PlotRow(name[:1].upper() + name[1:], metrics=", ".join(metrics)))
        rows += [PlotRow(task_title(line.name), line) for line in group.lines]
        if len(group.lines) > 1 and any(group.mean.cells):
            rows.append(PlotRow("mean", group.mean, mean=True))
    return rows


def score_axis(report: Report) -> Axis:
    """From 0 to 1, or to a mark beyond the highest score and interval where these are low."""
    high = max([*_ends(cell for line in _lines(report) for cell in line.cells), 0.1])
    step = _step(high)
    return _axis(0.0, 1.0 if high > 0.8 else math.ceil(high / step - ROUNDING) * step)


def gain_axis(report: Report) -> Axis:
    """Around zero, a little further than the differences and their intervals reach."""
    ends = [*_ends(gain for line in _lines(report) for gain in line.gains), 0.0]
    room = 0.08 * max(max(ends) - min(ends), 0.1)
    return _axis(min(ends) - room, max(ends) + room)


def _lines(report: Report) -> list[ScoreLine]:
    return [row.line for row in rows_of(report) if row.line]


def _ends(found: Any) -> list[float]:
    return [end for cell in found if cell for end in (cell.low, cell.value, cell.high) if end is not None]


def _step(width: float) -> float:
    return next((step for step in STEPS if width / step <= MOST_TICKS), 1.0)


def _axis(low: float, high: float) -> Axis:
    step = _step(high - low)
    first, last = math.ceil(low / step - ROUNDING), math.floor(high / step + ROUNDING)
    return Axis(low, high, tuple(round(number * step, 6) for number in range(first, last + 1)))


def tick_label(tick: float, signed: bool = False) -> str:
    text = f"{tick:+.2f}" if signed and tick else f"{tick:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- The picture ---


def write_plot(report: Report, path: Path) -> None:
    """Writes the picture as PNG, whatever the name of `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows, gaining = rows_of(report), report.last > 0
    lanes = 1 if report.last < 2 else report.last + 1
    heights = [0.85 if row.line is None else 1.0 if lanes == 1 else 0.35 + 0.3 * lanes for row in rows]
    places, total = [], 0.0
    for row, height in zip(rows, heights, strict=True):
        total += 0.35 if row.line is None else 0.0
        places.append(total + height / 2)
        total += height
    figure = Figure(figsize=(10, 0.36 * total + 1.1), layout=ConstrainedLayoutEngine(wspace=0.05))
    FigureCanvasAgg(figure)
    columns = figure.subplots(1, 2 if gaining else 1, sharey=True, squeeze=False, width_ratios=[1.9, 1] if gaining else [1])[0]
    frame(columns[0], score_axis(report), total, "score", False)
    for row, place, height in zip(rows, places, heights, strict=True):
        if row.line is None:
            _heading(columns[0], row, place)
        else:
            draw_scores(columns[0], report, row.line, place, height)
    columns[0].set_yticks([place for row, place in zip(rows, places, strict=True) if row.line], _labels(rows), color=INK)
    for label, row in zip(columns[0].get_yticklabels(), [row for row in rows if row.line], strict=True):
        label.set(fontweight="bold" if row.line is report.mean else "normal", fontstyle="italic" if row.mean else "normal")
    if gaining:
        frame(columns[1], gain_axis(report), total, f"difference to {report.names[0]}", True)
        for row, place in zip(rows, places, strict=True):
            if row.line is not None:
                _draw_gains(columns[1], report, row.line, place)
    legend(figure, report)
    figure.savefig(path, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def _labels(rows: Sequence[PlotRow]) -> list[str]:
    return [literal(row.label) for row in rows if row.line]


def literal(text: str) -> str:
    """No dollar sign is mathematics here."""
    return text.replace("$", r"\$")


def frame(axes: Any, axis: Axis, bottom: float, name: str, signed: bool) -> None:
    """Limits, marks and grid; `bottom` is the place of the lowest row's end, which grows downwards from 0."""
    margin = 0.02 * (axis.high - axis.low)
    axes.set_xlim(axis.low - margin, axis.high + margin)
    axes.set_ylim(bottom + 0.1, 0)
    axes.set_xticks(axis.ticks, [tick_label(tick, signed) for tick in axis.ticks], color=FAINT, fontsize=9)
    axes.set_xlabel(literal(name), color=FAINT, fontsize=9)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    if signed:
        axes.axvline(0, color=FAINT, linewidth=1)
    for side in axes.spines.values():
        side.set_visible(False)


def _heading(axes: Any, row: PlotRow, place: float) -> None:
    plate = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # so that no grid line crosses the text
    name = axes.annotate(literal(row.label), (0, place + 0.12), xycoords=("axes fraction", "data"))
    name.set(color=INK, fontweight="bold", va="center", bbox=plate)
    metrics = axes.annotate(row.metrics, (1, 0.5), xycoords=name, xytext=(8, 0), textcoords="offset points")
    metrics.set(color=FAINT, fontsize=9, va="center", bbox=plate)


def draw_scores(axes: Any, report: Report, line: ScoreLine, place: float, height: float) -> None:
    """Every model's score on a line, over a field as long as the best baseline's, which has a mark for each baseline."""
    baseline = report.best_baseline(line)
    if baseline is not None:
        axes.barh(place, baseline, height=height - 0.2, color=FIELD, zorder=0.5)
        for number in range(report.last + 1, len(report.models)):
            if cell := line.cells[number]:
                axes.vlines(cell.value, place - height / 2 + 0.1, place + height / 2 - 0.1, color="#a4abb6", linewidth=1)
    shown = [(number, cell) for number, cell in enumerate(line.cells[: report.last + 1]) if cell]
    if report.last == 1 and len(shown) == 2:
        axes.hlines(place, *sorted(cell.value for _, cell in shown), color=FAINT, linewidth=1, zorder=2)
    for number, cell in shown:
        _mark(axes, cell, _lane(number, report, place), COLOURS[number % len(COLOURS)], hollow=number == 0 and report.last > 0)


def _draw_gains(axes: Any, report: Report, line: ScoreLine, place: float) -> None:
    for number, gain in enumerate(line.gains[: report.last + 1]):
        if gain and report.last > 1:
            _mark(axes, gain, _lane(number, report, place), COLOURS[number % len(COLOURS)], hollow=not gain.clear)
        elif gain:
            colour = FAINT if not gain.clear else BETTER if gain.value > 0 else WORSE
            _mark(axes, gain, place, colour, hollow=not gain.clear)
            figure = axes.annotate(signed(gain.value), (1.02, place), xycoords=("axes fraction", "data"))
            figure.set(va="center", fontsize=9, color=colour, fontweight="bold")


def _lane(number: int, report: Report, place: float) -> float:
    return place if report.last < 2 else place + 0.3 * (number - report.last / 2)


def _mark(axes: Any, cell: ScoreCell | ScoreGain, place: float, colour: str, hollow: bool) -> None:
    if cell.low is not None and cell.high is not None:
        axes.hlines(place, cell.low, cell.high, color=colour, alpha=0.3, linewidth=6, zorder=2)
    axes.scatter(
        cell.value, place, s=38, facecolor="white" if hollow else colour, edgecolor=colour, linewidth=1.6, zorder=4 - hollow
    )


def legend(figure: Any, report: Report, baselines: str = "") -> None:
    """What the marks of `draw_scores` mean, above the picture. `baselines`: in place of their names, where room is scarce."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for number, name in enumerate(report.names[: report.last + 1]):
        colour = COLOURS[number % len(COLOURS)]
        handle = Line2D([], [], linestyle="", marker="o", markersize=6, markeredgewidth=1.6, label=literal(name))
        handle.set(markeredgecolor=colour, markerfacecolor="white" if number == 0 and report.last else colour)
        handles.append(handle)
    if names := report.names[report.last + 1 :]:
        handles.append(Patch(color=FIELD, label=literal(baselines or f"best baseline of {', '.join(names)}")))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(4, len(handles)), frameon=False, labelcolor=INK,
        handletextpad=0.4, columnspacing=1.4, fontsize=10,
    )  # fmt: skip
