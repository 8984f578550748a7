"""Pictures of a dataset: rows a task, words of its prompts, and how its answers are distributed."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.tasks import FAMILIES, TASKS, Task
from common.words import in_words, row_task
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = {
    "Rows a task": "images/rows.png",
    "Words of the prompts": "images/prompts.png",
    "Answers by task": "images/answers.png",
}
"""What each picture shows -> its path in the dataset folder."""
AGREEMENT_IMAGES = "images/agreement-*.png"
"""Pictures of the checks of the labels, which annotating/pictures.py draws."""

FAMILY_COLOURS = dict(zip(FAMILIES, ("#3366a6", "#c2571a", "#2f8f5b", "#8d4a97"), strict=True))
INK, FAINT, GRID = "#222222", "#767676", "#e6e6e6"
WIDTH = 5.0
"""Inches of a dataset's pictures, so that their text of 8 and 9 points can be read on a phone 360 pixels wide."""
PICTURE_DPI = 220
NAME = 0.18
"""Where a task's name stands in its field of height 1."""
BINS = 12
"""Most bars of a generated answer's length."""

CHARACTERS = 24
"""Most characters of ticks below one panel of answers."""

PERCENTILES = (5, 25, 50, 75, 95)


def write_plots(folder: Path, built: Mapping[str, Split]) -> None:
    """Writes IMAGES as PNG below the folder. The same rows give the same bytes with the same matplotlib."""
    from matplotlib import style

    (folder / "images").mkdir(exist_ok=True)
    tasks = {name: built[name] for name in TASKS if name in built}
    # A user's own matplotlibrc must not change the bytes.
    with style.context("default"):
        for path, draw in zip(IMAGES.values(), (_rows_figure, _prompts_figure, _answers_figure), strict=True):
            save(draw(tasks), folder / path)


def prompt_words(rows: Iterable[DatasetRow]) -> list[int]:
    """Whitespace-separated words of each prompt."""
    return [len(row.prompt.split()) for row in rows]


def answer_counts(task: Task, rows: Iterable[DatasetRow]) -> dict[str, dict[str, int]]:
    """What is counted -> its values in order -> rows with each, or items with each where positions are counted."""
    answers = [answer for row in rows if row_task(task, answer := json.loads(row.answer)) is task]
    words = [answer for row in rows if row_task(task, answer := json.loads(row.answer)) is not task]
    counted = _own_counts(task, answers) if answers or not words else {}
    return {**counted, "answer in words": _counted(in_words(task).labels, words)} if words else counted


def _own_counts(task: Task, answers: Sequence[Any]) -> dict[str, dict[str, int]]:
    if task.family == "multiple_choice":
        return {"label": _counted(list(task.labels), answers)}
    if task.family == "ranking":
        best = [place for gains in answers for place, gain in enumerate(gains, 1) if gain == max(gains)]
        return {"positions of the best products": _counted(range(1, max(map(len, answers), default=1) + 1), best)}
    if task.family == "retrieval":
        numbers = [len(answer) for answer in answers]
        places = [place for answer in answers for place in answer]
        return {
            "number of right items": _counted(range(1, max(numbers, default=1) + 1), numbers),
            "positions of right items": _counted(range(1, max(places, default=1) + 1), places),
        }
    return {"words of the answer": _binned([len(answer.split()) for answer in answers])}


def _counted(values: Sequence[Any], found: Sequence[Any]) -> dict[str, int]:
    counts = Counter(found)
    return {str(value): counts[value] for value in values}


