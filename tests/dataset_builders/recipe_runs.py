"""Lets recipes draw from small tables, and compares what they draw with a recomputation in plain Python."""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from dataset_builders.canonical_tables import DESCRIBED, load_tables
from dataset_builders.engine import Draw, RecipeRows, connect, union
from dataset_builders.recipes import recipes
from dataset_builders.tables import SESSION_QUERIES, TABLES, arrow_schema

Rows = list[dict[str, Any]]
Tables = dict[str, Rows]
NO_LIMIT = 10**9
SEEDS = range(16)
"""Of the random tables that each task is recomputed on."""


@dataclass(frozen=True)
class Drawn:
    """`rows` in order of their keys; `reasons` of the records that are in none. Each costs a query, so only when asked for."""

    recipe_rows: RecipeRows
    duplicates: list[Any]

    @cached_property
    def rows(self) -> Rows:
        rows: Rows = self.recipe_rows.rows.order_by("key").to_pyarrow().to_pylist()
        return rows

    @cached_property
    def reasons(self) -> dict[int, set[str]]:
        reasons: dict[int, set[str]] = defaultdict(set)
        for row in union([*self.duplicates, *self.recipe_rows.unused]).to_pyarrow().to_pylist():
            reasons[row["record"]].add(row["reason"])
        return reasons

    @property
    def content(self) -> Rows:
        """Rows without the numbers of their records, which follow the order of the input."""
        return [{name: value for name, value in row.items() if name not in ("records", "hard_records")} for row in self.rows]

    def accounted_records(self) -> set[int]:
        """Records that are in a row or have a reason."""
        return {record for row in self.rows for record in row["records"]} | set(self.reasons)


DrawRows = Callable[..., Drawn]


def row_drawer(folder: Path) -> DrawRows:
    """`draw_rows(task, tables, limit, seed, threads)` loads the tables as a build does and lets the recipe draw from them.

    A row may leave out columns that it has no value for, its source ("shop") and its record's number. Row groups are
    small, since a thread takes no less than one. `tables` may also hold what a language model wrote (SESSION_QUERIES).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    connection = connect("1GB", 2, folder / "spill")
    turn = iter(range(NO_LIMIT))

    def draw_rows(task: str, tables: Tables, limit: int = NO_LIMIT, seed: int = 0, threads: int = 2) -> Drawn:
        connection.raw_sql(f"SET threads = {threads}")
        staged = folder / str(next(turn))
        staged.mkdir(parents=True)
        if SESSION_QUERIES in tables:
            pq.write_table(pa.Table.from_pylist(tables[SESSION_QUERIES]), staged / f"{SESSION_QUERIES}.parquet")
        for name, rows in filled(tables).items():
            table = pa.Table.from_pylist(rows, arrow_schema(TABLES[name]))
            pq.write_table(table, staged / f"{name}.parquet", row_group_size=32)
        loaded, duplicates = load_tables(connection, staged)
        return Drawn(recipes()[task](loaded, Draw(seed, task), limit), duplicates)

    return draw_rows


def filled(tables: Tables) -> Tables:
    """The tables with every column, a source and the number of its record in each row."""
    full: Tables = {}
    for number, (name, rows) in enumerate((name, rows) for name, rows in tables.items() if name in TABLES):
        empty = {"source": "shop", "snapshot": "", **{column.name: None for column in TABLES[name].columns}}
        full[name] = [{**empty, "record": number * 10_000 + place, **row} for place, row in enumerate(rows)]
    return full


@dataclass(frozen=True)
class Case:
    """What a recomputation starts from. It notes in `reasons` why a record is in no row."""

    tables: Tables
    seed: int
    task: str
    limit: int
    reasons: dict[int, str] = field(default_factory=dict)

    def draw(self, *keys: object) -> str:
        return hashlib.md5("|".join(map(str, (self.seed, self.task, *keys))).encode()).hexdigest()

    def table(self, name: str) -> Rows:
        """The table's rows, each key once in a source: of copies, the one that was read first."""
        if name == "judgments":  # several of one pair are votes
            return list(self.tables.get(name, []))
        key = (*TABLES[name].key, "source")
        first: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in sorted(self.tables.get(name, []), key=lambda row: row["record"]):
            if first.setdefault(tuple(row[column] for column in key), row) is not row:
                first_row = first[tuple(row[column] for column in key)]
                differs = name in DESCRIBED and any(
                    row[column.name] != first_row[column.name] for column in TABLES[name].columns
                )
                reason = f"{name}: another record has the same {', '.join(TABLES[name].key)}"
                self.reasons[row["record"]] = reason + " and other values" * differs
        return list(first.values())

    def leave(self, reason: str, *rows: dict[str, Any]) -> None:
        self.reasons.update({row["record"]: reason for row in rows})


Recompute = Callable[[Case], Rows]


@dataclass(frozen=True)
class Outcome:
    """`rows` in order of their keys, each record's number once and in order; `reasons` of the records that are in none."""

    rows: Rows
    reasons: dict[int, set[str]]


def outcome(rows: Rows, reasons: dict[int, set[str]]) -> Outcome:
    used = {record for row in rows for record in row["records"]}
    plain = [{**row, "records": sorted({record for record in row["records"] if record is not None})} for row in rows]
    left = {record: told for record, told in sorted(reasons.items()) if record not in used}
    return Outcome(sorted(plain, key=lambda row: row["key"]), left)


