"""Shards of the rows, of `--shard K/N` and of Spark: the model is loaded, and parts that a shard's folder lacks are written."""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.prediction.asking import Answerer
from eval_tasks.prediction.input_rows import InputTable, shard_of
from eval_tasks.prediction.options import load_model
from eval_tasks.prediction.parts import AnswerParts, answer_rows, check_resumable, resume
from eval_tasks.prediction.questions import RowForm

LoadModel = Callable[[argparse.Namespace, bool], tuple[Answerer, list[str]]]


@dataclass(frozen=True)
class Shard:
    """Shard `number` of the table's `of` shards, and the folder that its answers go to.

    `arguments` are the command's, which name the model. Rows with the same value in the column `group` are in one shard.
    `settings` are what answers depend on beside the form and the model; `reserved`: see AnswerParts.
    """

    arguments: argparse.Namespace
    table: InputTable
    form: RowForm
    folder: Path
    number: int = 1
    of: int = 1
    group: str = ""
    constrained: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    reserved: tuple[str, ...] = ()

    def parts(self, pattern: str = AnswerParts.pattern) -> AnswerParts:
        return AnswerParts(self.folder, self.table.columns, self.form.answer_columns(), self.reserved, pattern)


def shard_folder(out: Path, number: int, of: int) -> Path:
    return out / f"shard-{number}-of-{of}"


def answer_shard(shard: Shard, load: LoadModel = load_model, shown: bool = True) -> AnswerParts:
    """The shard's parts, all written; the folder must be `alone`. Raises UserError."""
    form, table = shard.form, shard.table
    settings = {
        **shard.settings,
        "wording": form.template,
        "columns": dict(form.columns),
        "input": list(table.stamp),
        "shard": [shard.number, shard.of, *([shard.group] if shard.group and shard.of > 1 else [])],
    }
    check_resumable(shard.folder, settings)  # before the model is loaded, which takes long
    answerer, identity = load(shard.arguments, shard.constrained)
    resume(shard.folder, {**settings, "model": identity})
    parts = shard.parts()
    answer_rows(shard_of(table, shard.number, shard.of, shard.group), form, answerer, parts, shown)
    return parts


# --- Options ---


def add_shard_options(parser: argparse.ArgumentParser, shard: str) -> None:
    """`shard`: what the K-th of N shards is, for people."""
    parser.add_argument("--shard", default="1/1", metavar="K/N", help=shard)
    parser.add_argument(
        "--engine",
        metavar="ENGINE",
        help="pyspark or pyspark://host:port: the shards are tasks of Spark, here or on a cluster (default: this process)",
    )
    parser.add_argument("--partitions", type=int, metavar="N", help="shards on Spark (default: one for each core here)")


def chosen_shard(arguments: argparse.Namespace) -> tuple[int, int]:
    """`3/16` of --shard as two numbers, after a look at --engine and --partitions. Raises UserError."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", arguments.shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {arguments.shard!r}: write K/N with K from 1 to N, such as 3/16")
    if arguments.partitions is not None and (not arguments.engine or arguments.partitions < 1):
        raise UserError("--partitions is the number of Spark's tasks, 1 or more, and needs --engine pyspark")
    if arguments.engine and not re.fullmatch(r"pyspark(://.+:\d+)?", arguments.engine):
        raise UserError(
            f"Unknown --engine {arguments.engine}; use pyspark, pyspark://host:port, or leave it out for one process"
        )
    if arguments.engine and int(match[2]) > 1:
        raise UserError("--engine answers all shards: leave out --shard, and give --partitions instead")
    return int(match[1]), int(match[2])
