"""Recipes of the retrieval tasks against the same rules in plain Python over random small tables."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dataset_builders.tables import SESSION_QUERIES
from tests.dataset_builders import recipe_tables
from tests.dataset_builders.recipe_runs import (
    SEEDS,
    Case,
    DrawRows,
    Outcome,
    Rows,
    bought_links,
    outcomes,
    sessions,
    titles,
    told,
    words,
)


def ring(case: Case, items: list[Any], kind: str, name: Callable[[Any], str], start: int, steps: int) -> list[Any]:
    """The next items, none twice, from a place on that goes round all of a kind in the order of their draw."""
    order = sorted(items, key=lambda item: case.draw("ring", *([kind] if kind else []), name(item)))
    return [order[(start + step) % len(order)] for step in range(min(steps, len(order)))]


def alike(case: Case, product: Any, shelf: Rows, unlike: tuple[set[str], set[str]], turn: int) -> Rows:
    """Three products of the product's category, without looks and ids that are `unlike`."""
    found: dict[str, dict[str, Any]] = {}
    same = [other for other in shelf if product["category"] and other["category"] == product["category"]]
    for other in ring(case, same, "", lambda other: str(other["product_id"]), turn * 18, 18) if same else []:
        if other["title"].lower() not in unlike[0] and other["product_id"] not in unlike[1]:
            found.setdefault(other["title"].lower(), other)
    return list(found.values())[:3]


def also_buy(case: Case) -> Rows:
    products = titles(case)
    bought: dict[Any, set[str]] = defaultdict(set)
    looks: dict[Any, set[str]] = defaultdict(set)
    baskets: dict[Any, dict[str, dict[str, Any]]] = defaultdict(dict)
    for link in sorted(bought_links(case), key=lambda link: link["draw"]):
        basket = link["product_id"], link["source"]
        bought[basket].add(link["other_product_id"])
        if link["other"]:
            looks[basket].add(link["other"]["title"].lower())
        if not link["product"]:
            case.leave("product has no title here", link)
        elif not link["other"]:
            case.leave("bought product has no title here", link)
        elif link["overlap"] > 0.65:
            case.leave("titles of both products are alike", link)
        elif baskets[basket].setdefault(link["other"]["title"].lower(), link) is not link:
            case.leave("product has a link to the same title", link)
    asked = sorted((basket for basket in baskets if baskets[basket]), key=lambda basket: case.draw(*basket))
    rows = []
    for turn, basket in enumerate(asked):
        (product_id, source), found = basket, list(baskets[basket].values())
        case.leave("product has 5 links", *found[5:])
        true, product = found[:5], products[basket[::-1]]
        if turn >= case.limit:
            case.leave("task has its size", *true)
            continue
        shelf = [other for (place, _), other in products.items() if place == source]
        strangers: dict[str, dict[str, Any]] = {}
        for other in ring(case, shelf, "", lambda other: other["product_id"], turn * 30, 30):
            look = other["title"].lower()
            if look not in {product["title"].lower(), *looks[basket]} and other["product_id"] not in {
                product_id,
                *bought[basket],
            }:
                strangers.setdefault(look, other)
        chosen = list(strangers.values())[: 15 - len(true)]
        if len(true) + len(chosen) < 15:
            case.leave("there are not 15 products to choose from", *true)
            continue
        items = [(link["other"], link["record"]) for link in true] + [(other, None) for other in chosen]
        items.sort(key=lambda item: case.draw("order", product_id, item[0]["title"]))
        unlike = {product["title"].lower(), *looks[basket]}, {product_id, *bought[basket]}
        hardest = alike(case, product, shelf, unlike, turn)
        rows.append(
            {
                "product": product["title"],
                "number": "1 product" if len(true) == 1 else f"{len(true)} products",
                "candidates": [other["title"] for other, _ in items],
                "answer": [number for number, (_, link) in enumerate(items, 1) if link is not None],
                "key": case.draw(product_id, source),
                "group": f"product:{product_id}",
                "source": source,
                "records": [product["record"], *(number for other, link in items for number in (other["record"], link))],
                "hard": [other["title"] for other in hardest] or None,
                "hard_records": [other["record"] for other in hardest] or None,
            }
        )
    return rows


