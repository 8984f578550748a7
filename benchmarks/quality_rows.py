"""The rows of the benchmark of quality: real ones, in words to train on and numbered to score, and those of sample corpora."""

import shutil
import tempfile
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from benchmarks.holdout import Rows, first_of_draw, hold_out, task_rows, write_folder
from benchmarks.measure import command
from benchmarks.real_rows import MOST_OF_ONE_LABEL, link_raw
from common.errors import UserError
from common.tasks import TASKS

FEWEST_TRAIN, FEWEST_TEST = 500, 200
"""Real rows that a task must have, besides those held out, for a score to say something."""
HELD_OUT = 0.2
"""Share of the groups to train on that are tested on too."""


def make_rows(arguments: Namespace, out: Path) -> Path:
    """A dataset folder of real rows. Its train split is in words, its test split numbered. Raises UserError.

    The builder's test split is a ninth of the groups, which are few rows of small corpora: HELD_OUT more are tested on. With
    --split validation as many of the others are held out, and no test row is scored. Sources that give nearly all rows of a
    task one label are left out of it, since a model would learn, and be scored on, how that source writes.
    """
    link_raw(arguments.raw, out / "raw")
    words, numbered = (build(arguments, out / "raw", out / name, share) for name, share in (("words", 1), ("numbered", 0)))
    train = task_rows(words, "train")
    silent = single_label_sources(train)
    train, own, tested = (
        {name: [row for row in rows if (name, row["source"]) not in silent] for name, rows in found.items()}
        for found in (train, task_rows(numbered, "train"), task_rows(numbered, "test"))
    )
    kept, held = hold_out(train, arguments.seed, HELD_OUT, own, tested)
    names = chosen_tasks(arguments.tasks, kept, held)
    if arguments.split == "validation":
        groups = {row["group"] for rows in held.values() for row in rows}
        others = {name: [row for row in rows if row["group"] not in groups] for name, rows in own.items()}
        kept, held = hold_out(kept, arguments.seed + 1, HELD_OUT, others)
    parts = {
        "train": {name: first_of_draw(kept[name], arguments.seed, arguments.train_rows) for name in names},
        "test": {name: first_of_draw(held.get(name, []), arguments.seed) for name in names},
    }
    texts = [name for name in kept if name not in names and TASKS[name].family == "generation"]
    for split, rows in parts.items():
        if empty := [name for name, found in rows.items() if not found]:
            raise UserError(f"{empty[0]} has no rows for the {split} split. Give more raw data, or leave it out of --tasks.")
    parts["train"] |= {name: first_of_draw(kept[name], arguments.seed, arguments.text_rows) for name in texts}
    write_folder(parts["train"], parts["test"], out / "rows")
    return out / "rows"


def single_label_sources(train: Rows) -> set[tuple[str, str]]:
    """Task and source of multiple-choice rows in words, nearly all of which have one label in that source."""
    labels: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name, rows in train.items():
        for row in rows if TASKS[name].family == "multiple_choice" else ():
            labels[name, row["source"]][row["completion"][0]["content"]] += 1
    return {place for place, found in labels.items() if max(found.values()) > MOST_OF_ONE_LABEL * found.total()}


def build(arguments: Namespace, raw: Path, dataset: Path, share: float) -> Path:
    """A dataset of all rows that the raw files yield, that share of those to train on in words."""
    with tempfile.TemporaryDirectory() as folder:
        sets = []
        if arguments.shopbench:
            shutil.copy(arguments.shopbench, folder)
            sets = ["--evaluation-sets", folder]
        options = ("--size", "unlimited", "--seed", arguments.seed, "--word-rows", share, *sets)
        command("dataset_builders.build", "--raw", raw, "--out", dataset, *options)
    return dataset


def chosen_tasks(asked: str | None, train: Mapping[str, Collection[Any]], test: Mapping[str, Collection[Any]]) -> list[str]:
    """Those asked for, or all that have enough rows and answers that can be scored. Raises UserError."""
    if asked:
        names = [name.strip() for name in asked.split(",")]
        if unknown := [name for name in names if name not in train]:
            raise UserError(f"--tasks: the raw files yield no rows of {unknown[0]!r}; they do of {', '.join(train)}.")
        return names
    names = [
        name
        for name in train
        if TASKS[name].family != "generation" and len(train[name]) >= FEWEST_TRAIN and len(test.get(name, ())) >= FEWEST_TEST
    ]
    if not names:
        raise UserError(
            f"No task of scored answers has {FEWEST_TRAIN} train and {FEWEST_TEST} test rows. Give more raw data, or --tasks."
        )
    return names


def make_sample_rows(arguments: Namespace, tasks: Collection[str], out: Path) -> Path:
    """A dataset folder of the same tasks' rows of sample corpora, all in words."""
    command(
        "dataset_builders.sample_corpora", "--out", out / "sample_raw", "--scale", arguments.scale, "--seed", arguments.seed
    )
    options = ("--tasks", ",".join(tasks), "--size", arguments.sample_size, "--seed", arguments.seed, "--word-rows", 1)
    command("dataset_builders.build", "--raw", out / "sample_raw", "--out", out / "sample", *options)
    return out / "sample"
