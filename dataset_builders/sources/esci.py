"""Shopping Queries Data Set (ESCI): examples and products as Parquet, joined or not as CSV, or a JSON list of judgments.

Format: https://github.com/amazon-science/esci-data; the JSON form is the judgment list of OpenSearch's search relevance
tools, with the gains 100, 10, 1 and 0 for exact, substitute, complement and irrelevant.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataset_builders.raw_files import format_of, stem_and_ending
from dataset_builders.records import Placed, Record, Rejected, column_names, csv_rows, json_document, parquet_rows
from dataset_builders.sources import HELD_OUT, TableRows, given, identifier, missing, optional_text
from dataset_builders.spans import WHOLE, Span, parquet_spans, whole_span
from dataset_builders.values import as_text, label_or_text

NAME = "esci"
LICENCE = "Apache-2.0"

_GAINS = {100.0: "exact", 10.0: "substitute", 1.0: "complement", 0.0: "irrelevant"}
_JUDGMENT = ("query", "query_id", "product_id", "product_locale", "esci_label")
_SPLIT = "split"
_PRODUCT = ("product_id", "product_locale", "product_title", "product_description", "product_brand", "product_color")


def claims(path: Path) -> bool:
    if path.suffix == ".json":
        return "judgments" in path.name
    if path.name.startswith("shopping_queries_dataset_") and path.suffix == ".parquet":
        return True  # even where its columns cannot be read, so that half a download is told as such
    return stem_and_ending(path)[1] in (".parquet", ".csv") and bool({"esci_label", "product_title"} & column_names(path))


def spans(path: Path) -> list[Span]:
    return parquet_spans(path) if path.suffix == ".parquet" else whole_span(path)


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    if path.suffix == ".json":
        return _judgment_list(path)
    return csv_rows(path) if format_of(path) == "csv" else parquet_rows(path, (*_JUDGMENT, _SPLIT, *_PRODUCT), span)


def _judgment_list(path: Path) -> Iterator[Placed]:
    document = json_document(path)
    if isinstance(document, Rejected):
        yield 1, document
        return
    entries = document.get("judgmentRatings") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        yield 1, Rejected("file has no list judgmentRatings")
        return
    yield from enumerate(_listed(entries), 1)


def _listed(entries: list[Any]) -> Iterator[Record]:
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("ratings"), list):
            yield Rejected("judgmentRatings entry has no list of ratings")
            continue
        for rating in entry["ratings"]:
            yield {"query": entry.get("query"), "rating": rating}


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    if path.suffix == ".json":
        return _listed_judgment(record)
    rows: TableRows = []
    if "esci_label" in record:
        rejected = missing(record, _JUDGMENT)
        if rejected:
            return rejected
        rows.append(
            (
                "judgments",
                {
                    "query_id": identifier(record["query_id"]),
                    "query": record["query"],
                    "product_id": identifier(record["product_id"]),
                    "locale": record["product_locale"],
                    "label": label_or_text(record["esci_label"]),
                },
            )
        )
        if as_text(record.get(_SPLIT)).strip().lower() == "test":
            rows.append((HELD_OUT, {"query": record["query"]}))
    if "product_title" in record:
        product = {
            "product_id": identifier(record.get("product_id")),
            "locale": record.get("product_locale"),
            "title": given(record["product_title"]),
            "description": optional_text(record.get("product_description")),
            "brand": optional_text(record.get("product_brand")),
            "category": None,
            "color": optional_text(record.get("product_color")),
        }
        rows.append(("products", product))
    return rows or Rejected("row has neither esci_label nor product_title")


def _listed_judgment(record: dict[str, Any]) -> TableRows | Rejected:
    query: Any = record.get("query")
    rating: Any = record.get("rating")
    try:
        label = _GAINS[float(rating["rating"])]
        product_id = rating["docId"]
    except (KeyError, TypeError, ValueError, OverflowError):
        return Rejected("rating is not one of 100, 10, 1, 0 with a docId")
    row = {
        "query_id": hashlib.md5(str(query).encode(errors="replace")).hexdigest(),
        "query": query,
        "product_id": product_id,
        "locale": "us",
        "label": label,
    }
    return [("judgments", row)]
