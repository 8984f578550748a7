"""Recipes of the multiple-choice tasks against the same rules in plain Python over random small tables."""

import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from common.tasks import QUERY_RELATIONS
from dataset_builders.recipes import multiple_choice
from dataset_builders.recipes.multiple_choice import RELATION_OF_PRODUCTS, RELEVANCE
from dataset_builders.splits import is_test
from tests.dataset_builders import recipe_tables
from tests.dataset_builders.recipe_runs import (
    SEEDS,
    Case,
    DrawRows,
    Rows,
    dealt,
    judged_products,
    judgments_once,
    outcomes,
    redrawn,
    titles,
)

RATINGS = {1: 2, 2: 1, 3: 2, 4: 2, 5: 3}
"""How many reviews of each rating a category of ten may give."""


def review_rating(case: Case) -> Rows:
    """In order of their draws, reviews are taken as long as they say something new and their rating has room."""
    rows: Rows = []
    texts: set[str] = set()
    given: Counter[Any] = Counter()
    for review in sorted(case.table("reviews"), key=lambda review: case.draw(review["review_id"], review["source"])):
        title, text = (recipe_tables.without_stars(review[name] or "") for name in ("title", "text"))
        place = review["category"], review["rating"]
        if not any(char.isalpha() for char in text):
            case.leave("review says nothing but its rating", review)
            continue
        if text.lower() in texts:
            case.leave("review repeats another's text", review)
            continue
        texts.add(text.lower())
        given[place] += 1
        if given[place] > RATINGS[review["rating"]]:
            case.leave("rating has its share in the category", review)
            continue
        rows.append(
            {
                "category": review["category"],
                "review": [title, text] if title and title.lower() != text.lower() else [text],
                "answer": str(review["rating"]),
                "key": redrawn(case.draw(review["review_id"], review["source"])),
                "group": f"product:{review['product_id']}",
                "source": review["source"],
                "records": [review["record"]],
            }
        )
    rows.sort(key=lambda row: row["key"])
    case.leave("task has its size", *({"record": row["records"][0]} for row in rows[case.limit :]))
    return rows[: case.limit]


@pytest.mark.parametrize("seed", SEEDS)
def test_review_rating_is_recomputed(draw_rows: DrawRows, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiple_choice, "REVIEWS_PER_CATEGORY", 10)
    found, expected = outcomes(draw_rows, "review_rating", recipe_tables.reviews(random.Random(seed)), review_rating, seed)
    assert found == expected


def query_relation(case: Case) -> Rows:
    products: dict[Any, Rows] = defaultdict(list)
    for judgment in judgments_once(case):
        products[judgment["product_id"], judgment["locale"], judgment["source"]].append(judgment)
    pairs = []
    for judged in products.values():
        if len(judged) < 6:
            case.leave("product is judged for fewer than 6 queries", *judged)
            continue
        case.leave("no pair of the product's queries was drawn, or none has an exact label", *judged)
        pairs += [
            (case.draw(first["query"], second["query"], first["product_id"], first["locale"], first["source"]), first, second)
            for first in judged
            for second in judged
            if first["label"] == "exact" and first["query"] != second["query"]
        ]
    once: dict[Any, Any] = {}
    for key, first, second in sorted(pairs, key=lambda pair: pair[0]):
        once.setdefault((first["locale"], frozenset((first["query"], second["query"]))), (key, first, second))

    def tested(judgment: dict[str, Any]) -> bool:
        return is_test(f"query:{judgment['query']}", case.seed)

    within = [(key, first, second) for key, first, second in once.values() if tested(first) or not tested(second)]
    chosen = dealt(within, kind=lambda pair: pair[2]["label"], draw=lambda pair: pair[0])[: case.limit]
    relations = dict(zip(("exact", "substitute", "complement", "irrelevant"), QUERY_RELATIONS, strict=True))
    return [
        {
            "query": first["query"],
            "other_query": second["query"],
            **shuffled_options(case, key, {name: name for name in QUERY_RELATIONS}, relations[second["label"]]),
            "key": redrawn(key),
            "group": f"query:{first['query']}",
            "source": first["source"],
            "records": [first["record"], second["record"]],
        }
        for key, first, second in chosen
    ]


def shuffled_options(case: Case, key: str, statements: dict[str, str], right: str) -> dict[str, Any]:
    order = sorted(statements, key=lambda label: case.draw("option", key, label))
    return {"options": [statements[label] for label in order], "answer": str(order.index(right))}


@pytest.mark.parametrize("seed", SEEDS)
def test_query_relation_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    found, expected = outcomes(draw_rows, "query_relation", recipe_tables.judgments(random.Random(seed)), query_relation, seed)
    assert found == expected


