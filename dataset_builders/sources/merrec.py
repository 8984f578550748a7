"""MerRec: sessions of a second-hand marketplace, folders of Parquet or CSV with 25 columns.

Format: https://huggingface.co/datasets/mercari-us/merrec
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataset_builders.raw_files import format_of, stem_and_ending
from dataset_builders.records import Placed, Rejected, column_names, csv_rows, parquet_rows
from dataset_builders.sources import TableRows, identifier, missing, optional_text
from dataset_builders.spans import WHOLE, Span, parquet_spans, whole_span
from dataset_builders.tables import LONGEST_EXAMPLE
from dataset_builders.values import FIRST_TIME, as_integer, visible

NAME = "merrec"
LICENCE = "CC-BY-NC-4.0"

_ACTIONS = {
    "item_view": "view",
    "item_like": "like",
    "item_add_to_cart_tap": "cart",
    "offer_make": "offer",
    "buy_start": "buy",
    "buy_comp": "buy",
}
_COLUMNS = ("session_id", "sequence_id", "stime", "event_id", "item_id", "name", "brand_name", "color", "size_name")
_CATEGORIES = ("c2_name", "c1_name", "c0_name")  # from narrow to broad


def claims(path: Path) -> bool:
    return stem_and_ending(path)[1] in (".parquet", ".csv") and {"sequence_id", "event_id", "stime"} <= column_names(path)


def spans(path: Path) -> list[Span]:
    return whole_span(path) if format_of(path) == "csv" else parquet_spans(path)


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    return csv_rows(path) if format_of(path) == "csv" else parquet_rows(path, (*_COLUMNS, *_CATEGORIES), span)


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    item = identifier(record.get("item_id"))
    rejected = missing({**record, "item_id": item}, ("session_id", "stime", "event_id", "item_id", "name"))
    if rejected:
        return rejected
    moment = 0
    with suppress(ValueError):
        moment = as_integer(record["stime"], times=True)  # it orders a session's events, whatever the time zone
    if moment < FIRST_TIME:
        return Rejected("stime is not a time", str(record["stime"])[:LONGEST_EXAMPLE])
    parts = {key: identifier(record.get(key)) for key in ("session_id", "sequence_id")}
    for key, part in parts.items():
        if isinstance(part, Rejected):  # as one id, several sessions would be one
            return Rejected(f"{key} {part.reason}", part.value)
    session = "|".join(map(str, parts.values()))
    event = {
        "session_id": hashlib.md5(session.encode(errors="replace")).hexdigest(),
        "position": moment,
        "action": _ACTIONS.get(visible(str(record["event_id"])).lower(), str(record["event_id"])),
        "product_id": item,
        "title": record["name"],
        "query": None,
        "brand": optional_text(record.get("brand_name")),
        "category": next((name for key in _CATEGORIES if (name := optional_text(record.get(key)))), None),
        "color": optional_text(record.get("color")),
        "size": optional_text(record.get("size_name")),
    }
    return [("events", event)]
