"""Amazon Reviews 2023: reviews as `<Category>.jsonl`, products as `meta_<Category>.jsonl`, or the same as Parquet.

Format: https://huggingface.co/datasets/McAuley-Lab/Amazon-Reviews-2023

A review's `parent_asin` is its product's; `asin` may be a colour or size of it, which has no metadata. The field
`bought_together` is null throughout (a copy that has it is believed), and there is no also_buy or also_view: see
`co_purchases.py` for what takes their place.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from dataset_builders.raw_files import stem_and_ending
from dataset_builders.records import Placed, Rejected, column_names, json_lines, parquet_rows
from dataset_builders.sources import REVIEWER, TableRows, identifier, listed, missing, optional_text, whole_number
from dataset_builders.spans import WHOLE, Span, line_spans, parquet_spans

NAME = "amazon_reviews_2023"
LICENCE = "none stated"

SNIFFED_RECORDS = 20
"""A file is known by the fields of its first records, whatever its name: editions are exchanged under each other's names."""

_REVIEW = ("parent_asin", "asin", "rating", "title", "text", "user_id")
_PRODUCT = ("parent_asin", "title", "main_category", "features", "description", "store", "details", "bought_together")
# Fields by which each kind of record is told from the other, and from those of other corpora.
_OF_REVIEWS = frozenset({"verified_purchase", "helpful_vote", "parent_asin"})
_OF_PRODUCTS = frozenset({"main_category", "average_rating", "rating_number", "bought_together", "store", "details"})

_NAMED = re.compile(r"(?:raw_)?(?:meta|reviews?)_(?P<category>.+)")
# What load_dataset and others call their files: the folder says which category it is, if anything does.
_NAMELESS = re.compile(r"(?:full|train|test|data|part|reviews?|meta|products?)?(?:[-_.]?(?:\d+|of|c\d+))*", re.IGNORECASE)


def claims(path: Path) -> bool:
    if path.suffix == ".parquet":
        return _kind(column_names(path)) != ""
    stem, ending = stem_and_ending(path)
    if ending not in (".jsonl", ".ndjson", ".json", ""):
        return False
    records = [record for _, record in islice(json_lines(path), SNIFFED_RECORDS) if isinstance(record, dict)]
    if records:
        return any(_kind(record.keys()) for record in records)
    return ending == ".jsonl" and stem.startswith("meta_")  # it is empty, or damaged, and that is told


def _kind(names: Any) -> str:
    if "rating" in names and "text" in names and not _OF_REVIEWS.isdisjoint(names):
        return "review"
    return "product" if "parent_asin" in names and not _OF_PRODUCTS.isdisjoint(names) else ""


def spans(path: Path) -> list[Span]:
    return parquet_spans(path) if path.suffix == ".parquet" else line_spans(path)


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    return parquet_rows(path, (*_REVIEW, *_PRODUCT), span) if path.suffix == ".parquet" else json_lines(path, span)


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    if "rating" in record or "text" in record:
        return _review(record, path)
    if _OF_PRODUCTS.isdisjoint(record):
        return Rejected("record is neither a review nor a product")
    return _product(record, path)


def _review(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    product_id = _product_id(record)
    rejected = missing({**record, "parent_asin": product_id}, ("parent_asin", "rating", "text"))
    if rejected:
        return rejected
    rating = whole_number(record["rating"])
    text, title = record["text"], optional_text(record.get("title"))
    # The corpus has no review id, and a reviewer's must not be used: what is reviewed and said stands in its place.
    content = "\0".join(map(str, (product_id, rating, title, text)))
    review_id = hashlib.md5(content.encode(errors="replace")).hexdigest()
    row = {
        "review_id": review_id,
        "product_id": product_id,
        "category": category_of(path) or "Unknown",
        "rating": rating,
        "title": title,
        "text": text,
    }
    user = identifier(record.get("user_id"))
    if not isinstance(user, str):
        return [("reviews", row)]
    return [("reviews", row), (REVIEWER, {"review_id": review_id, "customer": _number_of(user)})]


def _product_id(record: dict[str, Any]) -> str | None:
    """The product that is reviewed; where a record does not name it, the variant of it that is."""
    return optional_text(record.get("parent_asin")) or optional_text(record.get("asin"))


def _number_of(user_id: str) -> int:
    """A 64-bit hash in place of the id, to count by. It goes with the staged tables when the build is done."""
    digest = hashlib.blake2b(user_id.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def category_of(path: Path) -> str | None:
    """The category that a file's name tells, or else its folder's; None where neither does."""
    stem, _ = stem_and_ending(path)
    if match := _NAMED.fullmatch(stem):
        return match["category"].replace("_", " ")
    if not _NAMELESS.fullmatch(stem):
        return stem.replace("_", " ")
    match = _NAMED.fullmatch(path.parent.name)
    return match["category"].replace("_", " ") if match else None


def _product(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    product_id = _product_id(record)
    rejected = missing({**record, "parent_asin": product_id}, ("parent_asin", "title"))
    if rejected:
        return rejected
    details = _details(record.get("details"))
    product = {
        "product_id": product_id,
        "locale": "us",
        "title": record["title"],
        "description": _joined(record.get("description")) or _joined(record.get("features")),
        "brand": optional_text(details.get("Brand")) or optional_text(record.get("store")),
        "category": category_of(path) or optional_text(record.get("main_category")),
        "color": optional_text(details.get("Color")),
    }
    others = dict.fromkeys(other for other in listed(record.get("bought_together"), "bought_together") if other != product_id)
    links = [{"product_id": product_id, "other_product_id": other, "relation": "also_buy"} for other in others]
    return [("products", product), *(("co_purchases", link) for link in links)]


def _joined(value: Any) -> str | None:
    parts = value if isinstance(value, list) else [value]
    return optional_text(" ".join(part for part in parts if isinstance(part, str)))


def _details(value: Any) -> dict[str, Any]:
    """The table of a product's page: an object, or its JSON as text in the Parquet files."""
    import orjson

    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}
