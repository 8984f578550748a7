"""What the columns of exports are called, and which of them a table's columns are made of."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from dataset_builders.file_profiles import FileProfile
from dataset_builders.plain_names import plain_name
from dataset_builders.values import as_text

IDS_OF_PRODUCTS = (
    *("product_id", "sku", "item_id", "product_handle", "handle", "asin", "product_sku", "product_key", "product_code"),
    *(
        "product_number",
        "item_sku",
        "lineitem_sku",
        "stock_code",
        "stockcode",
        "article_number",
        "page_id",
        "product_external_id",
    ),
    *("custom_label", "item_number", "listing_id", "object_id", "object_ids", "product_ids", "target_id", "docid", "doc_id"),
    *("document_id", "corpus_id", "ean", "gtin", "external_id", "product_view_sku", "article_id", "product_uid", "pid", "skus"),
    *("product_skus", "item_ids", "product", "item"),
)
"""The more certain ones first; which of a file's ids are those of the products is told by their values later."""

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "judgments": {
        "query_id": ("query_id", "qid"),
        "query": (
            "query",
            "search_query",
            "search_term",
            "keyword",
            "query_text",
            "q",
            "keywords",
            "search_phrase",
            "search_text",
        ),
        "product_id": ("docid", "doc_id", "document_id", "corpus_id", *IDS_OF_PRODUCTS),
        "label": (
            *("label", "rating", "grade", "relevance", "judgment", "judgement", "esci_label", "score", "choice"),
            *("verdict", "relevance_grade", "relevance_label", "relevance_score", "annotation", "gain", "rel"),
        ),
    },
    "questions": {
        "question_id": ("question_id", "id", "faq_id"),
        "product_id": IDS_OF_PRODUCTS,
        "question": (
            *("question", "question_text", "question_body", "question_content", "question_summary", "question_title"),
            *("question_details", "body"),
        ),
        "snippets": ("snippets", "review_snippets"),
        "answers": ("answers", "answer", "answer_text", "answer_body", "answer_content", "reply", "response"),
        "answerable": ("answerable", "is_answerable"),
    },
    "events": {
        "session_id": (
            *(
                "session_id",
                "ga_session_id",
                "session",
                "visit_id",
                "session_key",
                "user_session",
                "visit",
                "domain_sessionid",
                "sid",
            ),
            *("anonymous_id", "visitor_id", "user_token", "distinct_id", "client_id", "device_id", "user_pseudo_id"),
            *("domain_userid", "cookie_id"),
        ),
        "position": (
            *("position", "event_timestamp", "timestamp", "event_time", "time", "created_at", "ts", "datetime", "event_ts"),
            *("derived_tstamp", "collector_tstamp", "occurred_at", "original_timestamp", "received_at"),
        ),
        "action": (
            *("action", "event_name", "event_type", "event", "action_name", "action_type", "event_action"),
            *("interaction_type", "type"),
        ),
        "product_id": IDS_OF_PRODUCTS,
        "title": ("title", "item_name", "product_name", "product_title", "item_title", "name"),
        "query": (
            *("query", "search_term", "search_query", "keyword", "user_query", "search_keyword", "site_search_keyword"),
            *("search_phrase", "query_text", "term", "search_text", "search_terms"),
        ),
        "brand": ("brand", "item_brand", "product_brand"),
        "category": ("category", "item_category", "product_category", "category_name"),
        "color": ("color", "colour"),
        "size": ("size",),
    },
    "reviews": {
        "review_id": ("review_id", "id", "ugc_id", "review_key"),
        "product_id": IDS_OF_PRODUCTS,
        "category": ("category", "product_category"),
        "rating": (
            *("rating", "stars", "star_rating", "score", "overall", "review_score", "review_rating", "product_rating"),
            *("review_stars", "points", "grade", "rating_value", "overall_rating"),
        ),
        "title": ("title", "review_title", "headline", "summary", "subject", "review_headline"),
        "text": (
            *("text", "body", "review", "review_text", "review_body", "content", "review_content", "review_message"),
            *("comment", "message", "comments", "review_comment", "product_review", "detail", "description"),
        ),
    },
    "co_purchases": {
        "product_id": ("product_id", "source_product_id", "source_sku", "source_id", "sku", "product_sku"),
        "other_product_id": (
            *("other_product_id", "related_product_id", "linked_product_id", "target_product_id", "recommended_product_id"),
            *("target_sku", "related_sku", "linked_sku", "recommended_sku", "target_id"),
        ),
        "relation": ("relation", "relation_type", "link_type", "type"),
    },
    "baskets": {
        "basket_id": (
            *("basket_id", "order_id", "order_number", "transaction_id", "invoice_no", "invoice", "order", "order_ref"),
            *(
                "amazon_order_id",
                "order_key",
                "order_no",
                "receipt_id",
                "cart_id",
                "purchase_id",
                "sales_record_number",
                "parent_id",
            ),
        ),
        "product_id": IDS_OF_PRODUCTS,
    },
    "products": {
        "product_id": (
            *("product_id", "id", "sku", "item_id", "handle", "url_handle", "asin", "parent_asin", "article_number"),
            *("article_id", "product_number", "product_code", "code", "product_sku", "product_key", "page_id", "internal_id"),
            *("handle_id", "product_internal_id", "object_id", "external_id", "seller_sku", "product_uid", "pid"),
            *("item_number", "listing_id", "custom_label", "identifier", "ean", "gtin"),
        ),
        "title": ("title", "name", "product_name", "product_title", "item_name", "title_long"),
        "description": (
            *("description", "body_html", "body", "long_description", "product_description", "item_description"),
            *("description_html", "description_long", "short_description", "detail_description", "text", "summary"),
        ),
        "brand": ("brand", "vendor", "manufacturer", "brand_name", "product_brand", "manufacturer_name"),
        "category": (
            *("category", "product_type", "product_category", "category_name", "category_hierarchy", "category_path"),
            *("department", "product_class", "product_type_name", "product_category_tree", "category_l3", "category_l2"),
            *("category_l1", "category_level_3", "category_level_2", "category_level_1", "category_1"),
            *("product_category_1", "type", "ebay_category_1_name", "categories", "categories_name"),
            *("google_product_category", "collection", "primary_category", "primary_category_name", "primary_category_id"),
        ),
        "color": ("color", "colour", "product_color", "color_name"),
    },
}
"""Table -> its columns -> what they are called elsewhere, as plain names."""

