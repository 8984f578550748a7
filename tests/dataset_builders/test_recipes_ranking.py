"""The ranking task's recipe against the same rules in plain Python over random small tables."""

import random
from collections import defaultdict
from typing import Any

import pytest

from common.tasks import GAINS
from dataset_builders.tables import LABELS
from tests.dataset_builders import recipe_tables
from tests.dataset_builders.recipe_runs import SEEDS, Case, DrawRows, Rows, judged_products, outcomes


def query_product_ranking(case: Case) -> Rows:
    queries: dict[Any, dict[str, dict[str, Any]]] = defaultdict(dict)
    twins: dict[Any, Rows] = defaultdict(list)
    for judgment in sorted(judged_products(case), key=lambda judgment: judgment["draw"]):
        shelf = queries[judgment["query"], judgment["locale"], judgment["source"]]
        if shelf.setdefault(judgment["title"].lower(), judgment) is not judgment:
            twins[judgment["query"], judgment["locale"], judgment["source"]].append(judgment)
    rows: Rows = []
    for (query, locale, source), shelf in sorted(queries.items(), key=lambda item: case.draw(*item[0])):
        products = list(shelf.values())
        if {product["label"] for product in products} != set(LABELS) or len(products) < 5:
            case.leave("query lacks one of the four labels, or a fifth product", *products, *twins[query, locale, source])
            continue
        case.leave("query has a product of the same title", *twins[query, locale, source])
        if len(rows) == case.limit:
            case.leave("task has its size", *products)
            continue
        # The first of each label; of the labels' second ones, the first.
        by_label = [[product for product in products if product["label"] == label] for label in LABELS]
        seconds = [found[1] for found in by_label if len(found) > 1]
        five = [*(found[0] for found in by_label), min(seconds, key=lambda product: product["draw"])]
        case.leave("product is not among the five drawn", *(product for product in products if product not in five))
        five.sort(key=lambda product: case.draw("order", query, locale, product["product_id"], source))
        rows.append(
            {
                "query": query,
                "products": [product["title"] for product in five],
                "answer": [GAINS[product["label"]] for product in five],
                "key": case.draw(query, locale, source),
                "group": f"query:{query}",
                "source": source,
                "records": [product[record] for product in five for record in ("record", "product_record")],
            }
        )
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_query_product_ranking_is_recomputed(draw_rows: DrawRows, seed: int) -> None:
    tables = recipe_tables.judgments(random.Random(seed))
    found, expected = outcomes(draw_rows, "query_product_ranking", tables, query_product_ranking, seed)
    assert found == expected
