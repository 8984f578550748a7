"""Which rows of a file count, told by columns that say so: states, flags such as `deleted`, and quantities of orders."""

import re
from dataclasses import replace
from unicodedata import normalize

from dataset_builders.column_names import shared_prefix
from dataset_builders.mapping import normal
from dataset_builders.plain_names import plain_name
from dataset_builders.proposed import ProposedFile
from dataset_builders.sources.mapped_tables import looked_up
from dataset_builders.values import FALSE, TRUE, is_missing

_STATUS = {
    "reviews": re.compile(r"(product_)?((review|moderation|approval|publication|publish|content)_)?(status|state)"),
    "questions": re.compile(r"(question_|moderation_|review_)?(status|state)"),
    "products": re.compile(r"(product_|publication_)?(status|state)"),
    "baskets": re.compile(r"(?!.*(ship|fulfil|deliver|bill|customer|address))(\w*status|(\w+_)?state)|transaction_type"),
    "judgments": re.compile(r"assignment_status"),
}
"""Table -> columns that say in a word whether a row counts."""
APPROVED = (
    *("approved", "published", "publish", "active", "ok", "live", "enabled", "accepted"),
    *(
        "genehmigt",
        "freigegeben",
        "veroffentlicht",
        "aktiv",
        "approuve",
        "publie",
        "actif",
        "aprobado",
        "aprovado",
        "publicado",
        "activo",
    ),
    *("approvato", "pubblicato", "attivo", "goedgekeurd", "gepubliceerd", "actief"),
)
_UNDONE = re.compile(
    r"cancel|refund|void|fail|return|declin|reject|abandon|pending|unpaid|charge_?back|storn|erstatt|retour|annul|rembours"
    r"|gutgeschr|en attente|devuel|reembols|rechaz|pendiente|rimbors|geannul|terugbet"
)
"""Of the states of orders, those in which nothing was bought for good."""

_OFF = re.compile(
    r"(?!.*(quantity|qty|amount|total|count))(\w+_)?"
    r"(deleted|archived|hidden|disabled|spam|draft|test|test_order|cancelled|canceled|refunded|returned|rejected)"
)
_ON = re.compile(
    r"((is|product|review|question|comment)_)?"
    r"(active|enabled|visible|published|approved|live|current|validate|validated|moderated)|is_accepted"
)
_KIND = re.compile(r"_(flag|flg|ind|yn|cd|code)$")
"""What warehouses put behind the names of flags and states."""
_WHEN = re.compile(r"(\w+_)?(deleted|archived|cancelled|canceled|refunded)_(at|on|date)")
_QUANTITY = re.compile(r"(\w+_)?(quantity|qty)(_ordered|_purchased)?")
_SENT_BACK = re.compile(r"(?=.*(quantity|qty))(?=.*(refunded|returned|return|cancell?ed)(?!able))\w+")
_NOT_BOUGHT = re.compile(r"refund|return|cancel|stock|inventory|available|ship|invoice|backorder|min|max|discount")
_YES = TRUE | {"j", "ja", "oui", "si", "s\u00ed", "sim"}
_NO = FALSE | {"nein", "non", "nee", "n\u00e3o"}
_REMOVED = {"spam", "trash"}
"""What WordPress writes in `comment_approved` beside 0 and 1."""
_OF_A_STATE = frozenset({"technical_name", "name", "code", "value", "key"})
"""Of an object such as `status`, what may say in a word which one it is."""
_NOT = re.compile(r"(not|no|non|never|none)[ _-]")
MOST_STATES = 6
"""Words of a column of states whose meaning is asked for."""
MOST_QUANTITIES = 10
"""Different quantities below 1 that a condition lists."""


