"""One shard of the rows: the model is loaded, and the parts that are missing in the shard's folder are written."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.prediction.asking import Answerer
from eval_tasks.prediction.input_rows import InputTable
from eval_tasks.prediction.options import load_model
from eval_tasks.prediction.parts import AnswerParts, alone, answer_rows, resume
from eval_tasks.prediction.questions import RowForm

LoadModel = Callable[[argparse.Namespace, bool], tuple[Answerer, list[str]]]


@dataclass(frozen=True)
class Shard:
    """Every `of`-th row of the table from the `number`-th on, and the folder that its answers go to.

    `arguments` are those of `predict`, which name the model.
    """

    arguments: argparse.Namespace
    table: InputTable
    form: RowForm
    folder: Path
    number: int = 1
    of: int = 1


def shard_folder(out: Path, number: int, of: int) -> Path:
    return out / f"shard-{number}-of-{of}"


def answer_shard(shard: Shard, load: LoadModel = load_model, shown: bool = True) -> AnswerParts:
    """The shard's parts, all written. Raises UserError."""
    form, table = shard.form, shard.table
    constrained = not shard.arguments.no_constrained
    with alone(shard.folder):
        answerer, identity = load(shard.arguments, constrained)
        settings = {
            "task": form.task.name,
            "answers": "scored" if form.scored else "written",
            "constrained": constrained,
            "wording": form.template,
            "columns": dict(form.columns),
            "model": identity,
            "input": list(table.stamp),
            "shard": [shard.number, shard.of],
        }
        resume(shard.folder, settings)
        parts = AnswerParts(shard.folder, table.columns, form.answer_columns())
        answer_rows(table, form, answerer, parts, (shard.number, shard.of), shown)
    return parts
