"""The engine that executes the recipes' Ibis expressions: DuckDB on this machine, or Spark here or on a cluster."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from common.errors import UserError
from dataset_builders.workers import Run

if TYPE_CHECKING:
    from argparse import ArgumentParser

    import ibis.expr.types as ir
    import pyarrow as pa

_MASTER = re.compile(r"pyspark://([\w.-]+|\[[0-9A-Fa-f:]+\]):(\d+)")


@dataclass(frozen=True)
class Draw:
    """The only randomness of a build: a draw is `md5(seed | task | key ...)`, and every choice is "order by draw".

    So the same input gives the same rows whatever the order of its records, the number of threads, or the engine.
    """

    seed: int
    task: str

    def __call__(self, *keys: "ir.Value") -> "ir.StringValue":
        import ibis

        text: Any = ibis.literal(f"{self.seed}|{self.task}")
        for key in keys:
            text = text.concat("|", key.cast("string"))
        return text.hexdigest("md5")


@dataclass(frozen=True)
class RecipeRows:
    """The rows that a recipe draws from the canonical tables, and the records that it does not use.

    `rows` has the fields of the task's templates, `answer`, `key` (unique, orders the rows by draw), `group` (what the split
    keeps together), `source` and `records` (the numbers of the raw records that the row was made of). The tables of `unused`
    have `record`, `source` and `reason`, for the records that the recipe looked at and did not use.
    """

    rows: "ir.Table"
    unused: list["ir.Table"]


def add_engine_options(parser: "ArgumentParser") -> None:
    """What every command has that computes on an engine: the arguments of `connect` that a user decides."""
    parser.add_argument(
        "--memory-limit",
        default="4GB",
        metavar="SIZE",
        help="what the engine may hold before it spills to disk (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        default="duckdb",
        metavar="ENGINE",
        help="duckdb, pyspark, or pyspark://host:port for a cluster that sees the folder of --out (default: duckdb)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: all cores)")


def connect(memory_limit: str, threads: int | None, spill: Path, engine: str = "duckdb") -> Any:
    """An Ibis connection. `engine` is `duckdb`, `pyspark` (in this process's machine) or `pyspark://host:port` (a cluster).

    `memory_limit` (such as "4GB") is what DuckDB holds before it spills to the folder `spill`, and the memory of Spark's
    driver, or of each executor of a cluster. Raises UserError where the engine cannot be had.
    """
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads} is too few. Give 1 or more.")
    if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", memory_limit, re.IGNORECASE):
        raise UserError(f"--memory-limit {memory_limit or 'of nothing'} is not a size. Give one such as 4GB or 500MB.")
    if engine == "duckdb":
        return _duckdb(memory_limit, threads, spill)
    if engine == "pyspark":
        return _spark(f"local[{threads or '*'}]", memory_limit, spill)
    if match := _MASTER.fullmatch(engine):
        return _spark(f"spark://{match[1]}:{match[2]}", memory_limit, spill)
    raise UserError(f"Unknown --engine {engine}; use duckdb, pyspark, or a cluster's address such as pyspark://host:7077.")


def _duckdb(memory_limit: str, threads: int | None, spill: Path) -> Any:
    import duckdb
    import ibis

    options: dict[str, Any] = {
        "memory_limit": memory_limit,
        "temp_directory": str(spill),
        "preserve_insertion_order": False,
        # In DuckDB 2.0.0 it loses rows where a ranked table is joined to a ranked part of itself.
        "disabled_optimizers": "top_n_window_elimination",
        "lambda_syntax": "ENABLE_SINGLE_ARROW",  # what sqlglot writes, as requirements.txt holds it
    }
    if threads is not None:
        options["threads"] = threads
    try:
        return ibis.duckdb.connect(**options)
    except duckdb.Error as error:
        raise UserError(f"DuckDB does not start: {str(error).splitlines()[0]}. Try another --memory-limit.") from None


def _spark(master: str, memory_limit: str, spill: Path) -> Any:
    import ibis

    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise UserError("--engine pyspark needs PySpark: pip install 'pyspark==4.0.*', and Java 17 or newer.") from None
    # Executors read raw files with the Python of this environment, unless the user names another.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    megabytes = f"{max(512, _megabytes(memory_limit))}m"
    builder = SparkSession.builder.master(master).appName("dataset_builders")
    options = {
        "spark.driver.memory": megabytes,
        "spark.executor.memory": megabytes,
        "spark.local.dir": str(spill),
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        # DuckDB gives null for the item of a list that has none; so does Spark without ANSI mode, which raises.
        "spark.sql.ansi.enabled": "false",
        # Above this many rows a sort, since a heap of them is allocated whole.
        "spark.sql.execution.topKSortFallbackThreshold": "100000",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
        **({"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if master.startswith("local") else {}),
    }
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return ibis.pyspark.connect(builder.getOrCreate())
    except PySparkException as error:
        if "JAVA" in str(error):
            raise UserError("Spark does not start. It needs Java 17 or newer: install a JRE, or set JAVA_HOME.") from None
        raise UserError(f"Spark at {master} cannot be used: {str(error).splitlines()[0]}") from None


def _megabytes(size: str) -> int:
    number, unit = float(re.sub(r"[^\d.]", "", size)), size.strip().upper().lstrip("0123456789. ")[0]
    return int(number * {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}[unit])


def reader(connection: Any, run: Run) -> Run:
    """Where raw files are read: on a Spark engine by its executors, else where `run` says."""
    return partial(run_on_spark, connection) if connection.name == "pyspark" else run


def run_on_spark(
    connection: Any,
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    packages: Sequence[str] = ("common", "dataset_builders"),
) -> Iterator[Any]:
    """The function's results. Executors get these packages of this project, and must have what they import from elsewhere."""
    context = connection._session.sparkContext
    # Executors fetch it whenever they start, so it lies where Spark keeps its own files.
    code = Path(context.getConf().get("spark.local.dir")) / "code" / f"{__package__}.zip"
    code.parent.mkdir(parents=True, exist_ok=True)
    _pack_code(code, packages)
    context.addPyFile(str(code))
    asked = list(tasks)
    yield from context.parallelize(asked, max(1, len(asked))).map(function).collect()


def _pack_code(path: Path, packages: Sequence[str]) -> None:
    root = Path(__file__).parents[1]
    with ZipFile(path, "w") as archive:
        for package in packages:
            for module in sorted((root / package).rglob("*.py")):
                archive.write(module, module.relative_to(root))


def read_staged(connection: Any, path: Path) -> "ir.Table":
    """A staged table: a Parquet file, or a folder of its parts."""
    if connection.name == "duckdb" and path.is_dir():
        return connection.read_parquet(f"{escape(str(path))}/*.parquet")
    return connection.read_parquet(path)


def deduplicate(
    table: "ir.Table", key: list[str], order: Callable[["ir.Table"], list["ir.Value"]]
) -> tuple["ir.Table", "ir.Table"]:
    """The first row of each key in the order given, and the duplicates. Only rows that have duplicates are ordered."""
    import ibis

    counts = table.group_by(key).agg(twins=table.count())
    shared = materialize(counts.filter(counts.twins > 1).drop("twins"))
    same = [table[column].identical_to(shared[column]) for column in key]
    twins = table.semi_join(shared, same)
    twins = materialize(twins.mutate(twin=ibis.row_number().over(group_by=key, order_by=order(twins))))
    return union([table.anti_join(shared, same), twins.filter(twins.twin == 0).drop("twin")]), twins.filter(twins.twin > 0)


def materialize(table: "ir.Table") -> "ir.Table":
    """The table, computed now and not again for each expression that is built on it.

    DuckDB holds it as a temporary table while something refers to it. Spark writes it to its warehouse: what it caches keeps
    its whole plan, and plans upon plans outgrow the driver's memory.
    """
    import ibis

    connection = table.get_backend()
    if connection.name == "duckdb":
        return table.cache()
    return connection.create_table(ibis.util.gen_name("materialized"), table, format="parquet")


def store(table: "ir.Table") -> "ir.Table":
    """The table, computed now and kept on disk as long as what the engine spills there: DuckDB holds nothing of it."""
    connection = table.get_backend()
    return connection.read_parquet(stored_file(table)) if connection.name == "duckdb" else materialize(table)


def stored_file(table: "ir.Table") -> Path:
    """A Parquet file of a table of DuckDB's, written now, which stays as long as what the engine spills."""
    import ibis

    connection = table.get_backend()
    [[spill]] = connection.con.execute("SELECT current_setting('temp_directory')").fetchall()
    path = Path(spill) / f"{ibis.util.gen_name('stored')}.parquet"
    path.parent.mkdir(exist_ok=True)
    connection.to_parquet(table, path)
    return path


PART = 10_000
"""Rows that `in_parts` has at a time."""


def in_parts(table: "ir.Table", key: str, rows: "Callable[[ir.Table], ir.Table]") -> "ir.Table":
    """`rows(table)`, computed now. Where that takes several rows of other tables for each of a large table, DuckDB computes it
    part by part and stores each: not all operators spill, lists that are collected least of all.

    Rows of the result must depend on rows of the table with their own value of `key` alone.
    """
    connection = table.get_backend()
    parts = 1 + table.count().execute() // PART if connection.name == "duckdb" else 1
    if parts == 1:
        return materialize(rows(table))
    place = table[key].hash().abs() % parts
    # Read as one: a union would have all of them open at once.
    return connection.read_parquet([stored_file(rows(table.filter(place == part))) for part in range(parts)])


def row_batches(rows: "ir.Table", size: int) -> "Iterator[pa.RecordBatch]":
    """The rows in order, `size` at a time; DuckDB does not hold all of them in memory."""
    connection = rows.get_backend()
    if connection.name != "duckdb":
        yield from rows.to_pyarrow_batches(chunk_size=size)
        return
    # Ibis's own to_pyarrow_batches calls a method that DuckDB 2.0 no longer has.
    schema = rows.schema().to_pyarrow()
    for batch in connection.con.sql(connection.compile(rows)).to_arrow_reader(size):
        yield batch.cast(schema)


def unused(records: "ir.Table", reason: str) -> "ir.Table":
    """Records that a recipe does not use, with the reason."""
    import ibis

    return records.select("record", "source", reason=ibis.literal(reason))


def union(tables: list["ir.Table"]) -> "ir.Table":
    """All rows of tables with the same columns."""
    import ibis

    return ibis.union(tables[0], *tables[1:]) if len(tables) > 1 else tables[0]
