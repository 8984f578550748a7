"""Values as shops write them, brought to the kind of a canonical column. Each function raises ValueError for what it cannot
read."""

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unicodedata import normalize

NULL_WORDS = frozenset(
    {"nan", "none", "null", "n/a", "#n/a", "<na>", "nat", "\\n", "undefined"}
    | {"(null)", "<null>", "[null]", "n.a.", "(blank)", "(not set)", "-", "--", "\u2013", "\u2014"}
    | {"nil", "pd.na", "not available", "not applicable", "does not apply", "''", '""', "[object object]", "#nv"}
    | {"#name?", "#ref!", "#value!", "#div/0!", "#num!", "#null!", "#spill!", "#calc!", "#error!", "#getting_data"}
)
"""What pandas, Spark, MySQL, Oracle, spreadsheets, Google Analytics, eBay and JavaScript write for a value that is missing, in
lower case."""

LONGEST_NULL_WORD = max(map(len, NULL_WORDS))

NULL_OF_R = "NA"
"""Counts in capitals only."""

# Excel saves its booleans as CSV in the language of the system.
TRUE = frozenset({"true", "t", "yes", "y", "1", "on", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar"}) | {
    *("ja", "oui", "s\u00ed", "si", "s\u00ec", "sim", "tak", "\u0434\u0430")
}
FALSE = frozenset({"false", "f", "no", "n", "0", "off", "falsch", "faux", "falso", "onwaar"}) | {
    *("nein", "nee", "non", "n\u00e3o", "nao", "nie", "\u043d\u0435\u0442")
}

LABELS = {
    "e": "exact",
    "s": "substitute",
    "c": "complement",
    "i": "irrelevant",
    **{label: label for label in ("exact", "substitute", "complement", "irrelevant")},
}
"""ESCI's letters and words, in lower case (https://github.com/amazon-science/esci-data)."""

_WHOLE = re.compile(r"[+-]?\d+")
_WHOLE_FLOAT = re.compile(r"([+-]?\d+)(?:\.0*|,00?)")  # with a decimal comma; 1,000 may be a thousand
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?[eE]\+?\d{1,3}")
_FORMULA_OF_TEXT = re.compile(r'=(?:HYPERLINK\(.*[,;])?\s*"((?:[^"]|"")*)"\s*\)?', re.IGNORECASE | re.DOTALL)
_FORMULA = re.compile(r"=\s*(?:[\w.]+\(|'?[\w ]*'?!?\$?[A-Z]{1,3}\$?\d+\b)", re.IGNORECASE)
_TEXT_OF_EXCEL = re.compile(r'="([^"]*)"')
# A text that Excel must not read as a number or a formula, as Shopify and others export SKUs: '0012
_APOSTROPHE = re.compile(r"'(?=[\d=+@-])(?!.*'$)")
# Zero-width and bidirectional marks, soft hyphens: two ids that look the same are the same.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_MIDNIGHT = re.compile(r"(?<=[ T])24(?=:00(:00(\.0+)?)?)")
_NUMPY_LIST = re.compile(r"""(['"])\s+(['"])""")
_MONGODB = {"$oid", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$date"}
_UNPRINTED = "".join(char for char in map(chr, (*range(256), *range(0x1680, 0x3001))) if char.isspace() or char < " ") + "\x7f"
_MICROSECOND = 1_000_000
FIRST_TIME = 10**8
"""Whole numbers from here on may be times: seconds since 1970, of 1973."""

LONGEST_NUMBER = 50
"""Characters of a number or a time; a longer text is neither."""


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: null, NaN, blank text, or a null word."""
    if not isinstance(value, str):
        return value is None or value != value  # noqa: PLR0124 - only NaN is not itself
    text = value if value.isalnum() else visible(value) if len(value) <= LONGEST_NULL_WORD else value.strip()
    return not text or (len(text) <= LONGEST_NULL_WORD and (text == NULL_OF_R or text.lower() in NULL_WORDS))


def cell_text(text: str) -> str:
    """What a cell of a spreadsheet shows that holds `="text"` or `=HYPERLINK("address","text")`; any other text as it is."""
    if not text.startswith("="):
        return text
    if match := _FORMULA_OF_TEXT.fullmatch(text.strip()):
        return match[1].replace('""', '"')
    if _FORMULA.match(text):
        raise ValueError("is a formula of a spreadsheet; export its values")
    return text


def as_free_text(value: Any) -> str:
    """A title, a review and the like. True and false are none, as PHP and Odoo write what is missing, and so is a list."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            found = json.loads(value)
            if isinstance(found, dict) or not found or any(isinstance(item, str | dict) for item in found):
                value = found
    if isinstance(value, bool):
        raise ValueError("is true or false and not text")
    if isinstance(value, list | dict | tuple):
        raise ValueError("is not text")
    return as_text(value)


def as_identifier(value: Any) -> str:
    """An id as text, as it is: leading zeros and a trailing `.0` stay, since they can be part of it.

    Only a number from a column of floats is an id that lost its type: 12.0 is 12. Excel is told of a text by `="012"`, or by
    `'012`. What cannot be seen, such as the blanks that databases pad with, goes, and letters are composed (NFC), so that ids
    that look the same in two tables are the same.
    """
    if isinstance(value, bool):
        raise ValueError("is true or false and no id")
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= 2**53:
            raise ValueError("is a rounded number; export ids as text")
        return str(int(value))
    text = visible(as_text(value))
    if text.startswith("'"):
        text = _APOSTROPHE.sub("", text, count=1)
    if match := _TEXT_OF_EXCEL.fullmatch(text):
        text = match[1]
    if _SCIENTIFIC.fullmatch(text) and not {".", ",", "+"}.isdisjoint(text):
        raise ValueError("is in scientific notation, so its digits are lost; export ids as text")
    return text


def id_or_text(value: Any) -> str:
    """The value as an id, or as text where it can be none."""
    try:
        return as_identifier(value)
    except ValueError:
        return as_text(value).strip()


def visible(text: str) -> str:
    """The text, composed, without invisible marks, and without blanks and control characters at its ends."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return normalize("NFC", _INVISIBLE.sub("", text)).strip(_UNPRINTED)


def as_text(value: Any) -> str:
    """A value as text; bytes are UTF-8."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def as_integer(value: Any, times: bool = False) -> int:
    """A whole number, exactly. With `times`, a time is its microseconds since 1970."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if times and isinstance(value, datetime | date):
        return _microseconds(value)
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= 2**53:
            raise ValueError("is a rounded number; export whole numbers")
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    text = visible(value) if isinstance(value, str) and len(value) < LONGEST_NUMBER else ""
    if match := _WHOLE.fullmatch(text) or _WHOLE_FLOAT.fullmatch(text):
        return int(match[1] if match.re is _WHOLE_FLOAT else match[0])
    if times:
        with suppress(ValueError):
            day_later = timedelta(days=1) if _MIDNIGHT.search(text) else timedelta()
            return _microseconds(datetime.fromisoformat(_MIDNIGHT.sub("00", text.removesuffix(" UTC"))) + day_later)
        raise ValueError("is neither a whole number nor a time such as 2024-05-01 10:00:00")
    raise ValueError("is not a whole number")


def _microseconds(time: date | datetime) -> int:
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day)
    elapsed = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * _MICROSECOND + elapsed.microseconds


def as_boolean(value: Any) -> bool:
    """True or false in the usual spellings."""
    if isinstance(value, bool):
        return value
    text = visible(str(value)).lower()
    if match := _WHOLE_FLOAT.fullmatch(text):
        text = match[1]
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError("is not true or false")


def as_list(value: Any) -> list[str]:
    """Texts from a list, or from its text as JSON, as a Python literal, or as a PostgreSQL array. Missing items are left
    out."""
    items = unwrapped(_list_of(value) if isinstance(value, str) else value)
    if isinstance(items, tuple | set) or type(items).__name__ == "ndarray":
        items = list(items)
    if not isinstance(items, list) or not all(isinstance(item, str) or item is None for item in items):
        raise ValueError('is not a list of texts; write it as JSON, such as ["one", "two"]')
    return [item for item in items if not is_missing(item)]


def unwrapped(value: Any) -> Any:
    """A list that a Parquet writer left in the groups `list` and `element`, as BigQuery does without list inference; the value
    that MongoDB names the type of, as in `{"$oid": "66f1"}`."""
    # https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
    if isinstance(value, Mapping) and len(value) == 1 and (found := value.keys() & _MONGODB):
        return unwrapped(value[found.pop()])
    if isinstance(value, Mapping) and value.keys() == {"list"} and isinstance(value["list"], list):
        return [item["element"] if isinstance(item, Mapping) and item.keys() == {"element"} else item for item in value["list"]]
    return value


def _list_of(text: str) -> Any:
    text = text.strip()
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, str):  # JSON that was made JSON once more
            return _list_of(found)
        return [] if found == {} else found  # PostgreSQL's empty array
    if text.startswith(("[", "(")):
        if _NUMPY_LIST.search(text):  # a Python literal would join them into one text
            raise ValueError("is a NumPy array as it is printed; write lists as JSON")
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return _postgres_array(text[1:-1]) if text.startswith("{") and text.endswith("}") else None


def _postgres_array(text: str) -> list[str | None]:
    """https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO"""
    if not text:
        return []
    items: list[str | None] = []
    for match in re.finditer(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,"{}]*))\s*(?:,|$)', text):
        quoted, bare = match.groups()
        if quoted is not None:
            items.append(re.sub(r"\\(.)", r"\1", quoted))
        else:
            items.append(None if bare.strip().upper() == "NULL" else bare.strip())
        if match.end() == len(text):
            break
    return items


def as_label(value: Any) -> str:
    """The label of a judgment, in any case, as ESCI's letter or word."""
    label = LABELS.get(visible(str(value)).lower())
    if label is None:
        raise ValueError("is none of exact, substitute, complement, irrelevant")
    return label


def label_or_text(value: Any) -> str:
    """The label, or the value as text, which the table's rules then reject and show."""
    try:
        return as_label(value)
    except ValueError:
        return str(value)
