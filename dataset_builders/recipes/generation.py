"""Recipes of the generation tasks."""

import ibis

from dataset_builders.engine import Draw, Harvest, rank, union, unused
from dataset_builders.recipes import Tables

MOST_SNIPPETS = 5
MOST_ANSWER_WORDS = 60


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
