"""Recipes of the multiple-choice tasks."""

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from common.tasks import TASKS
from dataset_builders.engine import Draw, RecipeRows, deduplicate, materialize, unused
from dataset_builders.expressions import (
    PRODUCT,
    judged_once,
    lower,
    rank,
    redraw,
    round_robin,
    sample,
    titled_judgments,
    titled_links,
    titles,
    without,
)
from dataset_builders.recipes import Tables
from dataset_builders.splits import TEST_BOUND
from dataset_builders.tables import LABELS, RELATIONS

MOST_SNIPPETS = 5
REVIEWS_PER_CATEGORY = 1000
RATING_SHARES = (0.2, 0.1, 0.2, 0.2, 0.3)
"""Shares of the ratings 1 to 5 in a category: far from the corpus's own, in which two of three reviews give five stars."""

# A title such as "Five Stars", which the corpus fills in by itself, gives the answer away, as do "5.0 out of 5" and "*****".
_STARS = (
    r"\b(one|two|three|four|five|[0-5](\.[05])?( 1/2)?) *(out of|of|/) *(five|5)\b(\.0)?([ -]*stars?\b)?"
    r"|\b(one|two|three|four|five|[0-5](\.[05])?)( 1/2| and a half)?[ -]*stars?\b|\*\*+|[★☆⭐]\x{FE0F}?"
)

SEVERAL = "products have more than one relation"
UNDRAWN = "task has its size"

FEWEST_QUERIES = 6
"""Judgments that a product needs before its queries are set against each other."""


def _statements(task: str, names: Sequence[str]) -> dict[str, str]:
    """What the tables call a label -> the statement that stands for it, in the order of the task's words."""
    form = TASKS[task].words
    return dict(zip(names, form.statements if form else (), strict=True))


RELATION_OF_QUERIES = _statements("query_relation", LABELS)
RELEVANCE = _statements("query_product_relation", LABELS)
RELATION_OF_PRODUCTS = _statements("product_relation", RELATIONS)