def _binned(lengths: Sequence[int]) -> dict[str, int]:
    """Counts of lengths from the shortest to the longest, in at most BINS bins of equal width."""
    first, last = min(lengths, default=0), max(lengths, default=0)
    width = -(-(last - first + 1) // BINS)
    counts = Counter((length - first) // width for length in lengths)
    starts = [first + number * width for number in range((last - first) // width + 1)]
    return {
        str(start) if width == 1 else f"{start}\u2013{start + width - 1}": counts[number] for number, start in enumerate(starts)
    }


def plain_figure(height: float) -> "Figure":
    """An empty figure of this height in inches, which no screen is needed for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path) -> None:
    # Without its name and version matplotlib leaves nothing in the file but the picture.
    figure.savefig(path, format="png", dpi=PICTURE_DPI, facecolor="white", metadata={"Software": None})


def plain_axes(axes: "Axes", grid: str) -> None:
    """Leaves nothing around the axes but a faint grid along "x" or "y"."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, colors=FAINT)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _task_axes(figure: "Figure", tasks: Mapping[str, Split]) -> "Axes":
    """A field of height 1 a task, the first on top, its name in the upper part; the families' colours are told in a legend."""
    from matplotlib.patches import Patch

    axes = figure.add_subplot()
    plain_axes(axes, "x")
    axes.set_yticks([])
    axes.set_ylim(len(tasks), 0)
    for place, name in enumerate(tasks):
        title = axes.annotate(TASKS[name].title, (0, place + NAME), xycoords=("axes fraction", "data"))
        title.set(color=INK, fontsize=9, va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    families = dict.fromkeys(TASKS[name].family for name in tasks)
    handles = [Patch(color=FAMILY_COLOURS[family], label=family.replace("_", " ")) for family in families]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, labelcolor=INK, fontsize=9,
        handlelength=1, columnspacing=1.2,
    )  # fmt: skip
    return axes


def _rows_figure(tasks: Mapping[str, Split]) -> "Figure":
    figure = plain_figure(0.5 * len(tasks) + 0.8)
    axes = _task_axes(figure, tasks)
    longest = max(max(len(split.train), len(split.test)) for split in tasks.values())
    for place, (name, split) in enumerate(tasks.items()):
        colour = FAMILY_COLOURS[TASKS[name].family]
        for rows, offset, alpha, label in ((split.train, 0.5, 1.0, "train"), (split.test, 0.78, 0.45, "test")):
            axes.barh(place + offset, len(rows), height=0.24, color=colour, alpha=alpha)
            text = f"{len(rows):,} {label}"
            axes.text(len(rows) + longest * 0.012, place + offset, text, va="center", fontsize=8, color=FAINT)
    axes.set_xlim(0, longest * 1.25)
    axes.set_xlabel("rows", color=FAINT, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _prompts_figure(tasks: Mapping[str, Split]) -> "Figure":
    import numpy as np

    figure = plain_figure(0.42 * len(tasks) + 0.9)
    axes = _task_axes(figure, tasks)
    longest = 0.0
    for number, (name, split) in enumerate(tasks.items()):
        low, first, middle, third, high = map(float, np.percentile(prompt_words(chain(split.train, split.test)), PERCENTILES))
        colour, place = FAMILY_COLOURS[TASKS[name].family], number + 0.66
        axes.hlines(place, low, high, color=colour, linewidth=1.6)
        axes.hlines(place, first, third, color=colour, linewidth=7, alpha=0.55)
        axes.scatter(middle, place, s=34, color="white", edgecolor=colour, linewidth=1.6, zorder=3)
        axes.annotate(f"{middle:,.0f}", (high, place), (5, 0), textcoords="offset points", va="center", fontsize=8, color=FAINT)
        longest = max(longest, high)
    axes.set_xlim(0, longest * 1.12)
    axes.set_xlabel("words: median, middle half, 5th to 95th percentile", color=FAINT, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    return figure


def _answers_figure(tasks: Mapping[str, Split]) -> "Figure":
    import textwrap

    from matplotlib.ticker import MaxNLocator

    panels = [
        (TASKS[name], what, counts)
        for name, split in tasks.items()
        for what, counts in answer_counts(TASKS[name], chain(split.train, split.test)).items()
    ]
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = plain_figure(1.75 * lines + 0.2)
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.1)  # type: ignore[union-attr, call-arg]
    for number, (task, what, counts) in enumerate(panels, 1):
        axes = figure.add_subplot(lines, columns, number)
        plain_axes(axes, "y")
        total = sum(counts.values()) or 1
        axes.bar(range(len(counts)), [100 * count / total for count in counts.values()], color=FAMILY_COLOURS[task.family])
        step = -(-len(counts) * max(map(len, counts)) // CHARACTERS)
        axes.set_xticks(range(0, len(counts), step), list(counts)[::step], fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter("{x:g} %")
        axes.tick_params(axis="y", labelsize=8)
        axes.set_title(textwrap.fill(task.title, 24), fontsize=9, fontweight="bold", color=INK, loc="left")
        axes.set_xlabel(what, fontsize=8.5, color=FAINT)
    return figure
