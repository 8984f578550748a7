"""The rows of a dataset folder, and folders like it whose test split is rows held out of its train split.

    python -m benchmarks.holdout --data DATASET --out OUT --share 0.25 --parts 400,480

writes OUT/part-1 with 400 train rows of each task and OUT/part-2 with the next 480, both with the same held-out rows as test
split. Recipes are tuned on held-out rows alone, so that the test split is looked at once, at the end.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from common.dataset import MANIFEST, SPLITS, read_split
from common.errors import UserError, plain_errors
from common.files import replaced, write_json
from common.tasks import TASKS
from common.words import row_task
from dataset_builders.contamination import contaminated
from dataset_builders.dataset_files import config_facts, write_splits
from dataset_builders.evaluation_sets import EvaluationSet
from dataset_builders.row_facts import read_facts
from dataset_builders.rows import row_of_columns
from dataset_builders.splits import Split
from eval_tasks.baselines.template_rows import template_row
from training.mixture import draw
from training.rejection import rows_card

VALIDATION_SHARE = 0.15
"""Share of the groups to train on that are held out."""

Rows = dict[str, list[dict[str, Any]]]
"""Task -> rows as the files hold them, in the order of the tasks' declaration."""


def task_rows(folder: Path, split: str) -> Rows:
    """Every task's rows of a split; tasks without any are left out."""
    return {name: table.to_pylist() for name, table in read_split(str(folder), split).items()}


def hold_out(
    train: Rows, seed: int, share: float = VALIDATION_SHARE, numbered: Rows | None = None, test: Rows | None = None
) -> tuple[Rows, Rows]:
    """Rows to train on and rows held out, as the builder parts train and test.

    A group is on one side in all tasks, and no row to train on is left whose texts stand in a held-out one or share 13 words
    in a row with it. As of test rows, those held out are the ones of a task's own form, and none in words: of `numbered`,
    where those to train on are all in words. `test` are rows that are tested on as well.
    """
    held = {
        name: [row for row in rows if _is_held(row["group"], seed, share) and not _in_words(row)]
        for name, rows in (numbered or train).items()
    }
    for name, rows in (test or {}).items():
        held[name] = [*rows, *held.get(name, [])]
    kept = [row for rows in train.values() for row in rows if not _is_held(row["group"], seed, share)]
    items = EvaluationSet("validation", [_texts(row) for rows in held.values() for row in rows])
    hits = contaminated([template_row(row).content() for row in kept], [items])
    clean: Rows = {name: [] for name in train}
    for row, hit in zip(kept, hits, strict=True):
        if not hit:
            clean[row["task"]].append(row)
    return clean, {name: rows for name, rows in held.items() if rows}


def _in_words(row: dict[str, Any]) -> bool:
    task = TASKS[row["task"]]
    return row_task(task, json.loads(row["answer"])) is not task


def _is_held(group: str, seed: int, share: float) -> bool:
    return int(draw(seed, f"validation|{group}")[:8], 16) < share * 2**32


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row asks about, and its answer where that is a text."""
    asked = template_row(row)
    answer = (asked.completion,) if asked.task.family == "generation" else ()
    return (*(text for texts in asked.content().values() for text in texts), *answer)


def first_of_draw(rows: Sequence[dict[str, Any]], seed: int, most: int | None = None) -> list[dict[str, Any]]:
    """At most so many rows in a drawn order, so that the first ones are of all sources."""
    return sorted(rows, key=lambda row: draw(seed, f"order|{row['sample_id']}"))[:most]


def write_folder(train: Rows, test: Rows, out: Path) -> None:
    """A dataset folder of these rows."""
    names = [name for name in TASKS if name in train or name in test]
    parts = {name: Split(*([row_of_columns(row) for row in rows.get(name, [])] for rows in (train, test))) for name in names}
    built = {name: part for name, part in parts.items() if part.train or part.test}
    with replaced(out, MANIFEST) as folder:
        write_splits(folder, built)
        facts = config_facts(read_facts(built))
        tasks = {split: [name for name, part in built.items() if getattr(part, split)] for split in SPLITS}
        text = rows_card("Rows to train on and rows held out of them", tasks, facts["default"]["fingerprint"])
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_json(folder / MANIFEST, {"configs": facts})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holdout", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="folder of a built dataset")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="part-1, part-2 and so on are made in it")
    parser.add_argument("--share", type=float, default=VALIDATION_SHARE, help="of the groups, held out (default: %(default)s)")
    parser.add_argument("--parts", required=True, metavar="N,N", help="train rows of each task in each part")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    sizes = arguments.parts.split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(f"--parts must be numbers of rows such as 400,480, not {arguments.parts}")
    if not 0 < arguments.share < 1:
        raise UserError(f"--share must be between 0 and 1, not {arguments.share}")
    train, held = hold_out(task_rows(arguments.data, "train"), arguments.seed, arguments.share)
    if not held:
        raise UserError(f"no group of {arguments.data} is held out; raise --share, or build more rows")
    drawn = {name: iter(first_of_draw(rows, arguments.seed)) for name, rows in train.items()}
    for number, size in enumerate(map(int, sizes), 1):
        part = {name: list(islice(rows, size)) for name, rows in drawn.items()}
        if short := next((name for name, rows in part.items() if len(rows) < size), None):
            raise UserError(f"part {number} would have {len(part[short])} rows of {short}; lower --parts or --share")
        write_folder(part, held, arguments.out / f"part-{number}")
    for name, rows in held.items():
        print(f"{name}: {len(train[name]):,} rows to train on, {len(rows):,} held out")


if __name__ == "__main__":
    with plain_errors():
        main()
