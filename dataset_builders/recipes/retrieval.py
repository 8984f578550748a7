"""Recipes of the retrieval tasks."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, Harvest, firsts, once, union, unused
from dataset_builders.expressions import bought_links, first, lower, rank, titled_links, titles, words
from dataset_builders.recipes import Tables, sessions

BASKET = ["product_id", "source"]
LIST_LENGTH = 15
MOST_BOUGHT = 5
MOST_OVERLAP = 0.65
"""Share of the shorter title's words above which two titles name the same product in another size or colour."""
_SPARE = 15
"""Other products that are looked at beyond those needed, since some are bought with the product themselves."""

QUERIES = 10
NARROWING, SUBSTITUTES, COMPLEMENTS, STRANGERS = 2, 1, 2, 4
"""Candidates beside the next query itself."""
_SEARCHES = "4"
"""A viewed product is told as a search for it where its draw sorts below this: a quarter of them."""


def also_buy(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A product's title -> which of 15 titles are bought with it, one to five of them."""
    products = titles(tables)
    links = bought_links(tables)
    known = links.filter(links.own_look.notnull() & links.other_look.notnull())
    single, left = unlike_links(known, draw)
    chosen = single.filter(single.place < MOST_BOUGHT)

    baskets = chosen.group_by(BASKET).agg(number=chosen.count(), own_record=chosen.own_record.min())
    baskets = baskets.mutate(draw=draw(*(baskets[name] for name in BASKET)))
    asked = first(baskets, limit)
    asked = asked.mutate(turn=rank(asked.draw)).join(products.select(*BASKET, "title", "look"), BASKET).pipe(once)
    true_items = titled_links(chosen.semi_join(asked, BASKET), products, "title")
    true_items = true_items.select(
        *BASKET, title="other_title", item_record="other_record", link_record="record", true=ibis.literal(True)
    )
    lists = union([true_items, _others(asked, products, links, draw)])
    lists = lists.mutate(order=draw(ibis.literal("order"), lists.product_id, lists.title))
    lists = lists.mutate(number=rank(lists.order, BASKET) + 1)
    item = ibis.struct({name: lists[name] for name in ("number", "title", "true", "item_record", "link_record")})
    lists = lists.group_by(BASKET).agg(items=item.collect(), length=lists.count())
    full = lists.filter(lists.length == LIST_LENGTH).join(asked, BASKET)
    full = full.mutate(items=full["items"].sort()).pipe(once)
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
    )
    over = chosen.anti_join(asked, BASKET)
    short = chosen.semi_join(asked.anti_join(full, BASKET), BASKET)
    return Harvest(
        rows,
        [
            unused(links.filter(links.own_look.isnull()), "product has no title here"),
            unused(links.filter(links.own_look.notnull() & links.other_look.isnull()), "bought product has no title here"),
            *left,
            unused(single.filter(single.place >= MOST_BOUGHT), f"product has {MOST_BOUGHT} links"),
            unused(over, "task has its size"),
            unused(short, f"there are not {LIST_LENGTH} products to choose from"),
        ],
    )


def unlike_links(known: ir.Table, draw: Draw) -> tuple[ir.Table, list[ir.Table]]:
    """Of links with known titles those to titles unlike the product's own, each title once, with `draw` and with `place`, from
    0 in order of the draw, among the product's; and what was left."""
    unlike = known.filter(known.overlap <= MOST_OVERLAP)
    unlike = unlike.mutate(draw=draw(unlike.product_id, unlike.other_product_id)).pipe(once)
    single, twins = firsts(unlike, [*BASKET, "other_look"], lambda link: [link.draw])
    left = [
        unused(known.filter(known.overlap > MOST_OVERLAP), "titles of both products are alike"),
        unused(twins, "product has a link to the same title"),
    ]
    return single.mutate(place=rank(single.draw, BASKET)).pipe(once), left


