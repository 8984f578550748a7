"""Rows per second of `predict` beside those of the evaluation: the same prompts, the same loaded model, in turn in one process.

    python -m benchmarks.predict_speed --task TASK --input FILE --model MODEL

The evaluation gets all prompts at once and stores answers in SQLite, as `eval_tasks.run` does; `predict` reads rows, asks part
after part and writes Parquet. Loading is not counted. CPU seconds are of all threads: beside other work the steadier figure.
The last line is JSON.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import timed
from common.errors import UserError, plain_errors
from eval_tasks.backends.answer_store import AnswerStore
from eval_tasks.prediction.asking import Answerer, row_question
from eval_tasks.prediction.input_rows import InputTable, open_input
from eval_tasks.prediction.options import add_options, load_model, mapped_columns, required
from eval_tasks.prediction.parts import AnswerParts, answer_rows
from eval_tasks.prediction.questions import RowForm, row_form


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict_speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--task", metavar="TASK", help="whose rows --input holds")
    add_options(parser)
    parser.add_argument(
        "--answers", choices=("written", "scored"), default="written", help="how the model answers (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=256, metavar="N", help="the first N of the input (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="times that both run (default: %(default)s)")
    return parser.parse_args(argv)


def predicted(table: InputTable, form: RowForm, answerer: Answerer) -> list[Any]:
    with TemporaryDirectory() as folder:
        parts = AnswerParts(Path(folder), table.columns, form.answer_columns())
        answer_rows(table, form, answerer, parts, shown=False)
        return [row["answer"] for batch in parts.batches() for row in batch]


def evaluated(table: InputTable, form: RowForm, answerer: Answerer) -> list[Any]:
    from eval_tasks.backends.lighteval_model import answer_prompts, score_prompts

    questions = [row_question(form, row.values, row.error) for row in table.read()]
    prompts: list[Any] = [prompt for each in questions for prompt in each.prompts]
    with TemporaryDirectory() as folder:
        store = AnswerStore(Path(folder) / "answers.sqlite")
        said: Any = (
            score_prompts(answerer.loaded, prompts, answerer.adapter, store)
            if form.scored
            else answer_prompts(answerer.loaded, prompts, answerer.adapter, answerer.constrained, store)
        )
    left = iter(said)
    read = [each.read([next(left) for _ in each.prompts]) for each in questions]
    return [row.get("answer") for row in read]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    required(arguments, "task", "input", "model")
    table = open_input(arguments.input, arguments.input_revision)
    rows = min(arguments.rows, table.rows)
    if rows < 1 or arguments.rounds < 1:
        raise UserError("--rows and --rounds must be at least 1")

    def first(count: int) -> InputTable:
        return replace(table, rows=count, read=lambda: islice(table.read(), count))

    form = row_form(arguments.task, arguments.answers == "scored", list(table.columns), mapped_columns(arguments.map))
    answerer, _ = load_model(arguments, constrained=True)
    ways = {"evaluation": evaluated, "predict": predicted}
    for way in ways.values():
        way(first(min(rows, 8)), form, answerer)
    seconds, busy, found = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0), dict[str, list[Any]]()
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            measured = timed(partial(way, first(rows), form, answerer))
            found[name] = measured.result
            seconds[name] += measured.seconds
            busy[name] += measured.cpu_seconds
    pairs = list(zip(found["evaluation"], found["predict"], strict=True))
    figures = {
        "rows": rows,
        "rounds": arguments.rounds,
        "rows_per_second": {name: round(rows * arguments.rounds / seconds[name], 2) for name in ways},
        "cpu_seconds": {name: round(busy[name], 2) for name in ways},
        "same_answers": sum(one == other for one, other in pairs) / max(len(pairs), 1),
        "cpu_ratio": round(busy["evaluation"] / busy["predict"], 3),
        "ratio": round(seconds["evaluation"] / seconds["predict"], 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    with plain_errors():
        main()
