"""Which rows of a file count, told by columns that say so: states, flags such as `deleted`, and quantities of orders."""

import re
from dataclasses import replace

from dataset_builders.mapping import normal
from dataset_builders.proposed import ProposedFile
from dataset_builders.values import FALSE, TRUE

STATUS = ("status", "state", "review_status", "order_status", "financial_status")
APPROVED = ("approved", "published", "active", "ok", "live", "enabled")
_UNDONE = re.compile(r"cancel|refund|void|fail|return|declin|reject|abandon|pending")
"""Of the states of orders, those in which nothing was bought for good."""

_OFF = re.compile(r"(is_)?(deleted|archived|hidden|disabled|spam|draft|test|test_order|cancelled|canceled|refunded)")
_ON = re.compile(r"(is_)?(active|enabled|visible|published|approved|live)")
_WHEN = re.compile(r"(deleted|archived|cancelled|canceled|refunded)_(at|on|date)")
_QUANTITY = re.compile(r"(\w+_)?(quantity|qty)(_ordered)?")
_NOT_BOUGHT = re.compile(r"refund|return|cancel|stock|inventory|available|ship|invoice|backorder|min|max")
MOST_QUANTITIES = 10
"""Different quantities below 1 that a condition lists."""


def plain_name(name: str) -> str:
    """`product_id` of productId, Product ID and product-id."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def with_conditions(file: ProposedFile) -> ProposedFile:
    """Only approved reviews and questions, orders that were not undone, and no deleted or test rows, where a column says which
    are."""
    if file.table not in ("reviews", "questions", "products", "baskets"):
        return file
    file = _with_status(file)
    for name in file.profile.columns:
        plain, values = plain_name(name), {normal(text) for text in file.profile.texts(name)}
        if _WHEN.fullmatch(plain) and values and len(file.profile.values(name)) < len(file.profile.records):
            file = _with_condition(file, name, "missing", f"leaves out rows with {name}")
        if not values or not values <= TRUE | FALSE:
            continue
        left = values & (TRUE if _OFF.fullmatch(plain) else FALSE if _ON.fullmatch(plain) else frozenset())
        if left and left != values:
            file = _with_condition(
                file, name, {"not": sorted(left)}, f"leaves out rows whose {name} is {', '.join(sorted(left))}"
            )
    return without_returns(file)


def _with_condition(file: ProposedFile, column: str, condition: object, told: str) -> ProposedFile:
    where = {**file.entry.get("where", {}), column: condition}
    before = file.notes.get("where", "").removeprefix("unsure: ")
    return replace(file, entry={**file.entry, "where": where}).with_note("where", "; ".join(filter(None, [before, told])))


def _with_status(file: ProposedFile) -> ProposedFile:
    plain = {plain_name(name): name for name in reversed(file.profile.columns)}
    status = next((plain[name] for name in STATUS if name in plain), None)
    if status is None:
        return file
    values = {text.lower() for text in file.profile.texts(status)}
    if file.table == "baskets":
        undone = sorted(text for text in values if _UNDONE.search(text))
        return _with_condition(file, status, {"not": undone}, f"leaves out {', '.join(undone)}") if undone else file
    approved = [word for word in APPROVED if word in values]
    if not approved or len(approved) == len(values):
        return file
    return _with_condition(file, status, approved, f"leaves out {', '.join(sorted(values - set(approved))[:5])}")


def without_returns(file: ProposedFile) -> ProposedFile:
    """Orders without the items of which none was bought, or which were sent back."""
    if file.table != "baskets":
        return file
    for name in file.profile.columns:
        plain = plain_name(name)
        if not _QUANTITY.fullmatch(plain) or _NOT_BOUGHT.search(plain):
            continue
        none = sorted({normal(text) for text in file.profile.texts(name) if re.fullmatch(r"-\d+(\.0+)?|0(\.0+)?", text)})
        if none:
            told = f"leaves out items with a {name} of {', '.join(none[:MOST_QUANTITIES])}"
            if len(none) > MOST_QUANTITIES:
                told += "; name the other quantities below 1 too"
            file = _with_condition(file, name, {"not": none[:MOST_QUANTITIES]}, told)
    return file