def _others(asked: ir.Table, products: ir.Table, links: ir.Table, draw: Draw) -> ir.Table:
    """Products that fill each list: the next ones on a ring of the same source's products in the order of their draw.

    A ring gives every list its own random products by an equality join, where ordering all products anew for every list
    would cost lists times products. Products of other sources would be told apart by their style alone.
    """
    ring = products.select("source", "title", "look", other_product_id="product_id", item_record="record")
    ring = ring.mutate(position=rank(draw(ibis.literal("ring"), ring.other_product_id), [ring.source]))
    sizes = ring.group_by("source").agg(size=ring.count())
    steps = LIST_LENGTH + _SPARE
    turns = asked.select(*BASKET, "turn", own_look="look", true_number="number", step=ibis.range(steps).unnest()).join(
        sizes, "source"
    )
    turns = turns.filter(turns.step < turns["size"])
    turns = turns.mutate(position=((turns.turn * steps + turns.step) % turns["size"]).cast("int64"))
    met = turns.join(ring, ["source", "position"])
    met = met.filter((met.other_product_id != met.product_id) & (met.look != met.own_look))
    met = met.anti_join(links, [*BASKET, "other_product_id"])
    met = met.anti_join(links.select(*BASKET, look="other_look"), [*BASKET, "look"])
    met = met.mutate(twin=rank(met.step, [*BASKET, "look"]))
    met = met.filter(met.twin == 0)
    met = met.mutate(place=rank(met.step, BASKET))
    met = met.filter(met.place < LIST_LENGTH - met.true_number)
    return met.select(
        *BASKET,
        "title",
        "item_record",
        link_record=ibis.null("int64"),
        true=ibis.literal(False),
    )


