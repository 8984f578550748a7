"""Rows of all tasks together: train and test share no group and no text, and are as large as the tables allow."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks import TASKS
from dataset_builders import dataset_files, rendering, row_facts, row_hashes
from dataset_builders.assembly import OWN_TEST, assemble_rows, split_rows
from dataset_builders.dataset_files import write_splits
from dataset_builders.engine import connect
from dataset_builders.evaluation_sets import EvaluationSet
from dataset_builders.record_counts import RecordCounts
from dataset_builders.rendering import DrawnRows, distinct_rows, render_rows
from dataset_builders.row_store import StoredRows, encode_row, row_writer
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import UNLIMITED, Size, is_test
from dataset_builders.tables import TABLES, arrow_schema
from tests.dataset_builders.held_bytes import held_bytes

Drawn = Callable[..., dict[str, DrawnRows]]

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
    "maple",
    "north",
    "ochre",
    "plume",
    "quartz",
    "ridge",
]


def text(number: int) -> str:
    """Six words, another text for each number."""
    return " ".join([*(WORDS[number // 18**place % 18] for place in range(3)), "for home", f"no{number}"])


def row(number: int, group: str, words: str = "") -> DatasetRow:
    content = {"review": (words or text(number),)}
    return DatasetRow(f"prompt {number}", "1", "review_rating", "multiple_choice", '"1"', "s", "l", group, (number,), content)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """Gives a task's rows as they are drawn, in a file."""
    path = tmp_path_factory.mktemp("drawn") / "rows.jsonl"

    def store(rows: list[DatasetRow], seed: int = 0) -> dict[str, DrawnRows]:
        lines = [encode_row(row) for row in rows]
        with row_writer(path) as writer:
            numbers = writer.add(b"".join(lines), np.array([len(line) for line in lines], np.int64))
        tested = np.array([is_test(row.group, seed) for row in rows], bool)
        return {"review_rating": DrawnRows(StoredRows(path, numbers), tested, {}, 0, 1000, len(rows))}

    return store


groups = st.lists(st.integers(0, 30).map(lambda number: f"product:{number}"), max_size=80)


@given(groups=groups, train=st.integers(0, 40), test=st.integers(0, 20), seed=st.integers(-5, 5))
def test_rows_go_by_their_group_and_none_is_lost(drawn: Drawn, groups: list[str], train: int, test: int, seed: int) -> None:
    rows = [row(number, group) for number, group in enumerate(groups)]
    splits, dropped = split_rows(drawn(rows, seed), {"review_rating": Size(train, test)}, [])
    parts = splits["review_rating"]
    assert not dropped
    assert not {row.group for row in parts.train} & {row.group for row in parts.test}
    assert sorted((*parts.train, *parts.test, *parts.surplus), key=lambda row: row.records) == rows
    assert len(parts.train) == min(train, sum(not is_test(group, seed) for group in groups))
    assert len(parts.test) == min(test, sum(is_test(group, seed) for group in groups))


def test_the_first_rows_in_order_are_taken(drawn: Drawn) -> None:
    rows = [row(number, f"query:{number}") for number in range(200)]
    small, large = (
        split_rows(drawn(rows), {"review_rating": size}, [])[0]["review_rating"] for size in (Size(20, 3), Size(60, 9))
    )
    assert list(large.train[:20]) == list(small.train)
    assert list(large.test[:3]) == list(small.test)


def test_a_row_to_train_on_that_stands_in_the_test_split_goes_and_another_takes_its_place(drawn: Drawn) -> None:
    tested = next(f"query:{number}" for number in range(99) if is_test(f"query:{number}", 0))
    trained = [f"query:{number}" for number in range(99) if not is_test(f"query:{number}", 0)]
    rows = [row(0, tested, text(7)), row(1, trained[0], text(7).upper()), *(row(n, trained[n]) for n in (2, 3))]
    splits, dropped = split_rows(drawn(rows), {"review_rating": Size(2, 1)}, [])
    assert splits["review_rating"].test[0] == rows[0]
    assert list(splits["review_rating"].train) == rows[2:]
    assert [(list(each.rows), each.hit) for each in dropped] == [([rows[1]], (OWN_TEST, "same text"))]
    assert "test split" in dropped[0].reason


def test_a_row_to_train_on_that_stands_in_another_evaluation_set_goes(drawn: Drawn) -> None:
    trained = [f"query:{number}" for number in range(99) if not is_test(f"query:{number}", 0)]
    rows = [row(number, trained[number]) for number in range(3)]
    item = (f"Rate this.\nReview: {text(1)}\nAnswer:",)
    splits, dropped = split_rows(drawn(rows), {"review_rating": Size(9, 9)}, [EvaluationSet("ShopBench", [item])])
    assert list(splits["review_rating"].train) == [rows[0], rows[2]]
    assert [(len(each.rows), each.hit) for each in dropped] == [(1, ("ShopBench", "same text"))]


