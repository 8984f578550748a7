"""Canonical tables in, the rows of every task out: drawn, rendered, told apart, split, and clean of evaluation sets."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.tasks import TASKS, Task
from dataset_builders.contamination import EvaluationSet, contaminated
from dataset_builders.explanation import KeyMatch
from dataset_builders.records import Rejected
from dataset_builders.rows import Row, make_row
from dataset_builders.sources import HELD_OUT
from dataset_builders.sources.own_tables import NAME as OWN
from dataset_builders.splits import UNLIMITED, Size, Split, is_test
from dataset_builders.staging import RecordCounts

OWN_TEST = "test split"
CORPUS_TEST = "test split of {source}"
"""Name of this build's own test rows among the evaluation sets."""


@dataclass(frozen=True)
class Drop:
    """A row that is left out, and why."""

    row: Row
    reason: str


@dataclass(frozen=True)
class Found:
    """A task's rows in order of their keys. `drawn` is the number that its recipe gave for the limit that it was asked for."""

    rows: list[Row]
    drops: list[tuple[int, str, str]]
    near: int
    limit: int
    drawn: int


@dataclass
class Crop:
    """What a build gathers: rows by task, why tasks have none, and (record, source, reason) of what was drawn and dropped."""

    built: dict[str, Split] = field(default_factory=dict)
    not_built: dict[str, str] = field(default_factory=dict)
    dropped: list[tuple[int, str, str]] = field(default_factory=list)
    near_duplicates: dict[str, int] = field(default_factory=dict)
    contaminated: Counter[tuple[str, str]] = field(default_factory=Counter)
    masked: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    short: dict[str, dict[str, int]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    key_matches: "list[KeyMatch]" = field(default_factory=list)


def gather_rows(
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
) -> Crop:
    """Rows of every task that can be built, of the sizes asked for as far as the tables suffice.

    What becomes of the records is added to `counts`. `unread` names the files that were not read. A recipe is asked for a few more rows than fill the splits; where too
    many of them fall away, it is asked again for twice as many.
    """
    from rich.progress import Progress

    from dataset_builders import explanation, outcomes
    from dataset_builders.engine import Draw, load_tables
    from dataset_builders.recipes import recipes

    crop, found, known = Crop(), {}, recipes()
    tables, repeats = load_tables(connection, staged, locales)
    left = {"": outcomes.keep(connection, repeats, staged / "left")}

    def draw_rows(name: str, limit: int) -> Found:
        result = known[name](tables, Draw(seed, name), limit)
        harvested = result.rows.order_by("key").to_pyarrow().to_pylist()
        left[name] = outcomes.keep(connection, result.unused, staged / f"left_{name}", f"{name}: ")
        return render(TASKS[name], harvested, licences, seed, limit)

    with Progress() as progress:
        bar = progress.add_task("Building", total=len(names))
        for name in names:
            progress.update(bar, description=f"Building {name}", advance=0)
            absent = [table for table in TASKS[name].tables if table not in tables]
            if absent:
                crop.not_built[name] = explanation.missing_tables(TASKS[name], absent, counts.tables, unread)
            else:
                found[name] = draw_rows(name, sizes[name].candidates())
            progress.advance(bar)
        progress.update(bar, description="Taking evaluation sets out")
        held_out = read_held_out(staged)
        splits, drops = split_clean(found, sizes, seed, sets, held_out)
        while again := [name for name in found if not _suffices(splits[name], sizes[name], found[name])]:
            for name in again:
                progress.update(bar, description=f"Building more of {name}")
                found[name] = draw_rows(name, 2 * found[name].limit)
            splits, drops = split_clean(found, sizes, seed, sets, held_out)
        for name, parts in splits.items():
            _enter(crop, name, parts, sizes[name], found[name])
        empty = [name for name in found if name in crop.not_built]
        if empty or OWN in licences:
            crop.key_matches = explanation.key_matches(tables)
        for name in empty:
            reasons = explanation.left_reasons(left[name], f"{name}: ") + Counter(
                reason.removeprefix(f"{name}: ") for *_, reason in found[name].drops
            )
            crop.not_built[name] = explanation.no_rows(TASKS[name], reasons, crop.key_matches)
        crop.dropped += [(record, drop.row.source, drop.reason) for drop, _ in drops for record in drop.row.records]
        crop.contaminated = Counter(hit for _, hit in drops)
        progress.update(bar, description="Accounting for every record")
        kept = [row for parts in crop.built.values() for row in (*parts.train, *parts.test)]
        for row in kept:
            crop.masked[row.source] += Counter(dict(row.masked))
        crop.used = outcomes.settle(
            connection, staged, [table for tables in left.values() for table in tables], crop.dropped, kept, counts.rejects
        )
    return crop


def render(task: Task, harvested: list[dict[str, Any]], licences: dict[str, str], seed: int, limit: int) -> Found:
    """The recipe's rows in order of their keys, each prompt once, and none that is nearly an earlier one."""
    from dataset_builders.near_duplicates import first_of_kind

    rows: list[Row] = []
    prompts: set[str] = set()
    drops = []
    for fields in harvested:
        row = make_row(task, fields, licences, seed)
        if isinstance(row, Row) and row.prompt not in prompts:
            prompts.add(row.prompt)
            rows.append(row)
            continue
        reason = row.reason if isinstance(row, Rejected) else "prompt repeats another's"
        records = [record for record in fields["records"] if record is not None]
        drops += [(record, fields["source"], f"{task.name}: {reason}") for record in records]
    first = first_of_kind([row.content for row in rows])
    for row, is_first in zip(rows, first, strict=True):
        if not is_first:
            drops += [(record, row.source, f"{task.name}: prompt is nearly another's") for record in row.records]
    kept = [row for row, is_first in zip(rows, first, strict=True) if is_first]
    return Found(kept, drops, len(rows) - len(kept), limit, len(harvested))


def split_clean(
    found: Mapping[str, Found],
    sizes: Mapping[str, Size],
    seed: int,
    sets: Sequence[EvaluationSet],
    held_out: Mapping[str, frozenset[str]] | None = None,
) -> tuple[dict[str, Split], list[tuple[Drop, tuple[str, str]]]]:
    """Each task's splits, and the rows that an evaluation set holds, with its name and the rule.

    Test rows are taken first, of all tasks; a row to train on may be in none of them, nor in another evaluation set. `held_out` has
    the queries of a source's own test split, by source.
    """
    splits = {name: Split([], [], []) for name in found}
    for name, parts in splits.items():
        for row in found[name].rows:
            if is_test(row.group, seed):
                (parts.test if len(parts.test) < sizes[name].test else parts.over).append(row)
    own = EvaluationSet(OWN_TEST, [row.texts() for parts in splits.values() for row in parts.test])
    candidates = [(name, row) for name in found for row in found[name].rows if not is_test(row.group, seed)]
    drops = []
    hits = contaminated([row.content for _, row in candidates], [own, *sets])
    for (name, row), hit in zip(candidates, hits, strict=True):
        if hit is None and queries_of(row) & (held_out or {}).get(row.source, frozenset()):
            hit = (CORPUS_TEST.format(source=row.source), "query")  # noqa: PLW2901
        if hit:
            drops.append((Drop(row, f"{name}: row stands in an evaluation set ({hit[0]})"), hit))
        else:
            parts = splits[name]
            (parts.train if len(parts.train) < sizes[name].train else parts.over).append(row)
    return splits, drops


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


def queries_of(row: Row) -> set[str]:
    """The queries that a row is about, in lower case."""
    texts = [text for name in ("query", "other_query") for text in row.content.get(name, ())]
    return {text.lower() for text in (*texts, row.group.removeprefix("query:"))}


def _suffices(parts: Split, size: Size, found: Found) -> bool:
    """Whether both splits are full, or the recipe has no more to give: less than half of what it was asked for."""
    return (len(parts.train) == size.train and len(parts.test) == size.test) or found.drawn < found.limit / 2


def _enter(crop: Crop, name: str, parts: Split, size: Size, found: Found) -> None:
    crop.dropped += found.drops
    crop.dropped += [(record, row.source, f"{name}: task has its size") for row in parts.over for record in row.records]
    crop.near_duplicates[name] = found.near
    if not parts.train and not parts.test:
        crop.not_built[name] = "no record passed its filters"
        return
    crop.built[name] = parts
    missing = {"train": size.train - len(parts.train), "test": size.test - len(parts.test)}
    if size.train < UNLIMITED and any(missing.values()):
        crop.short[name] = missing
