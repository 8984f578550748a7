"""What a map makes of records: joined, constant, hashed and listed columns, values, scales, filters, items, groups of rows."""

import csv
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from dataset_builders.map_parser import parse_map
from dataset_builders.mapped_files import find_mapped
from dataset_builders.mapping import ColumnMap
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Rejected
from dataset_builders.sources.mapped_tables import looked_up, value_of
from dataset_builders.staging import stage

Rows = list[dict[str, Any]]


def staged(folder: Path, text: str, tmp_path: Path) -> tuple[RecordCounts, dict[str, Rows]]:
    out = tmp_path / "staged"
    out.mkdir()
    counts = RecordCounts()
    files, _ = find_mapped(folder, parse_map(text, Path("shop.yaml")))
    stage(files, folder, out, frozenset({"us", "de"}), counts)
    return counts, {path.stem: pq.read_table(path).to_pylist() for path in out.glob("*.parquet")}


def write(path: Path, *rows: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path.parent


def column(take: str = "first", *columns: str, **keys: Any) -> ColumnMap:
    return ColumnMap(take, columns or ("a",), **keys)  # type: ignore[arg-type]


VALUES: list[tuple[ColumnMap, dict[str, Any], Any]] = [
    (column(), {"a": "x"}, "x"),
    (column(), {"a": " padded  "}, "padded"),
    (column(), {"a": "NULL"}, None),
    (column("first", "a", "b"), {"a": "n/a", "b": "y"}, "y"),
    (column("join", "a", "b", text=" - "), {"a": "x", "b": "y"}, "x - y"),
    (column("join", "a", "b", text=" - "), {"a": "x", "b": ""}, "x"),
    (column("join", "a", "b"), {"a": "", "b": ""}, None),
    (column("constant", text="Shoes"), {}, "Shoes"),
    (column("list", "a", "b"), {"a": "x", "b": ""}, ["x"]),
    (column("list", "a"), {"a": None}, []),
    (column("hash", "a", "b"), {"a": "", "b": "y"}, None),
    (column(default="z"), {"a": ""}, "z"),
    (column(pattern=__import__("re").compile(r"(\d)/5")), {"a": "4/5 stars"}, "4"),
    (column(pattern=__import__("re").compile(r"\d")), {"a": "none"}, None),
    (column(values={"2": "exact"}), {"a": "2.0"}, "exact"),
    (column(values={"2": "exact"}), {"a": 2.0}, "exact"),
    (column(values={"yes": "1"}), {"a": " YES "}, "1"),
    (column(values={"2": ""}), {"a": "2"}, None),
    (column(values={"2": "exact"}), {"a": "7"}, Rejected("has no value in the map", "7")),
    (column(values={"2": "exact"}, other="irrelevant"), {"a": "7"}, "irrelevant"),
    (column(values={"2": "exact"}, other="irrelevant"), {"a": ""}, None),
    (column(values={"present": "yes", "missing": "no"}), {"a": "text"}, "yes"),
    (column(values={"present": "yes", "missing": "no"}), {"a": None}, "no"),
    (column(split="|"), {"a": "x | y||"}, ["x", "y"]),
    *(
        (column(scale=(1, 10)), {"a": str(points)}, stars)
        for points, stars in zip(range(1, 11), (1, 1, 2, 2, 3, 3, 4, 4, 5, 5), strict=True)
    ),
    (column(scale=(0, 100)), {"a": 100}, 5),
    (column(scale=(0, 100)), {"a": "0"}, 1),
    (column(scale=(1, 5)), {"a": "4,5"}, 5),
    (column(scale=(1, 5)), {"a": "3.5"}, 4),
    (column(scale=(1, 10)), {"a": "11"}, Rejected("is beyond the map's scale 1 to 10", "11")),
    (column(scale=(1, 10)), {"a": "ten"}, Rejected("is not a number", "ten")),
]


@pytest.mark.parametrize(("made", "record", "value"), VALUES)
def test_a_column_is_made_as_the_map_says(made: ColumnMap, record: dict[str, Any], value: Any) -> None:
    assert value_of(record, made) == value


def test_null_words_of_a_file_are_missing() -> None:
    assert value_of({"a": " Unknown "}, column(), frozenset({"unknown"})) is None


def test_a_hash_is_of_all_columns_and_does_not_show_them() -> None:
    made = column("hash", "user", "session")
    one, other = (value_of({"user": "u1", "session": session}, made) for session in ("s1", "s2"))
    assert one != other
    assert "u1" not in one
    assert value_of({"user": "u1", "session": "s1"}, made) == one
    assert value_of({"user": "a", "session": "b|c"}, made) != value_of({"user": "a|b", "session": "c"}, made)


def test_paths_go_into_structs_and_lists_of_keys_and_values() -> None:
    of_json = {"params": [{"key": "id", "value": {"string_value": None, "int_value": "7"}}], "order": {"no": "A"}}
    of_parquet = {"params": [("id", 7)], "a.b": "whole name first", "a": {"b": "part"}}
    assert looked_up(of_json, "params.id") == "7"
    assert looked_up(of_json, "params.other") is None
    assert looked_up(of_json, "order.no") == "A"
    assert looked_up(of_json, "order.no.further") is None
    assert looked_up(of_parquet, "params.id") == 7
    assert looked_up(of_parquet, "a.b") == "whole name first"
    wrapped = {"params": {"list": [{"element": {"key": "id", "value": {"int_value": 7}}}]}}
    assert looked_up(wrapped, "params.id") == 7


PRODUCTS = """
tables:
  products:
    file: products.csv
    where: {Status: {not: draft}, Title: present}
    also_known_as: [SKU]
    columns: {product_id: Handle, title: Title}
"""


def test_every_row_of_a_file_is_usable_or_counted_with_its_reason(tmp_path: Path) -> None:
    rows = ["a,Kettle,active,A1", "a,,,A2", "b,Hose,draft,B1", ",Lamp,active,C1"]
    counts, tables = staged(write(tmp_path / "shop" / "products.csv", "Handle,Title,Status,SKU", *rows), PRODUCTS, tmp_path)
    assert [row["title"] for row in tables["products"]] == ["Kettle"]
    assert {(row["other_id"], row["product_id"]) for row in tables["product_ids"]} == {("A1", "a"), ("A2", "a"), ("B1", "b")}
    assert counts.read["own"] == 4
    table = counts.tables["products"]
    assert (table.read, table.usable) == (4, 1)
    assert dict(table.reasons) == {
        "map leaves the row out (where Title)": 1,
        "map leaves the row out (where Status)": 1,
        "product_id is missing": 1,
    }
    assert table.examples["map leaves the row out (where Status)"] == "'draft' (products.csv:4)"


def test_one_file_feeds_several_tables_and_several_files_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "a.csv", "sku,name,likes", "p1,Kettle,p2|p3", "p2,Hose,")
    write(folder / "b.csv", "sku,name,likes", "p3,Lamp,p1")
    text = """
tables:
  products:
    file: "?.csv"
    columns: {product_id: sku, title: name}
  co_purchases:
    file: "*.csv"
    where: {likes: present}
    columns: {product_id: sku, other_product_id: {column: likes, split: "|"}, relation: {constant: also_view}}
"""
    counts, tables = staged(folder, text, tmp_path)
    assert len(tables["products"]) == 3
    assert [(row["product_id"], row["other_product_id"]) for row in tables["co_purchases"]] == [
        ("p1", "p2"),
        ("p1", "p3"),
        ("p3", "p1"),
    ]
    assert counts.read["own"] == 3
    assert counts.tables["co_purchases"].files == ["a.csv", "b.csv"]