def recipe_rows(texts: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "review": [text],
            "category": "Home",
            "answer": "4",
            "key": f"{n:032x}",
            "group": f"g{n}",
            "source": "s",
            "records": [n],
        }
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_rendering_keeps_the_first_of_equal_and_of_nearly_equal_rows_and_says_why_others_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(rendering, "CHUNK", size)
    long = "This kettle boils quickly and has served us well for more than three years without any trouble at all"
    texts = [*[long] * 8, long + "!!", "Quite another review of the same kettle.", "<br>"]
    batches = pa.Table.from_pylist(recipe_rows(texts)).to_batches()
    # The chunks come in any order.
    rendered = render_rows(TASKS["review_rating"], batches, {"s": "l"}, 0, tmp_path / "rows.jsonl", backwards)
    kept = distinct_rows(TASKS["review_rating"], rendered, 100)
    assert [row.records for row in kept.rows] == [(0,), (9,)]
    reasons = {reason: len(records) for reason, records in kept.dropped.items()}
    # With two templates, one more prompt of the eight is new, and the text in it is not.
    assert reasons == {
        "review_rating: prompt repeats another's": 6,
        "review_rating: prompt is nearly another's": 2,
        "review_rating: review holds nothing to read": 1,
    }
    assert (kept.near_duplicates, kept.drawn, kept.limit) == (2, 11, 100)


def test_nothing_is_held_of_rendered_rows_but_where_they_are(tmp_path: Path) -> None:
    held = []
    for count in (100, 900):  # of one chunk both
        batches = pa.Table.from_pylist(recipe_rows([text(number) for number in range(count)])).to_batches()
        rendered = render_rows(TASKS["review_rating"], batches, {"s": "l"}, 0, tmp_path / "rows.jsonl")
        assert rendered.number == count
        held.append(held_bytes(rendered))
    assert held[1] == held[0]


def backwards(function: Any, tasks: Any) -> Any:
    return map(function, reversed(list(tasks)))


def test_a_stored_row_is_read_back_as_it_was(drawn: Drawn) -> None:
    row = DatasetRow(
        "p\n\u2028é",
        "1",
        "review_rating",
        "multiple_choice",
        '"1"',
        "s",
        "l",
        "g",
        (2**62, 1),
        {"a": ("x", "")},
        (("phone", 2),),
        "rule",
    )
    rows = drawn([row, row])["review_rating"].rows
    assert list(rows) == [row, row]
    assert rows[1] == row
    assert list(rows[2:]) == []


def bought(count: int) -> list[dict[str, Any]]:
    """What the recipe of also_buy yields for products that have nothing in common."""
    return [
        {
            "product": text(number),
            "number": "2 products",
            "candidates": [f"thing {place} of {number}" for place in range(15)],
            "answer": [1 + number % 7, 15],
            "key": hashlib.md5(f"{number}".encode()).hexdigest(),
            "group": f"product:{number}",
            "source": "s",
            "records": [number],
        }
        for number in range(count)
    ]


def drawn_of(count: int, share: float, folder: Path) -> DrawnRows:
    batches = pa.Table.from_pylist(bought(count)).to_batches()
    rendered = render_rows(TASKS["also_buy"], batches, {"s": "l"}, 0, folder / f"{count}_{share}.jsonl", map, share)
    return distinct_rows(TASKS["also_buy"], rendered, count)


def test_a_share_of_the_rows_to_train_on_is_in_words_and_every_test_row_is_as_it_always_was(tmp_path: Path) -> None:
    usual, mixed, words = (drawn_of(200, share, tmp_path) for share in (0.0, 0.5, 1.0))
    tested = [row for row in usual.rows if is_test(row.group, 0)]
    assert tested
    for drawn_rows in (mixed, words):
        assert [row for row in drawn_rows.rows if is_test(row.group, 0)] == tested
        assert {row.group for row in drawn_rows.rows} == {row.group for row in usual.rows}
    trained = [row for row in mixed.rows if not is_test(row.group, 0)]
    groups = {row.group for row in trained if row.completion in ("yes", "no")}
    assert 0.35 < len(groups) / len({row.group for row in trained}) < 0.65
    assert all(row.completion in ("yes", "no") for row in words.rows if not is_test(row.group, 0))


def test_the_second_row_of_a_list_in_words_comes_after_the_first_of_every_other(tmp_path: Path) -> None:
    """So that a size that is filled before has as many different products as it can."""
    drawn_rows = drawn_of(60, 1.0, tmp_path)
    trained = [row.group for row in drawn_rows.rows if not is_test(row.group, 0)]
    groups = len(set(trained))
    assert len(set(trained[:groups])) == groups
    assert len(trained) == 4 * groups
    answers = Counter(row.completion for row in drawn_rows.rows if not is_test(row.group, 0))
    assert answers["yes"] == answers["no"]


