"""The plot of the scores: one pair of bars per task, base and tuned, with one standard error."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_card.markdown import MISSING
from model_card.results import Comparison, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASE, TUNED = "#9aa5b1", "#1f6feb"


def draw_scores(lines: Sequence[Comparison], file: Path) -> None:
    """Writes a PNG. Needs matplotlib."""
    from matplotlib.figure import Figure

    with_base = any(line.base for line in lines)
    height = 0.36 if with_base else 0.6
    figure = Figure(figsize=(8, 1.3 + 0.55 * len(lines)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    places = list(range(len(lines)))
    shift = height / 2 if with_base else 0.0
    if with_base:
        bars = [place - shift for place in places]
        _draw(axes, bars, [line.base for line in lines], height=height, color=BASE, label="base")
    bars = [place + shift for place in places]
    _draw(axes, bars, [line.tuned for line in lines], height=height, color=TUNED, label="tuned")
    axes.set_yticks(places, [f"{line.title}\n{line.metric}" for line in lines], fontsize=9, parse_math=False)
    axes.set_ylim(len(lines) - 0.4, -0.6)  # the first task on top
    axes.set_xlim(0, 1.08)  # every metric lies between 0 and 1; the rest is room for figures beside full bars
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(axis="x", color="#d8dee4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score (higher is better), ± one standard error")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    figure.savefig(file, format="png", metadata={"Software": None})


def _draw(axes: "Axes", places: list[float], scores: Sequence[Score | None], **style: Any) -> None:
    values = [score.value if score else 0.0 for score in scores]
    errors = [(score and score.stderr) or 0.0 for score in scores]
    bars = axes.barh(places, values, xerr=errors, error_kw={"elinewidth": 1, "ecolor": "#24292f"}, **style)
    axes.bar_label(bars, [f"{score.value:.3f}" if score else MISSING for score in scores], padding=4, fontsize=8)
