"""Recipe of the ranking task."""

import ibis

from dataset_builders.engine import Draw, Harvest, rank, titled_judgments, union, unused
from dataset_builders.recipes import Tables
from dataset_builders.tables import LABELS
from dataset_builders.tasks import GAINS


def query_product_ranking(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """A query and five of its products, one of each label and one more -> their gains."""
    judged, left = titled_judgments(tables)
    query = ["query", "locale", "source"]
    judged = judged.mutate(draw=draw(judged.query, judged.locale, judged.product_id))
    judged = judged.mutate(twin=rank(judged.draw, [*query, judged.title.lower()]))
    single = judged.filter(judged.twin == 0)

    counts = single.group_by(query).agg(labels=single.label.nunique(), products=single.count())
    counts = counts.mutate(usable=(counts.labels == len(LABELS)) & (counts.products > len(LABELS)))
    usable = counts.filter(counts.usable)
    usable = usable.mutate(turn=rank(draw(usable["query"], usable.locale)))
    asked = usable.filter(usable.turn < limit).select(*query)
    over = usable.filter(usable.turn >= limit).select(*query)

    asked_products = single.semi_join(asked, query)
    asked_products = asked_products.mutate(place=rank(asked_products.draw, [*query, asked_products.label]))
    # The fifth product is the one among the second of each label whose draw comes first.
    asked_products = asked_products.mutate(
        fifth=rank(asked_products.draw, [*query, asked_products.place]) == 0,
    )
    is_drawn = (asked_products.place == 0) | ((asked_products.place == 1) & asked_products.fifth)
    drawn = asked_products.filter(is_drawn)
    gain = ibis.cases(*((drawn.label == label, GAINS[label]) for label in LABELS))
    item = ibis.struct(
        {
            "order": draw(ibis.literal("order"), drawn["query"], drawn.locale, drawn.product_id),
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
        key=draw(lists["query"], lists.locale),
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
                unused(judged.filter(judged.twin > 0), "query has a product of the same title"),
                unused(lacking, "query lacks one of the four labels, or a fifth product"),
                unused(asked_products.filter(~is_drawn), "product is not among the five drawn"),
                unused(single.semi_join(over, query), "task has its size"),
            ]
        ),
    )
