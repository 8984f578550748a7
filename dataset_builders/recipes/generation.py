"""Recipes of the generation tasks."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, RecipeRows, deduplicate, in_parts, materialize, unused
from dataset_builders.expressions import bought_links, lower, rank, sample, spaced, titled_judgments, titled_links, titles
from dataset_builders.recipes import Tables, sessions
from dataset_builders.recipes.multiple_choice import MOST_SNIPPETS
from dataset_builders.recipes.retrieval import BASKET, unlike_links

MOST_ANSWER_WORDS = 60
MOST_SHOWN = 2
"""Bought products that are shown beside the first."""


def query_generation(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A product's title -> a query that it answers exactly."""
    judged, unused_judgments = titled_judgments(tables)
    exact = judged.filter(judged.label == "exact")
    exact = exact.mutate(draw=draw(exact["query"], exact.locale, exact.product_id, exact.source)).pipe(materialize)
    single, twins = deduplicate(exact, ["look"], lambda judgment: [judgment.draw])
    chosen = sample(single, limit).pipe(materialize)
    rows = chosen.select(
        product=chosen.title,
        answer=chosen["query"],
        key=chosen.draw,
        group=ibis.literal("query:").concat(chosen["query"]),
        source=chosen.source,
        records=ibis.array([chosen.record, chosen.product_record]),
    )
    return RecipeRows(
        rows,
        [
            *unused_judgments,
            unused(judged.filter(judged.label != "exact"), "product does not answer the query exactly"),
            unused(twins, "product has a query already"),
            unused(single.anti_join(chosen, "draw"), "task has its size"),
        ],
    )


def next_title_merrec(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A session's actions -> the title of the last product that is new in it."""
    steps, unused_events = sessions.steps(tables["events"], draw)
    steps = steps.mutate(turn=rank(steps.step, [steps.session_id, lower(steps.what)])).pipe(materialize)
    new = steps.filter((steps.turn == 0) & (steps.action != "query"))
    recent = sessions.until(steps, new.group_by("session_id").agg(target=new.step.max())).pipe(materialize)
    item = ibis.struct({"step": recent.step, "line": sessions.line(recent), "what": recent.what, "record": recent.record})
    lists = recent.group_by("session_id").agg(items=item.collect(), length=recent.count(), source=recent.source.min())
    # Spark takes no longer integer for a place in a list.
    lists = lists.mutate(length=lists.length.cast("int32")).pipe(materialize)
    long = lists.filter(lists.length >= sessions.FEWEST_ACTIONS)
    chosen = sample(long.mutate(draw=draw(long.session_id)), limit)
    chosen = chosen.mutate(items=chosen["items"].sort()).pipe(materialize)
    rows = chosen.select(
        actions=chosen["items"].map(lambda item: item["line"])[: chosen.length - 1],
        answer=chosen["items"].map(lambda item: item["what"])[chosen.length - 1],
        key=chosen.draw,
        group=ibis.literal("session:").concat(chosen.session_id),
        source=chosen.source,
        records=chosen["items"].map(lambda item: item["record"]),
    )
    return RecipeRows(
        rows,
        [
            *unused_events,
            unused(steps.anti_join(recent, "record"), "event is not among the last before its session's last new product"),
            unused(
                recent.semi_join(lists.filter(lists.length < sessions.FEWEST_ACTIONS), "session_id"),
                f"session has fewer than {sessions.FEWEST_ACTIONS} actions",
            ),
            unused(recent.semi_join(long.anti_join(chosen, "session_id"), "session_id"), "task has its size"),
        ],
    )


def next_title_amazon(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A product and up to two that were bought with it -> the title of one more."""
    links = bought_links(tables)
    known = links.filter(links.own_look.notnull() & links.other_look.notnull())
    single, unused_links = unlike_links(known, draw)
    shown = single.filter(single.place <= MOST_SHOWN)
    lengths = shown.group_by(BASKET).agg(length=shown.count(), own_record=shown.own_record.min())
    full = lengths.filter(lengths.length > 1)
    asked = sample(full.mutate(draw=draw(full.product_id, full.source)), limit).pipe(materialize)
    products = titles(tables)
    baskets = in_parts(asked, "product_id", lambda part: _baskets(part, shown, products))
    others = baskets["items"].map(lambda item: item["other_title"])
    rows = baskets.select(
        products=ibis.array([baskets.title]).concat(others[1:]),
        answer=others[0],
        key=baskets.draw,
        group=ibis.literal("product:").concat(baskets.product_id),
        source="source",
        records=baskets["items"]
        .map(lambda item: item["other_record"])
        .concat(baskets["items"].map(lambda item: item["record"]), ibis.array([baskets.own_record])),
    )
    return RecipeRows(
        rows,
        [
            unused(links.filter(links.own_look.isnull() | links.other_look.isnull()), "one of the products has no title here"),
            *unused_links,
            unused(single.filter(single.place > MOST_SHOWN), f"product has {MOST_SHOWN + 1} links"),
            unused(shown.semi_join(lengths.filter(lengths.length == 1), BASKET), "product has only one link"),
            unused(shown.semi_join(full, BASKET).anti_join(asked, BASKET), "task has its size"),
        ],
    )


def _baskets(asked: ir.Table, shown: ir.Table, products: ir.Table) -> ir.Table:
    """Of each product that is asked about its `title`, and `items`, what is shown as bought with it, in order."""
    drawn = titled_links(shown.semi_join(asked, BASKET), products, "title")
    item = ibis.struct({name: drawn[name] for name in ("place", "other_title", "other_record", "record")})
    baskets = drawn.group_by(BASKET).agg(items=item.collect(), title=drawn.own_title.min()).join(asked, BASKET)
    return baskets.mutate(items=baskets["items"].sort())


def answer_generation(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A question and up to five snippets of reviews -> the first answer's text."""
    questions = tables["questions"]
    questions = questions.mutate(
        # An empty list has no first answer; without the null, engines differ in what they make of it.
        answer=ibis.ifelse(questions.answers.length() > 0, questions.answers[0], ibis.null("string")),
        draw=draw(questions.question_id, questions.source),
    )
    answerable = questions.answerable & questions.answer.notnull() & (questions.snippets.length() > 0)
    answered = questions.filter(answerable)
    short = spaced(answered.answer).split(" ").length() <= MOST_ANSWER_WORDS
    brief = answered.filter(short)
    chosen = sample(brief, limit).pipe(materialize)
    rows = chosen.select(
        "question",
        snippets=chosen.snippets[:MOST_SNIPPETS],
        answer=spaced(chosen.answer),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return RecipeRows(
        rows,
        [
            unused(questions.filter(~answerable), "question has no answer or no snippets"),
            unused(answered.filter(~short), f"answer is longer than {MOST_ANSWER_WORDS} words"),
            unused(brief.anti_join(chosen, "draw"), "task has its size"),
        ],
    )
