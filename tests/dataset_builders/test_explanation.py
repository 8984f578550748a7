"""Why a task has no rows, in a sentence."""

from collections import Counter

from common.tasks import TASKS
from dataset_builders.explanation import KeyMatch, no_rows


def test_reviews_of_products_that_are_spelt_otherwise_are_told_and_reasons_of_no_record_are_not() -> None:
    match = KeyMatch("reviews", "product_id", "products", 155, 0, "shopify-4100", "4100")
    told = no_rows(TASKS["review_rating"], Counter({"prompt repeats another's": 0}), [match])
    found = "0 of 155 values of reviews.product_id are in products, e.g. 'shopify-4100' is not, '4100' is"
    assert told == f"no record passed its filters; {found}"
