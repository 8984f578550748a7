"""The steps of a build that are measured alone, and how figures are shown."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.splits import parse_sizes

OURS = (
    *("pyarrow.parquet", "ibis.backends.duckdb", "ibis.formats.pandas"),
    *(f"dataset_builders.recipes.{family}" for family in ("multiple_choice", "ranking", "retrieval", "generation")),
)
"""What this project's way imports, lazily or not, and so is imported before its clock starts."""


def require_scale(scale: float) -> None:
    from dataset_builders.sample_corpora import LARGEST_SCALE, SMALLEST_SCALE

    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise UserError(f"A scale of {scale:g} cannot be made. Give one from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}.")


def stage_tables(raw: Path, staged: Path, source: str) -> None:
    """Canonical tables, locale us, of the corpora whose name starts with `source`."""
    from dataset_builders.record_counts import RecordCounts
    from dataset_builders.staging import find_corpora, stage

    files, _ = find_corpora(raw, commercial_only=False)
    staged.mkdir()
    stage([file for file in files if file.source.startswith(source)], raw, staged, frozenset({"us"}), RecordCounts())


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
    from dataset_builders.canonical_tables import load_tables
    from dataset_builders.engine import connect

    for table in TASKS[name].tables:
        (scratch / f"{table}.parquet").symlink_to((staged / f"{table}.parquet").resolve())
    tables, _ = load_tables(connect(memory_limit, None, scratch / "spill"), scratch)
    return tables


def rows_of(tables: dict[str, Any], name: str, seed: int, limit: int) -> Any:
    from dataset_builders.engine import Draw
    from dataset_builders.recipes import recipes

    return recipes()[name](tables, Draw(seed, name), limit).rows


def cells(entry: dict[str, Any], *keys: str) -> list[str]:
    return [f"{entry[key]:,.2f}" if isinstance(entry[key], float) else f"{entry[key]:,}" for key in keys]


def show(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints a table in Markdown."""
    print(f"{title}\n")
    for line in (header, ("---", *["--:"] * (len(header) - 1)), *lines):
        print(f"| {' | '.join(line)} |")
