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
import math
import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.measure import alone, command
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from dataset_builders.build import parse_tasks
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.splits import is_test, parse_sizes
from dataset_builders.workers import usable_cores

RELATIONAL = ("query_relation", "query_product_ranking")
OURS = (
    *("pyarrow.parquet", "ibis.backends.duckdb", "ibis.formats.pandas"),
    *(f"dataset_builders.recipes.{family}" for family in ("multiple_choice", "ranking", "retrieval", "generation")),
)
PANDAS = ("pyarrow.parquet", "benchmarks.pandas_way")
"""What each way imports, lazily or not, and so is imported before its clock starts."""


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
    for part in (relational, tasks, scaling, whole):
        part.add_argument("--seed", type=int, default=0)
        part.add_argument("--memory-limit", default="1GB", metavar="SIZE", help="of the engine (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="shop-benchmark-") as folder:
        part = {"relational": relational, "tasks": each_task, "scaling": scaling, "whole": whole_build}[arguments.part]
        print(json.dumps(part(arguments, Path(folder))))


def relational(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both ways over the same tables, and the geometric mean of how many times as long pandas takes."""
    require_scale(arguments.scale)
    raw = arguments.raw or folder / "raw"
    if not arguments.raw:
        alone(write_judged, raw, arguments.scale, arguments.seed)
    staged = folder / "staged"
    alone(stage_tables, raw, staged, "esci")
    require_tables(staged, ("judgments", "products"))
    figures: dict[str, dict[str, Any]] = {}
    for name in RELATIONAL:
        ours = alone(draw_task, staged, name, arguments.seed, arguments.memory_limit, modules=OURS)
        pandas = alone(in_pandas, staged, name, arguments.seed, modules=PANDAS)
        figures[name] = {
            "ratio": round(pandas.seconds / ours.seconds, 2),
            "build": ours.figures() | {"rows": ours.result["rows"]},
            "pandas": pandas.figures() | {"rows": pandas.result},
        }
    compared = alone(agreement, staged, arguments.seed, arguments.memory_limit).result
    lines = [
        (name, way, *cells(figures[name][way], "seconds", "cpu_seconds", "mb", "rows"))
        for name in RELATIONAL
        for way in ("build", "pandas")
    ]
    show("The same work in two ways", ("task", "way", "seconds", "CPU seconds", "MB", "rows"), lines)
    ratio = math.prod(entry["ratio"] for entry in figures.values()) ** (1 / len(figures))
    return {"ratio": round(ratio, 2), "agree": True, "compared": compared, **figures}


def each_task(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds and memory of every task from its staged tables to its rows as Arrow; `reading` is part of `seconds`."""
    asked = parse_tasks(arguments.tasks) or list(TASKS)
    require_scale(arguments.scale)
    raw = arguments.raw or folder / "raw"
    if not arguments.raw:
        command("dataset_builders.sample_corpora", "--out", raw, "--scale", arguments.scale, "--seed", arguments.seed)
    staged = folder / "staged"
    alone(stage_tables, raw, staged, "")
    tasks = [name for name in asked if all((staged / f"{table}.parquet").exists() for table in TASKS[name].tables)]
    if not tasks:
        raise UserError(f"{raw} yields the tables of none of the tasks asked for. Give a folder that holds more corpora.")
    figures = {}
    for name in tasks:
        measured = alone(draw_task, staged, name, arguments.seed, arguments.memory_limit, modules=OURS)
        figures[name] = measured.figures() | measured.result
    header = ("task", "seconds", "reading", "MB", "records in", "rows out")
    lines = [(name, *cells(entry, "seconds", "reading", "mb", "records", "rows")) for name, entry in figures.items()]
    show(f"Each task alone, engine limited to {arguments.memory_limit}", header, lines)
    show_markdown(header, lines)
    return figures


def scaling(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Whole builds, one for each scale, and how the seconds grow from each to the next."""
    scales = parse_scales(arguments.scales)
    built = []
    for number, scale in enumerate(scales):
        raw, out = folder / f"raw_{number}", folder / f"dataset_{number}"
        command("dataset_builders.sample_corpora", "--out", raw, "--scale", scale, "--seed", arguments.seed)
        options = ("--size", "full", "--memory-limit", arguments.memory_limit, "--seed", arguments.seed)
        measured = command("dataset_builders.build", "--raw", raw, "--out", out, *options)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        records = sum(source["read"] for source in manifest["sources"].values())
        rows = manifest["configs"]["default"]["train"] + manifest["configs"]["default"]["test"]
        built.append({"scale": scale, **measured.figures(), "records": records, "rows": rows})
    growth = [round(later["seconds"] / earlier["seconds"], 2) for earlier, later in pairwise(built)]
    header = ("scale", "seconds", "growth", "MB", "records", "rows")
    grown = ["", *(f"{factor:.2f}" for factor in growth)]
    lines = [
        (f"{entry['scale']:g}", *cells(entry, "seconds"), factor, *cells(entry, "mb", "records", "rows"))
        for entry, factor in zip(built, grown, strict=True)
    ]
    show(f"Whole builds, engine limited to {arguments.memory_limit}", header, lines)
    show_markdown(header, lines)
    return {"ratio": growth[-1], "growth": growth, "scales": built}


def whole_build(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Records a second and core of a build of full size, and of a process that only parses the same files: the limit."""
    require_scale(arguments.scale)
    raw, out = arguments.raw or folder / "raw", folder / "dataset"
    if not arguments.raw:
        command("dataset_builders.sample_corpora", "--out", raw, "--scale", arguments.scale, "--seed", arguments.seed)
    plain = alone(parse_files, raw, modules=("orjson", "pyarrow.parquet"))
    options = ("--workers", arguments.workers, "--threads", arguments.workers, "--memory-limit", arguments.memory_limit)
    built = command("dataset_builders.build", "--raw", raw, "--out", out, "--seed", arguments.seed, *options)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    records = sum(source["read"] for source in manifest["sources"].values())
    figures = {
        "build": {**built.figures(), "records_per_core_second": round(records / built.seconds / arguments.workers)},
        "plain read": {**plain.figures(), "records_per_core_second": round(plain.result / plain.seconds)},
    }
    lines = [(way, *cells(entry, "seconds", "cpu_seconds", "mb", "records_per_core_second")) for way, entry in figures.items()]
    header = ("way", "seconds", "CPU seconds", "MB", "records a second and core")
    show(f"{records:,} records on {arguments.workers} cores", header, lines)
    show_markdown(header, lines)
    build, limit = (entry["records_per_core_second"] for entry in figures.values())
    return {"ratio": round(build / limit, 3), "records": records, "workers": arguments.workers, **figures}


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


def require_scale(scale: float) -> None:
    from dataset_builders.sample_corpora import LARGEST_SCALE, SMALLEST_SCALE

    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise UserError(f"A scale of {scale:g} cannot be made. Give one from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}.")


def write_judged(raw: Path, scale: float, seed: int) -> None:
    """The sample corpora's queries and products alone: what `relational` needs of them."""
    from dataset_builders.sample_corpora import plan

    for job in plan(scale):
        if job.path.startswith("esci/"):
            (raw / job.path).parent.mkdir(parents=True, exist_ok=True)
            job.write(raw / job.path, seed, *job.arguments)


def stage_tables(raw: Path, staged: Path, source: str) -> None:
    """Canonical tables, locale us, of the corpora whose name starts with `source`."""
    from dataset_builders.record_counts import RecordCounts
    from dataset_builders.staging import find_corpora, stage

    files, _ = find_corpora(raw, commercial_only=False)
    staged.mkdir()
    stage([file for file in files if file.source.startswith(source)], raw, staged, frozenset({"us"}), RecordCounts())


def require_tables(staged: Path, tables: Iterable[str]) -> None:
    missing = [name for name in tables if not (staged / f"{name}.parquet").exists()]
    if missing:
        raise UserError(f"--raw yields no {' and no '.join(missing)}. Give a folder that holds ESCI with the locale us.")


def draw_task(staged: Path, name: str, seed: int, memory_limit: str) -> dict[str, Any]:
    """A task this project's way, as a build of full size asks for it. Gives `reading` seconds, `records` and `rows`."""
    from time import perf_counter

    from pyarrow.dataset import dataset

    with tempfile.TemporaryDirectory(dir=staged.parent) as scratch:
        started = perf_counter()
        tables = open_tables(staged, name, memory_limit, Path(scratch))
        reading = perf_counter() - started
        rows = rows_of(tables, name, seed, parse_sizes("full")[name].candidates()).to_pyarrow().num_rows
        records = sum(dataset(staged / f"{table}.parquet").count_rows() for table in TASKS[name].tables)
    return {"reading": round(reading, 2), "records": records, "rows": rows}


def open_tables(staged: Path, name: str, memory_limit: str, scratch: Path) -> dict[str, Any]:
    """The tables that a task is made from, and no others, in an engine that spills to `scratch`."""
    from dataset_builders.engine import connect, load_tables

    for table in TASKS[name].tables:
        (scratch / f"{table}.parquet").symlink_to((staged / f"{table}.parquet").resolve())
    tables, _ = load_tables(connect(memory_limit, None, scratch / "spill"), scratch)
    return tables


def rows_of(tables: dict[str, Any], name: str, seed: int, limit: int) -> Any:
    from dataset_builders.engine import Draw
    from dataset_builders.recipes import recipes

    return recipes()[name](tables, Draw(seed, name), limit).rows


def in_pandas(staged: Path, name: str, seed: int) -> int:
    """The same task in pandas; the number of its rows."""
    from benchmarks import pandas_way

    way = {"query_relation": pandas_way.query_relation, "query_product_ranking": pandas_way.query_product_ranking}[name]
    return len(way(staged, parse_sizes("full")[name].candidates(), seed))


def agreement(staged: Path, seed: int, memory_limit: str) -> dict[str, int]:
    """How many query pairs and usable queries both ways see before any is drawn. Raises UserError where they differ.

    A pair with one query to train on and one to test on is left aside: whether it stays depends on the order drawn for it.
    Where a corpus judges a query's product twice with different labels, each way keeps one, and the two may differ.
    """
    from benchmarks import pandas_way

    def ours(name: str, *columns: str) -> list[tuple[str, ...]]:
        with tempfile.TemporaryDirectory(dir=staged.parent) as scratch:
            rows = rows_of(open_tables(staged, name, memory_limit, Path(scratch)), name, seed, 2**40)
            return columns_of(rows.select(*columns).to_pandas(), *columns)

    def columns_of(frame: Any, *columns: str) -> list[tuple[str, ...]]:
        return list(zip(*(frame[column] for column in columns), strict=True))

    def one_side(pairs: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
        distinct = {(min(pair), max(pair)) for pair in pairs}
        tested = {query: is_test(f"query:{query}", seed) for query in {query for pair in distinct for query in pair}}
        return {(low, high) for low, high in distinct if tested[low] == tested[high]}

    seen = {
        "query pairs": (
            one_side(ours("query_relation", "query", "other_query")),
            one_side(columns_of(pandas_way.query_pairs(staged), "query", "other_query")),
        ),
        "usable queries": (
            set(ours("query_product_ranking", "query")),
            set(columns_of(pandas_way.rankable(staged, seed), "query")),
        ),
    }
    for what, (here, there) in seen.items():
        if here != there:
            raise UserError(
                f"The two ways see different {what}: {len(here - there):,} only the build, {len(there - here):,} only pandas, "
                f"{len(here & there):,} both. Give a folder of sample corpora, in which no query's product is judged twice."
            )
    return {what: len(here) for what, (here, _) in seen.items()}


def cells(entry: dict[str, Any], *keys: str) -> list[str]:
    return [f"{entry[key]:,.2f}" if isinstance(entry[key], float) else f"{entry[key]:,}" for key in keys]


def show(title: str, header: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    Console(markup=False).print(table)


def show_markdown(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    for line in (header, ("---", *["--:"] * (len(header) - 1)), *lines):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    with plain_errors():
        main()