_PREFIXES = {
    "judgments": r"(input|output|answer|data)_",
    "events": r"(properties|event_properties|event|context|web|ecommerce|hit)_",
    "products": r"(product|item|article)_",
    "reviews": r"(product_)?(review|reviews|feedback|comment)_",
}
"""Table -> what may stand before a column's plain name and says nothing."""

_KINDS_OF_GOODS = frozenset(
    {
        "physical",
        "digital",
        "simple",
        "configurable",
        "variable",
        "variation",
        "bundle",
        "product",
        "variant",
        "virtual",
        "service",
    }
)
_KIND = re.compile(r"_(txt|nbr|cd)$|(?<=_l\d)_name$")
"""What warehouses put behind the names of texts, numbers and codes, and of levels of categories."""

LONGEST_PREFIX = 3
"""Letters of an abbreviation that stands before all columns of a table."""

LONGEST_WORD = 60
"""Characters of a rating or an action; what is longer is a text."""


def called(name: str, table: str, languages: Sequence[str] = ()) -> list[str]:
    """The plain names that a column, or a path into one, may go by in a table; the most certain first."""
    parts = name.split(".")
    found = [plain_name(name.replace(".", "_"))]
    if len(parts) > 1:
        found += [plain_name("_".join(parts[-2:])), plain_name(parts[-1])]
        found += [plain_name("_".join(each)) for each in pairwise(parts)][:1] if parts[-1] in languages else []
    if table == "reviews" and re.search(r"product_?(title|name)$", found[0]):  # which no review is called
        return []
    if table == "products":
        found += [each.removesuffix("_1") for each in found]  # the first of several names or categories
    prefix = _PREFIXES.get(table)
    found += [_KIND.sub("", each) for each in found]
    found += [re.sub(f"^{prefix}", "", each) for each in found] if prefix else []
    for language in languages:
        found += [re.sub(rf"^{language}_|_{language}{'(_[a-z]+)?' if '_' in language else ''}$", "", each) for each in found]
    return list(dict.fromkeys(found))


