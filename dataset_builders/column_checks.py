"""What a file of a shop's own tables must have for columns: what it is refused for, with what to do."""

import re
from collections import Counter
from pathlib import Path

from common.errors import UserError
from dataset_builders.scales import PROPOSE
from dataset_builders.tables import Table

_SECOND = re.compile(r"(\.1|_duplicated_0)$")

MOST_NAMES = 30
"""Names of a file's columns that a message lists."""


def check_rounded_ids(path: Path, name: Path, table: Table) -> None:
    """Raises UserError where ids are floats of 32 bits or fewer, in which 16,777,217 is 16,777,216."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.stat().st_size:
        return
    ids = {each.name for each in table.columns if each.name.endswith("_id")}
    for column in pq.read_schema(path):
        if column.name in ids and (pa.types.is_float32(column.type) or pa.types.is_float16(column.type)):
            raise UserError(f"{name}: {column.name} is of type {column.type}, which rounds ids; export ids as text.")


def check_columns(name: str, table: Table, names: list[str]) -> None:
    """Raises UserError where a column is there twice, in another case, or not at all. `names` are those of the file."""
    known = {column.name for column in table.columns}
    plain = [key.strip().lower() for key in names]
    # pandas and Polars call the second of two columns so, and whoever saved the file again keeps it.
    plain = [first if (first := _SECOND.sub("", key)) in plain else key for key in plain]
    twice = sorted(key for key, count in Counter(plain).items() if count > 1 and key in known)
    if twice:
        raise UserError(f"{name} has the column {twice[0]} twice. Rename one of them, or take it out.")
    optional = {column.name for column in table.columns if not column.required or column.default is not None} | {"locale"}
    other_case = [key for key in names if key not in known and key.strip().lower() in known]
    if any(key.strip().lower() in optional for key in other_case):  # it would be taken for absent without a word
        right = ", ".join(key.strip().lower() for key in other_case)
        several = len(other_case) > 1
        raise UserError(
            f"{name} has the column{'s' * several} {', '.join(other_case)}. Name {'them' if several else 'it'} {right}."
        )
    absent = [column.name for column in table.columns if column.name not in names and column.name not in optional]
    if absent and len(names) == 1 and all(column in names[0] for column in absent):
        raise UserError(f"{name} separates its columns by none of comma, semicolon, tab and |. Export it with one of these.")
    if absent:
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        raise UserError(
            f"{name} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)} of table {table.name}; it has "
            f"{', '.join(sorted(names)[:MOST_NAMES])}{more}. Rename or add them, or say in a map which is which ({PROPOSE}), "
            "or take the file away to build without this table."
        )
