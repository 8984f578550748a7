"""Datasets of real raw files, and their rows by task and source, for benchmarks that compare with them."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from benchmarks.holdout import task_rows
from benchmarks.measure import command
from common.errors import UserError
from eval_tasks.baselines.template_rows import TemplateRow, template_row

PAIRS = "query_product_relation"
REAL = "real"
"""Folder of the dataset."""

ONE_LABEL = "Product_Substitute_Identification.json"
"""A real file that is left out: it says of substitutes alone which label they have, and its style would give them away."""

FEWEST_TRAIN, FEWEST_TEST = 100, 30
"""Real rows below which a score says too little to be compared with."""
MOST_OF_ONE_LABEL = 0.85


@dataclass(frozen=True)
class SplitRows:
    """Rows of one task that a baseline learns from, and those that it answers."""

    train: list[TemplateRow]
    test: list[TemplateRow]

    def suffice(self) -> bool:
        """Whether there are enough rows, and not nearly all of one label."""
        most = max(Counter(map(label_of, self.train)).values(), default=0)
        varied = most <= MOST_OF_ONE_LABEL * len(self.train) or not self.train[0].task.labels
        return len(self.train) >= FEWEST_TRAIN and len(self.test) >= FEWEST_TEST and varied

    def first(self, train: int, test: int) -> "SplitRows":
        return SplitRows(self.train[:train], self.test[:test])

    def like(self, other: "SplitRows") -> "SplitRows":
        return SplitRows(alike(self.train, other.train), alike(self.test, other.test))


def make_real(real: Path, out: Path, seed: int) -> Path:
    """Builds `out`/real of the raw files, and returns it. Raises UserError."""
    if not real.is_dir():
        raise UserError(f"{real} is not a folder. Give --real a folder with files of the raw corpora.")
    raw = out / "real_raw"
    link_raw(real, raw)
    command("dataset_builders.build", "--raw", raw, "--out", out / REAL, "--size", "unlimited", "--seed", seed)
    return out / REAL


def link_raw(real: Path, raw: Path) -> None:
    """A folder of links to the real raw files, without the one that gives its label away."""
    shutil.rmtree(raw, ignore_errors=True)
    for path in real.rglob("*"):
        if path.is_file() and path.name != ONE_LABEL:
            link = raw / path.relative_to(real)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


Slices = Mapping[str, Mapping[str, SplitRows]]
"""Task -> source -> rows."""


def slices(folder: Path) -> Slices:
    """A dataset's rows in an order that no label or product decides."""
    found: dict[str, dict[str, SplitRows]] = defaultdict(lambda: defaultdict(lambda: SplitRows([], [])))
    for split in ("train", "test"):
        for task, rows in task_rows(folder, split).items():
            for row in sorted(rows, key=lambda row: md5(row["sample_id"].encode()).digest()):
                getattr(found[task][row["source"]], split).append(template_row(row))
    return found


def label_of(row: TemplateRow) -> str:
    """What a row's label stands for; the same for all rows of a task without labels."""
    return row.meaning() if row.task.labels else ""


def alike(rows: Sequence[TemplateRow], pattern: Sequence[TemplateRow]) -> list[TemplateRow]:
    """The first of the rows, at most as many as there are in the pattern, with its shares of the labels.

    How many rows of each label a dataset has is the build's choice, and not what is compared.
    """
    wanted = Counter(map(label_of, pattern))
    by_label: dict[str, list[TemplateRow]] = defaultdict(list)
    for row in rows:
        by_label[label_of(row)].append(row)
    share = min(1.0, *(len(by_label[label]) / number for label, number in wanted.items()))
    return [row for label, number in wanted.items() for row in by_label[label][: int(number * share)]]
