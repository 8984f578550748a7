"""The canonical tables: the form that every raw corpus is brought into, and that a shop may bring itself."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["string", "int", "bool", "strings"]

LABELS = ("exact", "substitute", "complement", "irrelevant")
RELATIONS = ("also_buy", "also_view", "similar")
ACTIONS = ("view", "like", "cart", "offer", "buy", "query")

MAX_CHARACTERS = 100_000
"""A longer text is a dump of something else; the largest real description in the public corpora has a tenth of this."""

# What is left of a page's markup where a title should be, as in Amazon's 2018 metadata.
_MARKUP = re.compile(r"<\s*[a-z!/]|/>", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """`allowed` lists the only values that a string column may hold, where it may not hold any."""

    name: str
    kind: Kind = "string"
    required: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """`key` names the columns that tell two rows apart; a second row with the same key is a duplicate."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


def _optional(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, required=False) for name in names)


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "products",
            ("product_id", "locale"),
            (
                Column("product_id"),
                Column("locale"),
                Column("title"),
                *_optional("description", "brand", "category", "color"),
            ),
        ),
        Table(
            "reviews",
            ("review_id",),
            (
                Column("review_id"),
                Column("product_id"),
                Column("category"),
                Column("rating", "int"),
                *_optional("title"),
                Column("text"),
            ),
        ),
        Table(
            "judgments",
            ("query", "product_id", "locale"),
            (
                Column("query_id"),
                Column("query"),
                Column("product_id"),
                Column("locale"),
                Column("label", allowed=LABELS),
            ),
        ),
        Table(
            "co_purchases",
            ("product_id", "other_product_id", "relation"),
            (
                Column("product_id"),
                Column("other_product_id"),
                Column("relation", allowed=RELATIONS),
            ),
        ),
        Table(
            "events",
            ("session_id", "position", "action", "product_id", "query"),
            (
                Column("session_id"),
                Column("position", "int"),
                Column("action", allowed=ACTIONS),
                *_optional("product_id", "title", "query", "brand", "category", "color", "size"),
            ),
        ),
        Table(
            "questions",
            ("question_id",),
            (
                Column("question_id"),
                Column("product_id"),
                Column("question"),
                Column("snippets", "strings"),
                Column("answers", "strings"),
                Column("answerable", "bool"),
            ),
        ),
    )
}

SESSION_QUERIES = "session_queries"
"""A table beside the canonical ones, which python -m dataset_builders.session_queries makes of what a language model wrote.

Its columns are `key` (recipes/sessions.py says of what), `about` (what was told of it, for people), `kind` (query, narrowing,
substitute or complement), `place` (int64, among those of the kind, from 0), `text` and `model`."""
SESSION_QUERY_COLUMNS = ("key", "about", "kind", "place", "text", "model")


def reject_reason(table: Table, row: dict[str, Any]) -> str | None:
    """Why a row may not enter a table, or None. Every column of the table must be a key of `row`."""
    for column in table.columns:
        reason = _column_reason(column, row[column.name])
        if reason:
            return f"{column.name} {reason}"
    if table.name == "reviews" and not 1 <= row["rating"] <= 5:
        return "rating is not 1 to 5"
    if table.name == "products" and _MARKUP.search(row["title"]):
        return "title is markup"
    return None


def _column_reason(column: Column, value: Any) -> str | None:
    if value is None or value == "":
        return "is missing" if column.required else None
    if column.kind == "string":
        return _text_reason(column, value)
    if column.kind == "int":
        fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        return None if fits else "is not a whole number"
    if column.kind == "bool":
        return None if isinstance(value, bool) else "is not true or false"
    fits = isinstance(value, list) and all(isinstance(item, str) and _is_unicode(item) for item in value)
    return None if fits else "is not a list of texts"


def _text_reason(column: Column, value: Any) -> str | None:
    reason: str | None = None
    if not isinstance(value, str):
        reason = "is not text"
    elif not value.strip():
        reason = "is blank" if column.required else None
    elif len(value) > MAX_CHARACTERS:
        reason = f"is longer than {MAX_CHARACTERS:,} characters"
    elif not _is_unicode(value):
        reason = "is not Unicode text"
    elif column.allowed and value not in column.allowed:
        reason = f"is none of {', '.join(column.allowed)}"
    return reason


def _is_unicode(value: str) -> bool:
    """False for half a surrogate pair, which JSON can spell and no file format can hold."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def arrow_schema(table: Table) -> "pyarrow.Schema":
    """The table's columns, then `source` (a corpus's name) and `record` (the raw record's number, unique in a build)."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "strings": pa.list_(pa.string())}
    fields = [(column.name, kinds[column.kind]) for column in table.columns]
    return pa.schema([*fields, ("source", pa.string()), ("record", pa.int64())])
