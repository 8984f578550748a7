"""Proposes a map for a folder of exports: by presets, by the names of columns, and by their values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from dataset_builders.file_profiles import FileProfile, overlap
from dataset_builders.presets import PresetEntry
from dataset_builders.proposed import ProposedFile, ProposedMap
from dataset_builders.proposed_conditions import plain_name, with_conditions, without_returns
from dataset_builders.proposed_ids import with_one_id
from dataset_builders.proposed_values import refined
from dataset_builders.sources.mapped_tables import exploded
from dataset_builders.value_guesses import locale_guess

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "judgments": {
        "query_id": ("query_id", "qid"),
        "query": ("query", "search_query", "search_term", "keyword", "query_text", "q"),
        "product_id": ("product_id", "docid", "doc_id", "document_id", "sku", "item_id", "asin"),
        "label": ("label", "rating", "grade", "relevance", "judgment", "judgement", "esci_label", "score"),
    },
    "questions": {
        "question_id": ("question_id", "id"),
        "product_id": ("product_id", "sku", "item_id", "product_handle", "handle", "asin", "product"),
        "question": ("question", "question_text", "question_body", "body"),
        "snippets": ("snippets", "review_snippets"),
        "answers": ("answers", "answer", "answer_text", "answer_body", "reply", "response"),
        "answerable": ("answerable", "is_answerable"),
    },
    "events": {
        "session_id": ("session_id", "ga_session_id", "session", "visit_id"),
        "position": ("position", "event_timestamp", "timestamp", "event_time", "time", "created_at", "ts", "datetime"),
        "action": ("action", "event_name", "event_type", "event"),
        "product_id": ("product_id", "item_id", "sku", "product"),
        "title": ("title", "item_name", "product_name", "product_title", "name"),
        "query": ("query", "search_term", "search_query", "keyword"),
        "brand": ("brand", "item_brand", "product_brand"),
        "category": ("category", "item_category", "product_category", "category_name"),
        "color": ("color", "colour"),
        "size": ("size",),
    },
    "reviews": {
        "review_id": ("review_id", "id"),
        "product_id": ("product_id", "sku", "item_id", "product_handle", "handle", "asin", "product_sku", "product"),
        "category": ("category", "product_category"),
        "rating": ("rating", "stars", "star_rating", "score", "overall", "review_score", "review_rating", "product_rating"),
        "title": ("title", "review_title", "headline", "summary", "subject"),
        "text": ("text", "body", "review", "review_text", "review_body", "content", "review_content", "comment", "message"),
    },
    "co_purchases": {
        "product_id": ("product_id",),
        "other_product_id": ("other_product_id", "related_product_id"),
        "relation": ("relation",),
    },
    "baskets": {
        "basket_id": ("basket_id", "order_id", "order_number", "transaction_id", "invoice_no", "invoice", "order"),
        "product_id": ("product_id", "sku", "item_id", "stock_code", "stockcode", "lineitem_sku", "asin", "product"),
    },
    "products": {
        "product_id": ("product_id", "id", "sku", "item_id", "handle", "asin", "parent_asin", "article_number"),
        "title": ("title", "name", "product_name", "product_title", "item_name"),
        "description": ("description", "body_html", "body", "long_description", "short_description"),
        "brand": ("brand", "vendor", "manufacturer", "brand_name", "product_brand"),
        "category": ("category", "product_type", "type", "product_category", "categories", "category_name", "department"),
        "color": ("color", "colour", "product_color"),
    },
}
"""Table -> its columns -> what they are called elsewhere, in lower case."""

NEEDED = {
    "judgments": ("query", "product_id", "label"),
    "questions": ("question", "product_id"),
    "events": ("session_id", "position", "action"),
    "reviews": ("rating", "text", "product_id"),
    "co_purchases": ("product_id", "other_product_id", "relation"),
    "baskets": ("basket_id", "product_id"),
    "products": ("product_id", "title"),
}
KEYS = {"products": "product_id", "reviews": "review_id", "questions": "question_id"}
"""Of tables in which a row has a key of its own."""

MOST_SHARED = 0.5
"""Share of the keys of one file that another may have before they are called copies."""

OF_LANGUAGE = ("locale", "language", "lang")
LOCALES = (*OF_LANGUAGE, "market", "country")
OF_PRODUCTS = frozenset(
    {"sku", "asin", "parent_asin", "handle", "price", "brand", "vendor", "manufacturer", "gtin", "ean", "color", "colour"}
    | {"product_id", "product_name", "product_title", "product_type", "item_id", "item_name", "article_number", "body_html"}
)
"""Columns of which products have at least one."""
_OF_PERSONS = re.compile(r"e_?mail|phone|first_?name|last_?name|surname|address|birth")


def propose(profiles: Sequence[FileProfile], presets: Sequence[PresetEntry], locales: Sequence[str]) -> ProposedMap:
    """A map for the files, in order of the tables."""
    found: list[ProposedFile] = []
    left = []
    for profile in profiles:
        proposed = by_presets(profile, presets) or by_names(profile, locales)
        found += proposed
        if not proposed:
            left.append(f"{profile.pattern}, which {why_no_table(profile)}")
    if "reviews" not in {file.table for file in found}:
        bare = [file for file in found if file.table == "questions" and "snippets" not in file.entry["columns"]]
        found = [file for file in found if file not in bare]
        left += [f"{file.profile.pattern}, which has no snippets, and no reviews are there to cut them from" for file in bare]
    found, twice = without_double_orders(found)
    twice += possible_copies(found)
    found.sort(key=lambda file: list(NEEDED)[::-1].index(file.table))
    found, notes = with_one_id(found)
    found = [refined(file, {other.table for other in found}) for file in found]
    return ProposedMap(tuple(found), derived(found), locales[0], tuple(left), (*twice, *notes))


def possible_copies(files: Sequence[ProposedFile]) -> list[str]:
    """Notes on files of the same table that share keys: one may be a copy, or an older export, of the other."""
    notes = []
    for one, other in combinations(files, 2):
        key = KEYS.get(one.table)
        if one.table != other.table or key is None or not one.column(key) or not other.column(key):
            continue
        share = overlap(*(file.profile.texts(file.column(key)[0]) for file in (other, one)))
        if share > MOST_SHARED:
            names = f"{one.profile.pattern} and {other.profile.pattern}"
            notes.append(f"{names} are both {one.table} and share {share:.0%} of {key}: take one out if it is a copy")
    return notes


def why_no_table(profile: FileProfile) -> str:
    """What a file lacks for the table that its name means, or of which it lacks a single column."""
    plain = {plain_name(name): name for name in reversed(profile.columns)}
    for table, names in NAMES.items():
        lacks = [name for name in NEEDED[table] if name not in _named_columns(names, plain)]
        if table.rstrip("s").removeprefix("co_") in profile.pattern.lower() and lacks:
            tried = "; ".join(f"{name} (tried {', '.join(names[name])})" for name in lacks)
            return f"is named like {table}, but no column is called like its {tried}"
    return "looks like none of the tables"


def without_double_orders(files: Sequence[ProposedFile]) -> tuple[list[ProposedFile], list[str]]:
    """Without purchases among the events where there are orders: the same ones, which would count twice."""
    events = {file.profile.pattern for file in files if file.table == "events"}
    orders = [file for file in files if file.table == "baskets" and file.profile.pattern not in events]
    if not orders:
        return list(files), []
    doubled = [file for file in files if file.table == "baskets" and file.profile.pattern in events]
    told = f"are taken from {', '.join(file.profile.pattern for file in orders)} alone"
    return [file for file in files if file not in doubled], [f"purchases of {file.profile.pattern} {told}" for file in doubled]


def by_presets(profile: FileProfile, presets: Sequence[PresetEntry]) -> list[ProposedFile]:
    """What a preset makes of the file: for each table, the first entry that recognises it."""
    fitting: dict[str, PresetEntry] = {}
    for kind in presets:
        if kind.fits(profile.columns) and kind.preset == next(iter(fitting.values()), kind).preset:
            fitting.setdefault(kind.table, kind)
    proposed = []
    for table, preset in fitting.items():
        entry = fitted(preset.entry, profile)
        if "each" in entry:
            each = tuple(one for record in profile.records for one in exploded(dict(record), entry["each"]))
            profile = replace(profile, records=each)
        if all(name in entry["columns"] for name in NEEDED[table]):
            proposed.append(without_returns(ProposedFile(table, profile, entry, dict(preset.notes), preset.preset)))
    return proposed


def fitted(entry: Mapping[str, Any], profile: FileProfile) -> dict[str, Any]:
    """A preset's entry without the columns that the file lacks."""
    kept: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "columns":
            columns = {name: _fitted_column(made, profile) for name, made in value.items()}
            kept[key] = {name: made for name, made in columns.items() if made is not None}
        elif key == "where":
            kept[key] = {name: condition for name, condition in value.items() if profile.has(name)}
        elif key == "also_known_as":
            kept[key] = [name for name in value if profile.has(name)]
        elif key == "fill_down":
            kept[key] = {**value, "columns": [name for name in value["columns"] if profile.has(name)]}
        elif key != "each" or profile.has(value):
            kept[key] = value
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def _fitted_column(made: Any, profile: FileProfile) -> Any:
    if isinstance(made, str):
        return made if profile.has(made) else None
    kept = dict(made)
    for take in ("column", "first", "join", "hash", "list"):
        if take in made:
            names = made[take] if isinstance(made[take], list) else [made[take]]
            present = [name for name in names if profile.has(name)]
            if not present:
                return None
            kept[take] = present if isinstance(made[take], list) else present[0]
    if list(kept) == ["first"] and len(kept["first"]) == 1:
        return kept["first"][0]
    return kept


