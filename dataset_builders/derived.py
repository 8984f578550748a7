"""Tables and columns that are derived from a shop's other tables, as its map asks: co-purchases and snippets of reviews.

Relational work is the engine's, so that it may be larger than memory, and gives the same rows on DuckDB and on Spark. BM25 runs
here, product by product: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.co_purchases import co_purchases
from dataset_builders.engine import materialize, read_staged, union
from dataset_builders.mapping import DerivedMap
from dataset_builders.record_counts import RecordCounts
from dataset_builders.rows import MAX_WORDS
from dataset_builders.tables import STAGED
from dataset_builders.text import NO_LIMIT, clean

if TYPE_CHECKING:
    import ibis.expr.types as ir

MOST_SNIPPETS = 5
PRODUCTS_AT_ONCE = 500
"""Products of which questions and reviews are held in memory."""

RELATIONS = {"also_buy": "buy", "also_view": "view"}
"""Derived relation -> the action of the events that it is derived from."""

_SENTENCES = re.compile(r"(?<=[.!?…。！？])\s+")
# In Chinese, Japanese and Thai, where nothing separates words, every character is a term.
_TERMS = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class StagedFolder:
    """The staged tables in a folder, each of which may be replaced by one that is derived from it."""

    connection: Any
    folder: Path

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def read(self, name: str) -> "ir.Table":
        return read_staged(self.connection, self.path(name))

    def replace(self, name: str, table: "ir.Table") -> None:
        new = self.folder / f"{name}_new.parquet"
        self.connection.to_parquet(table, new)
        old = self.path(name)
        if old.is_dir():  # as Spark writes
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
        new.rename(old)


def derive(connection: Any, folder: Path, derived: Sequence[DerivedMap], counts: RecordCounts) -> dict[str, Any]:
    """Adds what is derived to the staged tables in `folder`; returns what the manifest says of it, by name."""
    staged = StagedFolder(connection, folder)
    told: dict[str, Any] = {}
    if staged.has("product_ids"):
        told["product_ids"] = _with_one_id(staged)
    links = []
    for each in derived:
        if each.name in RELATIONS and staged.has(each.source):
            pairs, found = _links(staged, each)
            links.append(pairs)
            told[each.name] = found
            table = counts.tables["co_purchases"]
            table.read += found["links"]
            table.usable += found["links"]
            table.note = "; ".join(filter(None, [table.note, _note(each.name, found)]))
    if links:
        explicit = [staged.read("co_purchases")] if staged.has("co_purchases") else []
        staged.replace("co_purchases", union([*explicit, *links]))
    if any(each.name == "snippets" for each in derived) and staged.has("questions") and staged.has("reviews"):
        told["snippets"] = _with_snippets(staged)
    return told


def _note(name: str, facts: dict[str, Any]) -> str:
    """`18 also_view links were derived from events: at least 2 of 244 sessions hold both products`"""
    unit = "sessions" if "sessions" in facts else "baskets"
    support = f"at least {facts['least_support']} of {facts[unit]:,} {unit} hold both products"
    return f"{facts['links']:,} {name} links were derived from {facts['from']}: {support}"


def _with_one_id(staged: StagedFolder) -> dict[str, int]:
    """Replaces other ids of products, such as the SKUs of their variants, by the products' own; returns how many there are."""
    ids = staged.read("product_ids").select("other_id", "product_id", "source").distinct()
    if staged.has("products"):  # what is a product's own id stays
        own = staged.read("products").select("source", other_id="product_id").distinct()
        ids = ids.anti_join(own, ["other_id", "source"])
    counted = ids.group_by(["other_id", "source"]).agg(products=ids.count(), own_id=ids.product_id.min()).pipe(materialize)
    known = counted.filter(counted.products == 1).drop("products")
    # A variation may name its parent by another id too.
    parents = known.select("source", other_id_of_own="other_id", parent="own_id")
    known = known.left_join(parents, [known.own_id == parents.other_id_of_own, known.source == parents.source])
    known = known.select("other_id", "source", own_id=known.parent.fill_null(known.own_id)).pipe(materialize)
    for name, table in STAGED.items():
        columns = [column.name for column in table.columns if column.name in ("product_id", "other_product_id")]
        if name in ("products", "product_ids") or not columns or not staged.has(name):
            continue
        rows = staged.read(name)
        order = rows.columns
        for column in columns:
            joined = rows.left_join(known, [(rows[column], known.other_id), (rows.source, known.source)])
            rows = joined.mutate(**{column: joined.own_id.fill_null(joined[column])}).select(*order)
        staged.replace(name, rows)
    return {"other_ids": _count(known), "of_several_products": _count(counted.filter(counted.products > 1))}


