"""Draws the table of quality: a line a task, a mark for each column, the tuned model's interval as a bar."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.verdict import COLUMNS, Verdict
from common.tasks import TASKS

STYLES = {
    "base": ("o", "white", "#3366a6"),
    "random": ("|", "#9a9a9a", "#9a9a9a"),
    "majority": ("s", "white", "#7a7a7a"),
    "TF-IDF": ("^", "#2f8f5b", "#2f8f5b"),
    "MiniLM": ("D", "#8d4a97", "#8d4a97"),
    "tuned": ("o", "#c2571a", "#c2571a"),
}
"""Column -> marker, its face and its edge; what comes later lies above."""
INK, FAINT = "#222222", "#8a8a8a"


def write_plot(verdicts: Sequence[Verdict], title: str, path: Path) -> None:
    """Writes the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 0.46 * len(verdicts) + 1.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, verdict in enumerate(verdicts):
        _draw(axes, verdict, place)
    axes.set_yticks(range(len(verdicts)), [_label(verdict) for verdict in verdicts], color=INK)
    axes.set_ylim(len(verdicts) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("score (higher is better)", color=FAINT)
    axes.tick_params(length=0, colors=FAINT)
    for text in axes.get_yticklabels():
        text.set_color(INK)
    axes.grid(axis="x", color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontweight="bold")
    _legend(figure, {name for verdict in verdicts for name, value in verdict.means.items() if value is not None})
    figure.savefig(path, format="png", dpi=160, facecolor="white")


def _draw(axes: Any, verdict: Verdict, place: float) -> None:
    axes.axhline(place, color="#f2f2f2", linewidth=6, zorder=0)
    if verdict.interval:
        axes.hlines(place, *verdict.interval, color=STYLES["tuned"][1], alpha=0.35, linewidth=6, zorder=2)
    for layer, (name, (marker, face, edge)) in enumerate(STYLES.items(), start=3):
        value = verdict.means.get(name)
        if value is not None:
            size = 75 if name == "tuned" else 48
            axes.scatter(value, place, marker=marker, s=size, color=face, edgecolor=edge, linewidth=1.5, zorder=layer)


def _label(verdict: Verdict) -> str:
    task = TASKS.get(verdict.line.name)
    title = task.title if task else verdict.line.name
    return f"{title}\n{verdict.line.metric.replace('_', ' ')}, n = {len(verdict.line.groups):,}"


def _legend(figure: Any, present: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=STYLES[name][0], markersize=7, markeredgewidth=1.5, markerfacecolor=STYLES[name][1],
               markeredgecolor=STYLES[name][2], label=name)
        for name in COLUMNS
        if name in present
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor=INK)
