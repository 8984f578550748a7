"""The canonical tables: the form that every raw corpus is brought into, and that a shop may bring itself."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

from dataset_builders.records import Rejected
from dataset_builders.text import NO_LIMIT, clean, repaired

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["string", "int", "bool", "strings"]

LABELS = ("exact", "substitute", "complement", "irrelevant")
RELATIONS = ("also_buy", "also_view", "similar")
ACTIONS = ("view", "like", "cart", "offer", "buy", "query")

LONGEST_EXAMPLE = 40
"""Characters of a rejected value that are shown."""

MAX_CHARACTERS = 100_000
"""A longer text is a dump of something else; the largest real description in the public corpora has a tenth of this."""

_MARKUP = re.compile(r"<\s*[a-z!/]|/>", re.IGNORECASE)
# Markup that stands inside a text; any other says that a page was stored where a title should be, as in Amazon's 2018 metadata.
_INLINE = frozenset({"b", "br", "em", "font", "i", "mark", "p", "s", "small", "span", "strong", "sub", "sup", "u", "wbr"})
_OF_A_PAGE = frozenset({"class", "id", "style"})
_HTML = frozenset(
    {"a", "body", "button", "div", "form", "h1", "h2", "h3", "head", "html", "iframe", "img", "input", "li", "link", "meta"}
    | {"noscript", "ol", "script", "select", "style", "svg", "table", "tbody", "td", "th", "tr", "ul"}
)
# A tag that a cut left open, which parsers take for text. Nearly all titles of Amazon's magazines of 2018 are no more than one.
_OPEN_TAG = re.compile(r"<\s*/?(?P<name>[a-z][\w-]*)(?P<attributes>\s+[\w:-]+\s*=[^<>]*)?\s*/?$", re.IGNORECASE)
# https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/ advises to leave titles with getTime out.
_SCRIPT = re.compile(r"getTime|\bfunction\s*\(|\bvar\s+\w+\s*=|\$\(document\)|\bwindow\.\w+\s*=|\bdocument\.\w+\(")
# Letters of full width and ligatures, in which a query is the same query.
_WIDE = {code: normalize("NFKC", chr(code)) for code in (*range(0xFF01, 0xFF5F), *range(0xFB00, 0xFB07))}


@dataclass(frozen=True)
class Column:
    """`allowed` lists the only values that a string column may hold. `default` stands for a missing value, or a missing
    column."""

    name: str
    kind: Kind = "string"
    required: bool = True
    allowed: tuple[str, ...] = ()
    default: tuple[str, ...] | None = None


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
                *_optional("category"),
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
                Column("answers", "strings", default=()),
                Column("answerable", "bool"),
            ),
        ),
    )
}

EVIDENCE: dict[str, Table] = {
    table.name: table
    for table in (
        Table("baskets", ("basket_id", "product_id"), (Column("basket_id"), Column("product_id"))),
        Table("product_ids", ("other_id", "product_id"), (Column("other_id"), Column("product_id"))),
    )
}
"""Tables that no recipe reads: the products of an order, of which co-purchases are derived, and other ids of products."""

STAGED: dict[str, Table] = {**TABLES, **EVIDENCE}
"""All tables that records become rows of."""

SESSION_QUERIES = "session_queries"
"""A table beside the canonical ones, which python -m dataset_builders.session_queries makes of what a language model wrote.

