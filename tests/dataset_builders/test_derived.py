"""Co-purchases from baskets and sessions, snippets by BM25, and other ids of products: the same rows on both engines."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from dataset_builders.derived import MOST_SNIPPETS, SnippetRanking, derive, passages
from dataset_builders.engine import connect
from dataset_builders.mapping import DerivedMap
from dataset_builders.record_counts import RecordCounts
from dataset_builders.tables import STAGED, arrow_schema

Rows = list[dict[str, Any]]

ALL = (DerivedMap("also_buy", "baskets", 2), DerivedMap("also_view", "events", 2), DerivedMap("snippets", "reviews"))


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return connect("1GB", 1, tmp_path_factory.mktemp("spill"))


def write(folder: Path, **tables: Rows) -> Path:
    folder.mkdir(exist_ok=True)
    number = 0
    for name, rows in tables.items():
        filled = []
        for row in rows:
            filled.append({"source": "own", "snapshot": "", **row, "record": number})
            number += 1
        pq.write_table(pa.Table.from_pylist(filled, arrow_schema(STAGED[name])), folder / f"{name}.parquet")
    return folder


def rows_of(folder: Path, name: str) -> Rows:
    found: Rows = ds.dataset(folder / f"{name}.parquet").to_table().to_pylist()
    return sorted(found, key=str)


def baskets(seed: int = 0, count: int = 80) -> Rows:
    draw = random.Random(seed)
    return [
        {"basket_id": f"b{basket}", "product_id": f"p{draw.randrange(8)}"}
        for basket in range(count)
        for _ in range(draw.randrange(1, 5))
    ]


def events(seed: int = 1) -> Rows:
    draw = random.Random(seed)
    return [
        {
            "session_id": f"s{draw.randrange(40)}",
            "position": n,
            "action": draw.choice(("view", "view", "cart", "query")),
            "product_id": draw.choice((f"sku{draw.randrange(8)}", None)),
            "query": None,
        }
        for n in range(300)
    ]


def questions() -> Rows:
    asked = ("Is the lid of it warm?", "Does the zip break?", "Is it blue?", "Was it delivered by whales?")
    return [
        {
            "question_id": f"q{n}",
            "product_id": f"sku{n % 8}",
            "question": asked[n % 4],
            "snippets": ["kept as it was"] if n == 0 else [],
            "answers": [],
            "answerable": True,
        }
        for n in range(20)
    ]


def reviews(seed: int = 2) -> Rows:
    draw = random.Random(seed)
    words = "warm lid zip broke blue fine kettle the is and soft".split()  # noqa: SIM905
    return [
        {
            "review_id": f"r{n}",
            "product_id": f"p{n % 8}",
            "category": "Home",
            "rating": 3,
            "title": None,
            "text": ". ".join(" ".join(draw.choice(words) for _ in range(draw.randrange(3, 20))) for _ in range(3)),
        }
        for n in range(60)
    ]


def shop(folder: Path, shuffled: bool = False) -> Path:
    ids = [{"other_id": f"sku{n}", "product_id": f"p{n}"} for n in range(8)]
    tables = {"baskets": baskets(), "events": events(), "questions": questions(), "reviews": reviews(), "product_ids": ids}
    if shuffled:
        for rows in tables.values():
            random.Random(9).shuffle(rows)
    return write(folder, **tables)


def links_by_hand(lines: Rows, least: int) -> Counter[tuple[str, str]]:
    """Counts pairs basket by basket."""
    together: dict[str, set[str]] = {}
    for line in lines:
        together.setdefault(line["basket_id"], set()).add(line["product_id"])
    counts = Counter(pair for products in together.values() for pair in permutations(products, 2))
    return Counter({pair: count for pair, count in counts.items() if count >= least})


@pytest.mark.parametrize("least", [1, 2, 5])
def test_products_that_share_enough_baskets_are_linked_both_ways(duckdb: Any, tmp_path: Path, least: int) -> None:
    folder = write(tmp_path / "staged", baskets=baskets())
    counts = RecordCounts()
    told = derive(duckdb, folder, [DerivedMap("also_buy", "baskets", least)], counts)["also_buy"]
    links = rows_of(folder, "co_purchases")
    by_hand = links_by_hand(baskets(), least)
    assert {(row["product_id"], row["other_product_id"]) for row in links} == by_hand.keys()
    assert {row["relation"] for row in links} == {"also_buy"}
    assert told["links"] == len(links) == len(by_hand)
    assert told["baskets"] == len({row["basket_id"] for row in baskets()})
    assert counts.tables["co_purchases"].usable == len(links)
    assert f"at least {least} of {told['baskets']} baskets hold both products" in counts.tables["co_purchases"].note


def test_baskets_of_one_product_give_no_link(duckdb: Any, tmp_path: Path) -> None:
    single = [{"basket_id": f"c{n}", "product_id": "p1"} for n in range(3)] * 2
    folder = write(tmp_path / "staged", baskets=single)
    told = derive(duckdb, folder, [DerivedMap("also_buy", "baskets")], RecordCounts())["also_buy"]
    assert told == {"from": "baskets", "least_support": 2, "baskets": 3, "baskets_of_several_products": 0, "links": 0}
    assert rows_of(folder, "co_purchases") == []


def test_links_that_the_shop_names_itself_stay(duckdb: Any, tmp_path: Path) -> None:
    own = [{"product_id": "p1", "other_product_id": "p9", "relation": "similar"}]
    folder = write(tmp_path / "staged", co_purchases=own, baskets=baskets())
    derive(duckdb, folder, ALL[:1], RecordCounts())
    assert {row["relation"] for row in rows_of(folder, "co_purchases")} == {"similar", "also_buy"}


def test_views_of_a_session_are_views_only_and_under_the_products_own_ids(duckdb: Any, tmp_path: Path) -> None:
    folder = shop(tmp_path / "staged")
    derive(duckdb, folder, ALL[1:2], RecordCounts())
    views = [
        {"basket_id": row["session_id"], "product_id": row["product_id"].replace("sku", "p")}
        for row in events()
        if row["action"] == "view" and row["product_id"]
    ]
    links = rows_of(folder, "co_purchases")
    assert {(row["product_id"], row["other_product_id"]) for row in links} == links_by_hand(views, 2).keys()
    assert {row["product_id"][:1] for row in rows_of(folder, "questions")} == {"p"}


def test_an_id_of_several_products_or_of_a_product_itself_is_left_as_it_is(duckdb: Any, tmp_path: Path) -> None:
    ids = [
        {"other_id": "both", "product_id": "p1"},
        {"other_id": "both", "product_id": "p2"},
        {"other_id": "p2", "product_id": "p1"},
        {"other_id": "child", "product_id": "parent"},
        {"other_id": "parent", "product_id": "p3"},
    ]
    products = [{"product_id": f"p{n}", "locale": "us", "title": "Kettle"} for n in range(1, 4)]
    lines = [{"basket_id": "b", "product_id": name} for name in ("both", "p2", "child", "unknown")]
    folder = write(tmp_path / "staged", products=products, product_ids=ids, baskets=lines)
    told = derive(duckdb, folder, [], RecordCounts())
    assert {row["product_id"] for row in rows_of(folder, "baskets")} == {"both", "p2", "p3", "unknown"}
    assert told["product_ids"] == {"other_ids": 2, "of_several_products": 1}


def test_questions_get_the_snippets_that_share_their_words(duckdb: Any, tmp_path: Path) -> None:
    folder = shop(tmp_path / "staged")
    told = derive(duckdb, folder, ALL, RecordCounts())["snippets"]
    found = {row["question_id"]: row for row in rows_of(folder, "questions")}
    assert found["q0"]["snippets"] == ["kept as it was"]
    assert all(len(row["snippets"]) <= MOST_SNIPPETS for row in found.values())
    assert all("zip" in found[f"q{n}"]["snippets"][0] for n in (1, 5, 9, 13, 17))
    assert told["questions"] == 19
    assert told["with_snippets"] == sum(bool(row["snippets"]) for row in found.values()) - 1


def test_the_best_passage_is_first_and_one_without_a_word_of_the_question_is_none() -> None:
    ranking = SnippetRanking(("the lid is warm", "the zip broke", "warm warm tea", "nothing"))
    assert ranking.best("Is the lid warm?")[0] == "the lid is warm"
    assert "nothing" not in ranking.best("Is the lid warm?")
    assert ranking.best("Elephants?") == []
    assert SnippetRanking(()).best("Is it?") == []
    assert SnippetRanking(("蓋が温かい", "青い")).best("蓋は?") == ["蓋が温かい"]


def test_reviews_are_cut_at_sentences_and_overlong_ones_at_words() -> None:
    assert passages("One two. Three four! Five?", 4) == ["One two. Three four!", "Five?"]
    assert passages("a b c d e f g", 3) == ["a b c", "d e f", "g"]
    assert passages("<b>Fine</b> &amp; good") == ["Fine & good"]
    assert passages("  ") in ([], [""])


def everything(connection: Any, folder: Path) -> dict[str, Rows]:
    derive(connection, folder, ALL, RecordCounts())
    found = {name: rows_of(folder, name) for name in ("co_purchases", "questions", "baskets", "events")}
    return {
        name: [{key: value for key, value in row.items() if key != "record"} for row in rows] for name, rows in found.items()
    }


def test_the_order_of_the_rows_changes_nothing(duckdb: Any, tmp_path: Path) -> None:
    forth, back = everything(duckdb, shop(tmp_path / "a")), everything(duckdb, shop(tmp_path / "b", shuffled=True))
    assert {name: sorted(rows, key=str) for name, rows in forth.items()} == {
        name: sorted(rows, key=str) for name, rows in back.items()
    }


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import shutil

    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer")
    connection = connect("1GB", 2, tmp_path_factory.mktemp("spark"), "pyspark")
    connection._session.conf.set("spark.sql.shuffle.partitions", "3")
    yield connection
    connection._session.stop()


def test_spark_derives_the_rows_of_duckdb(duckdb: Any, spark: Any, tmp_path: Path) -> None:
    assert everything(spark, shop(tmp_path / "a")) == everything(duckdb, shop(tmp_path / "b"))
