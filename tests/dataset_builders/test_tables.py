"""What may enter a canonical table, and what Parquet holds of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.records import Rejected
from dataset_builders.tables import TABLES, Table, admitted, arrow_schema

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)

GOOD: dict[str, Any] = {"string": "text", "int": 3, "bool": True, "strings": ["a", "b"]}


def reject_reason(table: Table, row: dict[str, Any]) -> str | None:
    """Why a row may not enter, or the first reason why a value of it was dropped."""
    found = admitted(table, row)
    if isinstance(found, Rejected):
        return found.reason
    return next(iter(found[1]), None)


def good(table: Table, **changes: Any) -> dict[str, Any]:
    row = {column.name: column.allowed[0] if column.allowed else GOOD[column.kind] for column in table.columns}
    return row | changes


@every_table
def test_a_good_row_enters_with_its_optional_columns_or_without(table: Table) -> None:
    assert reject_reason(table, good(table)) is None
    optional = [column.name for column in table.columns if not column.required]
    assert reject_reason(table, good(table, **dict.fromkeys(optional))) is None
    assert reject_reason(table, good(table, **dict.fromkeys(optional, ""))) is None


@every_table
def test_each_required_column_that_is_missing_is_named(table: Table) -> None:
    for column in table.columns:
        reason = reject_reason(table, good(table, **{column.name: None}))
        assert reason == (f"{column.name} is missing" if column.required and column.default is None else None)


@every_table
def test_every_column_refuses_values_of_other_kinds(table: Table) -> None:
    wrong: dict[str, list[Any]] = {
        "string": [5, 5.5, True, ["x"], {"x": 1}, b"x", "\ud800", "x" * 100_001],
        "int": ["5", 5.0, True, [5], 2**63, -(2**63) - 1],
        "bool": ["yes", 1, 0.0, []],
        "strings": ["x", [1], [None], ["\udfff"], {"a": 1}],
    }
    for column in table.columns:
        for value in wrong[column.kind]:
            reason = reject_reason(table, good(table, **{column.name: value}))
            assert reason is not None, (column.name, value)
            assert reason.startswith(f"{column.name} ")


@every_table
def test_a_column_with_a_list_of_allowed_values_takes_no_other(table: Table) -> None:
    for column in table.columns:
        for value in column.allowed:
            assert reject_reason(table, good(table, **{column.name: value})) is None
        if column.allowed:
            for value in ("other", column.allowed[0].upper(), f" {column.allowed[0]}"):
                assert reject_reason(table, good(table, **{column.name: value})) == (
                    f"{column.name} is none of {', '.join(column.allowed)}"
                )


def test_letters_that_are_decomposed_enter_composed() -> None:
    row = {column.name: None for column in TABLES["products"].columns}
    made = admitted(TABLES["products"], {**row, "product_id": "p", "locale": "fr", "title": "Cafe\u0301", "brand": "E\u0301"})
    assert not isinstance(made, Rejected)
    assert (made[0]["title"], made[0]["brand"]) == ("Caf\u00e9", "\u00c9")


@pytest.mark.parametrize("rating", [-1, 0, 6, 50])
def test_a_rating_is_from_1_to_5(rating: int) -> None:
    assert reject_reason(TABLES["reviews"], good(TABLES["reviews"], rating=rating)) == "rating is not 1 to 5"


@pytest.mark.parametrize(
    ("title", "enters"),
    [
        ("Mug < 300 ml", True),
        ("I <3 mugs", True),
        ("Mug & Spoon", True),
        ('<span class="a">Mug', False),
        ('<span class="a-size-medium a-color-secondary"', False),
        ('Mug <img src="https://shop.example/mug.jpg" alt="a mu', False),
        ("<div", False),
        ("Jacket <M", True),
        ("Mug <x = 3", True),
        ("<script>x</script>", False),
        ("< div>", True),
        ("<!-- x -->", False),
    ],
)
def test_a_products_title_is_not_markup(title: str, enters: bool) -> None:
    reason = reject_reason(TABLES["products"], good(TABLES["products"], title=title))
    assert reason == (None if enters else "title is markup")


@every_table
def test_keys_name_columns_of_their_table(table: Table) -> None:
    assert set(table.key) <= {column.name for column in table.columns}


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.text(st.characters(categories=["Cs", "L"]), max_size=3),
    st.lists(st.text(max_size=3) | st.integers(), max_size=3),
)


@every_table
@given(data=st.data())
def test_what_is_admitted_can_be_written_and_read_back(table: Table, data: st.DataObject) -> None:
    import pyarrow as pa

    names = [column.name for column in table.columns]
    row = good(table, **data.draw(st.dictionaries(st.sampled_from(names), values, max_size=2)))
    found = admitted(table, row)
    if not isinstance(found, Rejected):
        written = {**found[0], "source": "x", "record": 1, "snapshot": ""}
        assert pa.Table.from_pylist([written], arrow_schema(table)).to_pylist() == [written]