def test_columns_of_another_file_are_looked_up_by_a_key(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "lines.csv", "order,sku,note", "1,a,x", "1,b,x", "2,a,x", "3,b,x", ",c,x")
    write(folder / "orders.csv", "id,status,note,total", "1,paid,other,9", "2,cancelled,other,9", "1,cancelled,other,9")
    text = """
tables:
  baskets:
    file: lines.csv
    look_up: {file: orders.csv, by: [order, id]}
    where: {status: {not: cancelled}, note: x}
    columns: {basket_id: order, product_id: sku}
"""
    counts, tables = staged(folder, text, tmp_path)
    assert [(row["basket_id"], row["product_id"]) for row in tables["baskets"]] == [("1", "a"), ("1", "b"), ("3", "b")]
    assert counts.read["own"] == 5  # the rows of orders.csv are records of no table
    assert dict(counts.tables["baskets"].reasons) == {
        "map leaves the row out (where status)": 1,
        "basket_id is missing": 1,
    }
    shop = parse_map(text, Path("shop.yaml"))
    assert find_mapped(folder, shop)[1] == []
    assert shop.as_json()["tables"]["baskets"][0]["look_up"] == "orders.csv"
    write(folder / "orders.csv", "id,status", "1,cancelled")  # it is read anew when it changed
    (tmp_path / "again").mkdir()
    assert [row["basket_id"] for row in staged(folder, text, tmp_path / "again")[1]["baskets"]] == ["2", "3"]


