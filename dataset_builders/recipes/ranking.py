"""Recipe of the ranking task."""

import ibis
import ibis.expr.types as ir

from common.tasks import GAINS
from dataset_builders.engine import Draw, RecipeRows, deduplicate, materialize, unused
from dataset_builders.expressions import UNTITLED, counted_titles, judged_once, rank, sample
from dataset_builders.recipes import Tables
from dataset_builders.tables import LABELS


def query_product_ranking(tables: Tables, draw: Draw, limit: int) -> RecipeRows:
    """A query and five of its products, one of each label and one more -> their gains."""
    judged, repeated = judged_once(tables)
    query = ["number", "locale", "source"]
    titled = counted_titles(tables)
    hopeful = _usable(judged, query)
    known = titled.semi_join(hopeful, query).pipe(materialize)

    def order(judgments: ir.Table) -> ir.StringValue:
        return draw(judgments["query"], judgments.locale, judgments.product_id, judgments.source)

    single, twins = deduplicate(known.filter(known.title.notnull()), [*query, "look"], lambda judgment: [order(judgment)])
    single = single.pipe(materialize)
    usable = _usable(single, query)
    usable = usable.mutate(draw=draw(usable["query"], usable.locale, usable.source)).pipe(materialize)
    asked = sample(usable, limit).pipe(materialize)

    asked_products = single.semi_join(asked, query)
    asked_products = asked_products.mutate(draw=order(asked_products))
    asked_products = asked_products.mutate(place=rank(asked_products.draw, [*query, asked_products.label]))
    # The fifth product is the one among the second of each label whose draw comes first.
    asked_products = asked_products.mutate(
        fifth=rank(asked_products.draw, [*query, asked_products.place]) == 0,
    )
    is_drawn = (asked_products.place == 0) | ((asked_products.place == 1) & asked_products.fifth)
    drawn = asked_products.filter(is_drawn).pipe(materialize)
    gain = ibis.cases(*((drawn.label == label, GAINS[label]) for label in LABELS))
    item = ibis.struct(
        {
            "order": draw(ibis.literal("order"), drawn["query"], drawn.locale, drawn.product_id, drawn.source),
            "title": drawn.title,
            "gain": gain,
            "record": drawn.record,
            "product_record": drawn.product_record,
        }
    )
    lists = drawn.group_by(["query", *query]).agg(items=item.collect())
    lists = lists.mutate(items=lists["items"].sort())
    rows = lists.select(
        query=lists["query"],
        products=lists["items"].map(lambda item: item["title"]),
        answer=lists["items"].map(lambda item: item["gain"]),
        key=draw(lists["query"], lists.locale, lists.source),
        group=ibis.literal("query:").concat(lists["query"]),
        source="source",
        records=lists["items"].map(lambda item: item["record"]).concat(lists["items"].map(lambda item: item["product_record"])),
    )
    return RecipeRows(
        rows,
        [
            *repeated,
            unused(titled.filter(titled.title.isnull()), UNTITLED),
            unused(twins.semi_join(usable, query), "query has a product of the same title"),
            unused(
                titled.filter(titled.title.notnull()).anti_join(usable, query),
                "query lacks one of the four labels, or a fifth product",
            ),
            unused(
                single.semi_join(asked, query).anti_join(drawn, [*query, "product_id"]),
                "product is not among the five drawn",
            ),
            unused(single.semi_join(usable, query).anti_join(asked, query), "task has its size"),
        ],
    )


def _usable(judgments: ir.Table, query: list[str]) -> ir.Table:
    """The queries that have all four labels, and one product more."""
    counts = judgments.group_by(query).agg(
        query=judgments["query"].min(), labels=judgments.label.nunique(), products=judgments.count()
    )
    return counts.filter((counts.labels == len(LABELS)) & (counts.products > len(LABELS))).select("query", *query)
