"""A map is read as it is written; every mistake in one is told with its line and the nearest name."""

import pickle
from pathlib import Path

import pytest

from common.errors import UserError
from dataset_builders.map_parser import parse_map, read_map
from dataset_builders.mapping import DerivedMap, RowCondition, ShopMap, near, normal

WHOLE = """\
locale: de
tables:
  products:
    - file: products_*.csv
      where: {Status: [active, archived], Title: present, Kind: {not: variation}}
      null_words: [unknown, "-"]
      encoding: cp1252
      also_known_as: [Variant SKU]
      columns:
        product_id: Handle
        title: {join: [Brand, Name], with: " - "}
        category: {first: [Type, Group], default: Other}
        brand: {constant: Acme}
  reviews:
    file: reviews.csv
    locale: us
    columns:
      review_id: {hash: [body, date]}
      product_id: sku
      rating: {column: score, scale: [1, 10]}
      text: body
  judgments:
    file: judged.csv
    columns:
      query_id: query
      query: query
      product_id: doc
      label: {column: grade, values: {2: exact, 1: substitute, no: irrelevant, 01: }, other: irrelevant}
  baskets:
    file: orders.csv
    fill_down: {by: Name, columns: [Status]}
    each: lines
    columns: {basket_id: Name, product_id: lines.sku}
derive:
  also_buy: {from: baskets, support: 3}
"""


def parsed(text: str) -> ShopMap:
    return parse_map(text, Path("shop.yaml"))


def test_a_whole_map_is_read() -> None:
    shop = parsed(WHOLE)
    products, reviews, _, baskets = shop.files
    assert [file.table for file in shop.files] == ["products", "reviews", "judgments", "baskets"]
    assert (products.pattern, products.locale, products.encoding) == ("products_*.csv", "de", "cp1252")
    assert products.also_known_as == ("Variant SKU",)
    assert products.null_words == {"unknown", "-"}
    assert products.where[0] == RowCondition("Status", frozenset({"active", "archived"}), False, 5)
    assert products.where[2].excluded
    assert products.columns["title"].take == "join"
    assert products.columns["title"].text == " - "
    assert products.columns["category"].columns == ("Type", "Group")
    assert products.columns["brand"].text == "Acme"
    assert reviews.locale == "us"
    assert reviews.columns["rating"].scale == (1.0, 10.0)
    assert (baskets.each, baskets.fill_down) == ("lines", (("Name",), ("Status",)))
    assert shop.derived == (DerivedMap("also_buy", "baskets", 3),)


def test_values_are_words_as_they_are_written_and_no_yaml_types() -> None:
    label = parsed(WHOLE).files[2].columns["label"]
    assert label.values == {"2": "exact", "1": "substitute", "no": "irrelevant", "01": ""}
    assert label.other == "irrelevant"


def test_a_map_goes_to_another_process_as_it_is() -> None:
    shop = parsed(WHOLE)
    assert pickle.loads(pickle.dumps(shop)) == shop


def test_the_hash_is_of_the_text() -> None:
    assert parsed(WHOLE).sha256 != parsed(WHOLE + "# a comment\n").sha256
    assert parsed(WHOLE).as_json()["tables"]["reviews"] == [
        {
            "file": "reviews.csv",
            "columns": {"review_id": ["body", "date"], "product_id": ["sku"], "rating": ["score"], "text": ["body"]},
        }
    ]


