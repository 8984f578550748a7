"""Answers a shop's own rows of a task with a tuned model: Parquet, CSV or JSON lines in, Parquet out.

    python -m eval_tasks.predict --describe review_rating
    python -m eval_tasks.predict --task review_rating --input reviews.csv --map review=text \\
        --model BASE --adapter ADAPTER --out OUT

OUT holds part-….parquet, with the input's columns, `row`, `answer`, what the answer was read from and `error`, the reason why a
row has no answer. Parts are written as they come, so the same command goes on where it was interrupted.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.prediction.options import add_options, mapped_columns, required

PICTURE, REVIEW = "answers.png", "review.jsonl"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.predict", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument(
        "--describe", choices=list(TASKS), metavar="TASK", help="print a task's columns and an example, and end"
    )
    parser.add_argument("--task", choices=list(TASKS), metavar="TASK", help=", ".join(TASKS))
    add_options(parser)
    parser.add_argument(
        "--answers",
        choices=("written", "scored"),
        default="written",
        help="scored: by the likelihoods of labels in words, of each item of a list; texts are written (default: %(default)s)",
    )
    parser.add_argument(
        "--no-constrained", action="store_true", help="let the model write anything, not only what can be read as an answer"
    )
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="every N-th row from the K-th on, in a folder of its own")
    parser.add_argument(
        "--engine",
        metavar="ENGINE",
        help="pyspark or pyspark://host:port: the shards are tasks of Spark, here or on a cluster (default: this process)",
    )
    parser.add_argument("--partitions", type=int, metavar="N", help="shards on Spark (default: one for each core here)")
    parser.add_argument(
        "--sample-for-review", type=int, metavar="N", help=f"write the N least certain rows of scored answers to {REVIEW}"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the parts")
    return parser.parse_args(argv)


def parse_shard(text: str) -> tuple[int, int]:
    """`3/16` as two numbers. Raises UserError."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text!r}: write K/N with K from 1 to N, such as 3/16")
    return int(match[1]), int(match[2])


def check_engine(arguments: argparse.Namespace, shard: tuple[int, int]) -> None:
    """Raises UserError."""
    if arguments.partitions is not None and (not arguments.engine or arguments.partitions < 1):
        raise UserError("--partitions is the number of Spark's tasks, 1 or more, and needs --engine pyspark")
    if arguments.engine and not re.fullmatch(r"pyspark(://.+:\d+)?", arguments.engine):
        raise UserError(
            f"Unknown --engine {arguments.engine}; use pyspark, pyspark://host:port, or leave it out for one process"
        )
    if arguments.engine and shard[1] > 1:
        raise UserError("--engine answers all shards: leave out --shard, and give --partitions instead")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from eval_tasks.prediction.questions import described, row_form

    if arguments.describe:
        print(described(arguments.describe))
        return
    required(arguments, "task", "input", "model", "out")
    shard, mapped = parse_shard(arguments.shard), mapped_columns(arguments.map)
    check_engine(arguments, shard)
    if arguments.lists == "text" and arguments.answers == "written":
        raise UserError("--lists text is of scored answers; give --answers scored, or leave it out")

    from eval_tasks.prediction.input_rows import open_input
    from eval_tasks.prediction.list_form import list_form
    from eval_tasks.prediction.outcome import draw_outcome, outcome_of, print_outcome, write_review
    from eval_tasks.prediction.shards import Shard, answer_shard, shard_folder
    from eval_tasks.prediction.spark import answer_on_spark

    table = open_input(arguments.input, arguments.input_revision)
    form = row_form(arguments.task, arguments.answers == "scored", list(table.columns), mapped)
    by_text, why = list_form(form.task, arguments)
    if by_text and form.scored:
        form = form.scored_by_text(by_text)
    if why:
        print(why if form.scored else f"note: --answers scored would score {why}")
    if arguments.sample_for_review is not None and (not form.scored or form.by_text or arguments.sample_for_review < 1):
        raise UserError(
            "--sample-for-review needs a number of rows, and answers with a confidence: give --answers scored"
            + (" and --lists words" if form.by_text else "")
        )
    if arguments.engine:
        parts = answer_on_spark(arguments, table, form)
    else:
        folder = shard_folder(arguments.out, *shard) if shard[1] > 1 else arguments.out
        parts = answer_shard(Shard(arguments, table, form, folder, *shard))
    outcome = outcome_of(parts, form)
    draw_outcome(outcome, parts.folder / PICTURE, form.task.title)
    print_outcome(outcome, form.task.title)
    if arguments.sample_for_review:
        count = write_review(parts, parts.folder / REVIEW, arguments.sample_for_review)
        print(f"The {count:,} least certain rows are in {parts.folder / REVIEW}")
    print(f"The answers to {outcome.rows:,} rows are in {parts.folder}, their distribution in {parts.folder / PICTURE}")


if __name__ == "__main__":
    with plain_errors():
        main()