def next_query(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A session's actions -> which of ten queries come next: that of the next new kind of product, and two narrower ones.

    Queries are made by rule of brand and category; a search that the events hold stays as it was typed.
    """
    told, left = sessions.steps(tables["events"], draw)
    told = told.mutate(made=sessions.rule_query(told)).pipe(once)
    made = told.filter(told.made.notnull())
    made = made.mutate(turn=rank(made.step, [made.session_id, made.made]))
    new = made.filter((made.turn == 0) & made.category.notnull())
    recent = sessions.until(told, new.group_by("session_id").agg(target=new.step.max())).pipe(once)
    lengths = recent.group_by("session_id").agg(length=recent.count())
    long = recent.semi_join(lengths.filter(lengths.length >= sessions.FEWEST_ACTIONS), "session_id")
    labels = long.filter(long.back == 0)
    labels = first(labels.mutate(draw=draw(labels.session_id)), limit)
    labels = labels.mutate(turn=rank(labels.draw))
    labels = labels.select("session_id", "turn", "made", "category", "what", "color", "size").pipe(once)

    asked = _candidates(labels, made, draw)
    asked = asked.mutate(order=draw(ibis.literal("order"), asked.session_id, asked.text))
    asked = asked.mutate(number=rank(asked.order, [asked.session_id]) + 1)
    entry = ibis.struct({name: asked[name] for name in ("number", "text", "true")})
    lists = asked.group_by("session_id").agg(queries=entry.collect(), length=asked.count())
    full = lists.filter(lists.length == QUERIES).pipe(once)

    before = long.filter(long.back > 0)
    searched = (before.action == "view") & before.made.notnull() & (draw(before.session_id, before.what)[:1] < _SEARCHES)
    line = ibis.ifelse(searched, ibis.literal("Searched for '").concat(before.made, "'"), sessions.line(before))
    item = ibis.struct({"step": before.step, "line": line})
    actions = before.group_by("session_id").agg(actions=item.collect(), source=before.source.min())
    records = long.group_by("session_id").agg(records=long.record.collect())
    whole = full.join(actions, "session_id").join(records, "session_id")
    queries = whole.queries.sort()
    rows = whole.select(
        actions=whole.actions.sort().map(lambda item: item["line"]),
        queries=queries.map(lambda item: item["text"]),
        answer=queries.filter(lambda item: item["true"]).map(lambda item: item["number"]),
        key=draw(whole.session_id),
        group=ibis.literal("session:").concat(whole.session_id),
        source="source",
        records="records",
    )
    return Harvest(
        rows,
        [
            *left,
            unused(told.anti_join(recent, "record"), "event is not among the last before its session's last new query"),
            unused(recent.anti_join(long, "session_id"), f"session has fewer than {sessions.FEWEST_ACTIONS} actions"),
            unused(long.anti_join(labels, "session_id"), "task has its size"),
            unused(
                long.semi_join(labels.anti_join(full, "session_id"), "session_id"),
                f"there are not {QUERIES} different queries",
            ),
        ],
    )


def _candidates(labels: ir.Table, made: ir.Table, draw: Draw) -> ir.Table:
    """`session_id, text, true`: the label, narrower ones, a substitute, complements, strangers; each text once a session."""
    # Narrower: the label and one more word of its product, such as its colour, its size, or a word of its title.
    own = ibis.array([lower(labels.color), lower(labels["size"])]).concat(words(labels.what))
    narrow = labels.select("session_id", "made", word=own.unnest())
    narrow = narrow.filter(
        narrow.word.notnull() & (narrow.word.length() > 2) & ~words(narrow.made).contains(narrow.word)
    ).distinct()
    narrow = narrow.mutate(place=rank(draw(narrow.session_id, narrow.word), [narrow.session_id]))
    narrower = narrow.select("session_id", "place", text=narrow.made.concat(" ", narrow.word))

    vocabulary = made.filter(made.category.notnull()).select("session_id", "category", text="made")
    distinct = vocabulary.select("category", "text").distinct()
    # What goes with a category is what other categories' queries stand in one session with it.
    meets = vocabulary.join(vocabulary.select("session_id", other="category"), "session_id")
    meets = meets.filter(meets.other != meets.category).select("text", category="other").distinct()
    everything = distinct.select("text", category=ibis.literal("all"), own="category")
    kinds = [
        (0, 1, True, labels.select("session_id", text="made", place=ibis.literal(0, "int64"))),
        (1, NARROWING, True, narrower),
        (2, SUBSTITUTES, False, _next_on_ring(labels, distinct, draw)),
        (3, COMPLEMENTS, False, _next_on_ring(labels, meets, draw)),
        (4, STRANGERS, False, _next_on_ring(labels.mutate(own="category", category=ibis.literal("all")), everything, draw)),
    ]
    candidates = union(
        [
            table.select(
                "session_id", "text", "place", kind=ibis.literal(kind), most=ibis.literal(most), true=ibis.literal(true)
            )
            for kind, most, true, table in kinds
        ]
    )
    first = ibis.row_number().over(group_by=["session_id", "text"], order_by=[candidates.kind, candidates.place])
    once = candidates.mutate(twin=first).filter(lambda table: table.twin == 0)
    once = once.mutate(turn=rank(once.place, [once.session_id, once.kind]))
    return once.filter(once.turn < once.most).select("session_id", "text", "true")


def _next_on_ring(labels: ir.Table, queries: ir.Table, draw: Draw) -> ir.Table:
    """Queries of each label's category, the next ones on a ring of them in the order of their draw."""
    told = [queries[name] for name in ("category", "text", "own") if name in queries.columns]
    ring = queries.mutate(position=rank(draw(ibis.literal("ring"), *told), [queries.category]))
    sizes = ring.group_by("category").agg(ring_size=ring.count())
    turns = labels.join(sizes, "category")
    turns = turns.mutate(place=ibis.range(QUERIES).unnest()).filter(lambda table: table.place < table.ring_size)
    turns = turns.mutate(position=((turns.turn * QUERIES + turns.place) % turns.ring_size).cast("int64"))
    met = turns.join(ring, ["category", "position"], rname="{name}_met")
    if "own_met" in met.columns:
        met = met.filter(met.own != met.own_met)
    return met.select("session_id", "text", place=met.place.cast("int64"))