def named_columns(
    profile: FileProfile, table: str, names: Sequence[str], languages: Sequence[str] = (), needed: Sequence[str] = ()
) -> dict[str, str]:
    """The table's columns, each made of the column among `names` that is called so first and has values such as it holds.

    Each column of the file is used once; those that the table needs choose first.
    """
    by_word: dict[str, list[tuple[int, int, str]]] = {}
    shared = shared_prefix(profile.columns)
    for order, name in enumerate(names):
        words = called(name, table, languages)
        for certain, word in enumerate([*words, *(each.removeprefix(shared) for each in words if shared)]):
            by_word.setdefault(word.replace("_", ""), []).append((certain, order, name))
    columns: dict[str, str] = {}
    for column in sorted(NAMES[table], key=lambda each: each not in needed):
        fits = _FITS.get(column, _is_scalar)
        for word in NAMES[table][column]:
            choice = [name for *_, name in sorted(by_word.get(word.replace("_", ""), [])) if name not in columns.values()]
            own = [name for name in choice if name == column and not profile.values(name)]  # may be filled further down
            if found := next(
                (name for name in choice if not profile.records or fits(profile.values(name)) or name in own), None
            ):
                columns[column] = found
                break
    return {column: columns[column] for column in NAMES[table] if column in columns}


def shared_prefix(columns: Sequence[str]) -> str:
    """What most columns begin with where it is short, such as `p_` of the products in a warehouse."""
    beginnings = [plain_name(name).partition("_") for name in columns]
    counts = Counter(first + mark for first, mark, _ in beginnings if mark and len(first) <= LONGEST_PREFIX)
    prefix, count = counts.most_common(1)[0] if counts else ("", 0)
    return prefix if count > len(columns) / 2 else ""


def _is_scalar(values: Sequence[Any]) -> bool:
    return bool(values) and not any(isinstance(value, list | tuple | Mapping) for value in values[:50])


def _is_id(values: Sequence[Any]) -> bool:
    return bool(values) and not any(
        isinstance(value, Mapping) or (isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value))
        for value in values[:50]
    )


def _is_short(values: Sequence[Any]) -> bool:
    return _is_scalar(values) and max(len(as_text(value)) for value in values[:200]) <= LONGEST_WORD


def _is_text(values: Sequence[Any]) -> bool:
    """Not numbers or flags, which columns such as `review` also hold."""
    return _is_scalar(values) and any(re.search(r"[^\W\d_]", as_text(value)) for value in values[:50])


def _is_category(values: Sequence[Any]) -> bool:
    items = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    words = {as_text(item).strip().casefold() for item in items if not isinstance(item, list | tuple | Mapping)}
    return bool(words) and not words <= _KINDS_OF_GOODS


_FITS: dict[str, Callable[[Sequence[Any]], bool]] = {
    "product_id": _is_id,
    "rating": _is_short,
    "action": _is_short,
    "title": _is_text,
    "text": _is_text,
    "question": _is_text,
    "query": _is_text,
    "category": _is_category,
    "brand": _is_text,
    "color": _is_text,
    "answers": bool,
    "relation": _is_short,
    "snippets": bool,
}