def without_doubles(outcome: Outcome) -> Outcome:
    """Without lists that hold a title twice, a true one and a stranger's: their order is open, and no row is made of them."""
    rows = [row for row in outcome.rows if len({title.lower() for title in row["candidates"]}) == 15]
    return Outcome(rows, outcome.reasons)


@pytest.mark.parametrize("seed", SEEDS)
def test_also_buy_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.links(random.Random(seed))
    found, expected = map(without_doubles, outcomes(draw_rows, "also_buy", tables, also_buy, seed))
    assert found == expected


def rule_query(event: dict[str, Any]) -> str | None:
    if event["action"] == "query":
        return str(event["query"]).strip().lower()
    return " ".join(filter(None, (event["brand"], event["category"]))).lower() or None


def next_query(case: Case) -> Rows:
    told_of = sessions(case)
    spoken = {session: [(rule_query(step), step["category"]) for step in steps] for session, steps in told_of.items()}
    asked: Rows = []
    for session, steps in told_of.items():
        case.leave("event is not among the last before its session's last new query", *steps)
        made = [query for query, _ in spoken[session]]
        new = [i for i, (query, kind) in enumerate(spoken[session]) if query is not None and kind and query not in made[:i]]
        if new:
            recent = steps[max(0, new[-1] - 11) : new[-1] + 1]
            case.leave("session has fewer than 3 actions", *recent)
            if len(recent) >= 3:
                asked.append({"session": session, "recent": recent, "label": made[new[-1]]})
    asked.sort(key=lambda one: case.draw(one["session"]))
    written = by_key(case.tables.get(SESSION_QUERIES, []))
    whole = {
        turn: one for turn, one in enumerate(asked[: case.limit]) if "complement" in written.get(key(one["recent"][-1]), {})
    }
    labels = {turn: label_of(one["recent"][-1], one["label"], written) for turn, one in whole.items()}
    rows = []
    for turn, one in enumerate(asked):
        session, recent, label = one["session"], one["recent"], one["label"]
        if turn >= case.limit:
            case.leave("task has its size", *recent)
            continue
        if turn in whole:
            label = labels[turn]
            spoken_of = {(one["recent"][-1]["category"], labels[turn]) for turn, one in whole.items()}
            lists = written[key(recent[-1])]
            strangers = others_on_ring(case, spoken_of, recent[-1]["category"], turn)
            kinds = [([label], 1), *((lists[kind], most) for kind, most in MOST.items()), (strangers, 4)]
            true, others, alike = taken(kinds)
        else:
            true, others, alike = candidates(case, session, recent[-1], label, spoken, turn)
        if len(true) + len(others) < 10:
            case.leave("there are not 10 different queries", *recent)
            continue
        queries = sorted([*true, *others], key=lambda text: case.draw("order", session, text))
        rows.append(
            {
                "actions": [line(case, step, label if turn in whole else None, written) for step in recent[:-1]],
                "queries": queries,
                "answer": [number for number, text in enumerate(queries, 1) if text in true],
                "key": case.draw(session),
                "group": f"session:{session}",
                "source": recent[0]["source"],
                "records": [step["record"] for step in recent],
                "queries_by": "model" if turn in whole else "rule",
                "hard": [text for text in queries if text in alike],
            }
        )
    return rows


MOST = {"narrowing": 2, "substitute": 1, "complement": 2}


def key(step: dict[str, Any]) -> str:
    return hashlib.md5(recipe_tables.about(step).encode()).hexdigest()


