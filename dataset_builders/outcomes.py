"""The outcome of every raw record: it is in a row, or counted under exactly one reason why not."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import materialize, union
from dataset_builders.record_counts import LEFT_OUT
from dataset_builders.rows import DatasetRow
from dataset_builders.staging import PARTLY
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
    dropped: list[tuple[int, str, str]],
    kept: list[DatasetRow],
    rejects: dict[str, Counter[str]],
) -> dict[str, int]:
    """Adds a reason to `rejects` for every staged record that is in no row; returns how many of each source are in one.

    A record that several tasks do not use has the first of their reasons in alphabetical order, so that each is counted once:
    read = in a row + sum of rejects, for every source.
    """
    import ibis
    import pyarrow as pa

    paths = [path for name in STAGED if (path := staged / f"{name}.parquet").exists()]
    if not paths:
        return {}
    in_a_row = ibis.memtable(pa.table({"record": pa.array([record for row in kept for record in row.records], pa.int64())}))
    arrays = {
        "record": pa.array([record for record, _, _ in dropped], pa.int64()),
        "reason": pa.array([reason for _, _, reason in dropped], pa.string()),
    }
    everything = (
        union([connection.read_parquet(path).select("record", "source") for path in paths]).distinct().pipe(materialize)
    )
    known = [*unused, ibis.memtable(pa.table(arrays))]
    if (partly := staged / f"{PARTLY}.parquet").exists():
        partial_rejects = connection.read_parquet(partly)
        left_out = partial_rejects.reason.startswith(LEFT_OUT)
        known.append(partial_rejects.select("record", reason=ibis.ifelse(left_out, LAST, FIRST).concat(partial_rejects.reason)))
    for name, reason in EVIDENCE_REASONS.items():
        if (evidence := staged / f"{name}.parquet").exists():
            known.append(connection.read_parquet(evidence).select("record", reason=ibis.literal(LAST + LAST + reason)))
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
