"""From canonical tables to the rows of every task: draw, render, deduplicate, split, remove evaluation sets."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.tasks import TASKS
from dataset_builders.contamination import HashedRows, HashedSet, Hit, hash_set, hit_of, search
from dataset_builders.evaluation_sets import EvaluationSet
from dataset_builders.explanation import KeyMatch
from dataset_builders.record_counts import RecordCounts
from dataset_builders.rendering import CHUNK, DistinctJob, DrawnRows, find_distinct, record_parts, render_rows
from dataset_builders.row_facts import RowFacts, read_facts
from dataset_builders.row_hashes import hash_as_items, hash_jobs, hash_stored, queries_of, query_hash
from dataset_builders.row_progress import row_progress
from dataset_builders.row_store import StoredRows
from dataset_builders.rows import DatasetRow
from dataset_builders.sources import HELD_OUT
from dataset_builders.sources.own_tables import NAME as OWN
from dataset_builders.splits import UNLIMITED, Size, Split
from dataset_builders.workers import Run

if TYPE_CHECKING:
    import ibis.expr.types as ir

OWN_TEST = "test split"
CORPUS_TEST = "test split of {source}"
"""Name of this build's own test rows among the evaluation sets."""


@dataclass
class BuiltRows:
    """Result of a build: splits by task, facts of their rows, why tasks have none, and what was left out."""

    splits: dict[str, Split] = field(default_factory=dict)
    facts: dict[str, RowFacts] = field(default_factory=dict)
    not_built: dict[str, str] = field(default_factory=dict)
    near_duplicates: dict[str, int] = field(default_factory=dict)
    contaminated: Counter[tuple[str, str]] = field(default_factory=Counter)
    short: dict[str, dict[str, int]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    key_matches: list[KeyMatch] = field(default_factory=list)


def assemble_rows(
    connection: Any,
    staged: Path,
    names: Sequence[str],
    sizes: Mapping[str, Size],
    licences: dict[str, str],
    seed: int,
    sets: Sequence[EvaluationSet],
    counts: RecordCounts,
    locales: Sequence[str] = ("us",),
    unread: str = "",
    run: Run = map,
    word_share: float = 0.0,
) -> BuiltRows:
    """Rows of every task that can be built, of the sizes asked for as far as the tables suffice.

    `word_share` of the rows to train on are in words, of tasks that have that form.

    The outcome of every record is added to `counts`. `unread` names the files that were not read. A recipe is asked for a few
    more rows than fill the splits; where too many of them are dropped, it is asked again for twice as many.
    """
    from dataset_builders import explanation, outcomes
    from dataset_builders.canonical_tables import load_tables
    from dataset_builders.co_purchases import derive_tables
    from dataset_builders.engine import Draw, row_batches
    from dataset_builders.recipes import recipes

    result, known = BuiltRows(), recipes()
    drawn: dict[str, DrawnRows] = {}
    held_out = read_held_out(staged)
    tables, duplicates = load_tables(connection, staged, locales)
    unused = {"": outcomes.save_unused(connection, duplicates, staged / "unused")}
    tables = derive_tables(connection, staged, tables, counts)

    with row_progress("Building") as progress:
        run = progress.counted(run)

        def render(name: str, limit: int) -> DistinctJob:
            progress.begin(f"Building {name}")
            recipe_rows = known[name](tables, Draw(seed, name), limit)
            batches = row_batches(recipe_rows.rows.order_by("key"), CHUNK)
            rendered = render_rows(TASKS[name], batches, licences, seed, staged / f"rows_{name}.jsonl", run, word_share)
            unused[name] = outcomes.save_unused(connection, recipe_rows.unused, staged / f"unused_{name}", f"{name}: ")
            return DistinctJob(name, rendered, limit)

        def draw(limits: Mapping[str, int]) -> None:
            """Draws so many rows of these tasks, and as many more as are seen to be missing."""
            while limits:
                jobs = [render(name, limit) for name, limit in limits.items()]
                progress.begin("Comparing rows")
                # The largest first, so that none of them runs alone at the end.
                drawn.update(run(find_distinct, sorted(jobs, key=lambda job: -len(job))))
                limits = {
                    name: 2 * drawn[name].limit for name in limits if not _may_suffice(sizes[name], drawn[name], held_out)
                }

        for name in names:
            absent = [table for table in TASKS[name].tables if table not in tables]
            if absent:
                result.not_built[name] = explanation.missing_tables(absent, counts.tables, unread)
        draw({name: sizes[name].candidates() for name in names if name not in result.not_built})
        drawn = {name: drawn[name] for name in names if name in drawn}
        progress.begin("Removing evaluation sets")
        splits, dropped = split_rows(drawn, sizes, sets, held_out, run)
        while again := [name for name in drawn if not _suffices(splits[name], sizes[name], drawn[name])]:
            draw({name: 2 * drawn[name].limit for name in again})
            progress.begin("Removing evaluation sets")
            splits, dropped = split_rows(drawn, sizes, sets, held_out, run)
        for name, split in splits.items():
            _add_task(result, name, split, sizes[name], drawn[name])
        empty = [name for name in drawn if name in result.not_built]
        if empty or OWN in licences:
            result.key_matches = explanation.key_matches(tables)
        for name in empty:
            result.not_built[name] = _no_rows(name, unused[name], drawn[name], result.key_matches)
        for each in dropped:
            result.contaminated[each.hit] += len(each.rows)
        progress.begin("Counting rows and records")
        result.facts = read_facts(result.splits, run, staged)
        kept = (("", part) for facts in result.facts.values() for part in facts.records.parts())
        not_used = [table for saved in unused.values() for table in saved]
        left_out = _left_out(drawn, splits, dropped)
        result.used = outcomes.count_outcomes(connection, staged, not_used, left_out, kept, counts.rejects)
    return result


def _left_out(
    drawn: Mapping[str, DrawnRows], splits: Mapping[str, Split], dropped: Sequence["DroppedRows"]
) -> Iterator[tuple[str, "array[int]"]]:
    """Reasons, each with numbers of records that were drawn and are not used, some at a time."""
    for name, of_task in drawn.items():
        yield from of_task.dropped.items()
        for part in record_parts(splits[name].surplus):
            yield f"{name}: task has its size", part
    for each in dropped:
        for part in record_parts(each.rows):
            yield each.reason, part


def _no_rows(name: str, unused: Sequence["ir.Table"], drawn: DrawnRows, matches: Sequence[KeyMatch]) -> str:
    """Why a task whose tables have rows has none."""
    from dataset_builders import explanation

    reasons = explanation.unused_reasons(unused, f"{name}: ")
    for reason, records in drawn.dropped.items():
        reasons[reason.removeprefix(f"{name}: ")] += len(records)
    return explanation.no_rows(TASKS[name], reasons, matches)


@dataclass(frozen=True)
class DroppedRows:
    """Rows to train on that an evaluation set holds, why they are left out, and the set's name and the rule."""

    rows: Sequence[DatasetRow]
    reason: str
    hit: Hit


def split_rows(
    drawn: Mapping[str, DrawnRows],
    sizes: Mapping[str, Size],
    sets: Sequence[EvaluationSet],
    held_out: Mapping[str, frozenset[str]] | None = None,
    run: Run = map,
) -> tuple[dict[str, Split], list[DroppedRows]]:
    """Each task's splits, and the train rows dropped since an evaluation set holds them.

    Test rows are taken first, of all tasks; a train row may be in none of them, nor in another evaluation set. `held_out` has
    the queries of a source's own test split, by source.
    """
    import numpy as np

    tested = {name: np.flatnonzero(rows.tested).astype(np.int32) for name, rows in drawn.items()}
    trained = {name: np.flatnonzero(~rows.tested).astype(np.int32) for name, rows in drawn.items()}
    test = {name: drawn[name].rows.taken(places[: sizes[name].test]) for name, places in tested.items()}
    own = HashedSet(OWN_TEST, run(hash_as_items, hash_jobs(test.values())))
    candidates = [drawn[name].rows.taken(places) for name, places in trained.items()]
    found, hits = _find_hits(candidates, [own, *(hash_set(one, run) for one in sets)], held_out or {}, run)
    splits, dropped = {}, []
    for (name, places), of_rows in zip(trained.items(), found, strict=True):
        rows, size = drawn[name].rows, sizes[name]
        for number in np.unique(of_rows[of_rows >= 0]).tolist():
            reason = f"{name}: row stands in an evaluation set ({hits[number][0]})"
            dropped.append(DroppedRows(rows.taken(places[of_rows == number]), reason, hits[number]))
        clean = places[of_rows < 0]
        surplus = np.concatenate([tested[name][size.test :], clean[size.train :]])
        splits[name] = Split(rows.taken(clean[: size.train]), test[name], rows.taken(surplus))
    return splits, dropped


def _find_hits(
    tables: Sequence[StoredRows], sets: Sequence[HashedSet], held_out: Mapping[str, frozenset[str]], run: Run
) -> tuple[list[Any], list[Hit]]:
    """For each table int32 (rows,): the place in the list of the row's hit, the evaluation set that holds it and the rule; -1
    for a row that is in none."""
    import numpy as np

    starts = [0, *accumulate(map(len, tables))]
    known = np.array([query_hash(source, query) for source, queries in held_out.items() for query in queries], np.uint64)
    rows_of: dict[str, array[int]] = defaultdict(lambda: array("i"))

    def parts() -> Iterator[tuple[int, HashedRows]]:
        for found in run(hash_stored, hash_jobs(tables)):
            for row in found.query_rows[np.isin(found.queries, known)].tolist():
                rows_of[found.sources[row]].append(found.start + row)
            yield found.start, found.hashed

    found = search(parts(), starts[-1], sets)
    hits = [hit_of(number, sets) for number in range(2 * len(sets))]
    for source in sorted(rows_of):
        rows = np.array(rows_of[source])
        found[rows[found[rows] < 0]] = len(hits)
        hits.append((CORPUS_TEST.format(source=source), "query"))
    return [found[start:stop] for start, stop in pairwise(starts)], hits


def read_held_out(staged: Path) -> dict[str, frozenset[str]]:
    """Source -> the queries of its own test split, in lower case."""
    import pyarrow.parquet as pq

    path = staged / f"{HELD_OUT}.parquet"
    if not path.exists():
        return {}
    table = pq.read_table(path)
    queries: dict[str, set[str]] = defaultdict(set)
    for source, query in zip(table["source"].to_pylist(), table["query"].to_pylist(), strict=True):
        queries[source].add(query)
    return {source: frozenset(texts) for source, texts in queries.items()}


def _suffices(split: Split, size: Size, drawn: DrawnRows) -> bool:
    """Whether both splits are full, or the recipe has no more to give."""
    return (len(split.train) == size.train and len(split.test) == size.test) or _is_all(drawn)


def _may_suffice(size: Size, drawn: DrawnRows, held_out: Mapping[str, frozenset[str]]) -> bool:
    """False where that can be said before evaluation sets are searched for, which costs as much for one task as for all: there
    are too few rows, or too few of other queries than those of a source's own test split."""
    if _is_all(drawn):
        return True
    tests = int(drawn.tested.sum())
    if tests < size.test or len(drawn.rows) - tests < size.train:
        return False
    others = (row for row in drawn.rows.taken(~drawn.tested) if queries_of(row).isdisjoint(held_out.get(row.source, ())))
    return not held_out or sum(1 for _ in islice(others, size.train)) == size.train


def _is_all(drawn: DrawnRows) -> bool:
    """Whether a recipe has no more to give: it gave less than half of what it was asked for."""
    return drawn.drawn < drawn.limit / 2


def _add_task(result: BuiltRows, name: str, split: Split, size: Size, drawn: DrawnRows) -> None:
    result.near_duplicates[name] = drawn.near_duplicates
    if not split.train and not split.test:
        result.not_built[name] = "no record passed its filters"
        return
    result.splits[name] = split
    missing = {"train": size.train - len(split.train), "test": size.test - len(split.test)}
    if size.train < UNLIMITED and any(missing.values()):
        result.short[name] = missing
