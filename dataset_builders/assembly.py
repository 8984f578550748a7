"""From canonical tables to the rows of every task: draw, render, deduplicate, split, remove evaluation sets."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.tasks import TASKS, Task
from dataset_builders.contamination import EvaluationSet, contaminated
from dataset_builders.explanation import KeyMatch
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Rejected
from dataset_builders.rows import DatasetRow, is_drawn_in_words, make_row, make_word_rows
from dataset_builders.sources import HELD_OUT
from dataset_builders.sources.own_tables import NAME as OWN
from dataset_builders.splits import UNLIMITED, Size, Split, is_test

OWN_TEST = "test split"
CORPUS_TEST = "test split of {source}"
"""Name of this build's own test rows among the evaluation sets."""


@dataclass(frozen=True)
class DroppedRow:
    """A row that is left out, and why."""

    row: DatasetRow
    reason: str


@dataclass(frozen=True)
class DrawnRows:
    """A task's rows in order of their keys, and (record, source, reason) of what was dropped.

    `drawn` is the number of rows that the recipe gave for `limit`; `near_duplicates` of them were dropped as such.
    """

    rows: list[DatasetRow]
    dropped: list[tuple[int, str, str]]
    near_duplicates: int
    limit: int
    drawn: int


@dataclass
class BuiltRows:
    """Result of a build: splits by task, why tasks have none, and (record, source, reason) of what was drawn and dropped."""

    splits: dict[str, Split] = field(default_factory=dict)
    not_built: dict[str, str] = field(default_factory=dict)
    dropped: list[tuple[int, str, str]] = field(default_factory=list)
    near_duplicates: dict[str, int] = field(default_factory=dict)
    contaminated: Counter[tuple[str, str]] = field(default_factory=Counter)
    masked: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
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
    word_share: float = 0.0,
) -> BuiltRows:
    """Rows of every task that can be built, of the sizes asked for as far as the tables suffice.

    `word_share` of the rows to train on are in words, of tasks that have that form.

    The outcome of every record is added to `counts`. `unread` names the files that were not read. A recipe is asked for a few
    more rows than fill the splits; where too many of them are dropped, it is asked again for twice as many.
    """
    from rich.progress import Progress

    from dataset_builders import explanation, outcomes
    from dataset_builders.co_purchases import derive_tables
    from dataset_builders.engine import Draw, load_tables
    from dataset_builders.recipes import recipes

    result, drawn, known = BuiltRows(), {}, recipes()
    tables, duplicates = load_tables(connection, staged, locales)
    unused = {"": outcomes.save_unused(connection, duplicates, staged / "unused")}
    tables = derive_tables(connection, staged, tables, counts)

    def draw_rows(name: str, limit: int) -> DrawnRows:
        recipe_rows = known[name](tables, Draw(seed, name), limit)
        rows = recipe_rows.rows.order_by("key").to_pyarrow().to_pylist()
        unused[name] = outcomes.save_unused(connection, recipe_rows.unused, staged / f"unused_{name}", f"{name}: ")
        return render_rows(TASKS[name], rows, licences, seed, limit, word_share)

    with Progress() as progress:
        bar = progress.add_task("Building", total=len(names))
        for name in names:
            progress.update(bar, description=f"Building {name}", advance=0)
            absent = [table for table in TASKS[name].tables if table not in tables]
            if absent:
                result.not_built[name] = explanation.missing_tables(absent, counts.tables, unread)
            else:
                drawn[name] = draw_rows(name, sizes[name].candidates())
            progress.advance(bar)
        progress.update(bar, description="Removing evaluation sets")
        held_out = read_held_out(staged)
        splits, dropped = split_rows(drawn, sizes, seed, sets, held_out)
        while again := [name for name in drawn if not _suffices(splits[name], sizes[name], drawn[name])]:
            for name in again:
                progress.update(bar, description=f"Building more of {name}")
                drawn[name] = draw_rows(name, 2 * drawn[name].limit)
            splits, dropped = split_rows(drawn, sizes, seed, sets, held_out)
        for name, split in splits.items():
            _add_task(result, name, split, sizes[name], drawn[name])
        empty = [name for name in drawn if name in result.not_built]
        if empty or OWN in licences:
            result.key_matches = explanation.key_matches(tables)
        for name in empty:
            reasons = explanation.unused_reasons(unused[name], f"{name}: ") + Counter(
                reason.removeprefix(f"{name}: ") for *_, reason in drawn[name].dropped
            )
            result.not_built[name] = explanation.no_rows(TASKS[name], reasons, result.key_matches)
        result.dropped += [(record, each.row.source, each.reason) for each, _ in dropped for record in each.row.records]
        result.contaminated = Counter(hit for _, hit in dropped)
        progress.update(bar, description="Accounting for every record")
        kept = [row for split in result.splits.values() for row in (*split.train, *split.test)]
        for row in kept:
            result.masked[row.source] += Counter(dict(row.masked))
        result.used = outcomes.count_outcomes(
            connection, staged, [table for saved in unused.values() for table in saved], result.dropped, kept, counts.rejects
        )
    return result


