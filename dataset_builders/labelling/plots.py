"""Plots of agreement: a confusion matrix for each multiple choice, a histogram of scores for each other task."""

import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from common.tasks import TASKS
from dataset_builders.labelling.agreement import UNREADABLE, Agreement
from dataset_builders.plots import FAINT, FAMILY_COLOURS, INK, plain_axes, plain_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.4
"""Inches of a panel; panels are stacked, to be read on a phone."""
BARS = 20
DARK = 0.55
"""Share of a row from which a cell's number is white."""


def plot_agreement(path: Path, measured: Mapping[tuple[str, str], Agreement], bounds: Mapping[str, float]) -> None:
    """Writes a PNG with a panel for every (task, model). The same counts give the same bytes with the same matplotlib."""
    from matplotlib import style

    path.parent.mkdir(parents=True, exist_ok=True)
    with style.context("default"):  # a user's own matplotlibrc must not change the bytes
        figure = plain_figure(HEIGHT * len(measured) + 0.2)
        figure.get_layout_engine().set(h_pad=0.12, w_pad=0.1)  # type: ignore[union-attr, call-arg]
        for number, ((task, model), agreement) in enumerate(measured.items(), 1):
            axes = figure.add_subplot(len(measured), 1, number)
            if agreement.confusion:
                _matrix(axes, agreement)
            else:
                _scores(axes, agreement, task, bounds[TASKS[task].family])
            heading = textwrap.fill(f"{TASKS[task].title}: {model}", 46, max_lines=2)
            axes.set_title(f"{heading}\n{_sentence(agreement)}", fontsize=9, color=INK, loc="left")
        save(figure, path)


def _sentence(agreement: Agreement) -> str:
    kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
    return f"{agreement.share:.0%} of {agreement.answers:,} answers agree{kappa}"


def _matrix(axes: "Axes", agreement: Agreement) -> None:
    """Confusion matrix: a row per constructed label, a column per answer; a cell is as dark as its share of the row."""
    labels = list(agreement.labels())
    answers = dict.fromkeys([*labels, *sorted(answer for _, answer in agreement.confusion if answer != UNREADABLE)])
    columns = [*answers, *([UNREADABLE] if any(answer == UNREADABLE for _, answer in agreement.confusion) else [])]
    totals = {label: count for label, (count, _) in agreement.labels().items()}
    shares = [[agreement.confusion[label, answer] / totals[label] for answer in columns] for label in labels]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for line, label in enumerate(labels):
        for column, answer in enumerate(columns):
            colour = "white" if shares[line][column] > DARK else INK
            count = f"{agreement.confusion[label, answer]:,}"
            axes.text(column, line, count, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [_short(label) for label in columns], fontsize=8)
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels], fontsize=8)
    axes.tick_params(length=0, colors=INK)
    axes.set_xlabel("the model's answer", fontsize=8.5, color=FAINT)
    axes.set_ylabel("constructed label", fontsize=8.5, color=FAINT)
    for side in axes.spines.values():
        side.set_visible(False)


def _scores(axes: "Axes", agreement: Agreement, task: str, bound: float) -> None:
    """Histogram of scores, with the bound from which they agree."""
    from matplotlib.ticker import MaxNLocator

    family = TASKS[task].family
    bars = Counter(min(int(score * BARS), BARS - 1) for score in agreement.scores)
    plain_axes(axes, "y")
    places, counts = [(bar + 0.5) / BARS for bar in range(BARS)], [bars[bar] for bar in range(BARS)]
    axes.bar(places, counts, 0.9 / BARS, color=FAMILY_COLOURS[family])
    axes.axvline(bound, color=INK, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1, *counts) * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(labelsize=8)
    what = {"ranking": "NDCG", "retrieval": "share of the right items"}[family]
    unread = agreement.answers - len(agreement.scores)
    axes.set_xlabel(f"{what}, agrees from {bound:g}; {unread:,} unreadable", fontsize=8.5, color=FAINT)
    axes.set_ylabel("answers", fontsize=8.5, color=FAINT)


def _short(label: str) -> str:
    return textwrap.fill(label.replace("_", " "), 14, max_lines=3, placeholder=" …")
