"""Co-purchases are those that a plain count gives, for any order of the baskets, and bounded for the heaviest of them."""

import hashlib
import random
import time
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest

from dataset_builders.co_purchases import LEAST_SUPPORT, MOST_PRODUCTS, MOST_RELATED, co_purchases, reviewed_baskets
from dataset_builders.engine import connect

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return connect("1GB", 2, tmp_path_factory.mktemp("spill"))


def baskets(seed: int, count: int = 3000) -> Rows:
    """Of two sources with the same ids; a few heavy baskets and popular products, gaps, and products that stand in a basket
    twice."""
    rng = random.Random(seed)
    rows = [
        {
            "basket": int(rng.paretovariate(0.6)) % 500,
            "product_id": f"p{int(rng.paretovariate(0.8)) % 300}",
            "source": rng.choice(("bazaar", "shop")),
        }
        for _ in range(count)
    ]
    rows += [{"basket": basket, "product_id": f"p{n}", "source": "shop"} for basket in (900, 901) for n in range(90)]
    rows += [{"basket": None, "product_id": "p1", "source": "shop"}, {"basket": 1, "product_id": None, "source": "shop"}]
    return [{**row, "record": number} for number, row in enumerate(rows)]


def table(connection: Any, rows: Rows, name: str = "baskets") -> Any:
    return connection.create_table(name, pa.Table.from_pylist(rows), overwrite=True)


def derived(connection: Any, rows: Rows, **options: Any) -> Rows:
    links = co_purchases(table(connection, rows), **options)
    return links.order_by(["source", "product_id", "other_product_id"]).to_pyarrow().to_pylist()


def counted(rows: Rows) -> set[tuple[str, str, str]]:
    """(source, product, other) of the links, counted one basket after another."""
    held: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in rows:
        if row["basket"] is not None and row["product_id"] is not None:
            held[row["source"], row["basket"]].add(row["product_id"])
    popularity = Counter((source, product) for (source, _), products in held.items() for product in products)
    support: Counter[tuple[str, str, str]] = Counter()
    for (source, basket), products in held.items():
        frequent = {product for product in products if popularity[source, product] >= LEAST_SUPPORT}
        draws = {product: hashlib.md5(f"{basket}|{product}".encode()).hexdigest() for product in frequent}
        for one, other in combinations(sorted(frequent, key=draws.__getitem__)[:MOST_PRODUCTS], 2):
            support.update([(source, one, other), (source, other, one)])
    nearest = defaultdict(list)
    for (source, product, other), number in support.items():
        if number >= LEAST_SUPPORT:
            square = Fraction(number**2, popularity[source, product] * popularity[source, other])
            nearest[source, product].append((-square, other))
    return {(*key, other) for key, others in nearest.items() for _, other in sorted(others)[:MOST_RELATED]}


@pytest.mark.parametrize("seed", range(3))
def test_links_are_those_of_a_plain_count(duckdb: Any, seed: int) -> None:
    rows = baskets(seed)
    links = derived(duckdb, rows)
    found = [(link["source"], link["product_id"], link["other_product_id"]) for link in links]
    assert len(found) > 500
    assert len(set(found)) == len(found)
    assert set(found) == counted(rows)
    assert {link["relation"] for link in links} == {"also_buy"}


def test_a_links_record_put_its_product_beside_the_other(duckdb: Any) -> None:
    rows = baskets(4)
    beside = defaultdict(set)
    for row in rows:
        beside[row["source"], row["basket"]].add(row["product_id"])
    for link in derived(duckdb, rows):
        row = rows[link["record"]]
        assert (row["product_id"], row["source"]) == (link["product_id"], link["source"])
        assert link["other_product_id"] in beside[row["source"], row["basket"]]


def test_shuffled_baskets_give_the_same_links(duckdb: Any) -> None:
    rows = baskets(5)
    assert derived(duckdb, random.Random(0).sample(rows, len(rows))) == derived(duckdb, rows)


def test_text_ids_and_another_relation_and_support_are_taken(duckdb: Any) -> None:
    rows = [
        {"basket": f"order {order}", "product_id": product, "source": "shop", "record": order}
        for order, products in enumerate(("ab", "ab", "abc", "bc"))
        for product in products
    ]
    links = derived(duckdb, rows, relation="also_view", least_support=3)
    assert [(link["product_id"], link["other_product_id"], link["relation"]) for link in links] == [
        ("a", "b", "also_view"),
        ("b", "a", "also_view"),
    ]


def test_no_pair_that_two_baskets_share_gives_no_link(duckdb: Any) -> None:
    rows = [{"basket": n, "product_id": f"p{n // 2}", "source": "shop", "record": n} for n in range(6)]
    assert derived(duckdb, rows) == []


def test_customers_with_thousands_of_products_are_bounded(duckdb: Any) -> None:
    """Without the bound these are 60 million pairs."""
    rows = [
        {"basket": basket, "product_id": f"p{n}", "source": "shop", "record": basket * 10_000 + n}
        for basket in range(5)
        for n in range(5000)
    ]
    begun = time.monotonic()
    links = co_purchases(table(duckdb, rows)).count().to_pyarrow().as_py()
    assert links <= 5 * MOST_PRODUCTS * (MOST_PRODUCTS - 1)
    assert time.monotonic() - begun < 20


def test_what_a_customer_reviewed_counts_once_by_what_was_said(duckdb: Any) -> None:
    reviewers = [
        {"source": "s", "review_id": review, "customer": customer}
        for review, customer in (("r1", 7), ("r2", 7), ("r3", 7), ("r3", 8), ("rejected", 8))
    ]
    reviews = [
        {"review_id": "r1", "source": "s", "product_id": "p1", "record": 30},
        {"review_id": "r2", "source": "s", "product_id": "p1", "record": 20},
        {"review_id": "r3", "source": "s", "product_id": "p2", "record": 10},
        {"review_id": "r3", "source": "other", "product_id": "p9", "record": 11},
    ]
    found = reviewed_baskets(table(duckdb, reviewers, "reviewers"), table(duckdb, reviews, "reviews"))
    rows = found.order_by(["basket", "product_id"]).to_pyarrow().to_pylist()
    assert [(row["basket"], row["product_id"], row["record"]) for row in rows] == [(7, "p1", 30), (7, "p2", 10), (8, "p2", 10)]