def staged_reviews(folder: Path, texts: list[str]) -> Path:
    import pyarrow.parquet as pq

    folder.mkdir()
    rows = [
        {
            "review_id": f"r{n}",
            "product_id": f"p{n}",
            "category": f"c{n % 40}",
            "rating": n % 5 + 1,
            "title": None,
            "text": text,
        }
        for n, text in enumerate(texts)
    ]
    rows = [{**row, "source": "s", "record": n} for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(TABLES["reviews"])), folder / "reviews.parquet")
    return folder


def test_a_recipe_is_asked_for_more_where_too_many_rows_fall_away(tmp_path: Path) -> None:
    """Two of three reviews are nearly another's, so the first limit cannot fill the splits, and the tables can."""
    long = "came in a box and does what it says on the label, nothing more and nothing less, for a fair price all in all "
    texts = [(f"{text(n)} {text(n + 7)} {n}" if n % 3 == 0 else long + "x" * (n % 3)) for n in range(3000)]
    texts = [value + f" {n}" if value.startswith("came") else value for n, value in enumerate(texts)]
    staged = staged_reviews(tmp_path / "staged", texts)
    counts = RecordCounts()
    size = Size(400, 40)
    built = assemble_rows(
        connect("1GB", 2, tmp_path / "spill"), staged, ["review_rating"], {"review_rating": size}, {"s": "l"}, 0, [], counts
    )
    assert size.candidates() < 700, "the first limit is too small"
    parts = built.splits["review_rating"]
    assert (len(parts.train), len(parts.test)) == (400, 40)
    assert not built.short
    assert built.used["s"] + counts.rejects["s"].total() == 3000


def test_a_task_whose_tables_do_not_suffice_says_how_many_rows_are_missing(tmp_path: Path) -> None:
    staged = staged_reviews(tmp_path / "staged", [f"{text(n)} {text(n + 7)} {n}" for n in range(100)])
    sizes = {name: Size(400, 40) for name in ("review_rating", "also_buy")}
    built = assemble_rows(connect("1GB", 2, tmp_path / "spill"), staged, list(sizes), sizes, {"s": "l"}, 0, [], RecordCounts())
    parts = built.splits["review_rating"]
    assert built.short == {"review_rating": {"train": 400 - len(parts.train), "test": 40 - len(parts.test)}}
    assert built.not_built == {"also_buy": "needs the tables co_purchases, products"}


@pytest.mark.parametrize("texts", [["call me at (415) 555-2671 or jane@example.com, please, for this good kettle"]])
def test_what_is_masked_is_counted_by_source(tmp_path: Path, texts: list[str]) -> None:
    staged = staged_reviews(tmp_path / "staged", texts)
    built = assemble_rows(
        connect("1GB", 2, tmp_path / "spill"),
        staged,
        ["review_rating"],
        {"review_rating": Size(9, 9)},
        {"s": "l"},
        0,
        [],
        RecordCounts(),
    )
    [made] = [row for parts in built.splits.values() for row in (*parts.train, *parts.test)]
    assert "555" not in made.prompt
    assert "@" not in made.prompt
    assert built.facts["review_rating"].masked == {("s", "e-mail"): 1, ("s", "phone"): 1}


def test_a_build_never_holds_more_rows_than_a_few_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are counted as they are made and as they go, from the recipe to the files."""
    live, most = Counter[str](), 0
    made = DatasetRow.__init__

    def counted(self: DatasetRow, *arguments: Any, **fields: Any) -> None:
        nonlocal most
        made(self, *arguments, **fields)
        live["rows"] += 1
        most = max(most, live["rows"])
        finalize(self, lambda: live.subtract({"rows": 1}))

    monkeypatch.setattr(DatasetRow, "__init__", counted)
    for module, name in ((rendering, "CHUNK"), *((part, "AT_ONCE") for part in (row_hashes, row_facts, dataset_files))):
        monkeypatch.setattr(module, name, 20)
    # Every fifth is nearly the one before it, and so is compared with it.
    staged = staged_reviews(tmp_path / "staged", [f"{text(n - (n % 5 == 0))} {text(n + 7)}" for n in range(600)])
    sizes = {"review_rating": Size(UNLIMITED, UNLIMITED)}
    connection = connect("1GB", 1, tmp_path / "spill")
    built = assemble_rows(connection, staged, list(sizes), sizes, {"s": "l"}, 0, [], RecordCounts())
    written = write_splits(tmp_path, built.splits)
    assert sum(size.rows for size in written["review_rating"].values()) > 400
    assert 20 <= most <= 100
