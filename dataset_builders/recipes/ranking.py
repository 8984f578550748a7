"""Recipe of the ranking task."""

import ibis

from dataset_builders.engine import Draw, Harvest, firsts, once, union, unused
from dataset_builders.expressions import first, rank, titled_judgments
from dataset_builders.recipes import Tables
from dataset_builders.tables import LABELS
from dataset_builders.tasks import GAINS


def query_product_ranking(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A query and five of its products, one of each label and one more -> their gains."""
    judged, left = titled_judgments(tables)
    query = ["query", "locale", "source"]
    judged = judged.mutate(draw=draw(judged["query"], judged.locale, judged.product_id, judged.source)).pipe(once)
    single, twins = firsts(judged, [*query, "look"], [judged.draw])

    counts = single.group_by(query).agg(labels=single.label.nunique(), products=single.count())
    counts = counts.mutate(usable=(counts.labels == len(LABELS)) & (counts.products > len(LABELS))).pipe(once)
    usable = counts.filter(counts.usable)
    usable = usable.mutate(draw=draw(*(usable[name] for name in query)))
    asked = first(usable, limit).select(*query).pipe(once)

    asked_products = single.semi_join(asked, query)
    asked_products = asked_products.mutate(place=rank(asked_products.draw, [*query, asked_products.label]))
    # The fifth product is the one among the second of each label whose draw comes first.
    asked_products = asked_products.mutate(
        fifth=rank(asked_products.draw, [*query, asked_products.place]) == 0,
    )
    is_drawn = (asked_products.place == 0) | ((asked_products.place == 1) & asked_products.fifth)
    drawn = asked_products.filter(is_drawn).pipe(once)
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
    lists = drawn.group_by(query).agg(items=item.collect())
    lists = lists.mutate(items=lists["items"].sort())
    rows = lists.select(
        query=lists["query"],
        products=lists["items"].map(lambda item: item["title"]),
        answer=lists["items"].map(lambda item: item["gain"]),
        key=draw(*(lists[name] for name in query)),
        group=ibis.literal("query:").concat(lists["query"]),
        source="source",
        records=lists["items"].map(lambda item: item["record"]).concat(lists["items"].map(lambda item: item["product_record"])),
    )
    lacking = single.semi_join(counts.filter(~counts.usable), query)
    return Harvest(
        rows,
        union(
            [
                *left,
                unused(twins, "query has a product of the same title"),
                unused(lacking, "query lacks one of the four labels, or a fifth product"),
                unused(single.semi_join(asked, query).anti_join(drawn, "draw"), "product is not among the five drawn"),
                unused(single.semi_join(usable, query).anti_join(asked, query), "task has its size"),
            ]
        ),
    )