def by_key(rows: Rows) -> dict[str, dict[str, list[str]]]:
    """Key -> kind -> texts in order of their places."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["place"]):
        found[row["key"]][row["kind"]].append(row["text"])
    return found


def label_of(step: dict[str, Any], made: str, written: dict[str, dict[str, list[str]]]) -> str:
    return next(iter(written[key(step)].get("query", [made])))


def line(case: Case, step: dict[str, Any], label: str | None, written: dict[str, dict[str, list[str]]]) -> str:
    """Some of the viewed products are told as the search that would find them; in a session whose label was written, by what
    was written for them, unless it says what the label says."""
    query = rule_query(step)
    if step["action"] == "view" and query is not None and case.draw(step["session_id"], step["what"])[0] in "0123":
        if label is not None:
            query = next(iter(written.get(key(step), {}).get("query", [None])))
        if query not in (None, label):
            return f"Searched for '{query}'"
    return told(step)


def others_on_ring(case: Case, entries: Iterable[tuple[str, str]], category: str, turn: int) -> list[str]:
    strangers = ring(case, sorted(entries), "all", lambda entry: f"{entry[1]}|{entry[0]}", turn * 10, 10)
    return [text for kind, text in strangers if kind != category]


def candidates(
    case: Case, session: str, target: dict[str, Any], label: str, spoken: dict[str, Any], turn: int
) -> tuple[list[str], list[str], list[str]]:
    """The label with two narrower queries, and up to 1 substitute, 2 complements and 4 strangers."""
    own = {word.lower() for word in (target["color"], target["size"]) if word} | words(target["what"])
    own = {word for word in own - words(label) if len(word) > 2}
    narrower = [f"{label} {word}" for word in sorted(own, key=lambda word: case.draw(session, word))]

    # The queries that were made in a category, and in which categories' sessions.
    vocabulary = [{(kind, text) for text, kind in steps if kind and text is not None} for steps in spoken.values()]
    everything = sorted(set().union(*vocabulary))
    category = target["category"]
    same = [text for kind, text in everything if kind == category]
    near = {text for one in vocabulary if category in {kind for kind, _ in one} for kind, text in one if kind != category}
    kinds = [
        ([label], 1),
        (narrower, 2),
        (ring(case, same, category, str, turn * 10, 10), 1),
        (ring(case, sorted(near), category, str, turn * 10, 10), 2),
        (others_on_ring(case, everything, category, turn), 4),
    ]
    return taken(kinds)


def taken(kinds: list[tuple[list[str], int]]) -> tuple[list[str], list[str], list[str]]:
    """True texts, others, and of these the substitutes, of (label, narrower, substitutes, complements, strangers), of each no
    more than given."""
    seen: set[str] = set()
    found = []
    for texts, most in kinds:
        # A text that could stand for an earlier kind, though it was not taken for it, is no example of a later one.
        found.append([text for text in dict.fromkeys(texts) if text not in seen][:most])
        seen.update(texts)
    return found[0] + found[1], found[2] + found[3] + found[4], found[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_next_query_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.events(random.Random(seed))
    found, expected = outcomes(draw_rows, "next_query", tables, next_query, seed)
    assert found == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_next_query_of_written_queries_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    rng = random.Random(seed)
    tables = recipe_tables.events(rng)
    tables[SESSION_QUERIES] = recipe_tables.written(rng, tables["events"])
    found, expected = outcomes(draw_rows, "next_query", tables, next_query, seed)
    assert found == expected


def test_some_of_the_written_queries_are_used_and_some_rows_are_left_to_the_rule(draw_rows: DrawRows) -> None:
    made = {"model": 0, "rule": 0}
    for seed in SEEDS[:4]:
        rng = random.Random(seed)
        tables = recipe_tables.events(rng)
        tables[SESSION_QUERIES] = recipe_tables.written(rng, tables["events"])
        for row in draw_rows("next_query", tables).rows:
            made[row["queries_by"]] += 1
    assert min(made.values()) > 5
