"""The ten queries that a row of next_query chooses from: made by rule, or written by a language model."""

import ibis
import ibis.expr.types as ir

from dataset_builders.engine import Draw, union
from dataset_builders.expressions import lower, rank, words
from dataset_builders.recipes import sessions

QUERIES = 10
NARROWING, SUBSTITUTES, COMPLEMENTS, STRANGERS = 2, 1, 2, 4
"""Candidates beside the next query itself."""
SUBSTITUTE = 2
"""The kind of a substitute among those that a list is made of."""


def by_rule(labels: ir.Table, made: ir.Table, draw: Draw) -> ir.Table:
    """The label, narrower ones, a substitute, complements, strangers, as `_chosen` gives them."""
    # Narrower: the label and one more word of its product, such as its colour, its size, or a word of its title.
    own = ibis.array([lower(labels.color), lower(labels["size"])]).concat(words(labels.what))
    narrow = labels.select("session_id", "made", word=own.unnest())
    narrow = narrow.filter(
        narrow.word.notnull() & (narrow.word.length() > 2) & ~words(narrow.made).contains(narrow.word)
    ).distinct()
    narrow = narrow.mutate(place=rank(draw(narrow.session_id, narrow.word), [narrow.session_id]))
    narrower = narrow.select("session_id", "place", text=narrow.made.concat(" ", narrow.word))

    vocabulary = made.filter(made.category.notnull()).select("session_id", "category", text="made")
    distinct = vocabulary.select("category", "text").distinct()
    # What goes with a category is what other categories' queries stand in one session with it.
    meets = vocabulary.join(vocabulary.select("session_id", other="category"), "session_id")
    meets = meets.filter(meets.other != meets.category).select("text", category="other").distinct()
    return _chosen(
        labels.select("session_id", text="made", place=ibis.literal(0, "int64")),
        narrower,
        _next_on_ring(labels, distinct, draw),
        _next_on_ring(labels, meets, draw),
        _strangers(labels, distinct, draw),
    )


def by_model(labels: ir.Table, written: ir.Table, draw: Draw) -> ir.Table:
    """The same, of what was `written` for the labels (see `label_texts`). Strangers are others' labels: queries made by rule
    could be recognised by their style."""
    own = labels.join(written.rename(written_text="text"), "key")
    narrower, substitutes, complements = (
        own.filter(own.kind == kind).select("session_id", "place", text="written_text")
        for kind in ("narrowing", "substitute", "complement")
    )
    return _chosen(
        labels.select("session_id", "text", place=ibis.literal(0, "int64")),
        narrower,
        substitutes,
        complements,
        _strangers(labels.drop("text"), labels.select("category", "text").distinct(), draw),
    )


def label_texts(labels: ir.Table, written: ir.Table) -> ir.Table:
    """Those labels of which all queries are written, with `text`: a search stays as it was typed."""
    whole = labels.semi_join(written.filter(written.kind == "complement"), "key")
    whole = _with_query(whole, written)
    return whole.mutate(text=ibis.coalesce(whole.written_text, whole.made)).drop("written_text")


def written_searches(steps: ir.Table, labels: ir.Table, written: ir.Table) -> ir.Table:
    """The steps with `search`, the written query that a viewed product is shown as a search for, in the labels' sessions.

    Where nothing was written for the product, or what the label says, it is shown as looked at.
    """
    named = _with_query(steps.mutate(key=sessions.key(steps)), written)
    named = named.left_join(labels.select("session_id", label="text"), "session_id").drop("session_id_right")
    searched = named.search.notnull() & (named.written_text != named.label)
    search = ibis.ifelse(searched, named.written_text, ibis.null("string"))
    return named.mutate(search=ibis.ifelse(named.label.isnull(), named.search, search))


def _with_query(table: ir.Table, written: ir.Table) -> ir.Table:
    """The table with `written_text`, the query that was written for its `key`, null where there is none."""
    queries = written.filter(written.kind == "query").select("key", written_text="text")
    return table.left_join(queries, "key").drop("key_right")


def _chosen(label: ir.Table, narrower: ir.Table, substitutes: ir.Table, complements: ir.Table, strangers: ir.Table) -> ir.Table:
    """`session_id, text, true, alike` of tables with `session_id, text, place`: as many of each kind as a list has, each text
    once. `alike` are those of the label's own category that are not right."""
    kinds = [
        (0, 1, True, label),
        (1, NARROWING, True, narrower),
        (SUBSTITUTE, SUBSTITUTES, False, substitutes),
        (3, COMPLEMENTS, False, complements),
        (4, STRANGERS, False, strangers),
    ]
    candidates = union(
        [
            table.select(
                "session_id", "text", "place", kind=ibis.literal(kind), most=ibis.literal(most), true=ibis.literal(true)
            )
            for kind, most, true, table in kinds
        ]
    )
    first = ibis.row_number().over(group_by=["session_id", "text"], order_by=[candidates.kind, candidates.place])
    distinct = candidates.mutate(twin=first).filter(lambda table: table.twin == 0)
    distinct = distinct.mutate(turn=rank(distinct.place, [distinct.session_id, distinct.kind]))
    chosen = distinct.filter(distinct.turn < distinct.most)
    return chosen.select("session_id", "text", "true", alike=chosen.kind == SUBSTITUTE)


def _strangers(labels: ir.Table, queries: ir.Table, draw: Draw) -> ir.Table:
    """Queries of other categories than each label's."""
    everything = queries.select("text", category=ibis.literal("all"), own="category")
    return _next_on_ring(labels.mutate(own="category", category=ibis.literal("all")), everything, draw)


def _next_on_ring(labels: ir.Table, queries: ir.Table, draw: Draw) -> ir.Table:
    """Queries of each label's category, the next ones on a ring of them in the order of their draw."""
    columns = [queries[name] for name in ("category", "text", "own") if name in queries.columns]
    ring = queries.mutate(position=rank(draw(ibis.literal("ring"), *columns), [queries.category]))
    sizes = ring.group_by("category").agg(ring_size=ring.count())
    turns = labels.join(sizes, "category")
    turns = turns.mutate(place=ibis.range(QUERIES).unnest()).filter(lambda table: table.place < table.ring_size)
    turns = turns.mutate(position=((turns.turn * QUERIES + turns.place) % turns.ring_size).cast("int64"))
    met = turns.join(ring, ["category", "position"], rname="{name}_met")
    if "own_met" in met.columns:
        met = met.filter(met.own != met.own_met)
    return met.select("session_id", "text", place=met.place.cast("int64"))
