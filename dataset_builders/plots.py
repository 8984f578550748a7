"""Pictures of a dataset: rows a task, words of its prompts, and how its answers are distributed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.tasks import FAMILIES, TASKS, Task
from common.words import in_words
from dataset_builders.row_facts import RowFacts, Shape

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


def write_plots(folder: Path, facts: Mapping[str, RowFacts]) -> None:
    """Writes IMAGES as PNG below the folder. The same rows give the same bytes with the same matplotlib."""
    from matplotlib import style

    (folder / "images").mkdir(exist_ok=True)
    tasks = {name: facts[name] for name in TASKS if name in facts}
    # A user's own matplotlibrc must not change the bytes.
    with style.context("default"):
        for path, draw in zip(IMAGES.values(), (_rows_figure, _prompts_figure, _answers_figure), strict=True):
            save(draw(tasks), folder / path)


def answer_counts(task: Task, answers: Mapping[Shape, int]) -> dict[str, dict[str, int]]:
    """What is counted -> its values in order -> rows with each, or items with each where positions are counted.

    `answers` are numbers of rows by the shapes of their answers.
    """
    own = {answer: rows for (worded, answer), rows in answers.items() if not worded}
    words = {answer: rows for (worded, answer), rows in answers.items() if worded}
    counted = _own_counts(task, own) if own or not words else {}
    return {**counted, "answer in words": _counted(in_words(task).labels, words.items())} if words else counted


def _own_counts(task: Task, answers: Mapping[Any, int]) -> dict[str, dict[str, int]]:
    if task.family == "multiple_choice":
        return {"label": _counted(list(task.labels), answers.items())}
    if task.family == "ranking":
        best = [(place, rows) for gains, rows in answers.items() for place, gain in enumerate(gains, 1) if gain == max(gains)]
        return {"positions of the best products": _counted(range(1, max(map(len, answers), default=1) + 1), best)}
    if task.family == "retrieval":
        numbers = [(len(answer), rows) for answer, rows in answers.items()]
        places = [(place, rows) for answer, rows in answers.items() for place in answer]
        return {
            "number of right items": _counted(_from_one(numbers), numbers),
            "positions of right items": _counted(_from_one(places), places),
        }
    return {"words of the answer": _binned(answers)}


def _from_one(counts: Iterable[tuple[int, int]]) -> range:
    return range(1, max((value for value, _ in counts), default=1) + 1)


def _counted(values: Sequence[Any], found: Iterable[tuple[Any, int]]) -> dict[str, int]:
    counts: Counter[Any] = Counter()
    for value, rows in found:
        counts[value] += rows
    return {str(value): counts[value] for value in values}


def _binned(lengths: Mapping[int, int]) -> dict[str, int]:
    """Counts of lengths from the shortest to the longest, in at most BINS bins of equal width."""
    first, last = min(lengths, default=0), max(lengths, default=0)
    width = -(-(last - first + 1) // BINS)
    counts: Counter[int] = Counter()
    for length, rows in lengths.items():
        counts[(length - first) // width] += rows
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


def _task_axes(figure: "Figure", tasks: Mapping[str, RowFacts]) -> "Axes":
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


def _rows_figure(tasks: Mapping[str, RowFacts]) -> "Figure":
    figure = plain_figure(0.5 * len(tasks) + 0.8)
    axes = _task_axes(figure, tasks)
    longest = max(max(found.rows["train"], found.rows["test"]) for found in tasks.values())
    for place, (name, found) in enumerate(tasks.items()):
        colour = FAMILY_COLOURS[TASKS[name].family]
        for split, offset, alpha in (("train", 0.5, 1.0), ("test", 0.78, 0.45)):
            rows = found.rows[split]
            axes.barh(place + offset, rows, height=0.24, color=colour, alpha=alpha)
            text = f"{rows:,} {split}"
            axes.text(rows + longest * 0.012, place + offset, text, va="center", fontsize=8, color=FAINT)
    axes.set_xlim(0, longest * 1.25)
    axes.set_xlabel("rows", color=FAINT, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _prompts_figure(tasks: Mapping[str, RowFacts]) -> "Figure":
    figure = plain_figure(0.42 * len(tasks) + 0.9)
    axes = _task_axes(figure, tasks)
    longest = 0.0
    for number, (name, found) in enumerate(tasks.items()):
        low, first, middle, third, high = percentiles(found.words, PERCENTILES)
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


def percentiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float]:
    """Of numbers that are counted, as numpy gives them of all of these one by one."""
    import numpy as np

    values = np.array(sorted(counts))
    behind = np.cumsum([counts[value] for value in values.tolist()])
    places = (behind[-1] - 1) * np.array(shares) / 100
    below, above = (values[np.searchsorted(behind, edge(places), "right")] for edge in (np.floor, np.ceil))
    found: list[float] = (below + (above - below) * (places % 1)).tolist()
    return found


def _answers_figure(tasks: Mapping[str, RowFacts]) -> "Figure":
    import textwrap

    from matplotlib.ticker import MaxNLocator

    panels = [
        (TASKS[name], what, counts)
        for name, found in tasks.items()
        for what, counts in answer_counts(TASKS[name], found.answers).items()
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
