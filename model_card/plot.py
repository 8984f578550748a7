"""The card's plot of the scores: one line per task with its name above it, readable on a phone, white also in dark mode."""

from collections.abc import Sequence
from pathlib import Path

from eval_tasks.reporting.plot import FAINT, INK, draw_scores, frame, legend, literal, score_axis
from eval_tasks.reporting.report import Report, ScoreLine
from eval_tasks.reporting.table import metric_name
from eval_tasks.suites.suite import task_title

SHOWN_WIDTH = 480
"""Width in pixels on a large screen; a phone uses its full width."""

WIDTH = 4.6
"""Inches, so that text of 10 points is about 10 pixels high on a phone 360 pixels wide, and 14 at SHOWN_WIDTH."""

DPI = 220
LINE, NAME = 0.9, 0.75
"""Heights of a line and of the name above it."""


def draw(report: Report, file: Path) -> None:
    """Writes a PNG of a report of one suite; the same report gives the same bytes. Needs matplotlib."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [*([report.mean] if len(report.lines) > 1 else []), *report.lines]
    total = len(rows) * (LINE + NAME)
    with style.context("default"):  # a user's own matplotlibrc must not change it
        figure = Figure(figsize=(WIDTH, 0.32 * total + 1.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        frame(axes, score_axis(report), total, "score and 95 % interval" if _intervals(rows) else "score", False)
        axes.set_yticks([])
        for number, line in enumerate(rows):
            top = number * (LINE + NAME)
            plate = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # so that no grid line crosses the text
            name = axes.annotate(literal(_name(line)), (0, top + NAME * 0.62), xycoords=("axes fraction", "data"))
            name.set(color=INK, fontsize=10, va="center", fontweight="bold" if line is report.mean else "normal", bbox=plate)
            about = axes.annotate(literal(metric_name(line)), (1, top + NAME * 0.62), xycoords=("axes fraction", "data"))
            about.set(color=FAINT, fontsize=9, va="center", ha="right", bbox=plate)
            draw_scores(axes, report, line, top + NAME + LINE / 2, LINE)
        legend(figure, report, baselines="best baseline")
        figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})


def _name(line: ScoreLine) -> str:
    return task_title(line.name) if line.metric else "Mean over tasks"


def _intervals(lines: Sequence[ScoreLine]) -> bool:
    return any(cell and cell.low is not None for line in lines for cell in line.cells)