def by_names(profile: FileProfile, locales: Sequence[str]) -> list[ProposedFile]:
    """What the names of the columns make of the file: the table of which it has most of the needed columns."""
    plain = {plain_name(name): name for name in reversed(profile.columns)}
    candidates = []
    for order, (table, names) in enumerate(NAMES.items()):
        columns = _named_columns(names, plain)
        if all(name in columns for name in NEEDED[table]):
            hinted = table.rstrip("s").removeprefix("co_") in profile.pattern.lower()
            if table == "products" and not hinted and (not OF_PRODUCTS & plain.keys() or any(map(_OF_PERSONS.search, plain))):
                continue  # an id and a name are also what customers, categories and shops have
            candidates.append((-len(NEEDED[table]) - 2 * hinted, order, table, columns))
    if not candidates:
        return []
    *_, table, columns = min(candidates)
    file = ProposedFile(table, profile, {"columns": dict(columns)})
    named = next((name for name in LOCALES if name in plain), None)
    if table in ("products", "judgments") and named:
        locale = plain[named]
        if guess := locale_guess(profile.values(locale), locales, named in OF_LANGUAGE):
            file = file.with_column("locale", {"column": locale, **guess.keys} if guess.keys else locale, guess.unsure)
        elif named in OF_LANGUAGE and (words := sorted(profile.texts(locale))[:5]):
            file = file.with_column("locale", locale, f"which locales {', '.join(words)} are; write values: {{{words[0]}: us}}")
    return [with_conditions(file)]


