"""The engine that carries out the recipes' Ibis expressions, and the few expressions that all recipes share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.errors import UserError
from dataset_builders.tables import TABLES

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class Draw:
    """The only randomness of a build: a draw is `md5(seed | task | key ...)`, and every choice is "order by draw".

    So the same input gives the same rows whatever the order of its records, the number of threads, or the engine.
    """

    seed: int
    task: str

    def __call__(self, *keys: "ir.Value") -> "ir.StringValue":
        import ibis

        text: Any = ibis.literal(f"{self.seed}|{self.task}")
        for key in keys:
            text = text.concat("|", key.cast("string"))
        return text.hexdigest("md5")


@dataclass(frozen=True)
class Harvest:
    """What a recipe makes of the canonical tables.

    `rows` has the fields of the task's templates, `answer`, `key` (unique, orders the rows by draw), `group` (what the split
    keeps together), `source` and `records` (the numbers of the raw records that the row was made of). `unused` has
    `record`, `source` and `reason`, for the records that the recipe looked at and left.
    """

    rows: "ir.Table"
    unused: "ir.Table"


def connect(memory_limit: str, threads: int | None, spill: Path) -> Any:
    """DuckDB in memory, spilling to the folder `spill` above `memory_limit` (such as "4GB")."""
    import duckdb
    import ibis

    options: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": str(spill)}
    if threads is not None:
        if threads < 1:
            raise UserError(f"--threads {threads} is too few. Give 1 or more.")
        options["threads"] = threads
    try:
        return ibis.duckdb.connect(**options)
    except duckdb.Error:
        raise UserError(
            f"--memory-limit {memory_limit or 'of nothing'} is not a size. Give one such as 4GB or 500MB."
        ) from None


def load_tables(connection: Any, folder: Path) -> tuple[dict[str, "ir.Table"], list["ir.Table"]]:
    """The staged tables without duplicates, and the records that were duplicates with their reason.

    Sources stay apart, here and in every join of a recipe: a row is of one source, under that source's licence.
    """
    import ibis

    tables, duplicates = {}, []
    for name, table in TABLES.items():
        path = folder / f"{name}.parquet"
        if not path.exists():
            continue
        staged = connection.read_parquet(path)
        columns = [column.name for column in table.columns] + ["source"]
        # The record's number follows the order of the input, so it must not decide which of two twins stays.
        content = ibis.literal("").concat(*(part for c in columns for part in ("|", staged[c].cast("string").fill_null(""))))
        order = [content.hexdigest("md5"), staged.record]
        ranked = staged.mutate(twin=ibis.row_number().over(group_by=[*table.key, "source"], order_by=order))
        ranked = materialise(connection, ranked, folder / f"unique_{name}.parquet")
        tables[name] = ranked.filter(ranked.twin == 0).drop("twin")
        duplicates.append(unused(ranked.filter(ranked.twin > 0), f"{name}: another record has the same {', '.join(table.key)}"))
    return tables, duplicates


def materialise(connection: Any, table: "ir.Table", path: Path) -> "ir.Table":
    """Computes a table once, into a Parquet file, so that what is built on it does not compute it again."""
    connection.to_parquet(table, path)
    return connection.read_parquet(path)


def unused(records: "ir.Table", reason: str) -> "ir.Table":
    """Records that a recipe leaves, each with its reason."""
    import ibis

    return records.select("record", "source", reason=ibis.literal(reason))


def union(tables: list["ir.Table"]) -> "ir.Table":
    """All rows of tables with the same columns."""
    import ibis

    return ibis.union(tables[0], *tables[1:]) if len(tables) > 1 else tables[0]


def rank(draw: "ir.Value", group_by: list[Any] | None = None) -> "ir.IntegerValue":
    """The place of each row in order of its draw, from 0, within its group."""
    import ibis

    return ibis.row_number().over(group_by=group_by, order_by=draw)


def in_turn(table: "ir.Table", kind: str) -> "ir.Table":
    """The table with `turn`, from 0: in order of its `draw`, but round robin over the kinds, so that none crowds out others."""
    import ibis

    placed = table.mutate(place=rank(table.draw, [table[kind]]))
    return placed.mutate(turn=ibis.row_number().over(order_by=[placed.place, placed.draw]))


def words(text: "ir.StringValue") -> "ir.ArrayValue":
    """The distinct words of a text, lower case, letters and digits only."""
    return text.lower().re_replace("[^\\p{L}\\p{N}]+", " ").strip().split(" ").unique()


def titles(tables: dict[str, "ir.Table"]) -> "ir.Table":
    """One title per product id and source, whatever its locales: `product_id, title, source, record`."""
    products = tables["products"]
    products = products.mutate(place=rank(products.locale, [products.product_id, products.source]))
    return products.filter(products.place == 0).select("product_id", "title", "source", "record")


def bought_links(tables: dict[str, "ir.Table"], products: "ir.Table") -> "ir.Table":
    """`titled_links` of the products bought together."""
    return titled_links(tables["co_purchases"].filter(lambda link: link.relation == "also_buy"), products)


def titled_links(links: "ir.Table", products: "ir.Table") -> "ir.Table":
    """Links with `title, other_title, product_record, other_record` of their products, null where unknown."""
    first = products.select("product_id", "source", "title", product_record="record")
    second = products.select("source", other_product_id="product_id", other_title="title", other_record="record")
    links = links.left_join(first, ["product_id", "source"]).drop("product_id_right", "source_right")
    return links.left_join(second, ["other_product_id", "source"]).drop("other_product_id_right", "source_right")


def overlap(text: "ir.StringValue", other: "ir.StringValue") -> "ir.FloatingValue":
    """Share of the shorter text's distinct words that the other has too."""
    import ibis

    return words(text).intersect(words(other)).length() / ibis.least(words(text).length(), words(other).length())


def judged_once(tables: dict[str, "ir.Table"]) -> tuple["ir.Table", "ir.Table"]:
    """Judgments with the query in lower case, one per query, product, locale and source, and those that repeat one.

    Spellings of one query are the same query; the first spelling in order of the alphabet stays.
    """
    judgments = tables["judgments"]
    judgments = judgments.mutate(query=judgments["query"].strip().lower(), spelling=judgments["query"])
    same = ["query", "product_id", "locale", "source"]
    judgments = judgments.mutate(twin=rank(judgments.spelling, same))
    repeats = unused(judgments.filter(judgments.twin > 0), "judgment repeats another's query and product")
    return judgments.filter(judgments.twin == 0).drop("twin", "spelling"), repeats


def titled_judgments(tables: dict[str, "ir.Table"]) -> tuple["ir.Table", list["ir.Table"]]:
    """`judged_once` with `title` and `product_record` of their product, and what was left."""
    judgments, repeats = judged_once(tables)
    place = ["product_id", "locale", "source"]
    products = tables["products"].select(*place, "title", product_record="record")
    judgments = judgments.left_join(products, place).drop(*(f"{column}_right" for column in place))
    untitled = unused(judgments.filter(judgments.title.isnull()), "judged product has no title here")
    return judgments.filter(judgments.title.notnull()), [repeats, untitled]