def _links(staged: StagedFolder, each: DerivedMap) -> tuple["ir.Table", dict[str, Any]]:
    """Links between products that share enough baskets, as staged rows of co_purchases; and what they were made of."""
    import ibis

    rows = staged.read(each.source)
    if each.source == "events":
        rows = rows.filter(rows.action == RELATIONS[each.name]).rename(basket_id="session_id")
    baskets = rows.select("product_id", "source", "record", basket="basket_id").filter(lambda row: row.product_id.notnull())
    sizes = baskets.group_by("source", "basket").agg(products=lambda row: row.product_id.nunique()).pipe(materialize)
    links = co_purchases(baskets, each.name, each.support).mutate(snapshot=ibis.literal(""))
    unit = "sessions" if each.source == "events" else "baskets"
    return links, {
        "from": each.source,
        "least_support": each.support,
        unit: _count(sizes),
        f"{unit}_of_several_products": _count(sizes.filter(sizes.products > 1)),
        "links": _count(links),
    }


def _count(table: "ir.Table") -> int:
    return int(table.count().to_pyarrow().as_py())


def _with_snippets(staged: StagedFolder) -> dict[str, Any]:
    """Gives questions without snippets those of their product's reviews that BM25 ranks first."""
    import ibis
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    questions = staged.read("questions")
    bare = questions.filter(questions.snippets.isnull() | (questions.snippets.length() == 0))
    reviews = staged.read("reviews").select("product_id", "source", "text").distinct()
    key = ["product_id", "source"]
    texts = reviews.semi_join(bare, key).group_by(key).agg(texts=lambda table: table.text.collect())
    asked = ibis.struct({"record": bare.record, "question": bare.question})
    pairs = bare.group_by(key).agg(asked=asked.collect()).join(texts, key).select("asked", "texts")
    schema = pa.schema([("record", pa.int64()), ("question", pa.string()), ("found", pa.list_(pa.string()))])
    asked_path, path = staged.path("asked_questions"), staged.path("found_snippets")
    staged.connection.to_parquet(pairs, asked_path)  # read in batches from there: the engines have no stream of rows in common
    with pq.ParquetWriter(path, schema) as writer:
        for batch in ds.dataset(asked_path).to_batches(batch_size=PRODUCTS_AT_ONCE):
            writer.write_table(pa.Table.from_pylist([row for each in batch.to_pylist() for row in _found(each)], schema))
    found = staged.connection.read_parquet(path).distinct(on=["record", "question"])
    joined = questions.left_join(found, ["record", "question"])
    snippets = ibis.ifelse(joined.found.notnull(), joined.found, joined.snippets)
    told = {
        "from": "reviews",
        "questions": _count(bare),
        "with_snippets": _count(found.filter(found.found.length() > 0)),
    }
    staged.replace("questions", joined.mutate(snippets=snippets).select(*questions.columns))
    return told


def _found(product: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ranking = SnippetRanking(tuple(sorted({part for text in product["texts"] for part in passages(text)})))
    for asked in product["asked"]:
        yield {**asked, "found": ranking.best(asked["question"])}


def passages(text: str, most_words: int = MAX_WORDS["snippets"]) -> list[str]:
    """A review in pieces of whole sentences of at most `most_words` words; a longer sentence is cut."""
    found: list[str] = []
    words: list[str] = []
    for sentence in _SENTENCES.split(clean(text, NO_LIMIT)):
        new = sentence.split()
        if words and len(words) + len(new) > most_words:
            found.append(" ".join(words))
            words = []
        words += new
        while len(words) > most_words:
            found.append(" ".join(words[:most_words]))
            words = words[most_words:]
    return [*found, " ".join(words)] if words else found


@dataclass(frozen=True)
class SnippetRanking:
    """A product's passages, ranked for questions by BM25 with Lucene's formula.

    Scores are rounded, and equal ones ordered by the passage, so that the order of the reviews changes nothing.
    """

    passages: tuple[str, ...]

    @cached_property
    def _terms(self) -> list[list[str]]:
        return [terms(passage) for passage in self.passages]

    @cached_property
    def _index(self) -> Any:
        import bm25s

        places = {term: place for place, term in enumerate(sorted({term for line in self._terms for term in line}))}
        index = bm25s.BM25()
        index.index(([[places[term] for term in line] for line in self._terms], places), show_progress=False)
        return index

    def best(self, question: str, most: int = MOST_SNIPPETS) -> list[str]:
        """The passages that share words with the question, best first."""
        known = {term for line in self._terms for term in line}
        asked = [term for term in dict.fromkeys(terms(question)) if term in known]
        if not asked:
            return []
        scores = [round(float(score), 4) for score in self._index.get_scores(asked)]
        ranked = sorted(zip((-score for score in scores), self.passages, strict=True))
        return [passage for score, passage in ranked[:most] if score < 0]


def terms(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _TERMS.findall(text.lower())
