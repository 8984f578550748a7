"""Answers a shop's own rows of a task with a tuned model: Parquet, CSV or JSON lines in, Parquet out.

    python -m eval_tasks.predict --describe review_rating
    python -m eval_tasks.predict --task review_rating --input reviews.csv --map review=text \\
        --model BASE --adapter ADAPTER --out OUT

OUT holds part-….parquet, with the input's columns, `row`, `answer`, what the answer was read from and `error`, the reason why a
row has no answer. Parts are written as they come, so the same command goes on where it was interrupted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.prediction.options import add_options, mapped_columns, required
from eval_tasks.prediction.shards import Shard, add_shard_options, answer_shard, chosen_shard, shard_folder

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
    add_shard_options(parser, "every N-th row from the K-th on, in a folder of its own (default: 1/1, all)")
    parser.add_argument(
        "--sample-for-review", type=int, metavar="N", help=f"write the N least certain rows of scored answers to {REVIEW}"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the answers, in parts of Parquet; an interrupted run goes on there"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from eval_tasks.prediction.questions import described, row_form

    if arguments.describe:
        print(described(arguments.describe))
        return
    required(arguments, "task", "input", "model", "out")
    shard, mapped = chosen_shard(arguments), mapped_columns(arguments.map)
    if arguments.lists == "text" and arguments.answers == "written":
        raise UserError("--lists text is of scored answers; give --answers scored, or leave it out")

    from eval_tasks.prediction.input_rows import open_input
    from eval_tasks.prediction.list_form import list_form
    from eval_tasks.prediction.outcome import draw_outcome, outcome_of, print_outcome, write_review
    from eval_tasks.prediction.parts import alone
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
    constrained = not arguments.no_constrained
    settings = {"task": form.task.name, "answers": "scored" if form.scored else "written", "constrained": constrained}
    folder = shard_folder(arguments.out, *shard) if shard[1] > 1 else arguments.out
    whole = Shard(arguments, table, form, folder, *shard, constrained=constrained, settings=settings)
    with alone(folder):
        parts = answer_on_spark(whole) if arguments.engine else answer_shard(whole)
        outcome = outcome_of(parts, form)
        draw_outcome(outcome, folder / PICTURE, form.task.title)
        print_outcome(outcome, form.task.title)
        if arguments.sample_for_review:
            count = write_review(parts, folder / REVIEW, arguments.sample_for_review)
            print(f"The {count:,} least certain rows are in {folder / REVIEW}")
    print(f"The answers to {outcome.rows:,} rows are in {folder}, their distribution in {folder / PICTURE}")


if __name__ == "__main__":
    with plain_errors():
        main()