def outcomes(draw_rows: DrawRows, task: str, tables: Tables, recompute: Recompute, seed: int) -> tuple[Outcome, Outcome]:
    """What the recipe makes of the tables, and what is recomputed, which hangs on neither their order nor threads.

    The limit is none, about half of what there is, more than there is, or one less, in turn; the threads are 1 or 4.
    """
    tables = {**tables, **filled(tables)}
    there = len(recompute(Case(tables, seed, task, NO_LIMIT)))
    limit = (NO_LIMIT, there // 2 + 1, there + 3, max(1, there - 1))[seed % 4]
    case = Case(tables, seed, task, limit)
    for name in tables.keys() & TABLES.keys():
        case.table(name)  # copies are told of also where a recipe does not look at their table
    expected = outcome(recompute(case), {record: {reason} for record, reason in case.reasons.items()})
    found = draw_rows(task, tables, limit, seed, threads=1 if seed % 3 else 4)
    return outcome(found.rows, found.reasons), expected


def judgments_once(case: Case) -> Rows:
    """Judgments with the query as the recipes read it, one for each query and product: the first of those with most votes."""
    votes: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in sorted(case.table("judgments"), key=lambda row: (row["query"], row["query_id"], row["record"])):
        query = " ".join(row["query"].split()).lower()
        votes[query, row["product_id"], row["locale"], row["source"]].append({**row, "query": query})
    found = []
    for rows in votes.values():
        (label, most), *others = Counter(row["label"] for row in rows).most_common()
        if others and others[0][1] == most:
            case.leave("judgments of the query and product disagree, without a majority", *rows)
            continue
        agreeing = [row for row in rows if row["label"] == label]
        found.append(agreeing[0])
        case.leave("judgment repeats another's query and product", *agreeing[1:])
        case.leave("most judgments of the query and product say otherwise", *(row for row in rows if row["label"] != label))
    return found


def judged_products(case: Case) -> Rows:
    """Those of `judgments_once` whose product is known, with its `title` and `product_record`, and their `draw`."""
    products = {(row["product_id"], row["locale"], row["source"]): row for row in case.table("products")}
    judged = []
    for row in judgments_once(case):
        if product := products.get((row["product_id"], row["locale"], row["source"])):
            draw = case.draw(row["query"], row["locale"], row["product_id"], row["source"])
            judged.append({**row, "title": product["title"], "product_record": product["record"], "draw": draw})
        else:
            case.leave("judged product has no title here", row)
    return judged


def titles(case: Case) -> dict[tuple[str, str], dict[str, Any]]:
    """(source, product id) -> the product in the locale that is asked for, else in the first of its locales."""
    products = sorted(case.table("products"), key=lambda row: (row["locale"] != "us", row["locale"]), reverse=True)
    return {(row["source"], row["product_id"]): row for row in products}


def bought_links(case: Case) -> Rows:
    """Links of products bought together: `draw`, the `product` and the `other` where known, and their titles' `overlap`."""
    products = titles(case)
    links = []
    for link in case.table("co_purchases"):
        if link["relation"] != "also_buy":
            continue
        draw = case.draw(link["product_id"], link["other_product_id"])
        pair = [products.get((link["source"], link[name])) for name in ("product_id", "other_product_id")]
        texts = [words(product["title"]) if product else set() for product in pair]
        overlap = len(texts[0] & texts[1]) / max(1, min(map(len, texts)))
        links.append({**link, "product": pair[0], "other": pair[1], "overlap": overlap, "draw": draw})
    return links


KIND = ("product_id", "brand", "category", "color", "size")


def sessions(case: Case) -> dict[str, Rows]:
    """Each session's events in order of time, with `what` they name; what comes again at once is told once."""
    found: dict[str, Rows] = defaultdict(list)
    for event in case.table("events"):
        what = event["query"] if event["action"] == "query" else event["title"]
        if what is None:
            case.leave("event names no product and no query", event)
        else:
            draw = case.draw(event["session_id"], event["action"], what)
            found[event["session_id"]].append(
                {**event, "what": what, "time": (event["position"], draw, *((event[n] is None, event[n] or "") for n in KIND))}
            )
    for session, steps in list(found.items()):
        steps.sort(key=lambda step: step["time"])
        if len(steps) > 1 and steps[0]["position"] == steps[-1]["position"]:
            case.leave("all events of the session have one position, so none is the next", *steps)
            del found[session]
            continue
        runs = [list(run) for _, run in groupby(steps, lambda step: (step["action"], step["what"]))]
        case.leave("event repeats the one before", *(step for run in runs for step in run[1:]))
        found[session] = [run[0] for run in runs]
    return found


def told(step: dict[str, Any]) -> str:
    words_of = {"view": "Looked at", "like": "Liked", "cart": "Put into the cart", "offer": "Made an offer for"}
    return f"{(words_of | {'buy': 'Bought', 'query': 'Searched for'})[step['action']]} '{step['what']}'"


def words(text: str) -> set[str]:
    """Runs of letters and digits, in lower case."""
    runs = groupby(text.lower(), lambda char: unicodedata.category(char)[0] in "LN")
    return {"".join(run) for is_word, run in runs if is_word}


def redrawn(draw: str) -> str:
    """A draw of the draw, so that which kind a row is of does not tell where it stands."""
    return hashlib.md5(draw.encode()).hexdigest()


def dealt(items: Iterable[Any], kind: Callable[[Any], Any], draw: Callable[[Any], str]) -> list[Any]:
    """Round after round one item of every kind, both in order of draw."""
    queues = defaultdict(list)
    for item in sorted(items, key=draw):
        queues[kind(item)].append(item)
    rounds = zip_longest(*queues.values())
    return [item for one in rounds for item in sorted((item for item in one if item is not None), key=draw)]