def with_conditions(file: ProposedFile) -> ProposedFile:
    """Only approved reviews and questions, orders that were not undone, and no deleted or test rows, where a column says which
    are."""
    if file.table not in _STATUS:
        return file
    shared = shared_prefix(file.profile.columns)
    for name in file.profile.paths:
        parts = [plain_name(part) for part in name.split(".")]
        last = parts[-2] if len(parts) > 1 and parts[-1] in _OF_A_STATE else parts[-1]
        plain = _KIND.sub("", last).removeprefix(shared)
        if file.table == "judgments" and not _STATUS["judgments"].fullmatch(plain_name(name)):
            continue
        values = {normal(text) for text in file.profile.texts(name)}
        if _WHEN.fullmatch(plain) and values and len(file.profile.values(name)) < len(file.profile.records):
            file = _with_condition(file, name, "missing", f"leaves out rows with {name}")
        status = _STATUS[file.table].fullmatch(plain)
        off = _NO | (_REMOVED if _ON.fullmatch(plain) else set())
        flag = values <= _YES | off
        if not values or (status and not flag):
            file = _with_status(file, name, values) if values else file
            continue
        on = _ON.fullmatch(plain) or (status and file.table != "baskets")
        left = values & (_YES if _OFF.fullmatch(plain) else off if on else frozenset()) if flag else frozenset()
        if left and left != values:
            file = _with_condition(
                file, name, {"not": sorted(left)}, f"leaves out rows whose {name} is {', '.join(sorted(left))}"
            )
    return _filled_down(without_returns(file))


def _with_condition(file: ProposedFile, column: str, condition: object, told: str) -> ProposedFile:
    where = {**file.entry.get("where", {}), column: condition}
    before = file.notes.get("where", "").removeprefix("unsure: ")
    return replace(file, entry={**file.entry, "where": where}).with_note("where", "; ".join(filter(None, [before, told])))


def _with_status(file: ProposedFile, status: str, values: set[str]) -> ProposedFile:
    if file.table == "baskets":
        plain = {text: _without_accents(text) for text in values}
        undone = sorted(text for text in values if _UNDONE.search(plain[text]) and not _NOT.match(plain[text]))
        return _with_condition(file, status, {"not": undone}, f"leaves out {', '.join(undone)}") if undone else file
    approved = [text for text in sorted(values) if _without_accents(text) in APPROVED]
    if not approved and 1 < len(values) <= MOST_STATES and file.table != "products" and "status" in plain_name(status):
        told = f"which values of {status} are of rows that count"
        return _with_condition(file, status, [*sorted(values), "missing"], told)
    if not approved or len(approved) == len(values):
        return file
    return _with_condition(file, status, approved, f"leaves out {', '.join(sorted(values - set(approved))[:5])}")


def _without_accents(text: str) -> str:
    return "".join(char for char in normalize("NFKD", text) if char.isascii()).replace("_", " ")


def _filled_down(file: ProposedFile) -> ProposedFile:
    """With what only the first row of an order says, where its other rows follow it and say nothing."""
    by = next(iter(file.column("basket_id")), "") if file.table == "baskets" and "each" not in file.entry else ""
    names = [name for name in file.entry.get("where", {}) if by and name != by and "fill_down" not in file.entry]
    if not names:
        return file
    grouped = [by, "id"] if plain_name(by) == "parent_id" and file.profile.texts(by) <= file.profile.texts("id") else [by]
    found = [[looked_up(record, name) for name in grouped] for record in file.profile.records]
    keys = [next((value for value in values if not is_missing(value)), None) for values in found]
    later = [record for record, key, before in zip(file.profile.records[1:], keys[1:], keys, strict=False) if key == before]
    filled = [name for name in names if later and all(is_missing(looked_up(record, name)) for record in later)]
    filled = [name for name in filled if file.profile.values(name)]
    return (
        replace(file, entry={"fill_down": {"by": grouped if len(grouped) > 1 else by, "columns": filled}, **file.entry})
        if filled
        else file
    )


def without_returns(file: ProposedFile) -> ProposedFile:
    """Orders without the items of which none was bought, or which were sent back."""
    if file.table != "baskets":
        return file
    for name in file.profile.paths:
        plain = plain_name(name.rpartition(".")[2])
        if _SENT_BACK.fullmatch(plain) and {normal(text) for text in file.profile.texts(name)} - {"0"}:
            file = _with_condition(file, name, ["0", "missing"], f"leaves out items with a {name}")
        if not _QUANTITY.fullmatch(plain) or _NOT_BOUGHT.search(plain):
            continue
        none = sorted({normal(text) for text in file.profile.texts(name) if re.fullmatch(r"-\d+(\.0+)?|0(\.0+)?", text)})
        if none:
            told = f"leaves out items with a {name} of {', '.join(none[:MOST_QUANTITIES])}"
            if len(none) > MOST_QUANTITIES:
                told += "; name the other quantities below 1 too"
            file = _with_condition(file, name, {"not": none[:MOST_QUANTITIES]}, told)
    return file
