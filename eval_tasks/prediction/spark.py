"""The shards of an input as the tasks of a Spark job: what each of them does is what `--shard K/N` does on one machine.

Spark places the tasks, and starts one again whose executor is lost, which then goes on behind the parts that are there. Rows
are read and written by the same functions as elsewhere, so that answers, row numbers and reasons are the same; input and output
must lie on a disk that all executors see under the same path.
"""

import argparse
import re
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common.errors import UserError, first_line
from common.files import read_object
from eval_tasks.prediction.asking import Answerer
from eval_tasks.prediction.options import load_model
from eval_tasks.prediction.parts import SETTINGS, AnswerParts, alone, progress, resume
from eval_tasks.prediction.shards import Shard, answer_shard, shard_folder

PACKAGES = ("common", "dataset_builders", "eval_tasks")
"""What executors are sent of this project."""
DRIVER_MEMORY = "1GB"
POLL_SECONDS = 0.5

_loaded: dict[str, tuple[Answerer, list[str]]] = {}
"""The model of this process: Spark gives a Python process one task after another."""


def load_once(arguments: argparse.Namespace, constrained: bool) -> tuple[Answerer, list[str]]:
    key = repr((arguments, constrained))
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_model(arguments, constrained)
    return _loaded[key]


def run_task(shard: Shard) -> UserError | int:
    """Answers a shard on an executor: the number of its rows. What a user can mend is returned, since Spark wraps what a task
    raises."""
    try:
        if missing := [path for path in shard.table.files if not path.exists()]:
            raise UserError(f"{socket.gethostname()} does not see {missing[0]}; put --input on a disk that all executors share")
        with alone(shard.folder):
            return answer_shard(shard, load_once, shown=False).rows()
    except UserError as error:
        return error


def away(arguments: argparse.Namespace) -> argparse.Namespace:
    """With absolute paths, since an executor's working directory is another."""
    names = [name for name in ("model", "adapter") if (given := getattr(arguments, name)) and Path(given).exists()]
    paths = {name: str(Path(getattr(arguments, name)).absolute()) for name in names}
    return argparse.Namespace(**{**vars(arguments), **paths})


def answer_on_spark(whole: Shard) -> AnswerParts:
    """The parts of all shards, all written; the folder must be `alone`.

    Raises UserError, after the shards that can be answered have been.
    """
    from dataset_builders.engine import connect

    whole = replace(whole, arguments=away(whole.arguments), folder=whole.folder.absolute())
    arguments, table, out = whole.arguments, whole.table, whole.folder
    with TemporaryDirectory() as spill:
        partitions = arguments.partitions or known_partitions(out)
        if not partitions and arguments.engine != "pyspark":  # its executors are counted only once they have all arrived
            raise UserError("give --partitions, the number of Spark's tasks: at least as many as the cluster has cores")
        session = connect(DRIVER_MEMORY, None, Path(spill), arguments.engine)
        try:
            partitions = partitions or session._session.sparkContext.defaultParallelism
            resume(out, {"partitions": partitions, "input": list(table.stamp)})
            shards = [
                replace(whole, folder=shard_folder(out, number, partitions), number=number, of=partitions)
                for number in range(1, partitions + 1)
            ]
            parts = whole.parts(f"shard-*-of-{partitions}/part-*.parquet")
            done = run_all(session, shards, parts, table.rows)
        finally:
            session._session.stop()
    if errors := [each for each in done if isinstance(each, UserError)]:
        raise UserError(f"{errors[0]} ({len(errors)} of {partitions} partitions ended so; run the same command again)")
    rows = sum(each for each in done if isinstance(each, int))
    if (found := parts.rows()) != rows:
        raise UserError(f"{found:,} of {rows:,} rows are in {out}; give an --out on a disk that all executors share")
    return parts


def run_all(session: Any, shards: Sequence[Shard], parts: AnswerParts, rows: int) -> list[UserError | int]:
    """The rows of each shard, or why it ended early. The rows on disk are counted meanwhile, to show how far the job is.

    Raises UserError.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    from dataset_builders.engine import run_on_spark

    counted: dict[Path, int] = {}
    with ThreadPoolExecutor(1) as pool, progress(rows or None, parts.rows(counted)) as advance:
        job: Future[list[UserError | int]] = pool.submit(lambda: list(run_on_spark(session, run_task, shards, PACKAGES)))
        try:
            while not job.done():
                time.sleep(POLL_SECONDS)
                advance(parts.rows(counted))
            return job.result()
        except (Py4JJavaError, PySparkException) as error:
            said = re.findall(r"^\s*(?:[\w.]+\.)?(\w+(?:Error|Exception): .+)$", str(error), re.MULTILINE)
            reason = said[-1] if said else first_line(error)
            raise UserError(
                f"a task of Spark failed: {reason}. What was answered is kept: run the same command again"
            ) from None
        except BaseException:
            session._session.sparkContext.cancelAllJobs()
            raise


def known_partitions(out: Path) -> int:
    """Those of the run that `out` is of; 0 where it is of none."""
    path = out / SETTINGS
    found = read_object(path, "give another --out").get("partitions") if path.is_file() else 0
    return found if isinstance(found, int) else 0
