"""The joins of two tasks, this project's way against the same work in pandas: seconds, memory, and the same rows found."""

import argparse
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.build_steps import OURS, cells, draw_task, open_tables, require_scale, rows_of, show, stage_tables
from benchmarks.measure import alone
from common.errors import UserError
from dataset_builders.splits import is_test, parse_sizes

RELATIONAL = ("query_relation", "query_product_ranking")
PANDAS = ("pyarrow.parquet", "benchmarks.pandas_way")
"""What pandas' way imports before its clock starts."""


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
        (f"{name}, {way}", *cells(figures[name][way], "seconds", "cpu_seconds", "mb", "rows"))
        for name in RELATIONAL
        for way in ("build", "pandas")
    ]
    show("The same work in two ways", ("task and way", "seconds", "CPU seconds", "MB", "rows"), lines)
    ratio = math.prod(entry["ratio"] for entry in figures.values()) ** (1 / len(figures))
    return {"ratio": round(ratio, 2), "agree": True, "compared": compared, **figures}


def write_judged(raw: Path, scale: float, seed: int) -> None:
    """The sample corpora's queries and products alone: what `relational` needs of them."""
    from dataset_builders.sample_corpora import plan

    for job in plan(scale):
        if job.path.startswith("esci/"):
            (raw / job.path).parent.mkdir(parents=True, exist_ok=True)
            job.write(raw / job.path, seed, *job.arguments)


def require_tables(staged: Path, tables: Iterable[str]) -> None:
    missing = [name for name in tables if not (staged / f"{name}.parquet").exists()]
    if missing:
        raise UserError(f"--raw yields no {' and no '.join(missing)}. Give a folder that holds ESCI with the locale us.")


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
