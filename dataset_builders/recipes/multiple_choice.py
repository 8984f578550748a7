"""Recipes of the multiple-choice tasks."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import (
    Draw,
    Harvest,
    in_turn,
    judged_once,
    rank,
    titled_judgments,
    titled_links,
    titles,
    union,
    unused,
)
from dataset_builders.recipes import Tables
from dataset_builders.splits import TEST_BOUND

MOST_SNIPPETS = 5
REVIEWS_PER_CATEGORY = 1000
RATING_SHARES = (0.2, 0.1, 0.2, 0.2, 0.3)
"""Shares of the ratings 1 to 5 in a category: far from the corpus's own, in which two of three reviews give five stars."""

# A title such as "Five Stars", which the corpus fills in by itself, gives the answer away, as do "5.0 out of 5" and "*****".
_STARS = (
    r"(?i)\b(one|two|three|four|five|[0-5](\.[05])?) *(out of|/) *(five|5)\b(\.0)?([ -]*stars?\b)?"
    r"|\b(one|two|three|four|five|[0-5](\.[05])?)[ -]*stars?\b|\*\*+|[★☆⭐]+"
)

FEWEST_QUERIES = 6
"""Judgments that a product needs before its queries are set against each other."""

RELATION_OF_QUERIES = {"exact": "narrowing", "substitute": "substitute", "complement": "complement", "irrelevant": "irrelevant"}
RELEVANCE = {
    "exact": "The product is what the query asks for, in every detail",
    "substitute": "The product misses a detail of the query but can take the place of what it asks for",
    "complement": "The product does not answer the query but goes with what it asks for",
    "irrelevant": "The product has nothing to do with the query",
}
RELATION_OF_PRODUCTS = {
    "also_buy": "Customers who bought product 1 also bought product 2",
    "also_view": "Customers who viewed product 1 also viewed product 2",
    "similar": "Product 2 is similar to product 1",
}


