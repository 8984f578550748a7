"""Hashes of stored rows, some at a time, in a pool of processes: to look for them in evaluation sets, or as items of one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dataset_builders.contamination import HashedItems, HashedRows, hash_items, hash_rows, text_hash
from dataset_builders.row_store import StoredRows
from dataset_builders.rows import DatasetRow

AT_ONCE = 1000
"""Rows that a process hashes at a time."""


@dataclass(frozen=True)
class HashJob:
    """Stored rows to look for in evaluation sets; `start` is the place of the first among all that are looked for."""

    start: int
    parts: tuple[StoredRows, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class HashedChunk:
    """The rows' hashes and sources, and hashes of their queries, uint64 (n,), with the row of each, int64 (n,)."""

    start: int
    hashed: HashedRows
    sources: list[str]
    queries: Any
    query_rows: Any


def hash_jobs(tables: Iterable[StoredRows]) -> Iterator[HashJob]:
    """The rows of all tables, AT_ONCE at a time, so that small tables make one job."""
    start, size = 0, 0
    parts: list[StoredRows] = []
    for rows in tables:
        first = 0
        while first < len(rows):
            parts.append(rows[first : first + AT_ONCE - size])
            first, size = first + len(parts[-1]), size + len(parts[-1])
            if size == AT_ONCE:
                yield HashJob(start, tuple(parts))
                start, size, parts = start + size, 0, []
    if parts:
        yield HashJob(start, tuple(parts))


def hash_stored(job: HashJob) -> HashedChunk:
    import numpy as np

    rows = [row for part in job.parts for row in part]
    queries = [(query_hash(row.source, query), number) for number, row in enumerate(rows) for query in queries_of(row)]
    return HashedChunk(
        job.start,
        hash_rows([row.content for row in rows]),
        [row.source for row in rows],
        np.array([query for query, _ in queries], np.uint64),
        np.array([number for _, number in queries], np.int64),
    )


def hash_as_items(job: HashJob) -> HashedItems:
    """Rows to test on, as items of an evaluation set."""
    return hash_items(row.texts() for part in job.parts for row in part)


def queries_of(row: DatasetRow) -> set[str]:
    """The queries that a row is about, in lower case."""
    texts = [text for name in ("query", "other_query") for text in row.content.get(name, ())]
    return {text.lower() for text in (*texts, row.group.removeprefix("query:"))}


def query_hash(source: str, query: str) -> int:
    return text_hash(f"{source}\0{query}")