def _named_columns(names: Mapping[str, Sequence[str]], plain: Mapping[str, str]) -> dict[str, str]:
    """Each column of the file is used once, by the table's column that is called so first."""
    columns: dict[str, str] = {}
    for name, synonyms in names.items():
        choice = next((plain[word] for word in synonyms if word in plain and plain[word] not in columns.values()), None)
        if choice:
            columns[name] = choice
    return columns


def derived(files: Sequence[ProposedFile]) -> dict[str, dict[str, str]]:
    """What can be derived of the tables and is in none of the files."""
    tables = {file.table for file in files}
    found: dict[str, dict[str, str]] = {}
    actions = {action for file in files if file.table == "events" for action in _actions(file)}
    if "baskets" in tables:
        found["also_buy"] = {"from": "baskets", "support": "2"}
    elif "buy" in actions:
        found["also_buy"] = {"from": "events", "support": "2"}
    if "view" in actions:
        found["also_view"] = {"from": "events", "support": "2"}
    bare = any(file.table == "questions" and "snippets" not in file.entry["columns"] for file in files)
    if bare and "reviews" in tables:
        found["snippets"] = {"from": "reviews"}
    return found


def _actions(file: ProposedFile) -> set[str]:
    made = file.entry["columns"]["action"]
    return set(made["values"].values()) if isinstance(made, dict) and "values" in made else file.profile.texts(str(made))