def render_rows(
    task: Task, recipe_rows: list[dict[str, Any]], licences: dict[str, str], seed: int, limit: int, word_share: float = 0.0
) -> DrawnRows:
    """The recipe's rows in order of their keys, each prompt once, without near-duplicates of an earlier one.

    Of those to train on, `word_share` are in words. Where such a one makes several rows, the second ones follow all first ones.
    """
    from dataset_builders.near_duplicates import keep_mask

    rows: list[list[DatasetRow]] = []
    prompts: set[str] = set()
    dropped = []
    for fields in recipe_rows:
        made = _made_rows(task, fields, licences, seed, word_share)
        new = [] if isinstance(made, Rejected) else [row for row in made if row.prompt not in prompts]
        if new:
            prompts.update(row.prompt for row in new)
            rows.append(new)
            continue
        reason = made.reason if isinstance(made, Rejected) else "prompt repeats another's"
        records = [record for record in fields["records"] if record is not None]
        dropped += [(record, fields["source"], f"{task.name}: {reason}") for record in records]
    mask = keep_mask([made[0].content for made in rows])
    for made, is_kept in zip(rows, mask, strict=True):
        if not is_kept:
            dropped += [(record, made[0].source, f"{task.name}: prompt is nearly another's") for record in made[0].records]
    kept = [made for made, is_kept in zip(rows, mask, strict=True) if is_kept]
    ordered = [made[turn] for turn in range(max(map(len, kept), default=0)) for made in kept if turn < len(made)]
    return DrawnRows(ordered, dropped, len(rows) - len(kept), limit, len(recipe_rows))


def _made_rows(
    task: Task, fields: dict[str, Any], licences: dict[str, str], seed: int, word_share: float
) -> list[DatasetRow] | Rejected:
    """What is tested on is asked as it always was, so that scores stay comparable."""
    if is_drawn_in_words(task, fields["key"], seed, word_share) and not is_test(fields["group"], seed):
        return make_word_rows(task, fields, licences, seed)
    row = make_row(task, fields, licences, seed)
    return row if isinstance(row, Rejected) else [row]


def split_rows(
    drawn: Mapping[str, DrawnRows],
    sizes: Mapping[str, Size],
    seed: int,
    sets: Sequence[EvaluationSet],
    held_out: Mapping[str, frozenset[str]] | None = None,
) -> tuple[dict[str, Split], list[tuple[DroppedRow, tuple[str, str]]]]:
    """Each task's splits, and the train rows dropped since an evaluation set holds them, with its name and the rule.

    Test rows are taken first, of all tasks; a train row may be in none of them, nor in another evaluation set. `held_out` has
    the queries of a source's own test split, by source.
    """
    splits = {name: Split([], [], []) for name in drawn}
    for name, split in splits.items():
        for row in drawn[name].rows:
            if is_test(row.group, seed):
                (split.test if len(split.test) < sizes[name].test else split.surplus).append(row)
    own = EvaluationSet(OWN_TEST, [row.texts() for split in splits.values() for row in split.test])
    candidates = [(name, row) for name in drawn for row in drawn[name].rows if not is_test(row.group, seed)]
    dropped = []
    hits = contaminated([row.content for _, row in candidates], [own, *sets])
    for (name, row), found in zip(candidates, hits, strict=True):
        hit = found
        if hit is None and queries_of(row) & (held_out or {}).get(row.source, frozenset()):
            hit = (CORPUS_TEST.format(source=row.source), "query")
        if hit:
            dropped.append((DroppedRow(row, f"{name}: row stands in an evaluation set ({hit[0]})"), hit))
        else:
            split = splits[name]
            (split.train if len(split.train) < sizes[name].train else split.surplus).append(row)
    return splits, dropped


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


def queries_of(row: DatasetRow) -> set[str]:
    """The queries that a row is about, in lower case."""
    texts = [text for name in ("query", "other_query") for text in row.content.get(name, ())]
    return {text.lower() for text in (*texts, row.group.removeprefix("query:"))}


def _suffices(split: Split, size: Size, drawn: DrawnRows) -> bool:
    """Whether both splits are full, or the recipe has no more to give: less than half of what it was asked for."""
    return (len(split.train) == size.train and len(split.test) == size.test) or drawn.drawn < drawn.limit / 2


def _add_task(result: BuiltRows, name: str, split: Split, size: Size, drawn: DrawnRows) -> None:
    result.dropped += drawn.dropped
    result.dropped += [(record, row.source, f"{name}: task has its size") for row in split.surplus for record in row.records]
    result.near_duplicates[name] = drawn.near_duplicates
    if not split.train and not split.test:
        result.not_built[name] = "no record passed its filters"
        return
    result.splits[name] = split
    missing = {"train": size.train - len(split.train), "test": size.test - len(split.test)}
    if size.train < UNLIMITED and any(missing.values()):
        result.short[name] = missing