def review_rating(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """Text of a review -> its rating."""
    reviews = tables["reviews"]
    text = without(reviews.text, _STARS)
    # Decided on few and short columns; the texts are fetched at the end, for the reviews that are drawn.
    looks = reviews.select(
        "review_id",
        "source",
        "category",
        "rating",
        "record",
        draw=draw(reviews.review_id, reviews.source),
        look=lower(text).hexdigest("md5"),
        has_text=text.re_search(r"\p{L}"),
    ).pipe(materialize)
    texts, silent = looks.filter(looks.has_text), looks.filter(~looks.has_text)
    single, twins = deduplicate(texts, ["look"], lambda review: [review.draw])
    single = single.mutate(place=rank(single.draw, [single.category, single.rating])).pipe(materialize)
    quota = ibis.cases(
        *((single.rating == rating, int(REVIEWS_PER_CATEGORY * share)) for rating, share in enumerate(RATING_SHARES, 1))
    )
    asked = single.filter(single.place < quota)
    asked = asked.mutate(draw=redraw(asked.draw))
    drawn = sample(asked, limit).select("review_id", "source", "draw").pipe(materialize)
    chosen = reviews.join(drawn, ["review_id", "source"])
    chosen = chosen.mutate(text=without(chosen.text, _STARS), title=without(chosen.title.fill_null(""), _STARS))
    rows = chosen.select(
        category=chosen.category,
        review=ibis.ifelse(
            (chosen.title == "") | (lower(chosen.title) == lower(chosen.text)),
            ibis.array([chosen.text]),
            ibis.array([chosen.title, chosen.text]),
        ),
        answer=chosen.rating.cast("string"),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return RecipeRows(
        rows,
        [
            unused(silent, "review says nothing but its rating"),
            unused(twins, "review repeats another's text"),
            unused(single.filter(single.place >= quota), "rating has its share in the category"),
            unused(asked.anti_join(drawn, ["review_id", "source"]), "task has its size"),
        ],
    )


def query_relation(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """Two queries of one product, exact for the first -> what its label for the second says of the two."""
    single, repeated = judged_once(tables)
    judged = single.group_by(PRODUCT).agg(queries=single.count())
    often = single.semi_join(judged.filter(judged.queries >= FEWEST_QUERIES), PRODUCT)
    # A row's split hangs on its first query, so a query that is tested on must not be the other one of a row to train on.
    tested = Draw(draw.seed, "split")(ibis.literal("query:").concat(often["query"]))[:8] < TEST_BOUND
    often = often.mutate(tested=tested).pipe(materialize)

    one = often.filter(often.label == "exact").select(*PRODUCT, "query", "number", "record", "tested")
    names = ("query", "number", "record", "tested")
    other = often.select(*PRODUCT, "label", **{f"other_{name}": name for name in names})
    pairs = one.join(other, PRODUCT)
    pairs = pairs.filter(pairs.number != pairs.other_number)
    pairs = pairs.mutate(draw=draw(pairs["query"], pairs.other_query, *(pairs[name] for name in PRODUCT)))
    # Millions of pairs are distinguished by numbers, and the texts fetched for the few that are drawn.
    pairs = pairs.drop("query", "other_query", "product_id").pipe(materialize)
    low, high = (end(pairs.number, pairs.other_number) for end in (ibis.least, ibis.greatest))
    first_of_pair = pairs.group_by([low.name("low"), high.name("high"), "locale"]).agg(draw=pairs.draw.min())
    drawn = pairs.semi_join(first_of_pair, "draw")
    within = drawn.filter(drawn.tested | ~drawn.other_tested).pipe(materialize)
    # Most pairs are narrowing, and a model should not learn to say only that.
    chosen = round_robin(within, "label", LABELS, limit)
    texts = often.select("number", "query").distinct()
    chosen = chosen.join(texts, "number").join(texts.rename(other_number="number", other_query="query"), "other_number")
    labels = {relation: relation for relation in RELATION_OF_QUERIES.values()}
    relation = chosen.label.cases(*RELATION_OF_QUERIES.items())
    options, answer = _options(draw, chosen.draw, labels, relation)
    rows = chosen.select(
        "query",
        "other_query",
        options=options,
        answer=answer,
        key=redraw(chosen.draw),
        group=ibis.literal("query:").concat(chosen["query"]),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.other_record]),
    )
    return RecipeRows(
        rows,
        [
            *repeated,
            unused(single.anti_join(often, PRODUCT), f"product is judged for fewer than {FEWEST_QUERIES} queries"),
            unused(often, "no pair of the product's queries was drawn, or none has an exact label"),
        ],
    )


def query_product_relation(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A query and a product's title -> the judgment's label."""
    judged, unused_judgments = titled_judgments(tables)
    judged = judged.mutate(draw=draw(judged["query"], judged.locale, judged.product_id, judged.source)).pipe(materialize)
    single, twins = deduplicate(judged, ["number", "locale", "look"], lambda judgment: [judgment.draw])
    chosen = round_robin(single, "label", LABELS, limit).pipe(materialize)
    options, answer = _options(draw, chosen.draw, RELEVANCE, chosen.label)
    rows = chosen.select(
        "query",
        product=chosen.title,
        options=options,
        answer=answer,
        key=redraw(chosen.draw),
        group=ibis.literal("query:").concat(chosen["query"]),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.product_record]),
    )
    return RecipeRows(
        rows,
        [
            *unused_judgments,
            unused(twins, "query has a product of the same title"),
            unused(single.anti_join(chosen, "draw"), "task has its size"),
        ],
    )


def product_relation(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """Two products' titles -> whether they are bought together, viewed together, or similar.

    Of a source that knows one relation alone, every row would have the same answer: it is left out.
    """
    links = tables["co_purchases"]
    pair = ["low", "high", "source"]
    links = links.select(
        "product_id",
        "other_product_id",
        "relation",
        "source",
        "record",
        low=ibis.least(links.product_id, links.other_product_id),
        high=ibis.greatest(links.product_id, links.other_product_id),
    )
    drawn = links.mutate(draw=draw(links.product_id, links.other_product_id, links.source))
    pairs = drawn.group_by(pair).agg(draw=drawn.draw.min(), relation=drawn.relation.min(), most=drawn.relation.max())
    forth = pairs.draw == draw(pairs.low, pairs.high, pairs.source)
    pairs = pairs.mutate(
        product_id=ibis.ifelse(forth, pairs.low, pairs.high), other_product_id=ibis.ifelse(forth, pairs.high, pairs.low)
    ).pipe(materialize)
    clear = pairs.filter(pairs.relation == pairs.most)
    relations = clear.group_by("source").agg(relations=clear.relation.nunique()).pipe(materialize)  # a row a source
    products = titles(tables)
    placed = titled_links(pairs, products, "look").left_join(relations, "source")
    state = ibis.cases(
        (placed.relation != placed.most, SEVERAL),
        (placed.relations == 1, "source knows one relation alone"),
        ((placed.own_look != placed.other_look).fill_null(False), UNDRAWN),
        else_="one of the products has no title here, or the other's",
    )
    placed = placed.select(*pair, "product_id", "other_product_id", "relation", "draw", state=state).pipe(materialize)
    asked = round_robin(placed.filter(placed.state == UNDRAWN), "relation", RELATIONS, limit).pipe(materialize)
    ends = ["product_id", "other_product_id", "source"]
    chosen = titled_links(asked, products, "title", "record").join(links.select(*ends, "record"), ends)
    options, answer = _options(draw, chosen.draw, RELATION_OF_PRODUCTS, chosen.relation)
    rows = chosen.select(
        product=chosen.own_title,
        other_product=chosen.other_title,
        options=options,
        answer=answer,
        key=redraw(chosen.draw),
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.own_record, chosen.other_record]),
    )
    left = links.join(placed.select(*pair, "state", forth="product_id"), pair)
    backwards = (left.product_id != left.forth) & (left.state != SEVERAL)
    left = left.mutate(reason=ibis.ifelse(backwards, "the same two products the other way round", left.state))
    left = left.anti_join(asked, ends).select("record", "source", "reason")
    return RecipeRows(rows, [left])


def answerability(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A question and snippets of reviews -> whether they answer it."""
    questions = tables["questions"]
    questions = questions.mutate(draw=draw(questions.question_id, questions.source))
    shown = questions.filter(questions.snippets.length() > 0)
    chosen = round_robin(shown, "answerable", (True, False), limit).pipe(materialize)
    rows = chosen.select(
        "question",
        snippets=chosen.snippets[:MOST_SNIPPETS],
        answer=ibis.ifelse(chosen.answerable, "yes", "no"),
        key=redraw(chosen.draw),
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return RecipeRows(
        rows,
        [
            unused(questions.filter(questions.snippets.length() == 0), "question has no snippets"),
            unused(shown.anti_join(chosen, "draw"), "task has its size"),
        ],
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
