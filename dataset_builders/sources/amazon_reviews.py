"""Amazon Review Data (2018): reviews as `<Category>[_5].json[.gz]`, products as `meta_<Category>.json[.gz]`, JSON lines.

Format: https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset_builders.records import Placed, Rejected, json_lines
from dataset_builders.sources import TableRows, given, listed, missing, optional_text, whole_number
from dataset_builders.spans import WHOLE, Span, line_spans

NAME = "amazon_reviews_2018"
LICENCE = "none stated"

_REVIEWS = re.compile(r"(?P<category>.+?)(?:_5)?\.json(?:\.gz)?")
_META = re.compile(r"meta_(?P<category>.+)\.json(?:\.gz)?")
_NOT_JSON = "line is not JSON; if it is a Python dict, the file is of the 2014 edition: take that of 2018 or 2023"
_SIMILAR = re.compile(r"/dp/(\w{10})")
"""A product's address, in the HTML table that `similar_item` holds."""


def claims(path: Path) -> bool:
    """By the name, or by the first record: the other two editions claim theirs before."""
    if _META.fullmatch(path.name) or re.fullmatch(r".+_5\.json(?:\.gz)?", path.name):
        return True
    return _REVIEWS.fullmatch(path.name) is not None and _holds_reviews(path)


def _holds_reviews(path: Path) -> bool:
    """Whether a file such as `Gift_Cards.json.gz`, all reviews of a category, is one: by its first record."""
    first = next(json_lines(path), None)
    return first is not None and isinstance(first[1], dict) and {"reviewText", "overall", "asin"} <= first[1].keys()


spans = line_spans


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    for place, record in json_lines(path, span):
        if isinstance(record, Rejected) and record.reason == "line is not JSON" and _META.fullmatch(path.name):
            record = Rejected(_NOT_JSON)  # noqa: PLW2901
        yield place, record


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    of_products, category = _held(path)
    return _product(record, category) if of_products else _review(record, category)


@lru_cache(maxsize=64)
def _held(path: Path) -> tuple[bool, str]:
    """Whether a file holds products, and of which category it is, by its name."""
    products = _META.fullmatch(path.name)
    match = products or _REVIEWS.fullmatch(path.name)
    return products is not None, match["category"].replace("_", " ") if match else path.name


def _review(record: dict[str, Any], category: str) -> TableRows | Rejected:
    rejected = missing(record, ("asin", "overall", "reviewText"))
    if rejected:
        return rejected
    rating = record["overall"]
    text, title = record["reviewText"], optional_text(record.get("summary"))
    # The corpus has no review id, and a reviewer's must not be used: what is reviewed and said stands in its place.
    content = "\0".join(map(str, (record["asin"], rating, title, text)))
    row = {
        "review_id": hashlib.md5(content.encode(errors="replace")).hexdigest(),
        "product_id": record["asin"],
        "category": category,
        "rating": whole_number(rating),
        "title": title,
        "text": text,
    }
    return [("reviews", row)]


def _product(record: dict[str, Any], category: str) -> TableRows | Rejected:
    rejected = missing(record, ("asin",))
    if rejected:
        return rejected
    description = record.get("description")
    parts = [part for part in description if isinstance(part, str)] if isinstance(description, list) else [description]
    product = {
        "product_id": record["asin"],
        "locale": "us",
        "title": given(record.get("title")),
        "description": optional_text(" ".join(part for part in parts if isinstance(part, str))),
        "brand": optional_text(record.get("brand")),
        "category": category,
        "color": None,
    }
    related = {relation: listed(record.get(relation), relation) for relation in ("also_buy", "also_view")}
    related["similar"] = list(dict.fromkeys(_SIMILAR.findall(str(record.get("similar_item")))))
    links = [
        ("co_purchases", {"product_id": record["asin"], "other_product_id": other, "relation": relation})
        for relation, others in related.items()
        for other in others
        if other != record["asin"]
    ]
    return [("products", product), *links]
