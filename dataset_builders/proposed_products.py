"""Which id is a product's own where a file has a row for each of its variants as well."""

import re
from dataclasses import replace
from typing import Any

from dataset_builders.plain_names import plain_name
from dataset_builders.proposed import ProposedFile

_PARENT = re.compile(r"parent(_(product))?(_(id|sku|asin|code|number|key))?")
_GROUP = re.compile(
    r"item_group_id|product_group_id|group_id|handle|handle_id|style_id|model_id|product_id|product_internal_id"
)
MOST_GROUPS = 0.9
"""Groups to rows beyond which a column groups nothing."""


def with_parents(file: ProposedFile) -> ProposedFile:
    """Products with the id of the product that a variant belongs to; the variants' own ids are others of it."""
    own = file.entry["columns"].get("product_id")
    if file.table != "products" or not isinstance(own, str) or not isinstance(file.entry["columns"].get("title"), str):
        return file
    names = [name for name in file.profile.columns if name != own]
    for name in names:
        if _PARENT.fullmatch(plain_name(name)) and (parents := file.profile.ids(name)) and parents <= file.profile.ids(own):
            return _grouped(
                file, {"first": [name, own]}, own, {name: "missing"}, f"rows with {name} are variants of that product"
            )
    for name in names:
        if _GROUP.fullmatch(plain_name(name)) and _groups(file, name, own):
            told = f"{own} differs from variant to variant, and {name} does not"
            filled = len(file.profile.values(name)) == len(file.profile.records)
            return _grouped(file, name if filled else {"first": [name, own]}, own, {}, told)
    return file


def _groups(file: ProposedFile, name: str, own: str) -> bool:
    """Whether rows with the same value have the same title, or none, and fewer values than there are ids."""
    title = file.entry["columns"]["title"]
    titles: dict[str, set[str]] = {}
    for record in file.profile.records:
        if key := str(record.get(name) or ""):
            titles.setdefault(key, set()).update({str(record.get(title) or "")} - {""})
    alike = sum(len(each) == 1 for each in titles.values())
    return (
        len(titles) < MOST_GROUPS * len(file.profile.ids(own))
        and alike >= MOST_GROUPS * len(titles)
        and len(file.profile.values(name)) >= MOST_GROUPS * len(file.profile.records)
    )


def _grouped(file: ProposedFile, made: Any, own: str, where: dict[str, Any], told: str) -> ProposedFile:
    entry = {**file.entry, **({"where": where} if where else {}), "also_known_as": [own]}
    return replace(file, entry=entry).with_column("product_id", made, told)
