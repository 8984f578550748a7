"""What became of every raw record: it is in a row, or it has exactly one reason why not."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import Harvest, union
from dataset_builders.rows import Row
from dataset_builders.staging import Ledger
from dataset_builders.tables import TABLES

if TYPE_CHECKING:
    import ibis.expr.types as ir


def keep(harvest: Harvest, task: str) -> "ir.Table":
    """The records that a task left, with the task in front of the reason."""
    import ibis

    return harvest.unused.mutate(reason=ibis.literal(f"{task}: ").concat(harvest.unused.reason))


def settle(
    connection: Any,
    staged: Path,
    left: list["ir.Table"],
    dropped: list[tuple[int, str, str]],
    kept: list[Row],
    ledger: Ledger,
) -> dict[str, int]:
    """Adds a reason to `ledger.rejects` for every staged record that is in no row; how many of each source are in one.

    A record that several tasks left has the first of their reasons in alphabetical order, so that each is counted once:
    read = in a row + sum of rejects, for every source.
    """
    import ibis
    import pyarrow as pa

    records = pa.array([record for row in kept for record in row.records], pa.int64())
    in_a_row = ibis.memtable(pa.table({"record": records})).distinct()
    columns = list(zip(*dropped, strict=True)) or [(), (), ()]
    schema = pa.schema([("record", pa.int64()), ("source", pa.string()), ("reason", pa.string())])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    reasons = union([*left, ibis.memtable(pa.table(arrays, schema=schema))]).filter(lambda table: table.record.notnull())
    reasons = reasons.group_by("record").agg(reason=reasons.reason.min())

    paths = [path for name in TABLES if (path := staged / f"{name}.parquet").exists()]
    if not paths:
        return {}
    everything = union([connection.read_parquet(path).select("record", "source") for path in paths]).distinct()
    used = everything.semi_join(in_a_row, "record").group_by("source").agg(records=lambda table: table.count())
    unused = everything.anti_join(in_a_row, "record").left_join(reasons, "record")
    unused = unused.mutate(reason=unused.reason.fill_null("no task asked for it"))
    counts = unused.group_by("source", "reason").agg(records=lambda table: table.count())
    for row in connection.to_pyarrow(counts).to_pylist():
        ledger.rejects.setdefault(row["source"], Counter())[row["reason"]] += row["records"]
    return {row["source"]: row["records"] for row in connection.to_pyarrow(used).to_pylist()}
