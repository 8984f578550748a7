"""The Ibis expressions that the recipes share. Each gives the same rows on DuckDB and on Spark."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from dataset_builders.engine import deduplicate, materialize, store, union, unused

if TYPE_CHECKING:
    import ibis.expr.types as ir

PRODUCT = ["product_id", "locale", "source"]
"""What tells products, and what was judged of them, apart."""

UNTITLED = "judged product has no title here"

MOST = 2**31 - 1
"""Rows that an engine can be asked for; a larger limit is none."""


def rank(draw: "ir.Value", group_by: list[Any] | None = None) -> "ir.IntegerValue":
    """The place of each row in order of its draw, from 0, within its group."""
    import ibis

    return ibis.row_number().over(group_by=group_by, order_by=draw)


def sample(table: "ir.Table", limit: int) -> "ir.Table":
    """A random sample: the rows with the lowest `draw`, found with a heap of `limit` rows instead of a sort of all."""
    return table.order_by("draw").limit(limit) if limit < MOST else table


def redraw(draw: "ir.StringValue") -> "ir.StringValue":
    """Another draw, for rows that were taken kind by kind in order of the first one.

    As many from a large kind as from a small one have the lower draws of the two: in that order, whatever takes only the
    first rows would take those of the large kind.
    """
    return draw.hexdigest("md5")


def round_robin(table: "ir.Table", column: str, kinds: Sequence[Any], limit: int) -> "ir.Table":
    """The first rows in order of their `draw`, but round robin over the kinds, so that none crowds out others."""
    import ibis

    most = union([sample(table.filter(table[column] == kind), limit) for kind in kinds])
    placed = most.mutate(place=rank(most.draw, [most[column]]))
    placed = placed.mutate(turn=ibis.row_number().over(order_by=[placed.place, placed.draw]))
    return placed.filter(placed.turn < limit).drop("place", "turn")


def lower(text: "ir.StringValue") -> "ir.StringValue":
    """The text in lower case. Two letters are taken by hand, since Java makes a dotted i of two characters of the one, and
    of the other another letter at the end of a word. (What Unicode 14 or a later one added follows each engine's tables.)
    """
    return text.replace("İ", "i").replace("Σ", "σ").lower()


def spaced(text: "ir.StringValue") -> "ir.StringValue":
    """The text in one line, with single spaces, and none at its ends.

    Not `strip`: what Ibis 12 writes for Spark takes the letters v and f off as well.
    """
    # Not \s, to which Java adds the vertical tab.
    return text.re_replace(r"[\x{9}-\x{D} \x{A0}\x{3000}]+", " ").re_replace("^ | $", "")


def without(text: "ir.StringValue", pattern: str) -> "ir.StringValue":
    r"""The text without what matches, in any case, `spaced`. A boundary `\b` is one of ASCII words, as in RE2, on Spark too."""
    if text.get_backend().name == "pyspark":
        word = "[A-Za-z0-9_]"
        boundary = f"(?:(?<!{word})(?={word})|(?<={word})(?!{word}))"
        return spaced(text.re_replace("(?iu)" + pattern.replace(r"\b", boundary), ""))
    return spaced(text.re_replace("(?i)" + pattern, ""))


def words(text: "ir.StringValue") -> "ir.ArrayValue":
    """The distinct words of a text, lower case, letters and digits only."""
    return lower(text).re_replace("[^\\p{L}\\p{N}]+", " ").re_replace("^ | $", "").split(" ").unique()


def shared(make: "Callable[[dict[str, ir.Table]], ir.Table]") -> "Callable[[dict[str, ir.Table]], ir.Table]":
    """What several recipes make of the same tables is computed for the first of them, and kept with the tables under its
    name: on disk, since what the engine holds takes memory from every other task."""

    @wraps(make)
    def once(tables: "dict[str, ir.Table]") -> "ir.Table":
        if make.__name__ not in tables:
            tables[make.__name__] = store(make(tables))
        return tables[make.__name__]

    return once


@shared
def titles(tables: dict[str, "ir.Table"]) -> "ir.Table":
    """One title per product id and source, of the first locale that was asked for: `product_id, title, source, record`, its
    `category`, `look` (the same for titles that differ in case only) and `words` (its distinct words)."""
    products = tables["products"]
    single, _ = deduplicate(products, ["product_id", "source"], lambda product: [product.preference, product.locale])
    look = lower(single.title).hexdigest("md5")
    return single.select("product_id", "source", "title", "record", "category", look=look, words=words(single.title))


def titled_links(links: "ir.Table", products: "ir.Table", *columns: str) -> "ir.Table":
    """Links with these columns of both products, named `<column>` and `other_<column>`, null where a product is unknown."""
    first = products.select("product_id", "source", **{f"own_{column}": column for column in columns})
    second = products.select("source", other_product_id="product_id", **{f"other_{column}": column for column in columns})
    links = links.left_join(first, ["product_id", "source"]).drop("product_id_right", "source_right")
    return links.left_join(second, ["other_product_id", "source"]).drop("other_product_id_right", "source_right")


@shared
def bought_links(tables: dict[str, "ir.Table"]) -> "ir.Table":
    """Links of products bought together with `own_record, own_look, other_record, other_look`, null where a product is
    unknown, and `overlap`: the share of the shorter title's distinct words that the other title has too."""
    import ibis

    links = tables["co_purchases"]
    links = titled_links(links.filter(links.relation == "also_buy"), titles(tables), "record", "look", "words")
    fewer = ibis.least(links.own_words.length(), links.other_words.length())
    overlap = links.own_words.intersect(links.other_words).length() / fewer
    return links.mutate(overlap=overlap).drop("own_words", "other_words", "relation")


@shared
def counted_judgments(tables: dict[str, "ir.Table"]) -> "ir.Table":
    """All judgments with the query in lower case, its `number`, and `left`: why it does not count, null where it does.

    One of each query, product, locale and source counts. Spellings of one query are the same query; the first spelling in
    order of the alphabet stays. Several judgments of one pair are votes: the label of most of them counts, and a pair without a
    majority is left out. The number tells queries apart, and says no more: it depends on what other queries there are.
    """
    import ibis

    judgments = tables["judgments"].rename(spelling="query")
    spellings = judgments.select("spelling").distinct()
    spellings = spellings.mutate(query=lower(spaced(spellings.spelling)))
    spellings = materialize(spellings.mutate(number=ibis.dense_rank().over(order_by=spellings["query"])))
    named = judgments.join(spellings, "spelling")
    pair = ["number", *PRODUCT]
    counts = named.group_by(pair).agg(judgments=named.count())
    several = materialize(counts.filter(counts.judgments > 1).drop("judgments"))
    voted = materialize(named.semi_join(several, pair))  # few: most pairs are judged once
    votes = voted.group_by([*pair, "label"]).agg(votes=voted.count())
    ranked = votes.mutate(most=votes.votes.max().over(group_by=pair))
    winners = ranked.filter(ranked.votes == ranked.most)
    alone = winners.group_by(pair).agg(labels=winners.count(), label=winners.label.min())
    decided = materialize(alone.filter(alone.labels == 1).drop("labels"))
    agreeing = voted.semi_join(decided, [*pair, "label"])
    first_votes, repeats = deduplicate(agreeing, pair, lambda judgment: [judgment.spelling, judgment.query_id, judgment.record])
    parts = {
        None: union([named.anti_join(several, pair), first_votes]),
        "judgment repeats another's query and product": repeats.drop("twin"),
        "most judgments of the query and product say otherwise": voted.semi_join(decided, pair).anti_join(
            decided, [*pair, "label"]
        ),
        "judgments of the query and product disagree, without a majority": voted.anti_join(decided, pair),
    }
    columns = [name for name in named.columns if name != "spelling"]
    return union([part.select(columns).mutate(left=ibis.literal(reason, "string")) for reason, part in parts.items()])


@shared
def counted_titles(tables: dict[str, "ir.Table"]) -> "ir.Table":
    """The judgments that count with `title`, `look` (the title in lower case) and `product_record` of their product, null where
    it is unknown."""
    products = tables["products"]
    products = products.select(*PRODUCT, "title", look=lower(products.title), product_record="record")
    return judged_once(tables)[0].left_join(products, PRODUCT).drop(*(f"{column}_right" for column in PRODUCT))


def judged_once(tables: dict[str, "ir.Table"]) -> tuple["ir.Table", list["ir.Table"]]:
    """The judgments that count, one per query, product, locale and source, and the others (see `counted_judgments`)."""
    judgments = counted_judgments(tables)
    others = judgments.filter(judgments.left.notnull())
    return judgments.filter(judgments.left.isnull()).drop("left"), [others.select("record", "source", reason="left")]


def titled_judgments(tables: dict[str, "ir.Table"]) -> tuple["ir.Table", list["ir.Table"]]:
    """`counted_titles` where the product is known, and what was left."""
    judgments, (_, others) = counted_titles(tables), judged_once(tables)
    known = judgments.filter(judgments.title.notnull())
    return known, [*others, unused(judgments.filter(judgments.title.isnull()), UNTITLED)]