PRODUCTS = "tables:\n  products:\n    file: p.csv\n"
TITLE = f"{PRODUCTS}    columns: {{product_id: id, title: "
REVIEWS = "tables:\n  reviews:\n    file: r.csv\n    columns: {"
JUDGMENTS = "tables:\n  judgments:\n    file: j.csv\n"
MISTAKES = {
    "": "shop.yaml is empty",
    "tables: [": "shop.yaml, line 1, column .* is not YAML",
    "tables:\n  products:\n  - a: b: c\n": "shop.yaml, line 3, column 9 is not YAML.*needs quotes",
    "tables: &a {}\nlocale: *a\n": "shop.yaml uses YAML aliases",
    "tables:\n  ? [a]\n  : b\n": "line 2: a key must be a text",
    "locale: us\nlocale: de\n": "line 2: locale is there twice, also in line 1",
    "- a\n": "line 1: the map must be",
    "locale: us\n": "has no tables: section",
    "tabels:\n  products: x\n": "line 1: the map takes no tabels. Did you mean tables",
    "tables:\n  produts:\n": "line 2: there is no table produts. Did you mean products",
    "tables:\n  products: []\n": "names no file",
    "tables:\n  products:\n    columns: {title: t}\n": "line 2: this file of products lacks `file:`",
    "tables:\n  products: {file: p.csv}\n": "line 2: this file of products lacks `columns:`",
    "tables:\n\tproducts: p.csv\n": "line 2, column 1 is not YAML: .* Indent with spaces, not with tabs",
    "tables: {}\n---\ntables: {}\n": "A map is one document",
    "tables:\n  products:\n    - file: p.csv\n     columns: {}\n": "begins in the same column",
    "tables: 'x\n": "A quote is not closed",
    'tables: "a\\p"\n': "Write a backslash twice",
    "tables:\n  products: p.csv\n": "line 2: write `- file: p.csv` below products, and its `columns:` below that",
    "tables:\n  products: {file: [p.csv, q.csv]}\n": "`file:` takes one name or pattern; give each file an entry",
    PRODUCTS + "    separator: ;\n": "takes no separator, which is found by content; take the line out",
    "tables:\n  products:\n"
    + 2 * "  - {file: p.csv, columns: {product_id: id, title: t}}\n": "line 4: p.csv is there twice as products",
    TITLE + "{column: a, split: }}\n": "split of title names nothing to split at; write it in quotes",
    PRODUCTS + "    colums: {}\n": "line 4: a file of products takes no colums. Did you mean columns",
    PRODUCTS + "    columns:\n      product_id: id\n      tile: t\n": (
        "line 6: the table products has no column tile. Did you mean title"
    ),
    PRODUCTS + "    columns: {product_id: id}\n": "products needs title, which no column of p.csv",
    TITLE + "}\n": "title names no column of the file",
    TITLE + "{from: t}}\n": "title takes no from",
    TITLE + "{default: t}}\n": "title needs one of column, first",
    TITLE + "{column: a, join: [b]}}\n": "title needs one of",
    TITLE + "{constant: a, values: {b: c}}}\n": "a constant takes no values",
    TITLE + "{first: [a, b], with: x}}\n": "`with` says what stands between",
    TITLE + "{column: a, scale: [1, 10]}}\n": "scale is for ratings",
    TITLE + "{column: a, pattern: '('}}\n": "no regular expression",
    PRODUCTS + "    where: {Status: }\n    columns: {product_id: id, title: t}\n": (
        "line 4: where Status names no value; write `missing`"
    ),
    PRODUCTS + "    where: {Status: {is: x}}\n    columns: {product_id: id, title: t}\n": (
        "where Status takes no is. There are not"
    ),
    PRODUCTS
    + "    look_up: {file: q.csv}\n    columns: {product_id: id, title: t}\n": "line 4: look_up needs `file:`, and `by:`",
    PRODUCTS + "    look_up: {file: q.csv, by: [a, b, c]}\n    columns: {product_id: id, title: t}\n": "look_up needs `file:`",
    PRODUCTS + "    fill_down: {by: x}\n    columns: {product_id: id, title: t}\n": "fill_down needs",
    REVIEWS + "review_id: id, product_id: p, text: t, rating: r}\n": ("reviews need a category, and no products are mapped"),
    REVIEWS + "product_id: p, text: t, rating: r, category: c}\n": ("needs review_id.*write review_id: {hash: "),
    REVIEWS + "rating: {column: r, scale: [5]}}\n": r"such as \[1, 10\]",
    REVIEWS + "rating: {column: r, scale: [a, 5]}}\n": "a is not a number",
    REVIEWS + "rating: {column: r, values: {good: 6}}}\n": "a rating is 1, 2, 3, 4 or 5",
    JUDGMENTS + "    columns:\n      label: {column: r, values: {2: exakt}}\n": (
        "line 5: label cannot be exakt. Did you mean exact"
    ),
    JUDGMENTS + "    columns:\n      label: {column: r, values: {2: exact, 2.0: exact}}\n": "2.0 of label is there twice",
    JUDGMENTS + "    also_known_as: [x]\n    columns: {query: q}\n": "also_known_as is for products",
    "tables:\n  events:\n    file: e.csv\n    columns: {action: {constant: looked}}\n": "action cannot be looked",
    "tables:\n  questions:\n    file: q.csv\n    columns: {answerable: {constant: maybe}}\n": "answerable is true or false",
    "tables:\n  questions:\n    file: q.csv\n    columns: {question_id: i, product_id: p, question: q, answerable: a}\n": (
        "needs snippets.*derive: {snippets"
    ),
    PRODUCTS + "    columns: {product_id: i, title: t}\nderive:\n  also_bye: {}\n": (
        "line 6: derive takes no also_bye. Did you mean also_buy"
    ),
    PRODUCTS + "    columns: {product_id: i, title: t}\nderive:\n  also_buy:\n": (
        "line 5: also_buy is derived from baskets, which no file is mapped to"
    ),
    PRODUCTS + "    columns: {product_id: i, title: t}\nderive:\n  also_view: {from: x}\n": (
        "also_view is derived from events or baskets, not from x"
    ),
    PRODUCTS + "    columns: {product_id: i, title: t}\nderive:\n  also_view: {support: 0}\n": (
        "support must be a whole number of 1 or more"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_what_to_write(text: str) -> None:
    with pytest.raises(UserError, match=MISTAKES[text]):
        parsed(text)


def test_a_map_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no map .*absent.yaml. Make one with python -m dataset_builders.map"):
        read_map(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"locale: \xe4")
    with pytest.raises(UserError, match="it is not UTF-8; save it as UTF-8"):
        read_map(tmp_path / "latin.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_map(tmp_path)


def test_values_compare_in_lower_case_and_whole_floats_as_numbers() -> None:
    assert [normal(value) for value in (" Active ", 3.0, "3.0", True, "03", "3.5")] == ["active", "3", "3", "true", "03", "3.5"]


def test_the_nearest_name_is_found_in_any_case() -> None:
    assert near("variant sku", ["Handle", "Variant SKU"]) == "Did you mean Variant SKU?"
    assert near("zzz", ["a", "b"]) == "There are a, b."
