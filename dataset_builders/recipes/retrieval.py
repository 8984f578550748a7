"""Recipes of the retrieval tasks."""

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, RecipeRows, deduplicate, in_parts, materialize, store, union, unused
from dataset_builders.expressions import bought_links, rank, sample, titled_links, titles
from dataset_builders.recipes import Tables, query_lists, sessions
from dataset_builders.recipes.query_lists import QUERIES
from dataset_builders.tables import SESSION_QUERIES

BASKET = ["product_id", "source"]
LIST_LENGTH = 15
MOST_BOUGHT = 5
MOST_OVERLAP = 0.65
"""Share of the shorter title's words above which two titles name the same product in another size or colour."""
MOST_ALIKE = 3
"""Products of one category that a row in words may ask about, beside those of its list."""
_SPARE = 15
"""Other products that are looked at beyond those needed, since some are bought with the product themselves."""

_SEARCHES = "4"
"""A viewed product is shown as a search for it where its draw sorts below this: a quarter of them."""


def also_buy(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A product's title -> which of 15 titles are bought with it, one to five of them."""
    products = titles(tables)
    links = bought_links(tables)
    known = links.filter(links.own_look.notnull() & links.other_look.notnull())
    single, unused_links = unlike_links(known, draw)
    chosen = single.filter(single.place < MOST_BOUGHT)

    baskets = chosen.group_by(BASKET).agg(number=chosen.count(), own_record=chosen.own_record.min())
    baskets = baskets.mutate(draw=draw(*(baskets[name] for name in BASKET)))
    asked = sample(baskets, limit)
    asked = asked.mutate(turn=rank(asked.draw)).join(products.select(*BASKET, "title", "look", "category"), BASKET)
    asked = asked.pipe(materialize)
    rings = [_ring(products, within, draw) for within in (["source"], ["source", "category"])]
    full = in_parts(asked, "product_id", lambda part: _lists(part, chosen, links, products, rings, draw))
    is_true = full["items"].filter(lambda item: item["true"])
    rows = full.select(
        product=full.title,
        number=full.number.cast("string").concat(ibis.ifelse(full.number == 1, " product", " products")),
        candidates=full["items"].map(lambda item: item["title"]),
        answer=is_true.map(lambda item: item["number"]),
        key=full.draw,
        group=ibis.literal("product:").concat(full.product_id),
        source="source",
        records=full["items"]
        .map(lambda item: item["item_record"])
        .concat(is_true.map(lambda item: item["link_record"]), ibis.array([full.own_record])),
        hard=full.alike.sort().map(lambda item: item["title"]),
        hard_records=full.alike.sort().map(lambda item: item["item_record"]),
    )
    surplus = chosen.anti_join(asked, BASKET)
    short = chosen.semi_join(asked.anti_join(full, BASKET), BASKET)
    return RecipeRows(
        rows,
        [
            unused(links.filter(links.own_look.isnull()), "product has no title here"),
            unused(links.filter(links.own_look.notnull() & links.other_look.isnull()), "bought product has no title here"),
            *unused_links,
            unused(single.filter(single.place >= MOST_BOUGHT), f"product has {MOST_BOUGHT} links"),
            unused(surplus, "task has its size"),
            unused(short, f"there are not {LIST_LENGTH} products to choose from"),
        ],
    )


def _lists(
    asked: ir.Table, chosen: ir.Table, links: ir.Table, products: ir.Table, rings: list[ir.Table], draw: Draw
) -> ir.Table:
    """Of each product that is asked about `items`, what its list holds in order, and `alike`, what is hard to turn down.

    `rings` are those of a source and of a category.
    """
    of_source, of_category = rings
    true_items = titled_links(chosen.semi_join(asked, BASKET), products, "title")
    true_items = true_items.select(
        *BASKET, title="other_title", item_record="other_record", link_record="record", true=ibis.literal(True)
    )
    bought = links.semi_join(asked, BASKET).select(*BASKET, "other_product_id", "other_look").pipe(materialize)
    lists = union([true_items, _others(asked, products, bought, of_source)])
    lists = lists.mutate(order=draw(ibis.literal("order"), lists.product_id, lists.title))
    lists = lists.mutate(number=rank(lists.order, BASKET) + 1)
    item = ibis.struct({name: lists[name] for name in ("number", "title", "true", "item_record", "link_record")})
    lists = lists.group_by(BASKET).agg(items=item.collect(), length=lists.count())
    full = lists.filter(lists.length == LIST_LENGTH).join(asked, BASKET)
    full = full.left_join(_alike(asked, products, bought, of_category), BASKET).drop("product_id_right", "source_right")
    return full.mutate(items=full["items"].sort())


def unlike_links(known: ir.Table, draw: Draw) -> tuple[ir.Table, list[ir.Table]]:
    """Of links with known titles those to titles unlike the product's own, each title once, with `draw` and with `place`, from
    0 in order of the draw, among the product's; and the unused links."""
    unlike = known.filter(known.overlap <= MOST_OVERLAP)
    unlike = unlike.mutate(draw=draw(unlike.product_id, unlike.other_product_id)).pipe(materialize)
    single, twins = deduplicate(unlike, [*BASKET, "other_look"], lambda link: [link.draw])
    unused_links = [
        unused(known.filter(known.overlap > MOST_OVERLAP), "titles of both products are alike"),
        unused(twins, "product has a link to the same title"),
    ]
    return single.mutate(place=rank(single.draw, BASKET)).pipe(materialize), unused_links


def _others(asked: ir.Table, products: ir.Table, bought: ir.Table, ring: ir.Table) -> ir.Table:
    """Products that fill each list, of the same source: those of others could be recognised by their style alone."""
    met = _not_bought(asked, products, bought, ring, LIST_LENGTH + _SPARE)
    met = met.filter(met.place < LIST_LENGTH - met.true_number)
    return met.select(
        *BASKET,
        "title",
        "item_record",
        link_record=ibis.null("int64"),
        true=ibis.literal(False),
    )


def _alike(asked: ir.Table, products: ir.Table, bought: ir.Table, ring: ir.Table) -> ir.Table:
    """Up to MOST_ALIKE products of each one's category that were not bought with it: these are the hardest to turn down."""
    met = _not_bought(asked.filter(asked.category.notnull()), products, bought, ring, MOST_ALIKE + _SPARE)
    met = met.filter(met.place < MOST_ALIKE)
    item = ibis.struct({name: met[name] for name in ("place", "title", "item_record")})
    return met.group_by(BASKET).agg(alike=item.collect())


def _ring(products: ir.Table, within: list[str], draw: Draw) -> ir.Table:
    """The products of each group of those that agree in `within`, with `position`, from 0 in the order of their draw, and
    `size`, how many there are.

    A ring gives every list its own random products by an equality join, where ordering all products anew for every list
    would cost lists times products.
    """
    # Without their texts, which are fetched for those that are met: far fewer than there are.
    ring = products.filter(products[within[-1]].notnull()).select(*within, other_product_id="product_id", item_record="record")
    groups = [ring[name] for name in within]
    place = rank(draw(ibis.literal("ring"), ring.other_product_id), groups)
    return store(ring.mutate(position=place, size=ring.count().over(group_by=groups)))


def _not_bought(asked: ir.Table, products: ir.Table, bought: ir.Table, ring: ir.Table, steps: int) -> ir.Table:
    """The next products on the ring that were not bought with each one, with their `place` from 0."""
    within = [name for name in ("source", "category") if name in ring.columns]
    sizes = ring.filter(ring.position == 0).select(*within, "size")
    keys = list(dict.fromkeys([*BASKET, *within]))
    turns = asked.select(*keys, "turn", own_look="look", true_number="number", step=ibis.range(steps).unnest()).join(
        sizes, within
    )
    turns = turns.filter(turns.step < turns["size"])
    turns = turns.mutate(position=((turns.turn * steps + turns.step) % turns["size"]).cast("int64"))
    met = turns.drop("size").join(ring.drop("size"), [*within, "position"])
    met = met.filter(met.other_product_id != met.product_id)
    met = met.join(products.select("source", "title", "look", other_product_id="product_id"), ["source", "other_product_id"])
    met = met.filter(met.look != met.own_look)
    met = met.anti_join(bought, [*BASKET, "other_product_id"])
    met = met.anti_join(bought.select(*BASKET, look="other_look"), [*BASKET, "look"])
    met = met.mutate(twin=rank(met.step, [*BASKET, "look"]))
    met = met.filter(met.twin == 0)
    return met.mutate(place=rank(met.step, BASKET))


@dataclass(frozen=True)
class _Sessions:
    """Steps with `made`, the query by rule.

    `steps`: all; `made`: those that have one; `recent`: of each session those up to its label, as many as a row has; `long`:
    those of sessions with enough of them; `labels`: the last step of each session that is asked, with `key` (see
    sessions.key); `unused`: the records that no step was made of.
    """

    steps: ir.Table
    made: ir.Table
    recent: ir.Table
    long: ir.Table
    labels: ir.Table
    unused: list[ir.Table]


def _sessions(tables: Tables, draw: Draw, limit: int) -> _Sessions:
    steps, unused_events = sessions.steps(tables["events"], draw)
    steps = steps.mutate(made=sessions.rule_query(steps)).pipe(materialize)
    made = steps.filter(steps.made.notnull())
    made = made.mutate(turn=rank(made.step, [made.session_id, made.made]))
    new = made.filter((made.turn == 0) & made.category.notnull())
    recent = sessions.until(steps, new.group_by("session_id").agg(target=new.step.max())).pipe(materialize)
    lengths = recent.group_by("session_id").agg(length=recent.count())
    long = recent.semi_join(lengths.filter(lengths.length >= sessions.FEWEST_ACTIONS), "session_id")
    labels = long.filter(long.back == 0)
    labels = sample(labels.mutate(draw=draw(labels.session_id)), limit)
    labels = labels.mutate(turn=rank(labels.draw), about=sessions.about(labels), key=sessions.key(labels))
    labels = labels.select("session_id", "turn", "made", "category", "what", "color", "size", "about", "key").pipe(materialize)
    return _Sessions(steps, made, recent, long, labels, unused_events)


def _is_searched(steps: ir.Table, draw: Draw) -> ir.BooleanValue:
    """Whether a step is shown as a search for its product."""
    return (steps.action == "view") & steps.made.notnull() & (draw(steps.session_id, steps.what)[:1] < _SEARCHES)


def subjects(tables: Tables, draw: Draw, limit: int) -> ir.Table:
    """What a language model would write the queries of next_query for: `key`, `about`, and `label`, whether it is the label of
    a row, which needs all of a list's queries, and not only the one that a viewed product is shown as a search for."""
    found = _sessions(tables, draw, limit)
    viewed = found.long.filter(found.long.back > 0).semi_join(found.labels, "session_id")
    viewed = viewed.filter(_is_searched(viewed, draw))
    asked = union(
        [
            found.labels.select("key", "about", label=ibis.literal(1, "int64")),
            viewed.select(key=sessions.key(viewed), about=sessions.about(viewed), label=ibis.literal(0, "int64")),
        ]
    )
    return asked.group_by(["key", "about"]).agg(label=asked.label.max() == 1)


def next_query(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A session's actions -> which of ten queries come next: that of the next new kind of product, and two narrower ones.

    Queries are made by rule of brand and category; a search that the events hold stays as it was typed. Where the table
    `session_queries` has a session's label with its list, all of the session's queries are those that were written for it.
    """
    found = _sessions(tables, draw, limit)
    labels, long = found.labels, found.long
    before = long.filter(long.back > 0)
    before = before.mutate(search=ibis.ifelse(_is_searched(before, draw), before.made, ibis.null("string")))
    asked = query_lists.by_rule(labels, found.made, draw).mutate(by=ibis.literal("rule"))
    written = tables.get(SESSION_QUERIES)
    if written is not None:
        whole = query_lists.label_texts(labels, written).pipe(materialize)
        others = query_lists.by_rule(labels.anti_join(whole, "session_id"), found.made, draw)
        model = query_lists.by_model(whole, written, draw)
        asked = union([others.mutate(by=ibis.literal("rule")), model.mutate(by=ibis.literal("model"))])
        before = query_lists.written_searches(before, whole, written)
    asked = asked.mutate(order=draw(ibis.literal("order"), asked.session_id, asked.text))
    asked = asked.mutate(number=rank(asked.order, [asked.session_id]) + 1)
    entry = ibis.struct({name: asked[name] for name in ("number", "text", "true", "alike")})
    lists = asked.group_by("session_id").agg(queries=entry.collect(), length=asked.count(), by=asked.by.min())
    full = lists.filter(lists.length == QUERIES).pipe(materialize)

    line = ibis.ifelse(
        before.search.notnull(), ibis.literal("Searched for '").concat(before.search, "'"), sessions.line(before)
    )
    item = ibis.struct({"step": before.step, "line": line})
    actions = before.group_by("session_id").agg(actions=item.collect(), source=before.source.min())
    records = long.group_by("session_id").agg(records=long.record.collect())
    whole = full.join(actions, "session_id").join(records, "session_id")
    queries = whole.queries.sort()
    rows = whole.select(
        actions=whole.actions.sort().map(lambda item: item["line"]),
        queries=queries.map(lambda item: item["text"]),
        answer=queries.filter(lambda item: item["true"]).map(lambda item: item["number"]),
        hard=queries.filter(lambda item: item["alike"]).map(lambda item: item["text"]),
        key=draw(whole.session_id),
        group=ibis.literal("session:").concat(whole.session_id),
        source="source",
        records="records",
        queries_by="by",
    )
    return RecipeRows(
        rows,
        [
            *found.unused,
            unused(
                found.steps.anti_join(found.recent, "record"), "event is not among the last before its session's last new query"
            ),
            unused(found.recent.anti_join(long, "session_id"), f"session has fewer than {sessions.FEWEST_ACTIONS} actions"),
            unused(long.anti_join(labels, "session_id"), "task has its size"),
            unused(
                long.semi_join(labels.anti_join(full, "session_id"), "session_id"),
                f"there are not {QUERIES} different queries",
            ),
        ],
    )
