"""The canonical tables as recipes take them: staged files without duplicates, and with what one lacks from another."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import deduplicate, materialize, read_staged, unused
from dataset_builders.tables import SESSION_QUERIES, TABLES, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir

DESCRIBED = ("products", "reviews")
"""Tables whose key does not say all: two records of one key may disagree."""


def load_tables(
    connection: Any, folder: Path, locales: Sequence[str] = ("us",)
) -> tuple[dict[str, "ir.Table"], list["ir.Table"]]:
    """The staged tables without duplicates, and the records that were duplicates with their reason.

    Of rows with one key the newest snapshot's stays. Judgments keep all rows, since several of one pair are votes (see
    `expressions.judged_once`). Products get `preference`, the place of their locale in `locales`. Events without a title take
    it, and what else they lack, from the product, and so do reviews without a category. Sources stay apart, here and in every
    join of a recipe: a row is of one source, under that source's licence.
    """
    tables, duplicates, unfiled = {}, [], False
    for name, table in TABLES.items():
        path = folder / f"{name}.parquet"
        if not path.exists():
            continue
        staged = read_staged(connection, path)
        if name == "reviews":  # of the raw corpora none: only then is there a join
            unfiled = bool(staged.category.isnull().any().to_pyarrow().as_py())
        if name == "judgments":
            tables[name] = staged.drop("snapshot")
            continue
        single, repeats = deduplicate(staged, [*table.key, "source"], partial(_newest, table))
        tables[name] = single.drop("snapshot")
        key = ", ".join(table.key)
        alike = repeats.filter(repeats.snapshot == "")
        same = [alike[column.name].identical_to(single[column.name]) for column in table.columns]
        equal = alike.semi_join(single, [*same, alike.source == single.source]) if name in DESCRIBED else alike
        duplicates.append(unused(equal, f"{name}: another record has the same {key}"))
        if name in DESCRIBED:
            other = alike.anti_join(equal.select("record"), "record")
            duplicates.append(unused(other, f"{name}: another record has the same {key} and other values"))
        duplicates.append(unused(repeats.filter(repeats.snapshot != ""), f"{name}: a newer snapshot has the same {key}"))
    if "products" in tables:
        tables["products"] = _preferred(tables["products"], locales)
    if {"events", "products"} <= tables.keys():
        tables["events"] = _titled_events(tables["events"], tables["products"])
    if unfiled:
        tables["reviews"], without = _filed_reviews(tables["reviews"], tables.get("products"))
        duplicates.append(unused(without, "reviews: category is missing, and the product has none"))
    if (path := folder / f"{SESSION_QUERIES}.parquet").exists():
        tables[SESSION_QUERIES] = connection.read_parquet(path)
    return tables, duplicates


def _preferred(products: "ir.Table", locales: Sequence[str]) -> "ir.Table":
    """With `preference`: 0 for the first locale."""
    import ibis

    places = [(locale, place) for place, locale in enumerate(locales)]
    return products.mutate(preference=products.locale.cases(*places, else_=ibis.literal(len(places))).cast("int64"))


def _one_each(products: "ir.Table") -> "ir.Table":
    """One row per product id and source, of the first locale that was asked for."""
    return deduplicate(products, ["product_id", "source"], lambda product: [product.preference, product.locale])[0]


def _filed_reviews(reviews: "ir.Table", products: "ir.Table | None") -> tuple["ir.Table", "ir.Table"]:
    """Reviews with the category of their product where they have none, and those that have none then."""
    import ibis

    if products is None:
        return reviews.filter(reviews.category.notnull()), reviews.filter(reviews.category.isnull())
    filed = _one_each(products).select("product_id", "source", product_category="category")
    joined = reviews.left_join(filed, ["product_id", "source"])
    whole = joined.mutate(category=ibis.coalesce(joined.category, joined.product_category)).select(*reviews.columns)
    whole = materialize(whole)
    return whole.filter(whole.category.notnull()), whole.filter(whole.category.isnull())


def _titled_events(events: "ir.Table", products: "ir.Table") -> "ir.Table":
    """Events whose title, brand, category and colour are those of their product where they have none."""
    import ibis

    taken = ("title", "brand", "category", "color")
    described = _one_each(products).select("product_id", "source", **{f"product_{column}": column for column in taken})
    joined = events.left_join(described, ["product_id", "source"])
    filled = {column: ibis.coalesce(joined[column], joined[f"product_{column}"]) for column in taken}
    return joined.mutate(**filled).select(*events.columns)


def _newest(table: Table, rows: "ir.Table") -> list["ir.Value"]:
    import ibis

    return [ibis.desc(rows.snapshot), *_by_content(table, rows)]


def _by_content(table: Table, rows: "ir.Table") -> list["ir.Value"]:
    """The record's number follows the order of the input, so it must not decide which of two twins stays."""
    return [*(rows[column.name] for column in table.columns), rows.record]