def test_a_text_that_no_row_of_the_other_file_has_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "qrels.tsv", "query_id\tdoc_id\trel", "1\ta\texact", "7\tb\texact")
    write(folder / "queries.jsonl", '{"query_id": 1.0, "query": "kettle"}', '{"query_id": 2, "query": "hose"}')
    text = """
tables:
  judgments:
    file: qrels.tsv
    look_up: {file: queries.jsonl, by: query_id}
    columns: {query_id: query_id, query: query, product_id: doc_id, label: rel}
"""
    counts, tables = staged(folder, text, tmp_path)
    assert [(row["query"], row["product_id"]) for row in tables["judgments"]] == [("kettle", "a")]
    assert dict(counts.tables["judgments"].reasons) == {"query is missing": 1}


def test_files_go_to_other_processes_with_their_map(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "products.csv", "Handle,Title,Status,SKU", "a,Kettle,active,A1")
    (file,), _ = find_mapped(folder, parse_map(PRODUCTS, Path("shop.yaml")))
    other = pickle.loads(pickle.dumps(file))
    assert [other.canonical(record) for _, record in other.read()] == [file.canonical(record) for _, record in file.read()]


ORDERS = """
tables:
  baskets:
    file: orders.csv
    fill_down: {by: Name, columns: [Status]}
    where: {Status: paid}
    columns: {basket_id: Name, product_id: SKU}
"""


def test_what_only_a_groups_first_row_says_counts_for_all_its_rows(tmp_path: Path) -> None:
    rows = ["#1,paid,a", "#1,,b", "#2,refunded,c", "#2,,d", "#3,,e"]
    _, tables = staged(write(tmp_path / "shop" / "orders.csv", "Name,Status,SKU", *rows), ORDERS, tmp_path)
    assert [row["product_id"] for row in tables["baskets"]] == ["a", "b"]


def test_values_that_the_map_does_not_name_are_counted_with_the_commonest(tmp_path: Path) -> None:
    text = """
tables:
  events:
    file: e.csv
    columns: {session_id: s, position: t, action: {column: n, values: {look: view}}, title: x}
"""
    rows = ["s1,1,look,Kettle", *["s1,2,scroll,"] * 3, "s1,3,ping,"]
    counts, tables = staged(write(tmp_path / "shop" / "e.csv", "s,t,n,x", *rows), text, tmp_path)
    assert len(tables["events"]) == 1
    told = counts.tables["events"].text()
    assert "action has no value in the map, e.g. 'scroll' (e.csv:3); values: 'scroll' (3), 'ping' (1)" in told
    assert counts.tables["events"].as_json()["reasons"][0]["values"] == {"scroll": 3, "ping": 1}


def test_ids_that_pandas_made_floats_are_trimmed_as_in_any_own_table(tmp_path: Path) -> None:
    text = "tables:\n  products:\n    file: p.csv\n    columns: {product_id: number, title: name}\n"
    _, tables = staged(write(tmp_path / "shop" / "p.csv", "number,name", "12.0,Kettle", "13.0,Hose"), text, tmp_path)
    assert [row["product_id"] for row in tables["products"]] == ["12", "13"]


def test_partition_folders_are_columns_and_locales_come_from_row_file_and_map(tmp_path: Path) -> None:
    for language in ("de", "us"):
        path = tmp_path / "shop" / f"market={language}" / "part.csv"
        path.parent.mkdir(parents=True)
        write(path, "sku,name", f"{language}1,Kettle")
    write(tmp_path / "shop" / "rest.csv", "sku,name", "x,Lamp")
    text = """
tables:
  products:
    - file: market=*/part.csv
      columns: {product_id: sku, title: name, locale: market}
    - file: rest.csv
      locale: DE
      columns: {product_id: sku, title: name}
"""
    _, tables = staged(tmp_path / "shop", text, tmp_path)
    assert {row["product_id"]: row["locale"] for row in tables["products"]} == {"de1": "de", "us1": "us", "x": "de"}


