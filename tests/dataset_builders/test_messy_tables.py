"""A shop's own tables as exports are: what is read, what is refused with what to do, what is counted with its reason."""

import bz2
import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from dataset_builders.build import main
from dataset_builders.recipes.multiple_choice import RELEVANCE
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import json_records
from dataset_builders.staging import find_tables, stage

Rows = list[dict[str, Any]]

THINGS = ("kettle", "hose", "blanket", "lamp", "knife", "mat", "drill", "mug", "rug", "tent", "saw", "pan")
COLOURS = ("red", "blue", "green", "black")


def title(number: int) -> str:
    return (
        f"{COLOURS[number % 4].title()} {THINGS[number % 12]} number {number} of {THINGS[number * 7 % 12]} steel{number * 13}"
    )


def reviews(count: int = 30) -> Rows:
    return [
        {
            "review_id": f"r{n}",
            "product_id": f"p{n}",
            "category": "Home",
            "rating": n % 5 + 1,
            "text": f"My {title(n)} did well",
        }
        for n in range(count)
    ]


def products(count: int = 40) -> Rows:
    return [{"product_id": f"p{n}", "locale": "us", "title": title(n), "brand": "Acme"} for n in range(count)]


def links(count: int = 40) -> Rows:
    kinds = ("also_buy", "also_view", "similar")
    return [
        {"product_id": f"p{n}", "other_product_id": f"p{(n + 1 + n % 3) % count}", "relation": kinds[n % 3]}
        for n in range(count)
    ]


def judgments() -> Rows:
    labels = ("exact", "substitute", "complement", "irrelevant")
    return [
        {
            "query_id": f"q{n // 4}",
            "query": f"{THINGS[n // 4]} for home",
            "product_id": f"p{n % 40}",
            "locale": "us",
            "label": labels[n % 4],
        }
        for n in range(40)
    ]


def questions(count: int = 20) -> Rows:
    return [
        {
            "question_id": f"u{n}",
            "product_id": f"p{n}",
            "question": f"Is the {title(n)} any good?",
            "snippets": json.dumps([f"The {title(n)} is fine", "I like it"]),
            "answers": json.dumps([f"Yes, the {title(n)} is"] if n % 2 else []),
            "answerable": "true" if n % 2 else "false",
        }
        for n in range(count)
    ]


def events(sessions: int = 8, steps: int = 6) -> Rows:
    return [
        {
            "session_id": f"s{s}",
            "position": n,
            "action": "view",
            "product_id": f"p{(s * 5 + n) % 40}",
            "title": title((s * 5 + n) % 40),
        }
        for s in range(sessions)
        for n in range(steps)
    ]


