"""Proposes a map for a folder of exports: by presets, by the names of columns, and by their values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from dataset_builders.column_names import NAMES, named_columns
from dataset_builders.file_profiles import FileProfile, overlap
from dataset_builders.mapping import MISSING, PRESENT, normal
from dataset_builders.plain_names import plain_name
from dataset_builders.presets import PresetEntry, fitted
from dataset_builders.proposed import ProposedFile, ProposedMap, columns_of
from dataset_builders.proposed_conditions import with_conditions, without_returns
from dataset_builders.proposed_ids import with_one_id
from dataset_builders.proposed_languages import language_marks, other_languages, with_locale
from dataset_builders.proposed_look_ups import joined
from dataset_builders.proposed_products import with_parents
from dataset_builders.proposed_values import answer_count, refined
from dataset_builders.value_guesses import label_guess

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

OF_PRODUCTS = frozenset(
    {"sku", "asin", "parent_asin", "handle", "price", "brand", "vendor", "manufacturer", "gtin", "ean", "color", "colour"}
    | {"product_id", "product_name", "product_title", "product_type", "item_id", "item_name", "article_number", "body_html"}
    | {"custom_label", "item_number", "start_price", "unit_price", "retail_price", "image_url", "upc", "product_code"}
)
"""Columns of which products have at least one."""
_HINTS = {
    "judgments": re.compile(r"judg|qrel|relevan|label|annotat|rated|batch|quepid"),
    "questions": re.compile(r"question|qna|q_a|(^|_)(qa|faq)(_|$)|frage|pregunta|domande|vragen"),
    "events": re.compile(r"event|click|track|hits|visit|session|interaction"),
    "reviews": re.compile(
        r"review|comment|feedback|rating|bewertung|rezension|avalia|(^|_)avis(_|$)|opinion|resena|recension|recensie"
    ),
    "co_purchases": re.compile(r"purchase"),
    "baskets": re.compile(r"basket|order|sales|sold|settlement|transaction|bestell|commande|pedido|ordini"),
    "products": re.compile(r"produ[cki]?t|prodott|catalog|listing|artikel|article|aanbod|feed|corpus"),
}
"""Table -> what the name of a file of it often holds."""
_ORDERED = re.compile(r"item|line|product|entries|position|detail")
_OF_ITEMS = frozenset({"product_id", "title", "brand", "category", "color", "size"})
_OF_ALL_ITEMS = frozenset({"basket_id", "session_id", "position", "action", "query", "query_id"})
_OF_THE_PRODUCT = (("reviews", "product_id"), ("questions", "product_id"))
"""Of a record with a list of items: columns that each item has, that all have together, and that
either may have."""
_OF_TWO_FILES = ("judgments", "reviews", "questions")
_QUERIES = frozenset({"query", "search_query", "search_term", "query_text"})
_RATER = re.compile(r"(rater|annotator|assessor|grader|judge|label|rating|grade|score|vote)_?[0-9a-f]")
_OF_PERSONS = re.compile(r"e_?mail|phone|first_?name|last_?name|surname|address|birth")


def propose(profiles: Sequence[FileProfile], presets: Sequence[PresetEntry], locales: Sequence[str]) -> ProposedMap:
    """A map for the files, in order of the tables."""
    found: list[ProposedFile] = []
    alone = []
    for profile in profiles:
        proposed = by_presets(profile, presets) or by_names(profile, locales)
        found += proposed
        if not proposed:
            alone.append(profile)
    in_two, used = of_two_files(alone, locales)
    found += in_two
    left = [f"{profile.pattern}, which {why_no_table(profile)}" for profile in alone if profile.pattern not in used]
    if "reviews" not in {file.table for file in found}:
        bare = [file for file in found if file.table == "questions" and "snippets" not in file.entry["columns"]]
        found = [file for file in found if file not in bare]
        left += [f"{file.profile.pattern}, which has no snippets, and no reviews are there to cut them from" for file in bare]
    found, twice = without_double_orders(found)
    twice += possible_copies(found)
    found.sort(key=lambda file: list(NEEDED)[::-1].index(file.table))
    found, notes = with_one_id(found)
    categories = any(file.table == "products" and "category" in file.entry["columns"] for file in found)
    found = [refined(file, categories and "product_id" not in file.notes) for file in found]
    return ProposedMap(tuple(found), derived(found), locales[0], tuple(left), (*twice, *notes))


def of_two_files(profiles: Sequence[FileProfile], locales: Sequence[str]) -> tuple[list[ProposedFile], set[str]]:
    """Files that are a table together with another file, and the patterns of all of these files."""
    found, used = [], set[str]()
    for profile in profiles:
        for both in joined(profile, profiles):
            of_both = [file for file in by_names(both.profile, locales) if file.table in _OF_TWO_FILES]
            made = [name for file in of_both for column in file.entry["columns"].values() for name in columns_of(column)]
            taken = sorted({name for name in made if name.split(".", maxsplit=1)[0] in both.added})
            if not taken:
                continue
            told = {"look_up": f"{', '.join(taken)} of {both.other.pattern}"}
            found += [
                replace(file, entry={"look_up": both.look_up, **file.entry}, notes={**file.notes, **told}) for file in of_both
            ]
            used |= {profile.pattern, both.other.pattern}
            break
    return found, used


def possible_copies(files: Sequence[ProposedFile]) -> list[str]:
    """Notes on files of the same table that share keys: one may be a copy, or an older export, of the other."""
    notes = []
    for one, other in combinations(files, 2):
        key = KEYS.get(one.table)
        if (
            one.table != other.table
            or key is None
            or not one.column(key)
            or not other.column(key)
            or one.profile is other.profile
        ):
            continue
        share = overlap(*(file.profile.texts(file.column(key)[0]) for file in (other, one)))
        if share > MOST_SHARED:
            names = f"{one.profile.pattern} and {other.profile.pattern}"
            notes.append(f"{names} are both {one.table} and share {share:.0%} of {key}: take one out if it is a copy")
    return notes


def why_no_table(profile: FileProfile) -> str:
    """What a file lacks for the table that its name means, or of which it lacks a single column."""
    nearly = []
    for table, needed in NEEDED.items():
        found = _columns(profile, table, ())
        lacks = [name for name in needed if name not in found]
        named = table.rstrip("s").removeprefix("co_") in profile.pattern.lower()
        if lacks and (named or (len(lacks) == 1 and len(needed) > 2)):
            nearly.append((not named, len(lacks), table, lacks))
    if not nearly:
        return "looks like none of the tables"
    not_named, _, table, lacks = min(nearly)
    tried = "; ".join(f"{name} (tried {', '.join(NAMES[table][name][:8])})" for name in lacks)
    return f"is {'nearly' if not_named else 'named like'} {table}, but no column is called like its {tried}"


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
            profile = profile.exploded(entry["each"])
        if all(name in entry["columns"] for name in NEEDED[table]) and _leaves_rows(entry, profile):
            proposed.append(without_returns(ProposedFile(table, profile, entry, dict(preset.notes), preset.preset)))
    return proposed


def _leaves_rows(entry: Mapping[str, Any], profile: FileProfile) -> bool:
    """Whether a value of each column is among those that count; where none is, another system has the same columns."""
    for column, condition in entry.get("where", {}).items():
        words = {normal(word) for word in ([condition] if isinstance(condition, str) else condition)}
        values = {normal(text) for text in profile.texts(column)}
        if words == {PRESENT} and not values:
            return False
        if not isinstance(condition, Mapping) and not words & {PRESENT, MISSING} and values and not words & values:
            return False
    return True


def by_names(profile: FileProfile, locales: Sequence[str]) -> list[ProposedFile]:
    """What the names of the columns make of the file: the table of which it has most of the needed columns."""
    plain = {plain_name(name): name for name in reversed(profile.columns)}
    if votes := _votes(profile, locales):
        return votes
    languages = language_marks(profile, locales)
    candidates = []
    for order, table in enumerate(NAMES):
        hinted = bool(_HINTS[table].search(plain_name(profile.pattern)))
        if table == "products" and not hinted and (not OF_PRODUCTS & plain.keys() or any(map(_OF_PERSONS.search, plain))):
            continue  # an id and a name are also what customers, categories and shops have
        if table == "products" and _QUERIES & plain.keys():
            continue  # what was found for a query
        for each in ("", *(profile.lists if table != "products" else ())):
            columns = _of_items(profile, table, each, languages) if each else _columns(profile, table, languages)
            if table == "reviews" and not hinted and plain_name(str(columns.get("text"))).endswith("description"):
                continue  # of the product
            if table == "questions" and not {"answers", "answerable"} & columns.keys() and not answer_count(profile):
                continue
            if plain_name(str(columns.get("basket_id"))) == "parent_id" and not {"quantity", "qty"} & plain.keys():
                continue  # the variants of a product have a parent too
            if all(name in columns for name in NEEDED[table]):
                of_items = any(name.startswith(f"{each}.") for name in columns_of(columns.get("product_id", {})))
                last = not (each and of_items) if table == "events" else bool(each)  # an event may list what was bought
                candidates.append((-len(NEEDED[table]) - 2 * hinted, order, last, table, each, columns))
    if not candidates:
        return []
    *_, table, each, columns = min(candidates, key=lambda found: found[:3])
    entry: dict[str, Any] = {"each": each} if each else {}
    file = ProposedFile(table, profile.exploded(each) if each else profile, {**entry, "columns": columns})
    if table in ("products", "judgments"):
        file = with_locale(file, locales)
    file = with_conditions(with_parents(file))
    return [file, *other_languages(file, locales)] if table == "products" and len(locales) > 1 else [file]


def _votes(profile: FileProfile, locales: Sequence[str]) -> list[ProposedFile]:
    """Judgments with a column for each of several persons: each is a file of votes."""
    columns = _columns(profile, "judgments", locales)
    raters = [name for name in profile.columns if _RATER.fullmatch(plain_name(name)) and profile.values(name)]
    if not {"query", "product_id"} <= columns.keys() or len(raters) < 2:
        return []
    guess = label_guess([value for name in raters for value in profile.values(name)])
    if not guess.keys:
        return []
    told = "; ".join([guess.unsure, f"the votes of {', '.join(raters)}, of which the majority counts"])
    others = {name: made for name, made in columns.items() if name != "label"}
    file = ProposedFile("judgments", profile, {"columns": others})
    return [with_conditions(file.with_column("label", {"column": name, **guess.keys}, told)) for name in raters]


def _columns(profile: FileProfile, table: str, languages: Sequence[str]) -> dict[str, Any]:
    return dict(named_columns(profile, table, profile.paths, languages, NEEDED[table]))


def _of_items(profile: FileProfile, table: str, each: str, languages: Sequence[str]) -> dict[str, Any]:
    """Columns of a table of which each item of a list is a row; empty where no item names what the table needs."""
    items = profile.exploded(each)
    inner = named_columns(items, table, [name for name in items.paths if name.startswith(f"{each}.")], languages, NEEDED[table])
    if not set(NEEDED[table]) & inner.keys() and not (table == "events" and "product_id" in inner):
        return {}
    around = [name for name in profile.paths if name != each and not name.startswith(f"{each}.")]
    outer = named_columns(profile, table, around, languages, NEEDED[table])
    if table == "baskets" and not {"basket_id"} & {*inner, *outer} and "id" in around and _ORDERED.search(plain_name(each)):
        outer["basket_id"] = "id"
    columns: dict[str, Any] = {}
    for name in NAMES[table]:
        both = [found[name] for found in (outer, inner) if name in found]
        if table == "events" and name in _OF_ITEMS and len(both) > 1:
            columns[name] = {"first": both}
        elif both and (name in _OF_ALL_ITEMS or name in inner or table == "events" or (table, name) in _OF_THE_PRODUCT):
            columns[name] = both[0] if name in _OF_ALL_ITEMS else inner.get(name, both[0])
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