def query_product_relation(case: Case) -> Rows:
    single, seen = [], set()
    for judgment in sorted(judged_products(case), key=lambda judgment: judgment["draw"]):
        same = judgment["query"], judgment["locale"], judgment["title"].lower()
        if same in seen:
            case.leave("query has a product of the same title", judgment)
        else:
            single.append(judgment)
            seen.add(same)
    order = dealt(single, kind=lambda judgment: judgment["label"], draw=lambda judgment: judgment["draw"])
    case.leave("task has its size", *order[case.limit :])
    return [
        {
            "query": judgment["query"],
            "product": judgment["title"],
            **shuffled_options(case, judgment["draw"], RELEVANCE, judgment["label"]),
            "key": redrawn(judgment["draw"]),
            "group": f"query:{judgment['query']}",
            "source": judgment["source"],
            "records": [judgment["record"], judgment["product_record"]],
        }
        for judgment in order[: case.limit]
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_query_product_relation_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.judgments(random.Random(seed))
    found, expected = outcomes(draw_rows, "query_product_relation", tables, query_product_relation, seed)
    assert found == expected


def product_relation(case: Case) -> Rows:
    products = titles(case)
    pairs: dict[Any, Rows] = defaultdict(list)
    for link in case.table("co_purchases"):
        pairs[link["source"], frozenset((link["product_id"], link["other_product_id"]))].append(link)
    known = []
    kinds = defaultdict(set)
    for (source, _), found in pairs.items():
        if len(relations := {link["relation"] for link in found}) == 1:
            kinds[source] |= relations
    for (source, _), found in pairs.items():
        if len({link["relation"] for link in found}) > 1:
            case.leave("products have more than one relation", *found)
            continue
        link, *others = sorted(found, key=lambda link: case.draw(link["product_id"], link["other_product_id"], link["source"]))
        case.leave("the same two products the other way round", *others)
        if len(kinds[source]) == 1:
            case.leave("source knows one relation alone", link)
            continue
        first, second = products.get((source, link["product_id"])), products.get((source, link["other_product_id"]))
        if first and second and first["title"].lower() != second["title"].lower():
            known.append((case.draw(link["product_id"], link["other_product_id"], link["source"]), link, first, second))
        else:
            case.leave("one of the products has no title here, or the other's", link)
    order = dealt(known, kind=lambda pair: pair[1]["relation"], draw=lambda pair: pair[0])
    case.leave("task has its size", *(link for _, link, *_ in order[case.limit :]))
    return [
        {
            "product": first["title"],
            "other_product": second["title"],
            **shuffled_options(case, key, RELATION_OF_PRODUCTS, link["relation"]),
            "key": redrawn(key),
            "group": f"product:{link['product_id']}",
            "source": link["source"],
            "records": [link["record"], first["record"], second["record"]],
        }
        for key, link, first, second in order[: case.limit]
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_product_relation_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.links(random.Random(seed))
    found, expected = outcomes(draw_rows, "product_relation", tables, product_relation, seed)
    assert found == expected


def test_a_source_that_knows_one_relation_alone_asks_nothing(draw_rows: DrawRows) -> None:
    tables = recipe_tables.links(random.Random(0))
    alone = tables | {
        "co_purchases": [
            {**link, "relation": "also_buy"} if link["source"] == "shop" else link for link in tables["co_purchases"]
        ]
    }
    found, expected = outcomes(draw_rows, "product_relation", alone, product_relation, 0)
    assert found == expected
    assert {row["source"] for row in found.rows} == {"bazaar"}
    assert "source knows one relation alone" in str(found.reasons)


def answerability(case: Case) -> Rows:
    shown = [question for question in case.table("questions") if question["snippets"]]
    case.leave("question has no snippets", *(question for question in case.table("questions") if not question["snippets"]))
    order = dealt(
        shown,
        kind=lambda question: question["answerable"],
        draw=lambda question: case.draw(question["question_id"], question["source"]),
    )
    case.leave("task has its size", *order[case.limit :])
    return [
        {
            "question": question["question"],
            "snippets": question["snippets"][:5],
            "answer": "yes" if question["answerable"] else "no",
            "key": redrawn(case.draw(question["question_id"], question["source"])),
            "group": f"product:{question['product_id']}",
            "source": question["source"],
            "records": [question["record"]],
        }
        for question in order[: case.limit]
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_answerability_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    found, expected = outcomes(draw_rows, "answerability", recipe_tables.questions(random.Random(seed)), answerability, seed)
    assert found == expected
