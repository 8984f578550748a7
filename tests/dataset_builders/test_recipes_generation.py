"""Recipes of the generation tasks against the same rules in plain Python over random small tables."""

import random
from collections import defaultdict
from typing import Any

import pytest

from tests.dataset_builders import recipe_tables
from tests.dataset_builders.recipe_runs import (
    SEEDS,
    Case,
    DrawRows,
    Rows,
    bought_links,
    judged_products,
    outcomes,
    sessions,
    told,
)


def query_generation(case: Case) -> Rows:
    rows: Rows = []
    seen: set[str] = set()
    for judgment in sorted(judged_products(case), key=lambda judgment: judgment["draw"]):
        title = judgment["title"].lower()
        if judgment["label"] != "exact":
            case.leave("product does not answer the query exactly", judgment)
        elif title in seen:
            case.leave("product has a query already", judgment)
        elif len(rows) == case.limit:
            case.leave("task has its size", judgment)
        else:
            rows.append(
                {
                    "product": judgment["title"],
                    "answer": judgment["query"],
                    "key": judgment["draw"],
                    "group": f"query:{judgment['query']}",
                    "source": judgment["source"],
                    "records": [judgment["record"], judgment["product_record"]],
                }
            )
        if judgment["label"] == "exact":
            seen.add(title)
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_query_generation_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.judgments(random.Random(seed))
    found, expected = outcomes(draw_rows, "query_generation", tables, query_generation, seed)
    assert expected.rows
    assert found == expected


def next_title_merrec(case: Case) -> Rows:
    rows: Rows = []
    for session, steps in sorted(sessions(case).items(), key=lambda item: case.draw(item[0])):
        names = [step["what"].lower() for step in steps]
        new = [place for place, name in enumerate(names) if name not in names[:place] and steps[place]["action"] != "query"]
        end = new[-1] + 1 if new else 0
        recent = steps[max(0, end - 12) : end]
        case.leave("event is not among the last before its session's last new product", *steps)
        if 0 < len(recent) < 3:
            case.leave("session has fewer than 3 actions", *recent)
        elif recent and len(rows) == case.limit:
            case.leave("task has its size", *recent)
        elif recent:
            rows.append(
                {
                    "actions": [told(step) for step in recent[:-1]],
                    "answer": recent[-1]["what"],
                    "key": case.draw(session),
                    "group": f"session:{session}",
                    "source": recent[0]["source"],
                    "records": [step["record"] for step in recent],
                }
            )
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_next_title_merrec_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.events(random.Random(seed))
    found, expected = outcomes(draw_rows, "next_title_merrec", tables, next_title_merrec, seed)
    assert found == expected


def next_title_amazon(case: Case) -> Rows:
    baskets: dict[Any, Rows] = defaultdict(list)
    for link in bought_links(case):
        if not (link["product"] and link["other"]):
            case.leave("one of the products has no title here", link)
        elif link["overlap"] > 0.65:
            case.leave("titles of both products are alike", link)
        else:
            baskets[link["product_id"], link["source"]].append(link)
    rows: Rows = []
    for (product_id, source), basket in sorted(baskets.items(), key=lambda item: case.draw(*item[0])):
        single: dict[str, dict[str, Any]] = {}
        for link in sorted(basket, key=lambda link: link["draw"]):
            if single.setdefault(link["other"]["title"].lower(), link) is not link:
                case.leave("product has a link to the same title", link)
        case.leave("product has 3 links", *list(single.values())[3:])
        shown = list(single.values())[:3]
        if len(shown) == 1:
            case.leave("product has only one link", *shown)
        elif len(rows) == case.limit:
            case.leave("task has its size", *shown)
        else:
            answer, *others = (link["other"]["title"] for link in shown)
            product = shown[0]["product"]
            rows.append(
                {
                    "products": [product["title"], *others],
                    "answer": answer,
                    "key": case.draw(product_id, source),
                    "group": f"product:{product_id}",
                    "source": source,
                    "records": [product["record"], *(n for link in shown for n in (link["record"], link["other"]["record"]))],
                }
            )
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_next_title_amazon_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.links(random.Random(seed))
    found, expected = outcomes(draw_rows, "next_title_amazon", tables, next_title_amazon, seed)
    assert expected.rows
    assert found == expected


def answer_generation(case: Case) -> Rows:
    rows: Rows = []
    for question in sorted(
        case.table("questions"), key=lambda question: case.draw(question["question_id"], question["source"])
    ):
        answer = question["answers"][0].strip() if question["answers"] else None
        if answer is None or not question["answerable"] or not question["snippets"]:
            case.leave("question has no answer or no snippets", question)
        elif len(answer.split()) > 60:
            case.leave("answer is longer than 60 words", question)
        elif len(rows) == case.limit:
            case.leave("task has its size", question)
        else:
            rows.append(
                {
                    "question": question["question"],
                    "snippets": question["snippets"][:5],
                    "answer": answer,
                    "key": case.draw(question["question_id"], question["source"]),
                    "group": f"product:{question['product_id']}",
                    "source": question["source"],
                    "records": [question["record"]],
                }
            )
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_answer_generation_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.questions(random.Random(seed))
    found, expected = outcomes(draw_rows, "answer_generation", tables, answer_generation, seed)
    assert found == expected