def test_nested_parquet_is_read_by_paths(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    orders = [{"order": {"no": 1}, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"order": {"no": 2}, "lines": []}]
    pq.write_table(pa.Table.from_pylist(orders), tmp_path / "shop" / "orders.parquet")
    text = """
tables:
  baskets:
    file: orders.parquet
    each: lines
    columns: {basket_id: order.no, product_id: lines.sku}
"""
    counts, tables = staged(tmp_path / "shop", text, tmp_path)
    assert [(row["basket_id"], row["product_id"]) for row in tables["baskets"]] == [("1", "a"), ("1", "b")]
    assert counts.tables["baskets"].text() == "3 read, 2 usable: product_id is missing, e.g. orders.parquet:2"


MISFITS = {
    "file: produkts.csv": "shop.yaml, line 3: .* has no file produkts.csv. Did you mean products.csv",
    "file: /products.csv": "has no file /products.csv",
    "columns: {product_id: Handel, title: Title}": "line .: products.csv lacks the column Handel. Did you mean Handle",
    "where: {State: active}": "products.csv lacks the column State. Did you mean Status",
    "also_known_as: [Barcode]": "products.csv lacks the column Barcode",
    "fill_down: {by: Handle, columns: [Vendor]}": "products.csv lacks the column Vendor",
    "each: lines": "products.csv lacks the column lines",
    "look_up: {file: statuses.csv, by: Handle}": "line 5: .* has no file statuses.csv",
    "look_up: {file: products.csv, by: Vendor}": "line 5: products.csv lacks the column Vendor",
    "look_up: {file: products.csv, by: [Handle, id]}": "line 5: products.csv lacks the column id",
    "encoding: utf-9": "Unknown --encoding utf-9",
}


@pytest.mark.parametrize("line", MISFITS)
def test_what_the_map_names_and_the_folder_lacks_is_told(tmp_path: Path, line: str) -> None:
    folder = write(tmp_path / "shop" / "products.csv", "Handle,Title,Status", "a,Kettle,active")
    entry = {
        "file": "products.csv",
        "columns": "{product_id: Handle, title: Title}",
        **{line.split(": ", maxsplit=1)[0]: line.split(": ", 1)[1]},
    }
    text = "tables:\n  products:\n    - " + "\n      ".join(f"{key}: {value}" for key, value in entry.items()) + "\n"
    with pytest.raises(UserError, match=MISFITS[line]):
        find_mapped(folder, parse_map(text, Path("shop.yaml")))


def test_a_column_that_json_never_has_is_told_where_a_row_needs_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "p.jsonl", '{"id": "a", "name": "Kettle"}')
    text = "tables:\n  products:\n    file: p.jsonl\n    columns: {product_id: id, title: %s, brand: vendor}\n"
    find_mapped(folder, parse_map(text % "name", Path("shop.yaml")))
    with pytest.raises(UserError, match=r"none of the first 10,000 records of p.jsonl has the column title"):
        find_mapped(folder, parse_map(text % "title", Path("shop.yaml")))


def test_a_column_that_is_there_twice_is_refused_if_the_map_names_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop" / "p.csv", "id,name,name,x,x", "a,Kettle,K,1,2")
    text = "tables:\n  products:\n    file: p.csv\n    columns: {product_id: id, title: %s}\n"
    with pytest.raises(UserError, match=r"p.csv has the column name twice"):
        find_mapped(folder, parse_map(text % "name", Path("shop.yaml")))


@pytest.mark.parametrize(
    ("written", "told"), [("rating", "scale: .1, 10.. with the scale's ends"), ("{column: rating, scale: [1, 10]}", "")]
)
def test_ratings_on_another_scale_are_refused_until_the_map_converts_them(tmp_path: Path, written: str, told: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    with (folder / "r.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "rating", "text"], *([n, n % 10 + 1, f"good {n}"] for n in range(40))])
    text = f"""
tables:
  reviews:
    file: r.csv
    columns: {{review_id: id, product_id: id, category: {{constant: Home}}, rating: {written}, text: text}}
"""
    if told:
        with pytest.raises(UserError, match=told):
            find_mapped(folder, parse_map(text, Path("shop.yaml")))
        return
    _, tables = staged(folder, text, tmp_path)
    assert sorted({row["rating"] for row in tables["reviews"]}) == [1, 2, 3, 4, 5]
