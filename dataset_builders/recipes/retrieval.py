"""Recipes of the retrieval tasks."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, Harvest, rank, union, unused, words
from dataset_builders.recipes import Tables

LIST_LENGTH = 15
MOST_BOUGHT = 5
MOST_OVERLAP = 0.65
"""Share of the shorter title's words above which two titles name the same product in another size or colour."""
_SPARE = 15
"""Other products that are looked at beyond those needed, since some are bought with the product themselves."""


def also_buy(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A product's title -> which of 15 titles are bought with it, one to five of them."""
    products = tables["products"]
    products = products.mutate(place=rank(products.locale, [products.product_id]))
    products = products.filter(products.place == 0).select("product_id", "title", product_record="record")
    bought = tables["co_purchases"].filter(tables["co_purchases"].relation == "also_buy")

    links = bought.left_join(products, "product_id").drop("product_id_right")
    others = products.select(other_product_id="product_id", other_title="title", other_record="product_record")
    links = links.left_join(others, "other_product_id").drop("other_product_id_right")
    known = links.filter(links.title.notnull() & links.other_title.notnull())
    shorter = ibis.least(words(known.title).length(), words(known.other_title).length())
    shared = words(known.title).intersect(words(known.other_title)).length()
    alike = shared > MOST_OVERLAP * shorter
    distinct = known.filter(~alike)
    distinct = distinct.mutate(draw=draw(distinct.product_id, distinct.other_product_id))
    distinct = distinct.mutate(twin=rank(distinct.draw, [distinct.product_id, distinct.other_title.lower()]))
    single = distinct.filter(distinct.twin == 0)
    single = single.mutate(place=rank(single.draw, [single.product_id]))
    chosen = single.filter(single.place < MOST_BOUGHT)

    baskets = chosen.group_by("product_id").agg(
        title=chosen.title.min(),
        product_record=chosen.product_record.min(),
        source=chosen.source.min(),
        number=chosen.count(),
    )
    baskets = baskets.mutate(turn=rank(draw(baskets.product_id)))
    asked = baskets.filter(baskets.turn < limit)
    true_items = chosen.semi_join(asked, "product_id").select(
        "product_id", title="other_title", item_record="other_record", link_record="record", true=ibis.literal(True)
    )
    lists = union([true_items, _others(asked, products, bought, draw)])
    lists = lists.mutate(order=draw(ibis.literal("order"), lists.product_id, lists.title))
    lists = lists.mutate(number=rank(lists.order, [lists.product_id]) + 1)
    item = ibis.struct({name: lists[name] for name in ("number", "title", "true", "item_record", "link_record")})
    lists = lists.group_by("product_id").agg(items=item.collect(), length=lists.count())
    full = lists.filter(lists.length == LIST_LENGTH).join(asked, "product_id")
    full = full.mutate(items=full["items"].sort())
    is_true = full["items"].filter(lambda item: item["true"])
    rows = full.select(
        product=full.title,
        number=full.number.cast("string").concat(ibis.ifelse(full.number == 1, " product", " products")),
        products=full["items"].map(lambda item: item["title"]),
        answer=is_true.map(lambda item: item["number"]),
        key=draw(full.product_id),
        group=ibis.literal("product:").concat(full.product_id),
        source=full.source,
        records=full["items"]
        .map(lambda item: item["item_record"])
        .concat(is_true.map(lambda item: item["link_record"]), ibis.array([full.product_record])),
    )
    over = chosen.anti_join(asked, "product_id")
    short = chosen.semi_join(asked.anti_join(full, "product_id"), "product_id")
    return Harvest(
        rows,
        union(
            [
                unused(links.filter(links.title.isnull()), "product has no title here"),
                unused(links.filter(links.title.notnull() & links.other_title.isnull()), "bought product has no title here"),
                unused(known.filter(alike), "titles of both products are alike"),
                unused(distinct.filter(distinct.twin > 0), "product has a link to the same title"),
                unused(single.filter(single.place >= MOST_BOUGHT), f"product has {MOST_BOUGHT} links"),
                unused(over, "task has its size"),
                unused(short, f"there are not {LIST_LENGTH} products to choose from"),
            ]
        ),
    )


def _others(asked: ir.Table, products: ir.Table, bought: ir.Table, draw: Draw) -> ir.Table:
    """Products that fill each list: the next ones on a ring of all products in the order of their draw.

    A ring gives every list its own random products by an equality join, where ordering all products anew for every list
    would cost lists times products.
    """
    ring = products.mutate(position=rank(draw(ibis.literal("ring"), products.product_id)))
    size = ring.count().as_scalar()
    steps = LIST_LENGTH + _SPARE
    turns = asked.select("product_id", own_title="title", true_number="number", turn="turn", step=ibis.range(steps).unnest())
    turns = turns.filter(turns.step < size)
    turns = turns.mutate(position=((turns.turn * steps + turns.step) % size).cast("int64"))
    met = turns.join(ring.rename(other_product_id="product_id"), "position")
    met = met.filter((met.other_product_id != met.product_id) & (met.title.lower() != met.own_title.lower()))
    met = met.anti_join(bought, ["product_id", "other_product_id"])
    met = met.mutate(twin=rank(met.step, [met.product_id, met.title.lower()]))
    met = met.filter(met.twin == 0)
    met = met.mutate(place=rank(met.step, [met.product_id]))
    met = met.filter(met.place < LIST_LENGTH - met.true_number)
    return met.select(
        "product_id",
        "title",
        item_record="product_record",
        link_record=ibis.null("int64"),
        true=ibis.literal(False),
    )
