"""The outcome of every raw record: it is in a row, or counted under exactly one reason why not."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import materialize, read_staged, union
from dataset_builders.record_counts import LEFT_OUT
from dataset_builders.record_reading import PARTLY
from dataset_builders.tables import STAGED

FIRST, LAST = "\x01", "\x7f"
"""Sort before and behind every letter: what was wrong with a record comes before what a task says of it, and that a map left it
out of one of several tables, or that it is evidence only, behind that."""

EVIDENCE_REASONS = {
    "baskets": "baskets: line of an order, of which no link that a task uses was derived",
    "product_ids": "product_ids: row only names another id of a product",
}
"""Reasons of records that are in tables of evidence alone."""

if TYPE_CHECKING:
    import ibis.expr.types as ir


def save_unused(connection: Any, unused: Sequence["ir.Table"], folder: Path, task: str = "") -> list["ir.Table"]:
    """Saves the records that a task does not use in a new folder, each with its reason, prefixed by the task.

    One reason at a time: the joins of all of them at once would not fit into the engine's memory.
    """
    import ibis

    shutil.rmtree(folder, ignore_errors=True)  # Spark writes over nothing, and a task may be asked for more
    folder.mkdir()
    saved = []
    for number, records in enumerate(unused):
        known = records.filter(records.record.notnull())
        path = folder / f"{number}.parquet"
        connection.to_parquet(known.select("record", reason=ibis.literal(task).concat(known.reason)), path)
        saved.append(connection.read_parquet(path))
    return saved


def count_outcomes(
    connection: Any,
    staged: Path,
    unused: Sequence["ir.Table"],
    dropped: Iterable[tuple[str, Any]],
    kept: Iterable[tuple[str, Any]],
    rejects: dict[str, Counter[str]],
) -> dict[str, int]:
    """Adds a reason to `rejects` for every staged record that is in no row; returns how many of each source are in one.

    `dropped` has reasons with numbers of records, `kept` the numbers of those that are in rows; each may come several times.

    A record that several tasks do not use has the first of their reasons in alphabetical order, so that each is counted once:
    read = in a row + sum of rejects, for every source.
    """
    import ibis

    paths = [path for name in STAGED if (path := staged / f"{name}.parquet").exists()]
    if not paths:
        return {}
    in_rows = connection.read_parquet(save_records(staged / "kept.parquet", kept))
    in_a_row = in_rows.select("record").distinct().pipe(materialize)
    everything = (
        union([read_staged(connection, path).select("record", "source") for path in paths]).distinct().pipe(materialize)
    )
    known = [*unused, connection.read_parquet(save_records(staged / "dropped.parquet", dropped))]
    if (partly := staged / f"{PARTLY}.parquet").exists():
        partial_rejects = read_staged(connection, partly)
        left_out = partial_rejects.reason.startswith(LEFT_OUT)
        known.append(partial_rejects.select("record", reason=ibis.ifelse(left_out, LAST, FIRST).concat(partial_rejects.reason)))
    for name, reason in EVIDENCE_REASONS.items():
        if (evidence := staged / f"{name}.parquet").exists():
            known.append(read_staged(connection, evidence).select("record", reason=ibis.literal(LAST + LAST + reason)))
    reasons = union([table.select("record", "reason") for table in known]).anti_join(in_a_row, "record")
    # A place in the alphabet instead of the reason itself: millions of records have one of some dozens of reasons.
    places = reasons.select("reason").distinct()
    places = places.mutate(place=ibis.row_number().over(order_by=places.reason)).pipe(materialize)
    placed = reasons.join(places, "reason")
    first_reasons = placed.group_by("record").agg(place=placed.place.min())
    rejected = everything.anti_join(in_a_row, "record").left_join(first_reasons, "record")
    counts = rejected.group_by("source", "place").agg(records=lambda table: table.count()).left_join(places, "place")
    for row in connection.to_pyarrow(counts.select("source", "reason", "records")).to_pylist():
        reason = (row["reason"] or "no task asked for it").strip(FIRST + LAST)
        rejects.setdefault(row["source"], Counter())[reason] += row["records"]
    used = everything.semi_join(in_a_row, "record").group_by("source").agg(records=lambda table: table.count())
    return {row["source"]: row["records"] for row in connection.to_pyarrow(used).to_pylist()}


def save_records(path: Path, records: Iterable[tuple[str, Any]]) -> Path:
    """Writes `record` and `reason` of records: reasons, each with an array of numbers, which may come again with others."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("record", pa.int64()), ("reason", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for reason, numbers in records:
            for start in range(0, len(numbers), 2**20):
                part = pa.array(np.array(numbers[start : start + 2**20], np.int64))
                writer.write_table(pa.table([part, pa.repeat(pa.scalar(reason), len(part))], schema=schema))
    return path
