"""Recipes of the generation tasks."""

import ibis

from dataset_builders.engine import Draw, Harvest, bought_links, overlap, rank, titled_judgments, titles, union, unused
from dataset_builders.recipes import Tables, sessions
from dataset_builders.recipes.multiple_choice import MOST_SNIPPETS
from dataset_builders.recipes.retrieval import BASKET, MOST_OVERLAP

MOST_ANSWER_WORDS = 60
MOST_SHOWN = 2
"""Bought products that are shown beside the first."""


def query_generation(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A product's title -> a query that it answers exactly."""
    judged, left = titled_judgments(tables)
    exact = judged.filter(judged.label == "exact")
    exact = exact.mutate(draw=draw(exact["query"], exact.locale, exact.product_id))
    exact = exact.mutate(place=rank(exact.draw, [exact.title.lower()]))
    single = exact.filter(exact.place == 0)
    single = single.mutate(turn=rank(single.draw))
    chosen = single.filter(single.turn < limit)
    rows = chosen.select(
        product=chosen.title,
        answer=chosen["query"],
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
                unused(judged.filter(judged.label != "exact"), "product does not answer the query exactly"),
                unused(exact.filter(exact.place > 0), "product has a query already"),
                unused(single.filter(single.turn >= limit), "task has its size"),
            ]
        ),
    )


def next_title_merrec(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A session's actions -> the title of the last product that is new in it."""
    told, left = sessions.steps(tables["events"], draw)
    told = told.mutate(turn=rank(told.step, [told.session_id, told.what.lower()]))
    new = told.filter((told.turn == 0) & (told.action != "query"))
    recent = sessions.until(told, new.group_by("session_id").agg(target=new.step.max()))
    item = ibis.struct({"step": recent.step, "line": sessions.line(recent), "what": recent.what, "record": recent.record})
    lists = recent.group_by("session_id").agg(items=item.collect(), length=recent.count(), source=recent.source.min())
    long = lists.filter(lists.length >= sessions.FEWEST_ACTIONS)
    long = long.mutate(items=long["items"].sort(), draw=draw(long.session_id))
    long = long.mutate(turn=rank(long.draw))
    chosen = long.filter(long.turn < limit)
    rows = chosen.select(
        actions=chosen["items"].map(lambda item: item["line"])[: chosen.length - 1],
        answer=chosen["items"].map(lambda item: item["what"])[chosen.length - 1],
        key=chosen.draw,
        group=ibis.literal("session:").concat(chosen.session_id),
        source=chosen.source,
        records=chosen["items"].map(lambda item: item["record"]),
    )
    return Harvest(
        rows,
        union(
            [
                *left,
                unused(told.anti_join(recent, "record"), "event is not among the last before its session's last new product"),
                unused(
                    recent.semi_join(lists.filter(lists.length < sessions.FEWEST_ACTIONS), "session_id"),
                    f"session has fewer than {sessions.FEWEST_ACTIONS} actions",
                ),
                unused(recent.semi_join(long.filter(long.turn >= limit), "session_id"), "task has its size"),
            ]
        ),
    )


def next_title_amazon(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A product and up to two that were bought with it -> the title of one more."""
    links = bought_links(tables, titles(tables))
    known = links.filter(links.title.notnull() & links.other_title.notnull())
    unlike = known.filter(overlap(known.title, known.other_title) <= MOST_OVERLAP)
    unlike = unlike.mutate(draw=draw(unlike.product_id, unlike.other_product_id))
    unlike = unlike.mutate(twin=rank(unlike.draw, [*BASKET, unlike.other_title.lower()]))
    single = unlike.filter(unlike.twin == 0)
    single = single.mutate(place=rank(single.draw, BASKET))
    drawn = single.filter(single.place <= MOST_SHOWN)
    fields = ("place", "other_title", "other_record", "record")
    item = ibis.struct({name: drawn[name] for name in fields})
    baskets = drawn.group_by(BASKET).agg(
        items=item.collect(),
        length=drawn.count(),
        title=drawn.title.min(),
        product_record=drawn.product_record.min(),
    )
    full = baskets.filter(baskets.length > 1)
    full = full.mutate(items=full["items"].sort(), draw=draw(full.product_id, full.source))
    full = full.mutate(turn=rank(full.draw))
    chosen = full.filter(full.turn < limit)
    others = chosen["items"].map(lambda item: item["other_title"])
    rows = chosen.select(
        products=ibis.array([chosen.title]).concat(others[1:]),
        answer=others[0],
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=chosen["items"]
        .map(lambda item: item["other_record"])
        .concat(chosen["items"].map(lambda item: item["record"]), ibis.array([chosen.product_record])),
    )
    return Harvest(
        rows,
        union(
            [
                unused(links.anti_join(known, "record"), "one of the products has no title here"),
                unused(known.anti_join(single, [*BASKET, "other_product_id"]), "titles of both products are alike"),
                unused(single.filter(single.place > MOST_SHOWN), f"product has {MOST_SHOWN + 1} links"),
                unused(drawn.semi_join(baskets.filter(baskets.length == 1), BASKET), "product has only one link"),
                unused(drawn.semi_join(full.filter(full.turn >= limit), BASKET), "task has its size"),
            ]
        ),
    )


def answer_generation(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A question and up to five snippets of reviews -> the first answer's text."""
    questions = tables["questions"]
    questions = questions.mutate(
        # An empty list has no first answer; without the null, engines differ in what they make of it.
        answer=ibis.ifelse(questions.answers.length() > 0, questions.answers[0], ibis.null("string")),
        draw=draw(questions.question_id),
    )
    told = questions.answerable & questions.answer.notnull() & (questions.snippets.length() > 0)
    answered = questions.filter(told)
    short = answered.answer.strip().split(" ").length() <= MOST_ANSWER_WORDS
    brief = answered.filter(short)
    brief = brief.mutate(turn=rank(brief.draw))
    chosen = brief.filter(brief.turn < limit)
    rows = chosen.select(
        "question",
        snippets=chosen.snippets[:MOST_SNIPPETS],
        answer=chosen.answer.strip(),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return Harvest(
        rows,
        union(
            [
                unused(questions.filter(~told), "question has no answer or no snippets"),
                unused(answered.filter(~short), f"answer is longer than {MOST_ANSWER_WORDS} words"),
                unused(brief.filter(brief.turn >= limit), "task has its size"),
            ]
        ),
    )
