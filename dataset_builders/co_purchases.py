"""Which products are bought together, derived from what stands in the same baskets or is reviewed by the same customers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import materialize, read_staged, union
from dataset_builders.record_counts import RecordCounts
from dataset_builders.sources import REVIEWER, amazon_reviews_2023

if TYPE_CHECKING:
    import ibis.expr.types as ir

LEAST_SUPPORT = 2
"""Baskets that must hold both products of a pair."""
MOST_PRODUCTS = 50
"""Products of one basket that are paired. Of a larger one, such as that of a customer with thousands of reviews, as many are
drawn; so the work grows with the number of records, and one heavy customer does not outvote all others."""
MOST_RELATED = 20
"""Other products that a product is linked to. Of popular products many pairs share baskets by chance alone."""

_NO_REVIEWS = (
    "Amazon Reviews 2023 names no products bought together; they are derived from the products that the same customers "
    "reviewed, and there are {}"
)


def derive_tables(connection: Any, staged: Path, tables: dict[str, "ir.Table"], counts: RecordCounts) -> dict[str, "ir.Table"]:
    """The tables, with co-purchases from the products that the same customers reviewed, where reviews name customers.

    Links that a corpus states itself stay as they are. Adds the number of links to `counts`, or why there are none.
    """
    if not any(source.startswith(amazon_reviews_2023.NAME) for source in counts.read):
        return tables
    told = counts.tables["co_purchases"]
    if "reviews" not in tables:
        told.note = _NO_REVIEWS.format("no usable reviews: add the file <Category>.jsonl beside meta_<Category>.jsonl")
        return tables
    if not (path := staged / f"{REVIEWER}.parquet").exists():
        told.note = _NO_REVIEWS.format("no reviews with a user_id")
        return tables
    baskets = reviewed_baskets(read_staged(connection, path), tables["reviews"])
    links = co_purchases(baskets)
    found = _number(links)
    told.note = (
        f"{found:,} links between products bought together were derived: at least {LEAST_SUPPORT} customers of Amazon Reviews "
        "2023 reviewed both"
    )
    if not found:
        sizes = baskets.group_by("source", "basket").agg(products=baskets.count())
        several = _number(sizes.filter(sizes.products > 1))
        told.note = _NO_REVIEWS.format(
            f"no two products that {LEAST_SUPPORT} customers reviewed both: {several:,} of {_number(sizes):,} customers "
            "reviewed more than one product"
        )
        return tables
    told.read += found
    told.usable += found
    if "co_purchases" in tables:
        key = ["product_id", "other_product_id", "relation", "source"]
        stated = tables["co_purchases"]
        links = union([stated, links.anti_join(stated, key).select(*stated.columns)])
    return {**tables, "co_purchases": links}


def _number(table: "ir.Table") -> int:
    number: int = table.agg(rows=table.count()).to_pyarrow()["rows"][0].as_py()
    return number


def reviewed_baskets(reviewers: "ir.Table", reviews: "ir.Table") -> "ir.Table":
    """What each customer reviewed, as baskets for `co_purchases`; each product once, however often it was reviewed.

    Args:
        reviewers: the staged table REVIEWER; customers who wrote the same of the same product share a `review_id`.
    """
    written = reviewers.join(reviews.select("review_id", "source", "product_id", "record"), ["review_id", "source"])
    # By what was said and not by the record's number, which follows the order of the input.
    return (
        written.group_by("source", basket="customer", product_id="product_id")
        .agg(record=written.record.argmin(written.review_id))
        .pipe(materialize)
    )


def co_purchases(
    baskets: "ir.Table", relation: str = "also_buy", least_support: int = LEAST_SUPPORT, most_related: int = MOST_RELATED
) -> "ir.Table":
    """Links between products that stand together in at least `least_support` baskets, as rows of the table `co_purchases`.

    Args:
        baskets: columns `basket` (an order, or a customer; of any type), `product_id`, `source` and `record` (int64). Rows
            without basket or product, and repeated ones, are left out. Baskets of different sources are different baskets.

    Returns:
        Columns `product_id, other_product_id, relation, source, record`, both directions of a pair: from each product to the
        `most_related` others whose cosine similarity over baskets is highest (item-to-item collaborative filtering,
        https://doi.org/10.1109/MIC.2003.1167344). `record` is one of those that put `product_id` into a basket with the
        other. No basket is named in it. The rows are the same on every engine and for any number of threads.
    """
    import ibis

    found = baskets.filter(baskets.basket.notnull(), baskets.product_id.notnull())
    single = found.group_by("source", "basket", "product_id").agg(record=found.record.min()).pipe(materialize)
    counts = single.group_by("source", "product_id").agg(baskets=single.count())
    counts = counts.filter(counts.baskets >= least_support)
    # Pairs of numbers take a fraction of the memory of pairs of texts.
    numbered = ibis.row_number().over(order_by=[counts.source, counts.product_id])
    counts = counts.mutate(number=numbered).pipe(materialize)
    # Most products and most customers are in no pair: they go before anything is paired.
    frequent = single.join(counts.drop("baskets"), ["source", "product_id"])
    sizes = frequent.group_by("source", "basket").agg(products=frequent.count())
    sizes = sizes.filter(sizes.products > 1).pipe(materialize)
    kept = frequent.join(sizes, ["source", "basket"])
    large = kept.filter(kept.products > MOST_PRODUCTS)
    draw = large.basket.cast("string").concat("|", large.product_id).hexdigest("md5")
    large = large.mutate(place=ibis.row_number().over(group_by=["source", "basket"], order_by=[draw, large.product_id]))
    columns = ["source", "basket", "number", "record"]
    small = kept.filter(kept.products <= MOST_PRODUCTS).select(columns)
    kept = union([small, large.filter(large.place < MOST_PRODUCTS).select(columns)]).pipe(materialize)

    others = kept.rename(other="number", other_record="record")
    pairs = kept.join(others, ["source", "basket", kept.number < others.other])
    # The record of the first basket, which does not depend on the order in which records were read.
    first = {name: pairs[name].argmin(pairs.basket) for name in ("record", "other_record")}
    pairs = pairs.group_by("number", "other").agg(support=pairs.count(), **first)
    pairs = pairs.filter(pairs.support >= least_support).pipe(materialize)
    back = pairs.select(number="other", other="number", support="support", record="other_record")
    links = union([pairs.select("number", "other", "support", "record"), back]).join(counts, "number")
    of_other = counts.select(other="number", other_product_id="product_id", other_baskets="baskets")
    links = links.join(of_other, "other")
    # The square of the cosine, of whole numbers: no rounding that engines could do differently before the one division.
    square = (links.support * links.support).cast("float64") / (links.baskets * links.other_baskets).cast("float64")
    order = [ibis.desc(square), links.other_product_id]
    links = links.mutate(place=ibis.row_number().over(group_by="number", order_by=order))
    return (
        links.filter(links.place < most_related)
        .select("product_id", "other_product_id", relation=ibis.literal(relation), source="source", record="record")
        .pipe(materialize)
    )
