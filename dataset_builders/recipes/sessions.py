"""What the two session tasks share: a session's steps in order, how one reads, and the queries made by rule."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, materialize, unused
from dataset_builders.expressions import lower, spaced
from dataset_builders.values import FIRST_TIME

MOST_ACTIONS = 12
"""Actions of a row, the one that is asked for among them."""
FEWEST_ACTIONS = 3

OTHER_UNIT = 100
"""How many times as high as the lowest time of a session one in a smaller unit is, at least: milliseconds are 1,000."""

KIND = ("brand", "category", "color", "size")
"""What tells products of one title apart."""

ACTION_WORDS = {
    "view": "Looked at",
    "like": "Liked",
    "cart": "Put into the cart",
    "offer": "Made an offer for",
    "buy": "Bought",
    "query": "Searched for",
}

SEARCH = "Search: "
"""How `about` begins where it is a search that a customer typed, and no product."""


def rule_query(events: ir.Table) -> ir.StringValue:
    """The query that an event's own words make: a search as it was typed, else brand and category; null without either."""
    made = ibis.literal(" ").join([events.brand, events.category]).nullif("")
    return lower(spaced(ibis.ifelse(events.action == "query", events["query"], ibis.coalesce(made, events.category))))


def about(events: ir.Table) -> ir.StringValue:
    """What a language model reads of an event, to write queries: its product, or the search that it is."""
    fields = {"Title": "title", "Brand": "brand", "Category": "category", "Colour": "color", "Size": "size"}
    product = ibis.literal("\n").join([ibis.literal(f"{name}: ").concat(events[column]) for name, column in fields.items()])
    return ibis.ifelse(events.action == "query", ibis.literal(SEARCH).concat(events["query"]), product)


def key(events: ir.Table) -> ir.StringValue:
    """What written queries are kept under."""
    return about(events).hexdigest("md5")


def steps(events: ir.Table, draw: Draw) -> tuple[ir.Table, list[ir.Table]]:
    """A session's actions with `what` (title or query) and `step` (from 0), without those that repeat the one before.

    Two events of one microsecond have no order of their own; the draw gives them one that does not hang on the file's. Where
    all of a session have one position, as with dates for times, none is a next one, and all are left out. So they are where
    some positions are times in seconds and others in milliseconds, as logs of several systems are put together.
    """
    events = events.mutate(what=ibis.ifelse(events.action == "query", events["query"], events.title))
    named = events.filter(events.what.notnull())
    said = ibis.literal("|").join([named.action, named.what])
    order = [named.position, draw(named.session_id, said), *(named[name] for name in ("product_id", *KIND))]
    named = named.mutate(
        said=said,
        before=said.lag().over(group_by="session_id", order_by=order),
        step=ibis.row_number().over(group_by="session_id", order_by=order),
        low=named.position.min().over(group_by="session_id"),
        high=named.position.max().over(group_by="session_id"),
        actions=named.position.count().over(group_by="session_id"),
    ).pipe(materialize)
    unordered = (named.low == named.high) & (named.actions > 1)
    in_units = (named.low >= FIRST_TIME) & (named.high / OTHER_UNIT >= named.low)
    unordered_events, events_in_units = named.filter(unordered), named.filter(in_units)
    named = named.filter(~unordered & ~in_units).drop("low", "high", "actions")
    repeats = (named.before == named.said).fill_null(False)
    unused_events = [
        unused(events.filter(events.what.isnull()), "event names no product and no query"),
        unused(unordered_events, "all events of the session have one position, so none is the next"),
        unused(events_in_units, "times of the session are in several units, such as seconds and milliseconds"),
        unused(named.filter(repeats), "event repeats the one before"),
    ]
    return named.filter(~repeats).drop("said", "before"), unused_events


def until(steps: ir.Table, targets: ir.Table) -> ir.Table:
    """The last steps of each session up to its `target` step, as many as a row has, with `back` (0 is the target)."""
    recent = steps.join(targets, "session_id")
    recent = recent.filter(recent.step <= recent.target)
    recent = recent.mutate(back=ibis.row_number().over(group_by="session_id", order_by=recent.step.desc()))
    return recent.filter(recent.back < MOST_ACTIONS)


def line(steps: ir.Table) -> ir.StringValue:
    """A step as a line of a prompt."""
    return steps.action.cases(*ACTION_WORDS.items()).concat(" '", steps.what, "'")
