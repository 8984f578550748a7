"""From untouched exports to a dataset with a proposed map: the command, its presets, and what it is unsure of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_builders.map_parser import read_map
from dataset_builders.mapped_files import find_mapped
from tests.dataset_builders import exports
from tests.dataset_builders.conftest import run_command

Rows = list[dict[str, Any]]


def propose(folder: Path, out: Path, *options: str) -> str:
    """The text of the map that the command proposes."""
    assert run_command("map", "--tables", folder, "--out", out, *options) == 0
    return out.read_text(encoding="utf-8")


def build(folder: Path, shop: Path, out: Path, *options: str) -> dict[str, Any]:
    words = ("--tables", folder, "--map", shop, "--out", out, "--size", "unlimited", "--threads", "1", *options)
    assert run_command("build", *words) == 0
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    for facts in found["sources"].values():
        assert facts["read"] == facts["used"] + sum(sum(reasons.values()) for reasons in found["rejects"].values())
    return found


def rows_of(out: Path, task: str) -> Rows:
    return [row for path in sorted((out / "data" / task).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def texts_of(out: Path, *tasks: str) -> str:
    return json.dumps([row for task in tasks for row in rows_of(out, task)])


# The whole way


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five untouched exports, the proposed map, unedited, and the dataset that is built with it."""
    folder = tmp_path_factory.mktemp("shop")
    exports.untouched_shop(folder / "exports")
    propose(folder / "exports", folder / "shop.yaml")
    build(folder / "exports", folder / "shop.yaml", folder / "dataset")
    return folder


