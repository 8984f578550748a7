"""Draws the learning curve of the benchmark of quality: a panel for each task, their mean, and each measure on judged pairs.

A grey field reaches as far as the best baseline, as in a report's picture; each baseline is a line with its name.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from benchmarks.quality_curve import MEAN, WAYS
from eval_tasks.reporting.plot import COLOURS, FAINT, FIELD, INK, RULE, literal
from eval_tasks.reporting.table import metric_words
from eval_tasks.suites.suite import task_title

LINES: dict[str, tuple[str, Literal["-", "--"]]] = {"scored": (COLOURS[1], "-"), "written": (COLOURS[2], "--")}
"""How answers were had -> colour and style of its line."""
PAIR_MEASURES = {"accuracy": "accuracy", "auc_exact": "AUC for exact", "auc_not_irrelevant": "AUC for not irrelevant"}
COLUMNS = 4
LABEL_ROOM = 0.062
"""Height of a baseline's name, as a share of a panel's."""


@dataclass(frozen=True)
class CurvePanel:
    """One measure: of each line (see LINES) a score and its interval, where it has one, at every point; and of baselines."""

    title: str
    measure: str
    lines: Mapping[str, Sequence[tuple[float, Sequence[float] | None]]]
    baselines: Mapping[str, float]


def panels_of(curve: Mapping[str, Any]) -> list[CurvePanel]:
    """The mean over tasks, where there are several, each task, and each measure on judged pairs, where there are any."""
    tasks = list(curve["metrics"])
    panels = []
    for task in [MEAN, *tasks] if len(tasks) > 1 else tasks:
        lines = {
            way: [(found["score"], found["interval"]) for point in curve["points"] for found in [point[way][task]]]
            for way in WAYS
            if all(task in point[way] for point in curve["points"])
        }
        title, measure = ("Mean over tasks", "") if task == MEAN else (task_title(task), metric_words(curve["metrics"][task]))
        known = {name: found[task]["score"] for name, found in curve["baselines"].items() if task in found}
        panels.append(CurvePanel(title, measure, lines, known))
    for name, words in PAIR_MEASURES.items():
        if all(name in point["pairs"] for point in curve["points"]):
            found = [(point["pairs"][name], None) for point in curve["points"]]
            known = {baseline: each[name] for baseline, each in curve["pair_baselines"].items() if name in each}
            panels.append(CurvePanel("Judged pairs", words, {"scored": found}, known))
    return panels


def limits(panel: CurvePanel) -> tuple[float, float]:
    """Of the scores, in tenths: from 0, or for an AUC, of which 0.5 is chance, from below its lowest score."""
    scores = [score for line in panel.lines.values() for score, _ in line] + list(panel.baselines.values())
    low = math.floor(min([*scores, 0.5]) * 10) / 10 if panel.measure.startswith("AUC") else 0.0
    return low, min(1.0, math.ceil(max([*scores, 0.1]) * 10 + 0.5) / 10)


def label_places(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Where labels of ascending values go: as near to them as keeps labels `gap` apart and between `low` and `high`."""
    from sklearn.isotonic import isotonic_regression

    apart = [gap * number for number in range(len(values))]
    found = isotonic_regression(
        [value - step for value, step in zip(values, apart, strict=True)], y_min=low, y_max=high - apart[-1]
    )
    return [float(place + step) for place, step in zip(found, apart, strict=True)]


def write_curve_plot(curve: Mapping[str, Any], path: Path) -> None:
    """Writes the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = panels_of(curve)
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(places, panels, strict=False):
        draw_panel(axes, panel, curve["points"])
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("tokens trained on", color=FAINT, fontsize=9)
    _legend(figure)
    figure.savefig(path, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def draw_panel(axes: Any, panel: CurvePanel, points: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    low, high = limits(panel)
    tokens = [point["tokens"] for point in points]
    if panel.baselines:
        axes.axhspan(low, max(panel.baselines.values()), color=FIELD, zorder=0)
        known = sorted(panel.baselines.items(), key=lambda item: item[1])
        gap = LABEL_ROOM * (high - low)
        places = label_places([value for _, value in known], gap, low, high - gap / 2)
        for (name, value), place in zip(known, places, strict=True):
            _draw_baseline(axes, name, value, place)
    for way, found in panel.lines.items():
        colour, style = LINES[way]
        bands = [ends or (score, score) for score, ends in found]
        axes.fill_between(tokens, *zip(*bands, strict=True), color=colour, alpha=0.1, linewidth=0, zorder=2)
        width = 2.6 if panel.title.startswith("Mean") else 1.6
        axes.plot(
            tokens, [score for score, _ in found], style, color=colour, linewidth=width, marker="o", markersize=3, zorder=3
        )
    for before, after in pairwise(points):
        if 0 < before["training"] < after["training"]:
            axes.axvline(before["tokens"], color=FAINT, linewidth=1, linestyle=":", zorder=1)
            where = axes.annotate(f"training {after['training']}", (before["tokens"], low + 0.02 * (high - low)))
            where.set(color=FAINT, fontsize=7.5, rotation=90, ha="right", va="bottom")
    axes.set_title(literal(panel.title), loc="left", color=INK, fontsize=10, fontweight="bold")
    axes.set_ylabel(literal(panel.measure), color=FAINT, fontsize=8.5)
    axes.set(xlim=(0, max(tokens) * 1.02), ylim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_baseline(axes: Any, name: str, value: float, place: float) -> None:
    axes.axhline(value, color="#a4abb6", linewidth=1, zorder=1)
    label = axes.annotate(f"{literal(name)} {value:.2f}", (1.02, place), xycoords=("axes fraction", "data"))
    label.set(color=FAINT, fontsize=7.5, va="center")


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=colour, linestyle=style, marker="o", markersize=3, label=f"{way} answers")
        for way, (colour, style) in LINES.items()
    ]
    handles += [Patch(color=COLOURS[0], alpha=0.15, label="95 % interval"), Patch(color=FIELD, label="up to the best baseline")]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
        columnspacing=1.4,
        fontsize=9,
    )
