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
from eval_tasks.prediction.options import add_options, load_model, mapped_columns, required

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


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from eval_tasks.prediction.questions import described, row_form

    if arguments.describe:
        print(described(arguments.describe))
        return
    required(arguments, "task", "input", "model", "out")
    shard, mapped = parse_shard(arguments.shard), mapped_columns(arguments.map)

    from eval_tasks.prediction.input_rows import open_input
    from eval_tasks.prediction.outcome import draw_outcome, outcome_of, print_outcome, write_review
    from eval_tasks.prediction.parts import AnswerParts, alone, answer_rows, resume

    table = open_input(arguments.input, arguments.input_revision)
    form = row_form(arguments.task, arguments.answers == "scored", list(table.columns), mapped)
    if arguments.sample_for_review is not None and (not form.scored or arguments.sample_for_review < 1):
        raise UserError("--sample-for-review needs a number of rows, and answers with a confidence: give --answers scored")
    folder = arguments.out / f"shard-{shard[0]}-of-{shard[1]}" if shard[1] > 1 else arguments.out
    with alone(folder):
        constrained = not arguments.no_constrained
        answerer, identity = load_model(arguments, constrained)
        settings = {
            "task": form.task.name,
            "answers": "scored" if form.scored else "written",
            "constrained": constrained,
            "wording": form.template,
            "columns": dict(form.columns),
            "model": identity,
            "input": list(table.stamp),
            "shard": list(shard),
        }
        resume(folder, settings)
        parts = AnswerParts(folder, table.columns, form.answer_columns())
        answer_rows(table, form, answerer, parts, shard)
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
