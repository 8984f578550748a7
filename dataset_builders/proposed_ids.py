"""Which columns of exports hold the ids of products: one names a product by its handle, another by its SKU or its number."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataset_builders.file_profiles import overlap
from dataset_builders.plain_names import plain_name
from dataset_builders.proposed import ProposedFile
from dataset_builders.sources.mapped_tables import looked_up
from dataset_builders.values import id_or_text, is_missing

FEWEST_OVERLAP = 0.05
"""Share of a table's product ids that must be among the products' before a column counts as their id."""


_GLOBAL_IDS = (r"gid://shopify/\w+/(\d+)", r"shopify-(\d+)", r"shopify_[A-Z]{2}_(\d+)(?:_\d+)?")
"""https://shopify.dev/docs/api/usage/gids; then as apps for reviews write it, and as the Google channel, with the variant."""

_ID_NAME = re.compile(r"id$|_id|ids$|sku|handle|asin|product|article|item|code$|key$|number$|slug|gtin|ean|^custom_label$")
_NO_ID = re.compile(r"price|title|name|rating|date|quantity|qty|count|url|type|status|state|image|weight|label$")
PERSON = re.compile(
    r"user|customer|reviewer|visitor|client|email|name$|author|phone|address|anonymous|distinct_?id|device|cookie",
    re.IGNORECASE,
)


def with_one_id(files: Sequence[ProposedFile]) -> tuple[list[ProposedFile], list[str]]:
    """The same files, each with the column whose values are ids of products, be it their own id or another one.

    Exports of one shop name a product by its handle, its SKU or its number. Which column is which is told by the values.
    """
    files = [_split(_plain_numbers(file)) for file in files]
    catalogue = next((file for file in files if file.table == "products"), None)
    if catalogue is None:
        return files, []
    own = _ids(catalogue, "product_id")
    others = {name: ids for name in _other_ids(catalogue) if (ids := catalogue.profile.ids(name)) and ids != own}
    found, used, notes = [], [], []
    for given in files:
        file = given
        for column in ("product_id", "other_product_id"):
            if column not in file.entry["columns"] or file.table == "products":
                continue
            choice, other = _best_id(file, column, own, others)
            if choice is None:
                notes.append(f"{file.profile.pattern}: no column holds ids of {catalogue.profile.pattern}")
                file = file.with_note(column, f"no value of it is an id in {catalogue.profile.pattern}")
                continue
            if other and other not in used:
                used.append(other)
            if choice not in file.column(column):
                file = file.with_column(column, choice)
        found.append(file)
    listed = catalogue.entry.get("also_known_as", [])
    also = [*listed, *(name for name in used if name not in listed and name not in catalogue.column("product_id"))]
    if also:
        place = found.index(catalogue)
        found[place] = replace(catalogue, entry={**catalogue.entry, "also_known_as": also})
    return found, notes


def _split(file: ProposedFile) -> ProposedFile:
    """With a row for each of the ids that one value lists, as of the products of an order or of a page of results."""
    made = file.entry["columns"].get("product_id")
    if not isinstance(made, str) or file.preset or file.table not in ("baskets", "events"):
        return file
    if any(isinstance(value, list) for value in file.profile.values(made)):
        return file.with_column("product_id", {"column": made, "split": ","})
    texts = file.profile.texts(made)
    mark = next((mark for mark in ",;|" if sum(mark in text for text in texts) > len(texts) / 2), None)
    return file.with_column("product_id", {"column": made, "split": mark}, f"split at {mark}") if mark else file


def _plain_numbers(file: ProposedFile) -> ProposedFile:
    """With the numbers alone of ids such as gid://shopify/Product/123, which other exports of the shop have."""
    for column in ("product_id", "other_product_id"):
        made = file.entry["columns"].get(column)
        texts = {text for name in file.column(column) for text in file.profile.texts(name)}
        pattern = next((each for each in _GLOBAL_IDS if texts and all(re.fullmatch(each, text) for text in texts)), "")
        if made and "pattern" not in made and pattern:
            keys = {"column": made} if isinstance(made, str) else dict(made)
            file = file.with_column(column, {**keys, "pattern": pattern})
    return file


def _ids(file: ProposedFile, column: str) -> set[str]:
    """The values of a column of ids, as far as they are told by a pattern."""
    made = file.entry["columns"][column]
    pattern = re.compile(made["pattern"]) if isinstance(made, dict) and "pattern" in made else None
    found = set()
    for record in file.profile.records:
        values = (looked_up(record, name) for name in file.column(column))
        value = next((value for value in values if not is_missing(value)), "")
        for text in map(id_or_text, value if isinstance(value, list) else [value]):
            match = pattern.search(text) if pattern else None
            found.add(match[1] if match else text)
    return found - {""}


def _other_ids(catalogue: ProposedFile) -> list[str]:
    """Columns of the products whose values tell products apart."""
    listed = list(catalogue.entry.get("also_known_as", []))
    own = [_own_id(catalogue, record) for record in catalogue.profile.records]
    for name in catalogue.profile.paths:
        if name in listed or not _is_id_name(name):
            continue
        values = [looked_up(record, name) for record in catalogue.profile.records]
        pairs = {(str(value), product) for value, product in zip(values, own, strict=True) if not is_missing(value)}
        if pairs and len({value for value, _ in pairs}) >= 0.9 * len(pairs):
            listed.append(name)
    return listed


def _own_id(catalogue: ProposedFile, record: Mapping[str, Any]) -> str:
    values = (looked_up(record, name) for name in catalogue.column("product_id"))
    return str(next((value for value in values if not is_missing(value)), ""))


def _is_id_name(name: str) -> bool:
    plain = plain_name(name)
    return bool(_ID_NAME.search(plain)) and (plain == "custom_label" or not _NO_ID.search(plain))


def _scope(file: ProposedFile) -> list[str]:
    """Columns in which ids of products may be: those of the items where each is a row."""
    each = file.entry.get("each")
    return [name for name in file.profile.paths if not each or name.startswith(f"{each}.")]


def _best_id(file: ProposedFile, column: str, own: set[str], others: Mapping[str, set[str]]) -> tuple[str | None, str | None]:
    """The file's column whose values are most often ids of products, and the column of the products where it is not their
    own id."""
    chosen = [name for name in file.column(column) if file.profile.has(name)]
    taken = {name for key in file.entry["columns"] if key != column for name in file.column(key)}
    names = [name for name in _scope(file) if _is_id_name(name) and name not in taken and not PERSON.search(name)]
    split = file.entry["columns"][column].get("split") if isinstance(file.entry["columns"][column], dict) else None
    ranked = []
    for order, name in enumerate(dict.fromkeys([*chosen, *names])):
        texts = _ids(file, column) if name in chosen and len(chosen) == 1 else file.profile.ids(name)
        if split:
            texts = {part.strip() for text in texts for part in text.split(split)}
        for rank, (other, ids) in enumerate([(None, own), *others.items()]):
            ranked.append((-round(overlap(texts, ids), 2), rank, order, name, other))
    best = min(ranked, key=lambda each: each[:3], default=None)
    if best is None or -best[0] < FEWEST_OVERLAP:
        return None, None
    return best[3], best[4]