def manifest(shop: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shop / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_five_untouched_exports_give_at_least_nine_tasks_with_the_map_as_it_is_proposed(shop: Path) -> None:
    tasks = {
        "review_rating",
        "query_relation",
        "query_product_relation",
        "answerability",
        "query_product_ranking",
        "next_query",
        "query_generation",
        "next_title_merrec",
        "answer_generation",
    }
    configs = manifest(shop)["configs"]
    assert tasks <= configs.keys()
    assert all(configs[task]["train"] for task in tasks)


def test_the_three_ids_of_a_product_are_brought_to_one(shop: Path) -> None:
    joins = {(join["table"], join["column"]): join for join in manifest(shop)["joins"]}
    for table in ("judgments", "events", "reviews"):
        join = joins[table, "product_id"]
        assert join["keys"] - join["matched"] <= 1, join  # the draft
    assert "also_known_as: [Variant SKU]" in (shop / "shop.yaml").read_text()


def test_the_map_marks_what_it_is_unsure_of(shop: Path) -> None:
    lines = (shop / "shop.yaml").read_text().splitlines()
    unsure = {line.split(":")[0].strip(): line.partition("# unsure: ")[2] for line in lines if "# unsure" in line}
    assert unsure.keys() == {"session_id", "label", "answerable"}
    assert "user_pseudo_id differs in nearly every event" in unsure["session_id"]
    assert "grades 0 to 3" in unsure["label"]


def test_the_manifest_says_how_each_table_came_from_which_file(shop: Path) -> None:
    found = manifest(shop)
    read = read_map(shop / "shop.yaml")
    assert found["map"]["sha256"] == read.sha256
    assert found["map"]["tables"]["products"][0]["file"] == "products_export_1.csv"
    assert found["map"]["tables"]["products"][0]["columns"]["title"] == ["Title"]
    assert found["tables"]["products"]["files"] == ["products_export_1.csv"]
    assert found["derived"]["also_view"]["least_support"] == 2
    assert found["derived"]["snippets"]["with_snippets"] > 50
    unmapped = found["tables"]["events"]["reasons"][0]
    assert (unmapped["reason"], set(unmapped["values"])) == ("action has no value in the map", {"page_view", "session_start"})


def test_no_person_of_the_exports_is_in_the_dataset(shop: Path) -> None:
    text = texts_of(shop / "dataset", *(task for task in manifest(shop)["configs"] if (shop / "dataset/data" / task).is_dir()))
    assert "example.com" not in text
    assert "Jane" not in text


def test_explain_says_how_each_table_came_from_which_file(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--tables",
        shop / "exports",
        "--map",
        shop / "shop.yaml",
        "--explain",
        "--tasks",
        "review_rating",
        "--threads",
        "1",
    )
    assert run_command("build", *words, "--explain") == 0
    told = capsys.readouterr().out
    assert "reviews: judgeme_reviews.csv: review_id from body and title and rating" in told
    assert "reviews: 260 read, 255 usable: map leaves the row out (where curated) (5)" in told
    assert "action has no value in the map (" in told
    assert "page_view (" in told
    assert "derived: also_view: from events, least_support 2" in told


def test_an_edited_line_changes_the_labels(shop: Path, tmp_path: Path) -> None:
    edited = (shop / "shop.yaml").read_text().replace("1: complement", "1: irrelevant")
    (tmp_path / "shop.yaml").write_text(edited)
    found = build(shop / "exports", tmp_path / "shop.yaml", tmp_path / "out", "--tasks", "query_product_relation")
    assert found["map"]["sha256"] != manifest(shop)["map"]["sha256"]
    rows = rows_of(tmp_path / "out", "query_product_relation")
    chosen = {row["prompt"][0]["content"].split(f"{row['completion'][0]['content']}. ")[-1].splitlines()[0] for row in rows}
    assert not any("goes with" in statement for statement in chosen)


# Presets


def test_shopify_orders_and_the_nested_export_of_ga4(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    exports.shopify_products(folder / "products_export.csv")
    exports.shopify_orders(folder / "orders_export.csv")
    events = exports.ga4_export()
    exports.write_json_lines(folder / "events_20240501.json", events[: len(events) // 2])
    exports.write_json_lines(folder / "events_20240502.json", events[len(events) // 2 :])
    text = propose(folder, tmp_path / "shop.yaml")
    assert text.count("# preset shopify") == 2
    assert text.count("file: events_*.json # preset ga4") == 1  # purchases are the orders once more
    assert "session_id: {hash: [user_pseudo_id, event_params.ga_session_id]}" in text
    tasks = "also_buy,product_relation,next_title_amazon,next_title_merrec"
    found = build(folder, tmp_path / "shop.yaml", tmp_path / "out", "--tasks", tasks)
    assert set(tasks.split(",")) <= found["configs"].keys()
    orders = found["tables"]["baskets"]
    left = {each["reason"]: each["rows"] for each in orders["reasons"]}
    assert left["map leaves the row out (where Financial Status)"] == 36
    assert left["map leaves the row out (where Cancelled at)"] == 36
    assert found["derived"]["also_buy"]["links"] > 50
    groups = {row["group"] for row in rows_of(tmp_path / "out", "next_title_merrec")}
    assert len(groups) > 30
    assert not any("1714550400" in group for group in groups)


def test_ga4_as_parquet_gives_the_rows_of_ga4_as_json(tmp_path: Path) -> None:
    events = exports.ga4_export(12)
    fingerprints = []
    for name in ("json", "parquet"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "json":
            exports.write_json_lines(folder / "events.jsonl", events)
        else:
            typed = [{**event, "event_timestamp": int(event["event_timestamp"])} for event in events]
            pq.write_table(pa.Table.from_pylist(typed), folder / "events.parquet")
        propose(folder, tmp_path / f"{name}.yaml", "--preset", "ga4")
        found = build(folder, tmp_path / f"{name}.yaml", tmp_path / f"{name}_out", "--tasks", "next_title_merrec")
        fingerprints.append(found["configs"]["next_title_merrec"]["fingerprint"])
    assert fingerprints[0] == fingerprints[1]


def test_woocommerce(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    exports.woocommerce_products(folder / "wc-product-export.csv")
    exports.woocommerce_orders(folder / "orders.json")
    exports.woocommerce_reviews(folder / "reviews.json")
    assert propose(folder, tmp_path / "shop.yaml").count("# preset woocommerce") == 4
    found = build(folder, tmp_path / "shop.yaml", tmp_path / "out", "--tasks", "review_rating,also_buy,product_relation")
    assert {"review_rating", "also_buy", "product_relation"} <= found["configs"].keys()
    joins = {(join["table"], join["column"]): join for join in found["joins"]}
    join = joins["co_purchases", "other_product_id"]
    assert join["keys"] - join["matched"] <= 1  # what is not published
    assert (
        found["derived"]["product_ids"]["other_ids"] == exports.PRODUCTS + 2 * (exports.PRODUCTS // 2) + 1
    )  # of the unpublished one
    reviews = rows_of(tmp_path / "out", "review_rating")
    assert any("Category: Teapots" in row["prompt"][0]["content"] for row in reviews)


def test_magento_with_reviews_of_yotpo(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    exports.magento_products(folder / "export_catalog_product.csv")
    exports.magento_items(folder / "sales_order_item.csv")
    exports.yotpo_reviews(folder / "yotpo_reviews_export.csv")
    text = propose(folder, tmp_path / "shop.yaml")
    assert (text.count("# preset magento"), text.count("# preset yotpo")) == (3, 1)
    found = build(folder, tmp_path / "shop.yaml", tmp_path / "out", "--tasks", "review_rating,also_buy,product_relation")
    assert {"review_rating", "also_buy", "product_relation"} <= found["configs"].keys()
    assert "Das " not in texts_of(tmp_path / "out", "also_buy", "product_relation")
    assert found["tables"]["products"]["usable"] == exports.PRODUCTS - 1
    assert any("Category: Rucksacks" in row["prompt"][0]["content"] for row in rows_of(tmp_path / "out", "review_rating"))


# Names and values


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def csv_text(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


PROPOSED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "ten points": (
        {"feedback": csv_text("id,sku,stars,comment", [f"{n},p{n},{n % 10 + 1},good {n}" for n in range(30)])},
        (
            "reviews:",
            "rating: {column: stars, scale: [1, 10]} # unsure: whether 1 to 10 is",
            "category: {constant: Other} # unsure",
        ),
    ),
    "of five": (
        {"feedback": csv_text("id,sku,rating,review", [f"{n},p{n},{n % 5 + 1}/5,good {n}" for n in range(30)])},
        (r'rating: {column: rating, pattern: "(\\d+(?:[.,]\\d+)?)"}',),
    ),
    "halves": (
        {"reviews": csv_text("review_id,product_id,rating,text", [f"{n},p{n},{1 + n % 9 / 2},good {n}" for n in range(30)])},
        ("rating: {column: rating, scale: [1, 5]} # unsure: halves are rounded up",),
    ),
    "no id": (
        {"reviews": csv_text("product_id,rating,text,posted_date", ["p1,5,good,2024-01-01", "p2,4,bad,2024-01-02"])},
        ("review_id: {hash: [text, rating, product_id, posted_date]} # unsure: the file has no id",),
    ),
    "letters": (
        {"judged": csv_text("query,product_id,esci_label", ["kettle,p1,E", "kettle,p2,S", "hose,p1,I"])},
        ("label: esci_label", "query_id: query"),
    ),
    "two grades": (
        {"judged": csv_text("query,product_id,relevance", ["kettle,p1,1", "kettle,p2,0"])},
        ("label: {column: relevance, values: {1: exact, 0: irrelevant}} # unsure: what the grades 0 to 1 mean",),
    ),
    "words of grades": (
        {"judged": csv_text("query,product_id,relevance", ["kettle,p1,Perfect", "kettle,p2,Bad", "a,b,Meh"])},
        ("values: {bad: irrelevant, perfect: exact}} # unsure: what meh mean",),
    ),
    "events": (
        {
            "clicks": csv_text(
                "session,ts,event,sku,query",
                ["s,1,product_viewed,p1,", "s,2,cart_add,p1,", "s,3,ping,,", "s,4,site_search,,hose"],
            )
        },
        ("values: {product_viewed: view, cart_add: cart, site_search: query}} # unsure: not used: ping",),
    ),
    "orders": (
        {"orders": csv_text("order_id,sku,quantity", ["1,p1,1", "1,p2,1"])},
        ("baskets:", "basket_id: order_id", "also_buy: {from: baskets, support: 2}"),
    ),
    "statuses": (
        {"reviews": csv_text("id,product_id,rating,text,status", ["1,p1,5,good,approved", "2,p2,4,bad,spam"])},
        ("where: {status: [approved]} # unsure: leaves out spam",),
    ),
    "languages": (
        {"products": csv_text("sku,name,language", ["p1,Kettle,en_US", "p2,Kessel,de_DE"])},
        ("locale: {column: language, values: {de_de: de, en_us: us}}",),
    ),
    "language of a locale": (
        {"products": csv_text("sku,name,lang", ["p1,Kettle,en", "p2,Hose,fr"])},
        ("locale: {column: lang, values: {en: us, fr: fr}} # unsure: fr is not among --locales us,de",),
    ),
    "camel case": (
        {"loox": csv_text("reviewId,status,rating,email,review,date,productId,handle", ["r1,Active,5,a@b.c,good,2024,8,x"])},
        ("review_id: reviewId", "product_id: productId", "text: review"),
    ),
    "country of origin": (
        {"products": csv_text("sku,name,country", ["p1,Kettle,CN", "p2,Hose,VN"])},
        ("title: name\n#",),
    ),
    "unknown ids": (
        {
            "products": csv_text("sku,name", ["p1,Kettle", "p2,Hose"]),
            "reviews": csv_text("id,item_id,rating,text", ["1,x1,5,good"]),
        },
        ("product_id: item_id # unsure: no value of it is an id in products.csv",),
    ),
    "ratings as stars": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,★★★☆☆,a", "2,p1,★,b"])},
        ('rating: {column: stars, values: {"★": 1, "★★★☆☆": 3}}',),
    ),
    "languages in words": (
        {"products": csv_text("sku,name,language", ["p1,Kettle,english"])},
        ("locale: {column: language, values: {english: us}}",),
    ),
    "answers that say that there is none": (
        {
            "questions": csv_text("id,sku,question,answer", ["1,p1,Is it?,Yes", "2,p1,Was it?,No answer"]),
            "reviews": csv_text("id,sku,stars,text", ["1,p1,5,a"]),
        },
        ("null_words: [no answer] # unsure: read as no answer",),
    ),
    "items that none was bought of, and test orders": (
        {"orders": csv_text("order_id,sku,qty,qty_refunded,test", ["1,p1,1,0,false", "1,p2,0,0,false", "2,p1,1,0,true"])},
        ("where: {test: {not: [true]}, qty: {not: [0]}} # unsure: leaves out",),
    ),
    "flags": (
        {"products": csv_text("sku,name,isActive,deleted_at", ["p1,Kettle,1,", "p2,Hose,0,", "p3,Mug,1,2024-01-01"])},
        ("where: {isActive: {not: [0]}, deleted_at: missing} # unsure: leaves out rows whose isActive is 0; leaves out",),
    ),
    "returns among orders": (
        {"orders": csv_text("order_id,sku,Quantity", ["1,p1,2", "1,p2,1", "C1,p1,-2"])},
        ('where: {Quantity: {not: ["-2"]}} # unsure: leaves out items with a Quantity of -2',),
    ),
    "ratings of ten that happen to be low": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,3/10,a", "2,p1,5/10,b"])},
        ("scale: [1, 10]} # unsure: whether 1 to 10 is the scale",),
    ),
    "ratings in percent": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,20%,a", "2,p1,100%,b"])},
        ("scale: [20, 100]} # unsure: whether 20 to 100 are one to five stars",),
    ),
    "ratings in words": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,five,a", "2,p1,one,b"])},
        ("rating: {column: stars, values: {five: 5, one: 1}}",),
    ),
    "thumbs": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,\U0001f44d,a", "2,p1,\U0001f44e,b"])},
        ('values: {"\U0001f44d": 5, "\U0001f44e": 1}} # unsure: whether',),
    ),
    "ratings that end at three": (
        {"reviews": csv_text("id,sku,stars,text", [f"{n},p1,{n % 3 + 1},a" for n in range(30)])},
        ("rating: {column: stars, scale: [1, 3]} # unsure: whether 1 to 3 is the scale",),
    ),
    "ids of Shopify's interface beside plain numbers": (
        {
            "products": csv_text("id,title,vendor", ["gid://shopify/Product/1,Kettle,A", "gid://shopify/Product/2,Hose,A"]),
            "reviews": csv_text("id,product_id,rating,text", ["1,1,5,good", "2,2,4,fine"]),
        },
        (r'product_id: {column: id, pattern: "gid://shopify/\\w+/(\\d+)"}', "product_id: product_id\n"),
    ),
    "ids behind an apostrophe": (
        {
            "products": csv_text("sku,name", ["'001,Kettle", "'002,Hose"]),
            "reviews": csv_text("id,sku,rating,text", ["1,001,5,good", "2,002,4,fine"]),
        },
        ("product_id: sku\n",),
    ),
    "ratings with decimal commas": (
        {"reviews": "id;sku;stars;text\n1;p1;4,0;a\n2;p1;5,0;b\n"},
        ("rating: {column: stars, scale: [1, 5]}",),
    ),
    "grades from 0 to 4": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,0,a", "2,p1,4,b"])},
        ("scale: [0, 4]} # unsure: whether 0 to 4 is the scale",),
    ),
    "zeros among ratings": (
        {"reviews": csv_text("id,sku,stars,text", ["1,p1,0,a", "2,p1,5,b"])},
        ("rating: {column: stars, scale: [1, 5]} # unsure: whether 0 is a rating, as in scale: [0, 5], or says",),
    ),
    "snippets between bars": (
        {"questions": csv_text("id,sku,question,snippets,answer", ["1,p1,Is it?,It is|It was,Yes"])},
        ('snippets: {column: snippets, split: "|"} # unsure: whether | stands between snippets',),
    ),
    "orders that were undone": (
        {"orders": csv_text("order_id,sku,status", ["1,p1,completed", "1,p2,Cancelled", "2,p1,refunded"])},
        ("where: {status: {not: [cancelled, refunded]}} # unsure: leaves out cancelled, refunded",),
    ),
    "canonical": (
        {"products": csv_text("product_id,locale,title,brand", ["p1,us,Kettle,Acme"])},
        ("product_id: product_id", "locale: locale", "title: title", "brand: brand"),
    ),
    "odd names": (
        {"products": csv_text('"sku","title","Brand: ""X"" #1","vendor"', ["p1,Kettle,a,b"])},
        ("brand: vendor",),
    ),
}


@pytest.mark.parametrize("case", PROPOSED)
def test_names_and_values_tell_tables_columns_and_what_values_mean(tmp_path: Path, case: str) -> None:
    files, lines = PROPOSED[case]
    text = propose(write(tmp_path / "exports", **files), tmp_path / "shop.yaml", "--locales", "us,de")
    for line in lines:
        assert line in text + "#"


def test_customers_and_categories_are_no_products(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "exports",
        customers="id,name,email,brand\n1,Jane Doe,jane@example.com,x\n",
        categories="id,name\n1,Kettles\n",
        stock="sku,name,price\np1,Kettle,3\n",
    )
    text = propose(folder, tmp_path / "shop.yaml")
    assert "# Not used: customers.csv" in text
    assert "# Not used: categories.csv" in text
    assert "file: stock.csv" in text


def test_a_value_with_line_breaks_breaks_no_line_of_the_map(tmp_path: Path) -> None:
    judged = 'query,product_id,relevance\nkettle,p1,"good\nor: not # so"\nkettle,p2,exact\n'
    text = propose(write(tmp_path / "exports", judged=judged), tmp_path / "shop.yaml")
    assert "unsure: what good or: not # so mean" in text


def test_backups_are_left_out_and_partitions_are_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("products.bak/all", "products/locale=us/part-0", "products/locale=de/part-0"):
        (tmp_path / "exports" / name).parent.mkdir(parents=True)
        (tmp_path / "exports" / f"{name}.csv").write_text(f"sku,name\n{name[-11:-7]},Kettle\n", encoding="utf-8")
    text = propose(tmp_path / "exports", tmp_path / "shop.yaml", "--locales", "us,de")
    assert 'file: "products/locale=*/part-*.csv"' in text
    assert "locale: locale" in text
    assert "products.bak/all.csv looks like a backup" in capsys.readouterr().out


def test_two_files_of_the_same_rows_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, rows = "id,sku,rating,text", [f"r{n},p{n},5,Text {n}" for n in range(9)]
    folder = write(tmp_path / "exports", reviews=csv_text(header, rows), feedback=csv_text(header, rows[1:]))
    propose(folder, tmp_path / "shop.yaml")
    told = " ".join(capsys.readouterr().out.split())
    assert "feedback.csv and reviews.csv are both reviews and share 89% of review_id: take one out if it is a copy" in told


def test_what_a_file_lacks_for_the_table_that_it_is_named_after_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "exports", products="sku,name\np1,Kettle\n", reviews="id,sku,text\nr1,p1,Good\n")
    propose(folder, tmp_path / "shop.yaml")
    told = "not used: reviews.csv, which is named like reviews, but no column is called like its rating (tried rating, stars,"
    assert told in " ".join(capsys.readouterr().out.split())


def test_questions_that_nothing_answers_are_left_out_with_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = csv_text("id,sku,question,answer", ["1,p1,Is it?,Yes"])
    folder = write(tmp_path / "exports", products="sku,name\np1,Kettle\n", questions=asked)
    assert "file: products.csv" in propose(folder, tmp_path / "shop.yaml")
    told = "not used: questions.csv, which has no snippets, and no reviews are there to cut them from"
    assert told in " ".join(capsys.readouterr().out.split())


def test_a_pattern_takes_no_copies_and_a_name_with_brackets_means_itself(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "exports",
        **{f"products[{n}]": f"sku,name\np{n},Kettle {n}\n" for n in (1, 2)},
        **{"products[3] old": "sku,name\np3,Kettle 3\n"},
    )
    (folder / "products[2].csv").unlink()
    text = propose(folder, tmp_path / "shop.yaml")
    assert "products[1].csv" in text
    files, _ = find_mapped(folder, read_map(tmp_path / "shop.yaml"))
    assert [file.path.name for file in files] == ["products[1].csv"]
    (tmp_path / "shop.yaml").write_text(text.replace("products[1].csv", "products*.csv"), encoding="utf-8")
    files, _ = find_mapped(folder, read_map(tmp_path / "shop.yaml"))
    assert [file.path.name for file in files] == ["products[1].csv"]


def test_a_file_of_no_table_is_named_and_others_are_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "exports", products="sku,name\np1,Kettle\n", staff="employee,salary\nAnn,1\n")
    (folder / "sheet.xlsx").write_bytes(b"PK\x03\x04")
    (folder / "cut.parquet").write_bytes(b"PAR1 cut")
    text = propose(folder, tmp_path / "shop.yaml")
    assert "# Not used: staff.csv" in text
    told = capsys.readouterr().out
    assert "not used: staff.csv" in told
    assert "not read: sheet.xlsx is no CSV, TSV, JSON or Parquet file" in told
    assert "not read: cut.parquet cannot be read as Parquet" in told


# Mistakes

Case = tuple[Callable[[Path], object], tuple[str, ...], str]
MISTAKES: dict[str, Case] = {
    "nothing": (lambda folder: folder.mkdir(), (), "Nothing in .* looks like products.*no file"),
    "no table": (lambda folder: write(folder, staff="employee,salary\nAnn,1\n"), (), "staff.csv has employee, salary"),
    "no folder": (lambda folder: None, (), "is not a folder"),
    "unknown preset": (
        lambda folder: write(folder, p="sku,name\np1,K\n"),
        ("--preset", "shopfy"),
        "no --preset shopfy. Did you mean shopify",
    ),
    "no file of the preset": (
        lambda folder: write(folder, p="sku,name\np1,K\n"),
        ("--preset", "quepid"),
        "No file in .* has the columns of --preset quepid: query, docid, rating",
    ),
    "locale": (lambda folder: write(folder, p="sku,name\np1,K\n"), ("--locales", "xx"), "xx"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    make, options, told = MISTAKES[case]
    make(tmp_path / "exports")
    assert run_command("map", "--tables", tmp_path / "exports", "--out", tmp_path / "shop.yaml", *options) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert not (tmp_path / "shop.yaml").exists()


def test_a_map_with_edits_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "exports", p="sku,name\np1,K\n")
    (tmp_path / "shop.yaml").write_text("mine")
    assert run_command("map", "--tables", folder, "--out", tmp_path / "shop.yaml") == 2
    assert "it may hold your edits" in capsys.readouterr().err
    assert (tmp_path / "shop.yaml").read_text() == "mine"


def test_the_locales_of_a_build_are_those_of_its_map(tmp_path: Path) -> None:
    rows = [f"{n},p{n},{n % 5 + 1},gut {n}" for n in range(20)]
    folder = write(
        tmp_path / "exports", reviews=csv_text("id,sku,rating,text", rows), products="sku,name,type\np1,Kessel,Haus\n"
    )
    assert "locale: de # of rows that name none" in propose(folder, tmp_path / "shop.yaml", "--locales", "de")
    found = build(folder, tmp_path / "shop.yaml", tmp_path / "out", "--tasks", "review_rating")
    assert (found["locales"], found["tables"]["products"]["usable"]) == (["de"], 1)
    assert found["rejects"]["own"]["reviews: category is missing, and the product has none"] == 19


def test_a_map_goes_with_tables_alone_and_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "exports", p="sku,name\np1,K\n")
    out = tmp_path / "out"
    assert run_command("build", "--raw", folder, "--map", tmp_path / "shop.yaml", "--out", out) == 2
    assert "give --tables in place of --raw" in capsys.readouterr().err
    assert run_command("build", "--tables", folder, "--map", tmp_path / "shop.yaml", "--out", out) == 2
    assert "There is no map" in capsys.readouterr().err
    assert not out.exists()


def test_tables_whose_rows_no_map_value_fits_are_explained_with_the_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "exports", j=csv_text("query,sku,grade", [f"kettle,p{n},{'AB'[n % 2]}" for n in range(9)]))
    write(folder, p="sku,name\np1,Kettle\n")
    (tmp_path / "shop.yaml").write_text(
        "tables:\n  products:\n    file: p.csv\n    columns: {product_id: sku, title: name}\n"
        "  judgments:\n    file: j.csv\n    columns:\n      query_id: query\n      query: query\n      product_id: sku\n"
        "      label: {column: grade, values: {C: exact}}\n"
    )
    words = (
        "--tables",
        folder,
        "--map",
        tmp_path / "shop.yaml",
        "--out",
        tmp_path / "out",
        "--tasks",
        "query_product_relation",
    )
    assert run_command("build", *words) == 2
    told = capsys.readouterr().err
    assert "judgments: 9 read, 0 usable: label has no value in the map" in told
    assert "values: 'A' (5), 'B' (4); name these values under `values:` in the map" in told
