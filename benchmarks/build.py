"""How fast the dataset is built, and in how much memory.

    python -m benchmarks.build relational [--raw DIR] [--scale 1]   # this project's way against plain pandas
    python -m benchmarks.build tasks [--raw DIR] [--scale 1]        # each task alone
    python -m benchmarks.build scaling [--scales 0.5,1,2]           # whole builds of more and more records
    python -m benchmarks.build whole [--raw DIR] [--scale 1]        # a whole build against merely parsing its files

Every piece of work has a fresh process of its own; imports are not counted, but reading the input is. Without --raw, sample
corpora are written first. All that is written lies in a temporary folder (TMPDIR says where) and goes at the end. The last
line is JSON.
"""

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.against_pandas import relational
from benchmarks.build_steps import OURS, cells, draw_task, require_scale, show, stage_tables
from benchmarks.measure import alone, command
from common.cores import usable_cores
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from dataset_builders.build import parse_tasks
from dataset_builders.samples.files import SAMPLE_MARKER


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=(__doc__ or "").split("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True, metavar="relational|tasks|scaling|whole")
    relational = parts.add_parser("relational", help="the work of two tasks, this project's way against plain pandas")
    tasks = parts.add_parser("tasks", help="each task alone, on staged tables")
    scaling = parts.add_parser("scaling", help="whole builds, from raw corpora to a dataset on disk")
    whole = parts.add_parser("whole", help="a whole build against a plain read of the same files in one process")
    for part in (relational, tasks, whole):
        part.add_argument("--raw", type=Path, metavar="DIR", help="folder of raw corpora (default: sample corpora are made)")
        part.add_argument("--scale", type=float, default=1, help="of the sample corpora (default: %(default)s)")
    tasks.add_argument("--tasks", metavar="A,B", help="tasks to measure (default: all that the corpora support)")
    scaling.add_argument("--scales", default="0.5,1,2", metavar="A,B,C", help="of the sample corpora (default: %(default)s)")
    whole.add_argument("--workers", type=int, default=usable_cores(), metavar="N", help="processes (default: one a core)")
    for part in (scaling, whole):
        part.add_argument(
            "--size", default="full", metavar="SIZE", help="of the dataset, as the build takes it (default: %(default)s)"
        )
    for part in (relational, tasks, scaling, whole):
        part.add_argument("--seed", type=int, default=0, help="default: %(default)s")
        part.add_argument("--memory-limit", default="1GB", metavar="SIZE", help="of the engine (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="shop-benchmark-") as folder:
        part = {"relational": relational, "tasks": each_task, "scaling": scaling, "whole": whole_build}[arguments.part]
        print(json.dumps(part(arguments, Path(folder))))


def raw_corpora(arguments: argparse.Namespace, folder: Path) -> Path:
    """--raw, or sample corpora of --scale."""
    require_scale(arguments.scale)
    return arguments.raw or sample_corpora(folder / "raw", arguments.scale, arguments.seed)


def sample_corpora(out: Path, scale: float, seed: int) -> Path:
    command("dataset_builders.sample_corpora", "--out", out, "--scale", scale, "--seed", seed)
    return out


def build(raw: Path, out: Path, arguments: argparse.Namespace, *options: object) -> dict[str, Any]:
    """Figures of a whole build, records that it read, and its rows."""
    asked = ("--size", arguments.size, "--memory-limit", arguments.memory_limit, "--seed", arguments.seed)
    measured = command("dataset_builders.build", "--raw", raw, "--out", out, *asked, *options)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return {
        **measured.figures(),
        "main_mb": round(measured.main_megabytes),
        "records": sum(source["read"] for source in manifest["sources"].values()),
        "rows": sum(manifest["configs"]["default"][split] for split in ("train", "test")),
    }


def each_task(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds and memory of every task from its staged tables to its rows as Arrow; `reading` is part of `seconds`."""
    asked = parse_tasks(arguments.tasks) or list(TASKS)
    raw, staged = raw_corpora(arguments, folder), folder / "staged"
    alone(stage_tables, raw, staged, "")
    tasks = [name for name in asked if all((staged / f"{table}.parquet").exists() for table in TASKS[name].tables)]
    if not tasks:
        raise UserError(f"{raw} yields the tables of none of the tasks asked for. Give a folder that holds more corpora.")
    figures = {}
    for name in tasks:
        measured = alone(draw_task, staged, name, arguments.seed, arguments.memory_limit, modules=OURS)
        figures[name] = measured.figures() | measured.result
    lines = [(name, *cells(entry, "seconds", "reading", "mb", "records", "rows")) for name, entry in figures.items()]
    title = f"Each task alone, engine limited to {arguments.memory_limit}"
    show(title, ("task", "seconds", "reading", "MB", "records in", "rows out"), lines)
    return figures


def scaling(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Whole builds, one for each scale, and how the seconds grow from each to the next."""
    built = []
    for number, scale in enumerate(parse_scales(arguments.scales)):
        raw = sample_corpora(folder / f"raw_{number}", scale, arguments.seed)
        built.append({"scale": scale, **build(raw, folder / f"dataset_{number}", arguments)})
    growth = [round(later["seconds"] / earlier["seconds"], 2) for earlier, later in pairwise(built)]
    lines = [
        (
            f"{entry['scale']:g}",
            *cells(entry, "seconds"),
            factor,
            *cells(entry, "cpu_seconds", "mb", "main_mb", "records", "rows"),
        )
        for entry, factor in zip(built, ["", *(f"{factor:.2f}" for factor in growth)], strict=True)
    ]
    header = ("scale", "seconds", "growth", "CPU seconds", "MB", "MB of the main process", "records", "rows")
    show(f"Whole builds, engine limited to {arguments.memory_limit}", header, lines)
    return {"ratio": growth[-1], "growth": growth, "scales": built}


def whole_build(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Records a second and core of a build of full size, and of a process that only parses the same files: the limit."""
    raw, workers = raw_corpora(arguments, folder), arguments.workers
    plain = alone(parse_files, raw, modules=("orjson", "pyarrow.parquet"))
    built = build(raw, folder / "dataset", arguments, "--workers", workers, "--threads", workers)
    figures = {
        "build": built | {"records_per_core_second": round(built["records"] / built["seconds"] / workers)},
        "plain read": {**plain.figures(), "records_per_core_second": round(plain.result / plain.seconds)},
    }
    lines = [(way, *cells(entry, "seconds", "cpu_seconds", "mb", "records_per_core_second")) for way, entry in figures.items()]
    title = (
        f"{built['records']:,} records on {workers} cores; {built['rows']:,} rows; {built['main_mb']:,} MB in the main process"
    )
    show(title, ("way", "seconds", "CPU seconds", "MB", "records a second and core"), lines)
    ours, limit = (entry["records_per_core_second"] for entry in figures.values())
    return {"ratio": round(ours / limit, 3), "workers": workers, **figures}


def parse_files(raw: Path) -> int:
    """Number of records in the folder's JSON, JSON lines and Parquet files, each made into Python objects and dropped."""
    import gzip

    import orjson
    import pyarrow.parquet as pq

    records = 0
    for path in sorted(raw.rglob("*")):
        if path.suffix == ".parquet":
            records += sum(len(batch.to_pylist()) for batch in pq.ParquetFile(path).iter_batches(8192))
        elif path.name.endswith((".jsonl", ".json.gz", ".jsonl.gz")):
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                records += sum(orjson.loads(line) is not None for line in file)
        elif path.suffix == ".json" and path.name != SAMPLE_MARKER:
            records += len(orjson.loads(path.read_bytes()))
    if not records:
        raise UserError(f"{raw} holds no JSON, JSON lines or Parquet. Give a folder of raw corpora.")
    return records


def parse_scales(text: str) -> list[float]:
    """`0.5,1,2` -> the numbers. Raises UserError unless they are two or more, rising, and each a scale of the samples."""
    try:
        scales = [float(part) for part in text.split(",")]
    except ValueError:
        scales = []
    if len(scales) < 2 or not all(earlier < later for earlier, later in pairwise(scales)):
        raise UserError(f"--scales {text} is not a list of rising numbers. Give two or more, such as 0.5,1,2.")
    for scale in scales:
        require_scale(scale)
    return scales


if __name__ == "__main__":
    with plain_errors():
        main()
