"""Recipes of the multiple-choice tasks."""

import ibis

from dataset_builders.engine import Draw, Harvest, rank, union, unused
from dataset_builders.recipes import Tables

REVIEWS_PER_CATEGORY = 1000
RATING_SHARES = (0.2, 0.1, 0.2, 0.2, 0.3)
"""Shares of the ratings 1 to 5 in a category: far from the corpus's own, in which two of three reviews give five stars."""

# A title such as "Five Stars", which the corpus fills in by itself, gives the answer away.
_STARS = r"(?i)\b(one|two|three|four|five|[1-5])[ -]*(out of (five|5) )?stars?\b"


def review_rating(tables: Tables, draw: Draw, limit: int) -> Harvest:
    """Text of a review -> its rating."""
    reviews = tables["reviews"]
    reviews = reviews.mutate(
        text=_without_stars(reviews.text),
        title=_without_stars(reviews.title.fill_null("")),
        draw=draw(reviews.review_id),
    )
    told = reviews.filter(reviews.text.re_search(r"\p{L}"))
    silent = reviews.filter(~reviews.text.re_search(r"\p{L}"))
    told = told.mutate(twin=rank(told.draw, [told.text.lower()]))
    single = told.filter(told.twin == 0)
    single = single.mutate(place=rank(single.draw, [single.category, single.rating]))
    quota = ibis.cases(
        *((single.rating == rating, int(REVIEWS_PER_CATEGORY * share)) for rating, share in enumerate(RATING_SHARES, 1))
    )
    asked = single.filter(single.place < quota)
    asked = asked.mutate(turn=rank(asked.draw))
    chosen = asked.filter(asked.turn < limit)
    rows = chosen.select(
        category=chosen.category,
        review=ibis.ifelse(chosen.title == "", chosen.text, chosen.title.concat("\n", chosen.text)),
        answer=chosen.rating.cast("string"),
        key=chosen.draw,
        group=ibis.literal("product:").concat(chosen.product_id),
        source=chosen.source,
        records=ibis.array([chosen.record]),
    )
    return Harvest(
        rows,
        union(
            [
                unused(silent, "review says nothing but its rating"),
                unused(told.filter(told.twin > 0), "review repeats another's text"),
                unused(single.filter(single.place >= quota), "rating has its share in the category"),
                unused(asked.filter(asked.turn >= limit), "task has its size"),
            ]
        ),
    )


def _without_stars(text: ibis.expr.types.StringValue) -> ibis.expr.types.StringValue:
    return text.re_replace(_STARS, "").strip()
