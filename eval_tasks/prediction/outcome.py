"""What came out: counts of answers and reasons as a table and a picture, and the least certain rows for people to look at."""

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import write_whole
from eval_tasks.prediction.parts import AnswerParts
from eval_tasks.prediction.questions import UNFINISHED, UNREADABLE, RowForm

BINS = 20
"""Bars of the confidence, from 0 to 1."""
MOST_REASONS = 100
"""Different reasons that are counted; a reason is what stands before its first colon or comma."""
OTHER = "other reasons"


@dataclass
class Outcome:
    """Counts of some rows. `labels` is empty where answers are texts or lists; `confidence` has BINS counts."""

    rows: int = 0
    answers: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    confidence: list[int] = field(default_factory=lambda: [0] * BINS)

    @property
    def unreadable(self) -> int:
        return self.errors[UNREADABLE] + self.errors[UNFINISHED]

    def add(self, row: dict[str, Any], by_label: bool) -> None:
        self.rows += 1
        if row["error"]:
            reason = row["error"].partition(":")[0].partition(",")[0]
            self.errors[reason if reason in self.errors or len(self.errors) < MOST_REASONS else OTHER] += 1
            return
        self.answers += 1
        if by_label:
            self.labels[row["answer"]] += 1
        if (sure := row.get("confidence")) is not None:
            self.confidence[min(int(sure * BINS), BINS - 1)] += 1


def outcome_of(parts: AnswerParts, form: RowForm) -> Outcome:
    """The counts of all parts, one after another."""
    outcome = Outcome()
    columns = [name for name in ("answer", "confidence", "error") if name in parts.answer_columns]
    for batch in parts.batches(columns):
        for row in batch:
            outcome.add(row, by_label=form.task.family == "multiple_choice" and not form.by_text)
    return outcome


def print_outcome(outcome: Outcome, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "rows", "share", title=title)
    table.columns[1].justify = table.columns[2].justify = "right"

    def add(name: str, count: int) -> None:
        table.add_row(name, f"{count:,}", f"{count / outcome.rows:.1%}" if outcome.rows else "")

    for label, count in outcome.labels.most_common(20):
        add(label, count)
    table.add_section()
    add("answered", outcome.answers)
    add("unreadable", outcome.unreadable)
    add("without an answer", outcome.rows - outcome.answers - outcome.unreadable)
    for reason, count in outcome.errors.most_common():
        if reason not in (UNREADABLE, UNFINISHED):
            add(f"  {reason}", count)
    Console(markup=False).print(table)


def draw_outcome(outcome: Outcome, path: Path, title: str) -> None:
    """Rows by answer, and where answers are scored, how sure they are."""
    from matplotlib.figure import Figure

    counts = dict(outcome.labels.most_common(20)) or {"answered": outcome.answers}
    counts |= {"unreadable": outcome.unreadable, "without an answer": outcome.rows - outcome.answers - outcome.unreadable}
    scored = any(outcome.confidence)
    figure = Figure(figsize=(9 if scored else 5, 0.8 + 0.3 * max(len(counts), 6)), layout="constrained")
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    names = [name if len(name) <= 30 else f"{name[:29]}…" for name in counts]
    bars = axes[0].barh(range(len(names)), list(counts.values()), color="#0b66c3")
    axes[0].set_yticks(range(len(names)), names, parse_math=False)
    axes[0].bar_label(bars, [f"{count:,}" for count in counts.values()], padding=3)
    axes[0].invert_yaxis()
    axes[0].margins(x=0.15)
    axes[0].set_xlabel("rows")
    if scored:
        axes[1].bar([(place + 0.5) / BINS for place in range(BINS)], outcome.confidence, width=0.9 / BINS, color="#5b6472")
        axes[1].set_xlim(0, 1)
        axes[1].set_xlabel("probability of the likeliest label")
        axes[1].set_ylabel("rows")
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    write_whole(path, lambda unfinished: figure.savefig(unfinished, dpi=160, format="png"))


def write_review(parts: AnswerParts, path: Path, rows: int) -> int:
    """Writes the rows of the least confidence as JSON lines, the least certain first, and returns their number.

    Each has the columns of the input, the model's answer as `predicted`, its confidence, and an empty `label` for people.
    """
    least = heapq.nsmallest(rows, _certain(parts), key=lambda pair: pair[:2])
    lines = [json.dumps(_for_review(parts, row), ensure_ascii=False, default=str) + "\n" for _, _, row in least]
    write_whole(path, lambda unfinished: unfinished.write_text("".join(lines), encoding="utf-8"))
    return len(lines)


def _certain(parts: AnswerParts) -> Iterator[tuple[float, int, dict[str, Any]]]:
    for batch in parts.batches():
        for row in batch:
            if row["confidence"] is not None:
                yield row["confidence"], row["row"], row


def _for_review(parts: AnswerParts, row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[parts.kept_name(name)] for name in parts.input_columns}
    return {**kept, "predicted": row["answer"], "confidence": row["confidence"], "label": ""}