Its columns are `key` (recipes/sessions.py says of what), `about` (what was told of it, for people), `kind` (query, narrowing,
substitute or complement), `place` (int64, among those of the kind, from 0), `text` and `model`."""
SESSION_QUERY_COLUMNS = ("key", "about", "kind", "place", "text", "model")


def admitted(table: Table, row: dict[str, Any]) -> tuple[dict[str, Any], list[str]] | Rejected:
    """The row as it enters the table, and what was dropped of its optional columns; or why it may not enter.

    Every column of the table must be a key of `row`. An optional column never costs the record.
    """
    row, dropped = dict(row), []
    for column in table.columns:
        value = row[column.name]
        # At a glance, without a call, since it is asked of tens of millions of values: there is nothing wrong with nearly all.
        if column.kind == "string" and (
            (value in column.allowed or (not column.allowed and value.isascii() and 0 < len(value) <= MAX_CHARACTERS))
            and not value.isspace()
            if value.__class__ is str
            else value is None and not column.required
        ):
            continue
        if value is None and column.default is not None:
            value = row[column.name] = list(column.default)
        if isinstance(value, Rejected):
            reason: str | None = value.reason
            example = value.value
        else:
            reason = _column_reason(column, value)
            example = shown(column, value) if reason else ""
        if reason and column.required:
            return Rejected(f"{column.name} {reason}", example)
        if reason:
            dropped.append(f"{column.name} {reason}")
        # Letters may be decomposed in one file and composed in another.
        row[column.name] = None if reason else normalize("NFC", repaired(value)) if isinstance(value, str) else value
    if table.name == "reviews" and not 1 <= row["rating"] <= 5:
        return Rejected("rating is not 1 to 5", str(row["rating"]))
    if table.name == "products":
        title = plain_title(row["title"])
        if isinstance(title, Rejected):
            return title
        row["title"] = title
    if row.get("query"):
        row["query"] = _plain_query(row["query"]) or None
        if row["query"] is None and table.name == "judgments":
            return Rejected("query holds nothing to read")
    return row, dropped


@lru_cache(maxsize=2**12)  # a query's judgments follow one another
def _plain_query(query: str) -> str:
    return clean(query.translate(_WIDE), NO_LIMIT)


def plain_title(title: str) -> str | Rejected:
    """The title without inline markup; a Rejected for a page or a script that was stored as one."""
    if ("=" in title or "(" in title or "getTime" in title) and _SCRIPT.search(title):
        return Rejected("title is script text")
    if ("<" not in title and "/>" not in title) or not _MARKUP.search(title):
        return title
    from bs4 import BeautifulSoup

    found = BeautifulSoup(_closed(title), "html.parser")
    tags = found.find_all(True)
    if "<!" in title or any(tag.name in _HTML or _OF_A_PAGE & tag.attrs.keys() for tag in tags):
        return Rejected("title is markup")
    closed = title.lower()
    for tag in found.find_all(lambda tag: tag.name not in _INLINE and f"</{tag.name}" not in closed):
        tag.insert_before(tag.name)  # no tag of HTML, such as <Demo>: a word in brackets
    return " ".join(found.get_text(" ").split()) or Rejected("title is markup")


def _closed(title: str) -> str:
    """The title with the end of a tag that it breaks off in. One letter may be a size: "Jacket <M"."""
    open_tag = _OPEN_TAG.search(title)
    if not open_tag:
        return title
    name, attributes = open_tag["name"].lower(), open_tag["attributes"] or ""
    if not attributes and (len(name) == 1 or name not in _HTML | _INLINE):
        return title
    quote = next((mark for mark in "\"'" if attributes.count(mark) % 2), "")
    return f"{title}{quote}>"


def shown(column: Column, value: Any) -> str:
    """The value as an example, of columns that hold no free text."""
    free = column.kind == "strings" or (column.kind == "string" and not column.allowed and not column.name.endswith("_id"))
    return "" if free or value is None or isinstance(value, list | dict) else str(value)[:LONGEST_EXAMPLE]


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
    """The table's columns, then `source` (a corpus's name), `record` (the raw record's number, unique in a build) and
    `snapshot` (the date in the file's path as text, or "")."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "strings": pa.list_(pa.string())}
    fields = [(column.name, kinds[column.kind]) for column in table.columns]
    return pa.schema([*fields, ("source", pa.string()), ("record", pa.int64()), ("snapshot", pa.string())])