def review_rating(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """Text of a review -> its rating."""
    reviews = tables["reviews"]
    reviews = reviews.mutate(
        text=_without_stars(reviews.text),
        title=_without_stars(reviews.title.fill_null("")),
        draw=draw(reviews.review_id),
    )
    told = reviews.filter(reviews.text.re_search(r"\p{L}"))
    silent = reviews.filter(~reviews.text.re_search(r"\p{L}"))
    told = told.mutate(twin=rank(told.draw, [told.text.lower()]))
    single = told.filter(told.twin == 0)
    single = single.mutate(place=rank(single.draw, [single.category, single.rating]))
    quota = ibis.cases(
        *((single.rating == rating, int(REVIEWS_PER_CATEGORY * share)) for rating, share in enumerate(RATING_SHARES, 1))
    )
    asked = single.filter(single.place < quota)
    asked = asked.mutate(turn=rank(asked.draw))
    chosen = asked.filter(asked.turn < limit)
    rows = chosen.select(
        category=chosen.category,
        review=ibis.ifelse(
            (chosen.title == "") | (chosen.title.lower() == chosen.text.lower()),
            ibis.array([chosen.text]),
            ibis.array([chosen.title, chosen.text]),
        ),
        answer=chosen.rating.cast("string"),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return Harvest(
        rows,
        union(
            [
                unused(silent, "review says nothing but its rating"),
                unused(told.filter(told.twin > 0), "review repeats another's text"),
                unused(single.filter(single.place >= quota), "rating has its share in the category"),
                unused(asked.filter(asked.turn >= limit), "task has its size"),
            ]
        ),
    )


def _without_stars(text: ir.StringValue) -> ir.StringValue:
    return text.re_replace(_STARS, "").strip()


def query_relation(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """Two queries of one product, exact for the first -> what its label for the second says of the two."""
    single, repeats = judged_once(tables)
    product = ["product_id", "locale", "source"]
    judged = single.group_by(product).agg(queries=single.count())
    often = single.semi_join(judged.filter(judged.queries >= FEWEST_QUERIES), product)
    seldom = single.semi_join(judged.filter(judged.queries < FEWEST_QUERIES), product)

    first = often.filter(often.label == "exact").select(*product, "query", "record")
    second = often.select(*product, other_query="query", label="label", other_record="record")
    pairs = first.join(second, product)
    pairs = pairs.filter(pairs["query"] != pairs.other_query)
    pairs = pairs.mutate(
        draw=draw(pairs["query"], pairs.other_query, pairs.product_id),
        low=ibis.least(pairs["query"], pairs.other_query),
        high=ibis.greatest(pairs["query"], pairs.other_query),
    )
    once = pairs.mutate(twin=rank(pairs.draw, [pairs.low, pairs.high, pairs.locale]))
    once = once.filter(once.twin == 0)
    # A row's split hangs on its first query, so a query that is tested on must not be the other one of a row to train on.
    split_draw = Draw(draw.seed, "split")
    tested = [split_draw(ibis.literal("query:").concat(once[name]))[:8] < TEST_BOUND for name in ("query", "other_query")]
    within = once.filter(tested[0] | ~tested[1])
    # Most pairs are narrowing, and a model should not learn to say only that.
    within = in_turn(within, "label")
    chosen = within.filter(within.turn < limit)
    labels = {relation: relation for relation in RELATION_OF_QUERIES.values()}
    relation = chosen.label.cases(*RELATION_OF_QUERIES.items())
    options, answer = _options(draw, chosen.draw, labels, relation)
    rows = chosen.select(
        "query",
        "other_query",
        options=options,
        answer=answer,
        key=chosen.draw,
        group=ibis.literal("query:").concat(chosen["query"]),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.other_record]),
    )
    return Harvest(
        rows,
        union(
            [
                repeats,
                unused(seldom, f"product is judged for fewer than {FEWEST_QUERIES} queries"),
                unused(often, "no pair of the product's queries was drawn, or none has an exact label"),
            ]
        ),
    )


def query_product_relation(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A query and a product's title -> the judgment's label."""
    judged, left = titled_judgments(tables)
    judged = judged.mutate(draw=draw(judged["query"], judged.locale, judged.product_id))
    judged = judged.mutate(twin=rank(judged.draw, [judged["query"], judged.locale, judged.title.lower()]))
    single = judged.filter(judged.twin == 0)
    single = in_turn(single, "label")
    chosen = single.filter(single.turn < limit)
    options, answer = _options(draw, chosen.draw, RELEVANCE, chosen.label)
    rows = chosen.select(
        "query",
        product=chosen.title,
        options=options,
        answer=answer,
        key=chosen.draw,
        group=ibis.literal("query:").concat(chosen["query"]),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.product_record]),
    )
    return Harvest(
        rows,
        union(
            [
                *left,
                unused(judged.filter(judged.twin > 0), "query has a product of the same title"),
                unused(single.filter(single.turn >= limit), "task has its size"),
            ]
        ),
    )


def product_relation(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """Two products' titles -> whether they are bought together, viewed together, or similar."""
    links = tables["co_purchases"]
    links = links.mutate(
        low=ibis.least(links.product_id, links.other_product_id),
        high=ibis.greatest(links.product_id, links.other_product_id),
    )
    pair = ["low", "high", "source"]
    meanings = links.group_by(pair).agg(relations=links.relation.nunique())
    clear = links.semi_join(meanings.filter(meanings.relations == 1), pair)
    unclear = links.semi_join(meanings.filter(meanings.relations > 1), pair)
    clear = clear.mutate(draw=draw(clear.product_id, clear.other_product_id))
    clear = clear.mutate(twin=rank(clear.draw, pair))
    once = clear.filter(clear.twin == 0)
    known = titled_links(once, titles(tables)).filter(lambda link: link.title.notnull() & link.other_title.notnull())
    known = known.filter(known.title.lower() != known.other_title.lower())
    known = in_turn(known, "relation")
    chosen = known.filter(known.turn < limit)
    options, answer = _options(draw, chosen.draw, RELATION_OF_PRODUCTS, chosen.relation)
    rows = chosen.select(
        product=chosen.title,
        other_product=chosen.other_title,
        options=options,
        answer=answer,
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.product_record, chosen.other_record]),
    )
    return Harvest(
        rows,
        union(
            [
                unused(unclear, "products have more than one relation"),
                unused(clear.filter(clear.twin > 0), "the same two products the other way round"),
                unused(once.anti_join(known, pair), "one of the products has no title here, or the other's"),
                unused(known.filter(known.turn >= limit), "task has its size"),
            ]
        ),
    )


def answerability(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A question and snippets of reviews -> whether they answer it."""
    questions = tables["questions"]
    questions = questions.mutate(draw=draw(questions.question_id))
    shown = questions.filter(questions.snippets.length() > 0)
    shown = in_turn(shown, "answerable")
    chosen = shown.filter(shown.turn < limit)
    rows = chosen.select(
        "question",
        snippets=chosen.snippets[:MOST_SNIPPETS],
        answer=ibis.ifelse(chosen.answerable, "yes", "no"),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return Harvest(
        rows,
        union(
            [
                unused(questions.filter(questions.snippets.length() == 0), "question has no snippets"),
                unused(shown.filter(shown.turn >= limit), "task has its size"),
            ]
        ),
    )


def _options(
    draw: Draw, key: ir.Value, statements: dict[str, str], right: ir.StringValue
) -> tuple[ir.ArrayValue, ir.StringValue]:
    """The statements in an order drawn for the row, and the place of the right label's, from 0."""
    options = [
        ibis.struct({"order": draw(ibis.literal("option"), key, ibis.literal(label)), "label": label, "statement": statement})
        for label, statement in statements.items()
    ]
    ordered = ibis.array(options).sort()
    labels = ordered.map(lambda option: option["label"])
    return ordered.map(lambda option: option["statement"]), labels.index(right).cast("string")