def text_of(rows: Rows, delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def with_column(rows: Rows, **columns: Callable[[dict[str, Any]], Any]) -> Rows:
    return [{**row, **{name: make(row) for name, make in columns.items()}} for row in rows]


def write(folder: Path, **tables: Rows) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text(text_of(rows), encoding="utf-8")
    return folder


def staged(
    folder: Path, tmp_path: Path, locales: frozenset[str] = frozenset({"us"}), **options: Any
) -> tuple[RecordCounts, dict[str, Rows]]:
    out = tmp_path / "staged"
    out.mkdir()
    counts = RecordCounts()
    files, _ = find_tables(folder, **options)
    stage(files, folder, out, locales, counts)
    return counts, {path.stem: pq.read_table(path).to_pylist() for path in out.glob("*.parquet")}


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Builds a folder of tables and returns the manifest; `rows` are read from the dataset's folder, which is
    `tmp_path/out`."""

    def built(folder: Path, *options: str) -> dict[str, Any]:
        words = [
            "build",
            "--tables",
            str(folder),
            "--out",
            str(tmp_path / "out"),
            "--size",
            "unlimited",
            "--threads",
            "1",
            *options,
        ]
        monkeypatch.setattr(sys, "argv", words)
        main()
        found: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
        return found

    return built


def rows_of(folder: Path, task: str) -> Rows:
    return [row for path in sorted((folder / "data" / task).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def balanced(counts: RecordCounts, records: int) -> bool:
    """Whether as many records were read as the file holds."""
    return sum(counts.read.values()) == records


# Files


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_delimiter_and_encoding_are_found_by_content(tmp_path: Path, delimiter: str, encoding: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "reviews.csv").write_bytes(text_of(reviews(), delimiter).encode(encoding))
    counts, tables = staged(folder, tmp_path)
    assert len(tables["reviews"]) == 30
    assert balanced(counts, 30)


@pytest.mark.parametrize(
    "name", ["reviews.csv", "reviews.csv.gz", "reviews.tsv", "reviews/part-0.csv", "reviews.csv/part-0.csv"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_compression_is_found_by_content_and_not_by_name(tmp_path: Path, name: str, compressed: bool) -> None:
    path = tmp_path / "shop" / name
    path.parent.mkdir(parents=True)
    content = text_of(reviews()).encode()
    path.write_bytes(gzip.compress(content) if compressed else content)
    _, tables = staged(tmp_path / "shop", tmp_path)
    assert len(tables["reviews"]) == 30


@pytest.mark.parametrize("name", ["reviews.json", "reviews.jsonl", "reviews.ndjson"])
def test_json_lists_and_json_lines_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in reviews())
    (folder / name).write_text(json.dumps(reviews()) if name.endswith(".json") else lines)
    _, tables = staged(folder, tmp_path)
    assert len(tables["reviews"]) == 30


def test_a_file_in_cp1252_is_read_and_announced(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = with_column(reviews(), text=lambda row: f"{row['text']} für zwölf Gäste" if row["rating"] > 2 else row["text"])
    (folder / "reviews.csv").write_bytes(text_of(rows).encode("cp1252"))
    [file], _ = find_tables(folder)
    assert "read as cp1252" in file.note
    _, tables = staged(folder, tmp_path)
    assert sum("für zwölf Gäste" in row["text"] for row in tables["reviews"]) == 18


def test_of_a_file_in_two_encodings_the_rows_that_are_not_utf8_are_rejected_one_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = text_of(with_column(reviews(), text=lambda row: f"{row['text']} für Gäste")).splitlines(keepends=True)
    (folder / "reviews.csv").write_bytes(
        b"".join(line.encode("cp1252" if n % 3 == 1 else "utf-8") for n, line in enumerate(lines))
    )
    counts, tables = staged(folder, tmp_path)
    assert counts.rejects["own"]["row is not UTF-8"] == 10
    assert len(tables["reviews"]) == 20


@pytest.mark.parametrize("encoding", ["cp9999", "rot13", "hex", "undefined", "idna"])
def test_an_unknown_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(UserError, match=f"Unknown --encoding {encoding}; give one such as"):
        find_tables(write(tmp_path / "shop", reviews=reviews()), encoding)


def test_zstandard_that_begins_with_a_frame_to_skip_is_read(tmp_path: Path) -> None:
    content = b"\x50\x2a\x4d\x18\x04\0\0\0size" + pa.compress(text_of(reviews()).encode(), "zstd", asbytes=True)
    _, tables = staged(shop_with(tmp_path, "reviews.csv.zst", content), tmp_path)
    assert len(tables["reviews"]) == 30


@pytest.mark.parametrize("line", [1, 7, 29])
@pytest.mark.parametrize("closed_after", [None, 2, 9])
def test_a_stray_quote_costs_its_row_and_no_other(tmp_path: Path, line: int, closed_after: int | None) -> None:
    lines = text_of(reviews()).splitlines(keepends=True)
    lines[line] = lines[line].replace("My ", '"My ')
    if closed_after and line + closed_after < len(lines):
        lines[line + closed_after] = lines[line + closed_after].replace(",My", ',"My')
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "reviews.csv").write_text("".join(lines))
    counts, tables = staged(folder, tmp_path)
    spoilt = sum('"My' in text for text in lines)
    assert balanced(counts, 30)
    assert len(tables["reviews"]) == 30 - spoilt
    assert counts.rejects["own"]["row has a quote that is not closed"] == spoilt
    assert counts.places["own", "row has a quote that is not closed"][0] == f"reviews.csv:{line + 1}"


def test_line_breaks_in_quotes_are_no_stray_quotes(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop", reviews=with_column(reviews(), text=lambda row: f"{row['text']}\n\nIt has\n- legs, two\n- arms")
    )
    counts, tables = staged(folder, tmp_path)
    assert len(tables["reviews"]) == 30
    assert balanced(counts, 30)


def test_rows_of_a_damaged_parquet_file_are_all_counted(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    pq.write_table(
        pa.Table.from_pylist(reviews(5000)), folder / "reviews.parquet", row_group_size=500, write_page_checksum=True
    )
    content = bytearray((folder / "reviews.parquet").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    (folder / "reviews.parquet").write_bytes(bytes(content))
    counts, tables = staged(folder, tmp_path)
    assert balanced(counts, 5000)
    assert len(tables["reviews"]) + sum(counts.rejects["own"].values()) == 5000


def test_partition_folders_are_columns(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "locale"} for row in products()]
    for locale in ("us", "de"):
        folder = tmp_path / "shop" / "products" / f"locale={locale}"
        folder.mkdir(parents=True)
        write(folder, part=rows)
    _, tables = staged(tmp_path / "shop", tmp_path, frozenset({"us", "de"}))
    assert {row["locale"] for row in tables["products"]} == {"us", "de"}
    assert len(tables["products"]) == 80


def test_backups_are_not_read_and_named(tmp_path: Path) -> None:
    write(tmp_path / "shop", reviews=reviews())
    write(tmp_path / "shop" / "reviews.bak", reviews_2019=reviews())
    files, unread = find_tables(tmp_path / "shop")
    assert [file.path.name for file in files] == ["reviews.csv"]
    assert [path.name for path in unread] == ["reviews_2019.csv"]


def delta(folder: Path) -> None:
    (folder / "reviews" / "_delta_log").mkdir(parents=True)
    write(folder / "reviews", part=reviews())


def iceberg(folder: Path) -> None:
    (folder / "reviews" / "metadata").mkdir(parents=True)
    (folder / "reviews" / "metadata" / "v1.metadata.json").write_text("{}")
    write(folder / "reviews", part=reviews())


def column_twice(folder: Path) -> None:
    (folder / "reviews.csv").write_text(text_of(reviews()).replace("category", "Text", 1))


def half_parquet(folder: Path) -> None:
    path = folder / "reviews.parquet"
    pq.write_table(pa.Table.from_pylist(reviews()), path)
    path.write_bytes(path.read_bytes()[:-100])


def excel(folder: Path) -> None:
    (folder / "reviews.csv").write_bytes(b"PK\x03\x04 and so on")


def columns_absent(folder: Path) -> None:
    write(folder, reviews=[{"review_id": "r", "stars": 5}])


def broken_header(folder: Path) -> None:
    (folder / "reviews.csv").write_text(text_of(reviews()).replace("category", '"category', 1))


def web_page(folder: Path) -> None:
    (folder / "reviews.csv").write_text("<!DOCTYPE html>\n<html><body>Please log in</body></html>")


def wide_json(folder: Path) -> None:
    (folder / "reviews.json").write_bytes(json.dumps(reviews()).encode("utf-16"))


def other_keys(folder: Path) -> None:
    (folder / "reviews.json").write_text(json.dumps([{"review_id": "r", "stars": 5}]))


def other_case(folder: Path) -> None:
    (folder / "products.csv").write_text(text_of(products()).replace("locale", "Locale", 1))


def verdicts(folder: Path) -> None:
    write(folder, judgments=with_column(judgments(), label=lambda row: row["label"] == "exact"))


def no_category(folder: Path) -> None:
    write(folder, reviews=[{key: value for key, value in row.items() if key != "category"} for row in reviews()])


def ten_points(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: row["rating"] * 2))


def half_stars(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: row["rating"] - 0.5))


def thumbs(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: row["rating"] > 3))


def grades(folder: Path) -> None:
    write(folder, judgments=with_column(judgments(), label=lambda row: len(row["label"]) % 4))


def narrow(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: row["rating"] % 3 + 1))


def relevant_or_not(folder: Path) -> None:
    write(folder, judgments=with_column(judgments(), label=lambda row: "irrelevant" if row["label"][0] in "ci" else "relevant"))


def yes_of_access(folder: Path) -> None:
    write(folder, questions=with_column(questions(), answerable=lambda row: "0" if row["answerable"] == "false" else "-1"))


def comma_stars(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: "4,5" if row["rating"] == 5 else f"{row['rating']},0"))


def ten_points_in_folders(folder: Path) -> None:
    bare = [{key: value for key, value in row.items() if key != "rating"} for row in reviews(6)]
    for points in range(1, 11):
        (folder / "reviews" / f"rating={points}").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(bare), folder / "reviews" / f"rating={points}" / "part.parquet")


def column_renamed(folder: Path) -> None:
    write(folder, products=with_column(products(), **{"title.1": lambda row: "other"}))


def title_above(folder: Path) -> None:
    (folder / "reviews.csv").write_text("Reviews as of today\n\n" + text_of(reviews()))


def comments_above(folder: Path) -> None:
    (folder / "reviews.csv").write_text("# made by us; today\n# again\n" + text_of(reviews(), ";"))


def upper_case(folder: Path) -> None:
    (folder / "products.csv").write_text(text_of(products()).replace("product_id,locale", "PRODUCT_ID,LOCALE", 1))


def other_delimiter(folder: Path) -> None:
    (folder / "products.csv").write_text(text_of(products(), "~"))


def csv_named_json(folder: Path) -> None:
    (folder / "products.json").write_text(text_of(products()))


def lost_link(folder: Path) -> None:
    (folder / "products.csv").symlink_to(folder / "gone.csv")


def archive_beside(folder: Path) -> None:
    (folder / "products.zip").write_bytes(b"PK\x03\x04")


def many_columns(folder: Path) -> None:
    (folder / "products.json").write_text(json.dumps([{f"c{n}": n for n in range(1000)}]))


def rounded_ids(folder: Path) -> None:
    table = pa.Table.from_pylist(products())
    ids = pa.array([16_777_217.0 + n for n in range(40)], pa.float32())
    pq.write_table(table.set_column(0, "product_id", ids), folder / "products.parquet")


def no_rating(folder: Path) -> None:
    write(folder, reviews=with_column(reviews(), rating=lambda row: -1 if row["rating"] == 2 else row["rating"]))


def other_names(folder: Path) -> None:
    write(folder, catalog=products(), review=reviews())


REFUSED = {
    delta: "reviews is a table of Delta Lake: .* Export the table as Parquet",
    iceberg: "Apache Iceberg",
    column_twice: "reviews.csv has the column text twice",
    half_parquet: "reviews.parquet cannot be read as Parquet; it may be cut short",
    excel: "Excel workbook; unpack it, or save the sheet as CSV",
    columns_absent: "lacks the columns product_id, rating, text of table reviews; it has review_id, stars.*in a map",
    broken_header: "reviews.csv: the first line, which names the columns, cannot be read: row has a quote that is not closed",
    web_page: "reviews.csv is a web page, as a download that failed leaves it; download the table again",
    wide_json: "reviews.json is JSON in UTF-16; save it in UTF-8",
    other_keys: "reviews.json lacks the columns product_id, rating, text of table reviews; it has review_id, stars.*in a map",
    other_case: "products.csv has the column Locale. Name it locale",
    verdicts: r"label holds true or false instead of exact.*: \{column: label, values: \{true: exact, false: irrelevant\}\}",
    no_category: "lacks the column category .* there is no products table to take it from.*constant",
    ten_points: r"rating holds numbers beyond 1 to 5, such as .* Convert.*rating: \{column: rating, scale: \[1, 10\]\}",
    half_stars: r"rating holds fractions instead of whole numbers.*scale: \[1, 5\]",
    thumbs: r"rating holds true or false instead of 1 to 5.*values: \{true: 5, false: 1\}",
    relevant_or_not: r"label says irrelevant in all rows but 20 of 40, which say 'relevant'.*relevant: …, irrelevant: ",
    yes_of_access: r"answerable says false in all rows but 10 of 20, which say '-1'.*values: \{-1: …",
    comma_stars: r"rating holds fractions instead of whole numbers.* such as 4,5",
    ten_points_in_folders: r"rating holds numbers beyond 1 to 5.*scale: \[1, 10\]",
    column_renamed: "products.csv has the column title twice",
    grades: r"label holds grades instead of exact, substitute.*label: \{column: label, values: \{3: exact",
    narrow: r"no rating of 30 is above 3.*scale: \[1, 3\]",
    title_above: r"reviews.csv seems to name its columns in line 3\. Take out the lines before it",
    comments_above: "reviews.csv seems to name its columns in line 3",
    upper_case: "products.csv has the columns PRODUCT_ID, LOCALE. Name them product_id, locale",
    other_delimiter: "products.csv separates its columns by none of comma, semicolon, tab and",
    csv_named_json: "products.json is not JSON: it begins with 'product_id,locale,title,brand'. .* name it .csv",
    lost_link: "products.csv is a link to a file that is not there",
    archive_beside: r"Not read: products.zip \(is it products\? no CSV, TSV, JSON or Parquet\)",
    many_columns: "it has c0, c1, .* and 970 more. Rename",
    rounded_ids: "products.parquet: product_id is of type float, which rounds ids; export ids as text",
    no_rating: r"numbers beyond 1 to 5, such as -1, .* scale: \[1, 5\]\}, which leaves -1 out\.",
    other_names: r"Not read: catalog.csv, review.csv \(is it reviews\?\).*python -m dataset_builders.map",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_would_be_silently_wrong_is_refused_with_what_to_do(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match=REFUSED[make]):
        find_tables(folder)


def shop_with(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / "shop" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return tmp_path / "shop"


def lines_of(rows: Rows) -> list[str]:
    return text_of(rows).splitlines(keepends=True)


def with_backslashes() -> str:
    """As Spark and MySQL write quotes within quotes."""
    header, *rows = lines_of(reviews())
    return header + "".join(row.replace("My ", '"My \\"big\\", ').rstrip() + '"\r\n' for row in rows)


def with_escaped_marks() -> str:
    """As MySQL writes tabs and line ends by default."""
    rows = [line.rstrip().split(",") for line in lines_of(reviews())]
    return "\n".join("\t".join(value.replace(" did ", " \\\t").replace("well", "\\\nwell") for value in row) for row in rows)


CSV_TEXTS = {
    "a line for Excel in quotes": '"sep=;"\r\n' + text_of(reviews(), ";"),
    "blanks before quotes": "".join(f'"{line.rstrip()}"\r\n'.replace(",", '", "') for line in lines_of(reviews())),
    "delimiters and line ends behind backslashes": with_escaped_marks(),
    "names with marks that cannot be seen": text_of(reviews()).replace("category", "\u200bcategory\u00a0", 1),
    "many semicolons in a text": text_of(with_column(reviews(), text=lambda row: f"{row['text']} &#39;x&#39; &amp; &nbsp; ok")),
    "a mark of UTF-8 although the encoding is given": "\ufeff" + text_of(reviews()),
    "blanks before quotes of a text alone": "".join(
        line if n == 0 else line.replace("My ", ' "My good, ').rstrip() + '"\r\n' for n, line in enumerate(lines_of(reviews()))
    ),
    "a line for Excel": "sep=;\r\n" + text_of(reviews(), ";"),
    "a delimiter behind the last field of rows": "".join(
        line if n == 0 else line.rstrip() + ",,\r\n" for n, line in enumerate(lines_of(reviews()))
    ),
    "quotes behind backslashes": with_backslashes(),
    "carriage returns alone": text_of(reviews()).replace("\r\n", "\r"),
    "tabs and quotes that are quotes": text_of(reviews(), "\t").replace("My ", '"My" '),
    "a delimiter behind the last name": text_of(reviews()).replace("text", "text,,", 1),
}


@pytest.mark.parametrize("text", CSV_TEXTS.values(), ids=CSV_TEXTS)
def test_csv_is_read_as_spreadsheets_and_engines_write_it(tmp_path: Path, text: str) -> None:
    counts, tables = staged(shop_with(tmp_path, "reviews.csv", text.encode()), tmp_path, encoding="utf-8")
    assert [row["review_id"] for row in tables["reviews"]] == [f"r{n}" for n in range(30)]
    assert balanced(counts, 30)


def test_files_that_were_joined_keep_their_ids_and_repeat_no_product(tmp_path: Path) -> None:
    bare = [{key: value for key, value in row.items() if key != "locale"} for row in products()]
    text = text_of(bare[:20]) + "\ufeff" + text_of(bare[20:])
    counts, tables = staged(shop_with(tmp_path, "products.csv", text.encode("utf-8-sig")), tmp_path)
    assert {row["product_id"] for row in tables["products"]} == {f"p{n}" for n in range(40)}
    assert counts.rejects["own"] == {"row repeats the header": 1}
    assert balanced(counts, 41)


def test_rows_of_files_that_were_joined_have_the_columns_of_their_own_header(tmp_path: Path) -> None:
    turned = [{"title": row["title"], "color": "Red", "PRODUCT_ID": f"x{row['product_id']}"} for row in products(20)]
    counts, tables = staged(shop_with(tmp_path, "products.csv", (text_of(products(20)) + text_of(turned)).encode()), tmp_path)
    found = {row["product_id"]: (row["title"], row["brand"], row["color"]) for row in tables["products"]}
    assert found["p3"] == (title(3), "Acme", None)
    assert found["xp3"] == (title(3), None, "Red")
    assert len(found) == 40
    assert counts.rejects["own"] == {"row repeats the header": 1}


def test_a_total_below_the_rows_is_no_product(tmp_path: Path) -> None:
    counts, tables = staged(shop_with(tmp_path, "products.csv", (text_of(products()) + "Total,,40,\r\n").encode()), tmp_path)
    assert len(tables["products"]) == 40
    assert counts.places["own", "row is a total"] == ["products.csv:42"]


def test_a_quote_that_the_next_row_closes_by_chance_hides_no_row(tmp_path: Path) -> None:
    text = text_of(reviews()).replace("My Blue", '"My Blue', 1).replace("blanket steel26 did well", 'a pan of 9"', 1)
    counts, tables = staged(shop_with(tmp_path, "reviews.csv", text.encode()), tmp_path)
    assert [row["review_id"] for row in tables["reviews"]] == [f"r{n}" for n in range(30) if n != 1]
    assert balanced(counts, 30)


def test_a_stray_quote_in_the_first_row_hides_no_delimiter(tmp_path: Path) -> None:
    text = text_of(reviews(), ";").replace("My ", '"My ', 1)
    counts, tables = staged(shop_with(tmp_path, "reviews.csv", text.encode()), tmp_path)
    assert len(tables["reviews"]) == 29
    assert balanced(counts, 30)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("shift_jis", "とても良いケトルです"), ("gb18030", "我很喜欢这个水壶"), ("cp1251", "Очень хороший чайник")],
)
def test_another_script_in_an_encoding_of_its_own_is_never_taken_for_cp1252(tmp_path: Path, encoding: str, words: str) -> None:
    rows = with_column(reviews(), text=lambda row: f"{words} {row['text']}")
    folder = shop_with(tmp_path, "reviews.csv", text_of(rows).encode(encoding))
    [file], _ = find_tables(folder)
    assert "give --encoding, such as shift_jis, gb18030 or cp1251" in file.note
    counts, tables = staged(folder, tmp_path)
    assert not tables
    assert counts.rejects["own"] == {"row is not UTF-8": 30}
    (tmp_path / "staged").rename(tmp_path / "guessed")
    _, tables = staged(folder, tmp_path, encoding=encoding)
    assert all(words in row["text"] for row in tables["reviews"])


def test_bytes_that_are_not_of_the_given_encoding_cost_their_row(tmp_path: Path) -> None:
    content = text_of(with_column(reviews(), text=lambda row: f"とても {row['text']}")).encode("shift_jis")
    folder = shop_with(tmp_path, "reviews.csv", content.replace(b"number 3 ", b"\xff\xfd 3 "))
    counts, tables = staged(folder, tmp_path, encoding="shift_jis")
    assert len(tables["reviews"]) == 29
    assert counts.rejects["own"] == {"row is not SHIFT_JIS": 1}


def test_utf16_without_a_mark_is_told_by_its_header_in_any_script(tmp_path: Path) -> None:
    rows = with_column(reviews(), text=lambda row: "とても良いケトルですからみんなにすすめたいです" * 4)
    _, tables = staged(shop_with(tmp_path, "reviews.csv", text_of(rows).encode("utf-16-le")), tmp_path)
    assert len(tables["reviews"]) == 30


@pytest.mark.parametrize("name", ["reviews.txt", "reviews.tab"])
def test_text_files_are_tables_too(tmp_path: Path, name: str) -> None:
    _, tables = staged(shop_with(tmp_path, name, text_of(reviews(), "\t").encode()), tmp_path)
    assert len(tables["reviews"]) == 30


@pytest.mark.parametrize(
    ("ending", "compress"), [("bz2", bz2.compress), ("zst", lambda text: pa.compress(text, "zstd", asbytes=True))]
)
@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl"])
def test_a_damaged_compressed_file_is_told_as_such(
    tmp_path: Path, name: str, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    rows = reviews()
    content = text_of(rows) if name.endswith("csv") else "\n".join(map(json.dumps, rows))
    folder = shop_with(tmp_path, f"{name}.{ending}", compress(content.encode())[:-40])
    try:
        counts, _ = staged(folder, tmp_path)
        told = str(dict(counts.rejects["own"]))
    except UserError as error:
        told = str(error)
    assert "compressed file is" in told


JSON_TEXTS = {
    "commas behind lines": ",\n".join(map(json.dumps, reviews())),
    "a comma behind the last item": json.dumps(reviews())[:-1] + ",]",
    "documents one behind the other": "".join(map(json.dumps, reviews())),
    "documents over several lines": "\n".join(json.dumps(row, indent=2) for row in reviews()),
    "lists one behind the other": json.dumps(reviews()[:10]) + "\n" + json.dumps(reviews()[10:]),
    "a list in an object": json.dumps({"page": 1, "reviews": reviews()}),
    "a list in an object over several lines": json.dumps({"reviews": reviews()}, indent=1),
    "pandas by column": json.dumps({name: {str(n): row[name] for n, row in enumerate(reviews())} for name in reviews()[0]}),
    "columns as lists": json.dumps({name: [row[name] for row in reviews()] for name in reviews()[0]}),
    "pandas split": json.dumps({"columns": list(reviews()[0]), "data": [list(row.values()) for row in reviews()]}),
    "a page of a service": json.dumps({"count": 30, "next": "https://shop/2", "previous": None, "results": reviews()}),
    "a list within an envelope": json.dumps({"data": {"total": 30, "items": reviews()}}),
    "a list of lists": json.dumps([reviews()[:10], reviews()[10:]]),
    "records by their ids": json.dumps({f"-N{n}": row for n, row in enumerate(reviews())}),
    "a mark of UTF-8 between lists": json.dumps(reviews()[:10]) + "\ufeff" + json.dumps(reviews()[10:]),
    "types of MongoDB": "\n".join(
        json.dumps({**row, "rating": {"$numberInt": str(row["rating"])}, "product_id": {"$oid": row["product_id"]}})
        for row in reviews()
    ),
    "NaN for what is missing": "\n".join(json.dumps({**row, "title": float("nan")}) for row in reviews()),
}


@pytest.mark.parametrize("text", JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_json_is_read_as_programs_write_it(tmp_path: Path, text: str) -> None:
    counts, tables = staged(shop_with(tmp_path, "reviews.json", text.encode()), tmp_path)
    assert [row["review_id"] for row in tables["reviews"]] == [f"r{n}" for n in range(30)]
    assert balanced(counts, 30)


@pytest.mark.parametrize("form", ["{}\n", "[{}]", " {} "])
def test_an_object_that_has_a_key_twice_with_other_values_is_rejected(tmp_path: Path, form: str) -> None:
    objects = [json.dumps(row) for row in products(9)]
    objects[3] = objects[3][:-1] + ', "title": "Other"}'
    objects[4] = objects[4][:-1] + ', "brand": "Acme"}'
    objects[5] = objects[5][:-1] + ', "more": {"title": 1}}'
    text = form.format(",".join(objects)) if form == "[{}]" else "".join(map(form.format, objects))
    counts, tables = staged(shop_with(tmp_path, "products.json", text.encode()), tmp_path)
    assert {row["product_id"] for row in tables["products"]} == {f"p{n}" for n in range(9) if n != 3}
    assert counts.rejects["own"] == {"key title stands twice in an object, with other values": 1}


@pytest.mark.parametrize("line", ["REVIEW_ID, Product_Id,category,rating,text", "---------,----------,--,------,----"])
def test_a_second_line_of_the_header_is_no_record_of_the_table(tmp_path: Path, line: str) -> None:
    text = text_of(reviews()).replace("\r\n", f"\r\n{line}\r\n", 1)
    counts, tables = staged(shop_with(tmp_path, "reviews.csv", text.encode()), tmp_path)
    assert len(tables["reviews"]) == 30
    assert balanced(counts, 31)
    assert [reason.partition(" ")[0] for reason in counts.rejects["own"]] == ["row"]


def test_what_spark_and_office_leave_beside_part_files_is_no_input(tmp_path: Path) -> None:
    folder = shop_with(tmp_path, "reviews.parquet/_SUCCESS", b"")
    for name in ("_committed_1", ".part-0.parquet.crc", "~$part.csv", ".~lock.part.csv#", "part-1.parquet"):
        shop_with(tmp_path, f"reviews.parquet/{name}", b"" if name == "part-1.parquet" else b"\x05Ann")
    pq.write_table(pa.Table.from_pylist(reviews()), folder / "reviews.parquet" / "part-0.parquet")
    counts, tables = staged(folder, tmp_path)
    assert len(tables["reviews"]) == 30
    assert balanced(counts, 30)
    assert find_tables(folder)[1] == []


def test_a_table_without_a_row_names_its_files(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    folder = shop_with(tmp_path, "reviews.parquet", b"")
    with pytest.raises(UserError, match=r"review_rating: reviews: 0 read: no row is in reviews\.parquet"):
        build(folder, "--tasks", "review_rating")


def test_part_files_may_lack_an_optional_column(tmp_path: Path) -> None:
    (tmp_path / "shop" / "reviews").mkdir(parents=True)
    bare = [{name: value for name, value in row.items() if name != "category"} for row in reviews()[20:]]
    for name, rows in (("a", reviews()[:20]), ("b", bare)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "shop" / "reviews" / f"{name}.parquet")
    _, tables = staged(tmp_path / "shop", tmp_path)
    assert sum(row["category"] is None for row in tables["reviews"]) == 10


def test_a_folder_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    folder = shop_with(tmp_path, "reviews/part.csv", text_of(reviews()).encode())
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("reviews"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="shop/reviews cannot be read: Permission denied"):
        find_tables(folder)


def test_a_single_record_with_a_list_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps({"order_id": 1, "total": 9, "items": [{"sku": "p1"}]}))
    assert [record["order_id"] for _, record in json_records(tmp_path / "order.json") if isinstance(record, dict)] == [1]


def test_a_json_list_that_is_cut_keeps_the_items_before(tmp_path: Path) -> None:
    counts, tables = staged(shop_with(tmp_path, "reviews.json", json.dumps(reviews())[:-20].encode()), tmp_path)
    assert len(tables["reviews"]) == 29
    assert counts.rejects["own"] == {"what follows is not JSON: it is lost": 1}


def test_copies_within_the_folder_of_a_table_are_not_read(tmp_path: Path) -> None:
    for name in ("part.csv", "old/part.csv", "part_backup.csv", "part (1).csv", "brand=Old/other (1).csv"):
        shop_with(tmp_path, f"reviews/{name}", text_of(reviews()).encode())
    files, unread = find_tables(tmp_path / "shop")
    assert sorted(file.path.name for file in files) == ["other (1).csv", "part.csv"]
    assert len(unread) == 3


# Values


@pytest.mark.parametrize("kind", ["decimals", "bytes", "dictionaries"])
def test_parquet_columns_are_read_as_databases_type_them(tmp_path: Path, kind: str) -> None:
    plain = [{**row, "product_id": str(n)} for n, row in enumerate(reviews())]
    if kind == "decimals":
        plain = [{**row, "rating": Decimal(row["rating"]), "product_id": Decimal(row["product_id"])} for row in plain]
    if kind == "bytes":
        plain = [{name: str(value).encode() for name, value in row.items()} for row in plain]
    table = pa.Table.from_pylist(plain)
    if kind == "dictionaries":
        table = pa.table({name: table[name].dictionary_encode() for name in table.column_names})
    (tmp_path / "shop").mkdir()
    pq.write_table(table, tmp_path / "shop" / "reviews.parquet")
    _, tables = staged(tmp_path / "shop", tmp_path)
    assert [(row["product_id"], row["rating"]) for row in tables["reviews"]] == [(str(n), n % 5 + 1) for n in range(30)]


def test_a_few_ratings_off_the_scale_in_a_small_part_file_cost_their_rows_alone(tmp_path: Path) -> None:
    for n in range(6):
        rows = with_column(reviews()[n * 5 : n * 5 + 5], rating=lambda row: 4.5 if row["review_id"] == "r3" else row["rating"])
        shop_with(tmp_path, f"reviews/part-{n}.csv", text_of(rows).encode())
    _, tables = staged(tmp_path / "shop", tmp_path)
    assert len(tables["reviews"]) == 29


@pytest.mark.parametrize("written", ["us", " US ", "Us", "en_US", "en-us", "English", "USA", "en"])
def test_locales_are_taken_in_any_case_and_spelling(tmp_path: Path, written: str) -> None:
    _, tables = staged(write(tmp_path / "shop", products=with_column(products(), locale=lambda row: written)), tmp_path)
    assert {row["locale"] for row in tables["products"]} == {"us"}


def test_labels_are_taken_in_any_case_as_letters_and_words(tmp_path: Path) -> None:
    spellings = {"exact": "E", "substitute": " Substitute ", "complement": "c", "irrelevant": "IRRELEVANT"}
    folder = write(tmp_path / "shop", judgments=with_column(judgments(), label=lambda row: spellings[row["label"]]))
    _, tables = staged(folder, tmp_path)
    assert [row["label"] for row in tables["judgments"]] == [row["label"] for row in judgments()]


@pytest.mark.parametrize(
    "word",
    [
        "nan",
        "None",
        "NULL",
        "N/A",
        r"\N",
        "",
        "NA",
        "(null)",
        "#NAME?",
        "#DIV/0!",
        "-",
        "(not set)",
        "nil",
        "#NV",
        "null\u200b",
    ],
)
def test_null_words_are_missing(tmp_path: Path, word: str) -> None:
    folder = write(tmp_path / "shop", products=with_column(products(), brand=lambda row: word))
    _, tables = staged(folder, tmp_path)
    assert {row["brand"] for row in tables["products"]} == {None}


@pytest.mark.parametrize(
    "spelling",
    [
        *(("t", "f"), ("Y", "N"), ("1.0", "0.0"), ("1,00", "0,00"), ("on", "off"), ("TRUE", "FALSE"), ("1", "0")),
        *(("WAHR", "FALSCH"), ("Ja", "Nein"), ("sí", "no")),
    ],
)
def test_booleans_are_taken_in_their_usual_spellings(tmp_path: Path, spelling: tuple[str, str]) -> None:
    folder = write(
        tmp_path / "shop", questions=with_column(questions(), answerable=lambda row: spelling[row["answerable"] == "false"])
    )
    _, tables = staged(folder, tmp_path)
    assert [row["answerable"] for row in tables["questions"]] == [n % 2 == 1 for n in range(20)]


@pytest.mark.parametrize(
    "spelling",
    [json.dumps, repr, lambda items: "{" + ",".join(f'"{item}"' for item in items) + "}"],
    ids=["JSON", "Python", "PostgreSQL"],
)
def test_lists_are_taken_as_json_python_and_postgresql_write_them(tmp_path: Path, spelling: Callable[[list[str]], str]) -> None:
    folder = write(
        tmp_path / "shop", questions=with_column(questions(), snippets=lambda row: spelling(json.loads(row["snippets"])))
    )
    _, tables = staged(folder, tmp_path)
    assert [row["snippets"] for row in tables["questions"]] == [json.loads(row["snippets"]) for row in questions()]


def test_unanswerable_questions_need_no_answers(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    empty = with_column(questions(40), answers=lambda row: "" if row["answerable"] == "false" else row["answers"])
    manifest = build(write(tmp_path / "shop", questions=empty), "--tasks", "answerability")
    assert manifest["tables"]["questions"]["usable"] == 40
    assert {row["answer"] for row in rows_of(tmp_path / "out", "answerability")} == {'"yes"', '"no"'}


def test_positions_of_19_digits_and_times_keep_their_order(tmp_path: Path) -> None:
    start = 1_714_550_405_253_137_000
    moment = datetime(2024, 5, 1, 10)
    folder = write(tmp_path / "shop", events=with_column(events(), position=lambda row: start + row["position"]))
    _, numbers = staged(folder, tmp_path)
    assert [row["position"] for row in numbers["events"]] == [start + n for _ in range(8) for n in range(6)]
    times = with_column(events(), position=lambda row: moment + timedelta(seconds=row["position"]))
    (tmp_path / "other").mkdir()
    pq.write_table(pa.Table.from_pylist(times), tmp_path / "other" / "events.parquet")
    counts = RecordCounts()
    (tmp_path / "other_staged").mkdir()
    stage(find_tables(tmp_path / "other")[0], tmp_path / "other", tmp_path / "other_staged", frozenset({"us"}), counts)
    found = pq.read_table(tmp_path / "other_staged" / "events.parquet")["position"].to_pylist()
    assert found[1] - found[0] == 1_000_000


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (lambda n: f"{n:04d}", lambda n: f"{n:04d}"),
        (lambda n: f"{n}.0", str),
        (lambda n: f'="{n:04d}"', lambda n: f"{n:04d}"),
        (lambda n: f"'{n:04d}", lambda n: f"{n:04d}"),
        (lambda n: f"\u200ep{n} \u00a0\0", lambda n: f"p{n}"),
        (lambda n: f"cafe\u0301-{n}", lambda n: f"caf\u00e9-{n}"),
        (lambda n: f"\U0001f468\u200d\U0001f467{n}", lambda n: f"\U0001f468\u200d\U0001f467{n}"),
        (lambda n: f"{n}.0" if n % 2 else f"v{n}.0", lambda n: f"{n}.0" if n % 2 else f"v{n}.0"),
    ],
    ids=["leading zeros", "a column of floats", "texts of Excel", "apostrophes", "unseen", "decomposed", "emoji", "versions"],
)
def test_ids_keep_their_text_and_only_a_whole_column_of_floats_is_trimmed(
    tmp_path: Path, ids: Callable[[int], str], expected: Callable[[int], str]
) -> None:
    rows = [{**row, "product_id": ids(n)} for n, row in enumerate(reviews())]
    _, tables = staged(write(tmp_path / "shop", reviews=rows), tmp_path)
    assert [row["product_id"] for row in tables["reviews"]] == [expected(n) for n in range(30)]


@pytest.mark.parametrize("written", ["5,0", "5,00", "5.0", "+5 "])
def test_whole_ratings_are_taken_with_a_decimal_comma_too(tmp_path: Path, written: str) -> None:
    _, tables = staged(write(tmp_path / "shop", reviews=with_column(reviews(), rating=lambda row: written)), tmp_path)
    assert {row["rating"] for row in tables["reviews"]} == {5}


def test_positions_that_were_rounded_are_rejected(tmp_path: Path) -> None:
    rows = [{**row, "position": 1.7145576001234568e18} for row in events(1)]
    counts, _ = staged(shop_with(tmp_path, "events.json", json.dumps(rows).encode()), tmp_path)
    assert counts.rejects["own"] == {"position is a rounded number; export whole numbers": 6}


def test_relations_are_taken_with_any_mark_between_their_words(tmp_path: Path) -> None:
    spelt = with_column(links(), relation=lambda row: row["relation"].replace("_", " -"[len(row["product_id"]) % 2]).title())
    _, tables = staged(write(tmp_path / "shop", co_purchases=spelt), tmp_path)
    assert [row["relation"] for row in tables["co_purchases"]] == [row["relation"] for row in links()]


@pytest.mark.parametrize("written", ["7.70E+12", "7,70E+12"])
def test_ids_in_scientific_notation_are_rejected_and_shown(tmp_path: Path, written: str) -> None:
    folder = write(tmp_path / "shop", reviews=with_column(reviews(), product_id=lambda row: written))
    counts, _ = staged(folder, tmp_path)
    reason = "product_id is in scientific notation, so its digits are lost; export ids as text"
    assert counts.rejects["own"] == {reason: 30}
    assert counts.tables["reviews"].examples[reason] == f"{written!r} (reviews.csv:2)"


@pytest.mark.parametrize("mark", ["\u200b", "\u200e", "\u00a0"])
def test_marks_that_cannot_be_seen_spoil_no_value(tmp_path: Path, mark: str) -> None:
    folder = write(
        tmp_path / "shop",
        reviews=with_column(reviews(), rating=lambda row: f"{row['rating']}{mark}"),
        questions=with_column(questions(), answerable=lambda row: f"{mark}{row['answerable']}"),
        events=with_column(events(), action=lambda row: f"View{mark}"),
        products=with_column(products(), locale=lambda row: f"{mark}US"),
    )
    _, tables = staged(folder, tmp_path)
    assert {name: len(rows) for name, rows in tables.items()} == {"reviews": 30, "questions": 20, "events": 48, "products": 40}


@pytest.mark.parametrize(
    "value", [False, "False", {"en": "Acme"}, '{"en": "Acme"}', '["Acme", "Bell"]', "=B2", "=VLOOKUP(A2;B:C;2)"]
)
def test_what_is_no_text_is_no_brand_and_no_title(tmp_path: Path, value: Any) -> None:
    content = json.dumps(with_column(products(), brand=lambda row: value))
    counts, tables = staged(shop_with(tmp_path, "products.json", content.encode()), tmp_path)
    assert {row["brand"] for row in tables["products"]} == {None}
    assert sum(counts.dropped.values()) == 40
    if value != "False":  # which may be a title
        (tmp_path / "staged").rename(tmp_path / "brands")
        content = json.dumps(with_column(products(), title=lambda row: value))
        counts, _ = staged(shop_with(tmp_path, "products.json", content.encode()), tmp_path)
        assert counts.tables["products"].usable == 0


@pytest.mark.parametrize("cell", ['="{}"', '=HYPERLINK("https://shop/a,b","{}")', '=hyperlink("https://shop";"{}")'])
def test_a_cell_with_a_formula_is_what_it_shows(tmp_path: Path, cell: str) -> None:
    rows = with_column(
        products(), title=lambda row: cell.format(row["title"]), product_id=lambda row: cell.format(row["product_id"])
    )
    _, tables = staged(write(tmp_path / "shop", products=rows), tmp_path)
    assert [(row["product_id"], row["title"]) for row in tables["products"]] == [(f"p{n}", title(n)) for n in range(40)]


TITLES = {
    "CafÃ© fÃ¼r zwÃ¶lf â€“ GrÃ¶ÃŸe 3": "Café für zwölf – Größe 3",
    "SÃO PAULO à la Ä–Ü": "SÃO PAULO à la Ä–Ü",
    "<b>Blue</b> kettle<br>of steel": "Blue kettle of steel",
    "Blue kettle <br /": "Blue kettle",
    'Blue kettle <font color="red': "Blue kettle",
    "Rain jacket size <M": "Rain jacket size <M",
    "Kettle <Demo>": "Kettle demo",
    "<title>Kettle</title>": "Kettle",
    "<CENTER>Kettle</CENTER> <Demo>": "Kettle demo",
    "Kettle 2 < 3 litre": "Kettle 2 < 3 litre",
    "Café &amp; Bar mug": "Café &amp; Bar mug",
}


@pytest.mark.parametrize("written", TITLES)
def test_titles_with_tags_are_cleaned(tmp_path: Path, written: str) -> None:
    _, tables = staged(write(tmp_path / "shop", products=with_column(products(1), title=lambda row: written)), tmp_path)
    assert [row["title"] for row in tables["products"]] == [TITLES[written]]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("var aPageStart = (new Date()).getTime();", "title is script text"),
        ("$(document).ready(x)", "title is script text"),
        ("<div class='a'><span>Kettle</span></div>", "title is markup"),
        ("<b></b>", "title is markup"),
    ],
)
def test_pages_and_scripts_are_no_titles(tmp_path: Path, written: str, reason: str) -> None:
    counts, _ = staged(write(tmp_path / "shop", products=with_column(products(1), title=lambda row: written)), tmp_path)
    assert counts.rejects["own"] == {reason: 1}


def test_an_optional_column_never_costs_the_record(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", products=with_column(products(), description=lambda row: "long " * 30_000))
    counts, tables = staged(folder, tmp_path)
    assert len(tables["products"]) == 40
    assert counts.dropped == {"products: description is longer than 100,000 characters": 40}


# What the dataset then holds


def test_of_several_judgments_of_a_pair_the_majority_counts_and_a_tie_is_dropped(
    tmp_path: Path, build: Callable[..., dict[str, Any]]
) -> None:
    votes = []
    for n, row in enumerate(judgments()):
        others = ("irrelevant", "irrelevant", "complement") if n % 2 else ("exact", "irrelevant")
        votes += [{**row, "label": label} for label in others]
    manifest = build(
        write(tmp_path / "shop", judgments=votes, products=products()), "--tasks", "query_product_relation", "--word-rows", "0"
    )
    rows = rows_of(tmp_path / "out", "query_product_relation")
    assert len(rows) == 20
    assert {option_of(row).partition(" ")[2] for row in rows} == {RELEVANCE["irrelevant"]}
    reasons = manifest["rejects"]["own"]
    assert reasons["query_product_relation: judgments of the query and product disagree, without a majority"] == 40
    assert reasons["query_product_relation: most judgments of the query and product say otherwise"] == 20


def option_of(row: dict[str, Any]) -> str:
    """The statement that is the right answer."""
    number = json.loads(row["answer"])
    return next(line for line in row["prompt"][0]["content"].split("\n") if line.startswith(f"{number}. "))


def test_queries_that_read_the_same_are_one_group(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    spoilt = []
    for n, row in enumerate(judgments()):
        query = row["query"].replace(" for ", (" for ", " f\u200bor ", " &#102;or ", " \uff46\uff4f\uff52 ")[n % 4])
        spoilt.append({**row, "query": query})
    build(write(tmp_path / "shop", judgments=spoilt, products=products()), "--tasks", "query_product_relation")
    groups: dict[str, set[str]] = {}
    for split in ("train", "test"):
        for path in (tmp_path / "out" / "data" / "query_product_relation").glob(f"{split}*"):
            for row in pq.read_table(path).to_pylist():
                groups.setdefault(row["group"], set()).add(split)
    assert len(groups) == 10
    assert all(len(splits) == 1 for splits in groups.values())


def test_titles_are_of_the_first_locale_that_was_asked_for(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    both = products() + with_column(products(), locale=lambda row: "de", title=lambda row: f"Deutscher {row['title']}")
    folder = write(tmp_path / "shop", products=both, co_purchases=links())
    for locales, german in (("us,de", False), ("de,us", True)):
        build(folder, "--tasks", "product_relation", "--locales", locales)
        prompts = [row["prompt"][0]["content"] for row in rows_of(tmp_path / "out", "product_relation")]
        assert prompts
        assert all(("Deutscher" in prompt) == german for prompt in prompts)


def test_the_newest_snapshot_counts(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    folder = write(tmp_path / "shop", co_purchases=links())
    (folder / "products").mkdir()
    for date, word in (("2024-01-01", "Old"), ("2024-06-01", "New"), ("2023-12-31", "Older")):
        rows = with_column(products(), title=lambda row, word=word: f"{word} {row['title']}")
        (folder / "products" / f"{date}.csv").write_text(text_of(rows))
    manifest = build(folder, "--tasks", "product_relation")
    assert all("Old" not in row["prompt"][0]["content"] for row in rows_of(tmp_path / "out", "product_relation"))
    assert manifest["rejects"]["own"]["products: a newer snapshot has the same product_id, locale"] == 80


def test_events_take_titles_from_products(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    bare = [{key: value for key, value in row.items() if key != "title"} for row in events(30)]
    manifest = build(write(tmp_path / "shop", events=bare, products=products()), "--tasks", "next_title_merrec")
    assert manifest["configs"]["next_title_merrec"]["train"] > 0


def test_a_session_whose_times_are_in_two_units_has_no_order(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    start = 1_714_557_600
    units = with_column(
        events(30),
        position=lambda row: (start + row["position"]) * (1000 if row["session_id"] < "s2" and row["position"] % 2 else 1),
    )
    manifest = build(write(tmp_path / "shop", events=units), "--tasks", "next_title_merrec")
    reason = "next_title_merrec: times of the session are in several units, such as seconds and milliseconds"
    assert manifest["rejects"]["own"][reason] == 12 * 6
    assert manifest["configs"]["next_title_merrec"]["train"] > 0


def test_a_session_whose_events_all_have_one_time_has_no_next_event(
    tmp_path: Path, build: Callable[..., dict[str, Any]]
) -> None:
    days = with_column(events(30), position=lambda row: "2024-05-01" if row["session_id"] < "s2" else row["position"])
    manifest = build(write(tmp_path / "shop", events=days), "--tasks", "next_title_merrec")
    reason = "next_title_merrec: all events of the session have one position, so none is the next"
    assert manifest["rejects"]["own"][reason] == 12 * 6
    with pytest.raises(UserError, match=r"all events of the session have one position, so none is the next \(180\)"):
        build(
            write(tmp_path / "days", events=with_column(events(30), position=lambda row: "2024-05-01")),
            "--tasks",
            "next_title_merrec",
        )


def test_reviews_take_a_category_from_products(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    bare = [{key: value for key, value in row.items() if key != "category"} for row in reviews()]
    filed = with_column(products(), category=lambda row: "Garden" if row["product_id"] != "p3" else "")
    manifest = build(write(tmp_path / "shop", products=filed, reviews=bare), "--tasks", "review_rating")
    assert {"Garden" in row["prompt"][0]["content"] for row in rows_of(tmp_path / "out", "review_rating")} == {True}
    assert manifest["rejects"]["own"]["reviews: category is missing, and the product has none"] == 1


def test_a_locale_without_a_clear_language_stops_the_build(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    folder = write(tmp_path / "shop", reviews=reviews())
    with pytest.raises(
        UserError, match=r"language of the locale 'ca' is not clear\. Write language and country, such as en-CA"
    ):
        build(folder, "--locales", "ca")
    assert "\n- en\n" in build_card(build, folder, tmp_path, "gb")


def build_card(build: Callable[..., dict[str, Any]], folder: Path, tmp_path: Path, locale: str) -> str:
    build(folder, "--locales", locale)
    return (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_a_missing_locale_column_is_the_first_locale(tmp_path: Path) -> None:
    bare = [{key: value for key, value in row.items() if key != "locale"} for row in products()]
    _, tables = staged(write(tmp_path / "shop", products=bare), tmp_path, frozenset({"de"}), locale="de")
    assert {row["locale"] for row in tables["products"]} == {"de"}


# Explanations


def test_a_table_whose_rows_were_all_rejected_is_never_called_absent(
    tmp_path: Path, build: Callable[..., dict[str, Any]]
) -> None:
    folder = write(tmp_path / "shop", reviews=with_column(reviews(), rating=lambda row: f"{row['rating']}/5"))
    told = r"reviews: 30 read, 0 usable: rating is not a whole number, e.g. '1/5' \(reviews.csv:2\)"
    with pytest.raises(UserError, match=told):
        build(folder, "--tasks", "review_rating")


def test_rows_of_a_locale_that_was_not_asked_for_say_where_to_ask(tmp_path: Path, build: Callable[..., dict[str, Any]]) -> None:
    folder = write(tmp_path / "shop", products=with_column(products(), locale=lambda row: "fr_FR"), co_purchases=links())
    told = (
        r"40 read, 0 usable: locale was not asked for, e.g. 'fr_fr' \(products.csv:2\); name the locales to take in --locales"
    )
    with pytest.raises(UserError, match=told):
        build(folder, "--tasks", "product_relation")


def test_values_that_a_map_could_convert_are_pointed_out(
    tmp_path: Path, build: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    named = with_column(events(), action=lambda row: "view" if row["position"] < 5 else "view_item")
    build(write(tmp_path / "shop", events=named), "--tasks", "next_title_merrec")
    assert "A map can say what values mean that no table takes: python -m dataset_builders.map" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["000{}", "P{}", "'{}'", '"{}"', "{}.0", "{{{}}}", "gid://shopify/Product/{}", "x{}"])
def test_a_join_that_matches_nothing_is_explained_with_both_keys(
    tmp_path: Path, build: Callable[..., dict[str, Any]], other: str
) -> None:
    padded = with_column(
        products(),
        product_id=lambda row: other.format(row["product_id"].removeprefix("p") if other == "P{}" else row["product_id"]),
    )
    alike = "" if other == "x{}" else "; 40 would be, but for case, leading zeros, braces, quotes, .0 or what is before a /"
    example = padded[0]["product_id"]
    told = re.escape(f"0 of 40 values of co_purchases.product_id are in products, e.g. 'p0' is not, {example!r} is{alike}")
    with pytest.raises(UserError, match=told):
        build(write(tmp_path / "shop", products=padded, co_purchases=links()), "--tasks", "product_relation")
