"""Ten thousand spoilt records in every format: none stops the reading, and each is rejected at its own place."""

import csv
import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset_builders import record_counts, scales
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Rejected
from dataset_builders.staging import find_corpora, find_tables, stage
from dataset_builders.tables import MAX_CHARACTERS, TABLES, admitted
from tests import raw

GOOD_SHARE = 0.1
LONG = "x" * (MAX_CHARACTERS + 1)
MEGABYTE = "word " * 200_000
BYTE = "\udcff"
"""In JSON half a surrogate pair, in a text file a byte that is not UTF-8: all writers here encode with surrogateescape."""
NAN, INFINITY = float("nan"), float("inf")
DEEP = "[" * 1000 + "]" * 1000

# What a field that must be there cannot be, by the kind of the field. JSON says anything anywhere; CSV holds text alone, and a
# column of Parquet has one type, so that wrong types come a file at a time (below).
JSON_VALUES: dict[str, list[Any]] = {
    "text": [None, "", " \t", 7, -0.5, True, ["x"], [[]], {"a": {"b": [None]}}, BYTE, f"ok {BYTE} ok", LONG],
    "rating": [None, "", "five", 0, 6, -3, 2.5, NAN, INFINITY, -INFINITY, 10**30, -(10**30), True, [5], {}],
    "list": ["", "text", 5, {"a": "b"}, True],
    "texts": [None, "", "text", 5, {"a": "b"}, [1], [["x"]], [BYTE]],
    "flag": [None, "", 2, -1, 0.5, "maybe", NAN, [], [1]],
    "gain": [None, "", "5", "nan", "-100", -1, [], {}, "1e400", 10**30, "E"],
}
TEXT_VALUES: dict[str, list[Any]] = {
    "text": ["", "  ", BYTE, f"ok {BYTE} ok", LONG],
    "key": ["", "  ", BYTE],
    "title": ["", "  ", BYTE, LONG, "<span class='a'>Mug</span>", "Mug<!-- x", "<BR/>"],
    "int": ["", "0.5", "nan", "inf", "1e400", "five", str(10**30), str(-(10**30)), "9" * 5000, "0x5"],
    "rating": ["", "0", "6", "-3", "2.5", "NaN", "-inf", "1e400", "five", str(10**30), "5 stars"],
    "label": ["", "X", "exact!", "EE", "0", BYTE],
    "texts": ["", "text", "5", "{a", "[1]", '["a"', "[" * 3000, '["\\ud83d"]', BYTE],
    "flag": ["", "2", "-1", "maybe", "nan", BYTE],
    "time": ["", "yesterday", "2023-13-45 10:00:00", "99999-01-01 00:00:00", "0000-00-00", "-1", BYTE],
}
PARQUET_VALUES: dict[str, list[Any]] = TEXT_VALUES | {
    "int": [None],
    "rating": [None, 0, 6, -3, 2**62, -(2**63)],
    "texts": [None],
    "flag": [None],
}

Records = list[dict[str, Any]]
Spoilt = tuple[set[int], set[int]]
"""Numbers from 1 of the records that must be rejected, and of those that may be."""


class Spoiler:
    """Spoils values of records: nine in ten records, most of them so that they must be rejected."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.must: dict[str, set[int]] = {}
        self.may: dict[str, set[int]] = {}

    def choose(self, name: str, number: int) -> str:
        kind = self.draw.choices(("good", "must", "may"), (GOOD_SHARE, 0.75, 0.15))[0]
        if kind != "good":
            {"must": self.must, "may": self.may}[kind].setdefault(name, set()).add(number)
        return kind

    def value(self, values: list[Any]) -> Any:
        value = self.draw.choice(values)
        return MEGABYTE if value is LONG and self.draw.random() < 0.1 else value

    def field(self, row: dict[str, Any], fields: dict[str, str], values: dict[str, list[Any]]) -> dict[str, Any]:
        field = self.draw.choice(list(fields))
        return row | {field: self.value(values[fields[field]])}

    def optional(self, row: dict[str, Any], fields: dict[str, str], values: list[Any]) -> dict[str, Any]:
        others = [name for name in row if name not in fields and isinstance(row[name], str)] or list(row)
        return row | {self.draw.choice(others): self.value(values)}

    def json_lines(self, path: Path, name: str, rows: Records, fields: dict[str, str]) -> None:
        lines = []
        for number, row in enumerate(rows, 1):
            kind = self.choose(name, number)
            changed = row
            if kind == "must":
                changed = self.field(row, fields, JSON_VALUES)
            elif kind == "may":
                changed = self.optional(row, fields, JSON_VALUES["text"])
            line = json.dumps(changed, ensure_ascii=self.draw.random() < 0.5).encode(errors="surrogateescape")
            if kind == "must" and self.draw.random() < 0.4:
                line = self.draw.choice(BAD_LINES)(json.dumps(row).encode(), self.draw)
            lines.append(line)
        content = b"\n".join(lines) + b"\n"
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)

    def csv(self, path: Path, name: str, rows: Records, fields: dict[str, str]) -> None:
        header = list(rows[0])
        text = "\ufeff" + ",".join(header) + "\n"  # UTF-8 by its mark, or a byte that is not would make it cp1252
        for number, row in enumerate(rows, 1):
            kind = self.choose(name, number)
            changed = {key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()}
            if kind == "must":
                changed = self.field(changed, fields, TEXT_VALUES)
            elif kind == "may":
                changed = self.optional(changed, fields, ["", "  ", "\0", "<b>", "x" * 1000, BYTE])
            values = list(changed.values())
            broken = self.draw.choice(("few", "many", "quote")) if kind == "must" and self.draw.random() < 0.3 else ""
            values = values[:-1] if broken == "few" else [*values, "x"] if broken == "many" else values
            written = io.StringIO()
            csv.writer(written, lineterminator="\n").writerow(values)
            text += ('"x"y' if broken == "quote" else "") + written.getvalue()
        path.write_bytes(text.encode(errors="surrogateescape"))

    def parquet(self, path: Path, name: str, rows: Records, fields: dict[str, str]) -> None:
        changed = []
        for number, row in enumerate(rows, 1):
            kind = self.choose(name, number)
            if kind == "must":
                changed.append(self.field(row, fields, PARQUET_VALUES))
            else:
                changed.append(row if kind == "good" else self.optional(row, fields, [None]))
        write_parquet(path, changed)

    def document(self, path: Path, name: str, rows: Records, fields: dict[str, str]) -> None:
        entries: list[Any] = []
        for number, row in enumerate(rows, 1):
            kind = self.choose(name, number)
            if kind == "must" and self.draw.random() < 0.3:
                entries.append(self.draw.choice([None, 7, "x", [], [row], {}]))
            elif kind == "must":
                entries.append(self.field(row, fields, JSON_VALUES))
            else:
                entries.append(row if kind == "good" else self.optional(row, fields, JSON_VALUES["text"]))
        path.write_bytes(json.dumps(entries, ensure_ascii=False).encode(errors="surrogateescape"))

    def judgment_list(self, path: Path, name: str, rows: Records, fields: dict[str, str]) -> None:
        entries: list[Any] = []
        for number, row in enumerate(rows, 1):
            kind = self.choose(name, number)
            rating = {key: row[key] for key in ("docId", "rating")}
            entry: Any = {"query": row["query"], "ratings": [rating]}
            if kind == "must":
                changed = self.field(row, fields, JSON_VALUES)
                shapes = [None, 7, [], {"query": "q"}, {"query": "q", "ratings": "x"}, {"query": "q", "ratings": [7]}]
                entry = {"query": changed["query"], "ratings": [{key: changed[key] for key in ("docId", "rating")}]}
                entry = self.draw.choice(shapes) if self.draw.random() < 0.3 else entry
            elif kind == "may":
                entry["ratings"][0]["note"] = self.value(JSON_VALUES["text"])
            entries.append(entry)
        path.write_bytes(json.dumps({"judgmentRatings": entries}, ensure_ascii=False).encode(errors="surrogateescape"))


BAD_LINES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda line, draw: line[: draw.randrange(1, len(line) - 1)],
    lambda line, draw: line.replace(b"a", b"\x00", 1),
    lambda line, draw: line.replace(b"a", b"\xff", 1),
    lambda line, draw: b"\xff\xfe" + line,
    lambda line, draw: b"[" + line + b"]",
    lambda line, draw: line + line,
    lambda line, draw: line[:-1] + b', "asin": ' + DEEP.encode() + b"}",
    lambda line, draw: b"[" * 100_000,
    lambda line, draw: b"null",
    lambda line, draw: draw.randbytes(40).replace(b"\n", b"") + b"\x00",
)


def write_parquet(path: Path, rows: Records) -> None:
    """Text goes in as bytes that Arrow is told to take for text, since it would not write what is not UTF-8."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(value, str) for value in values):
            encoded = [None if value is None else str(value).encode(errors="surrogateescape") for value in values]
            columns[name] = pa.array(encoded, pa.binary()).view(pa.string())
        else:
            columns[name] = pa.array(values)
    pq.write_table(pa.table(columns), path, row_group_size=500)


def repeated(rows: Records, count: int) -> Records:
    return [rows[number % len(rows)] for number in range(count)]


JUDGMENT = {"query": "text", "product_id": "text", "product_locale": "text", "esci_label": "label"}
PRODUCT = {"product_id": "text", "product_locale": "text", "product_title": "title"}
EVENT = {"session_id": "key", "stime": "time", "event_id": "label", "name": "key"}
OUTPUT = {"input": "text"}


def spoilt_corpora(folder: Path, count: int, spoiler: Spoiler) -> None:
    """All five formats in all kinds of files, `count` records a file."""
    amazon = raw.amazon_reviews("Kitchen_Gadgets", count)
    reviews, products = (
        amazon[f"amazon/{name}_Gadgets{rest}"] for name, rest in (("Kitchen", "_5.json.gz"), ("meta_Kitchen", ".json.gz"))
    )
    examples = raw.esci_judgments(count // 6 + 1)[:count]
    titled = [
        raw.esci_product(row["product_id"], number) | {"product_bullet_point": "one"} for number, row in enumerate(examples)
    ]
    listed = [{"query": row["query"], "docId": row["product_id"], "rating": "10.0"} for row in examples]
    events = [raw.merrec_event(number // 6, number % 6) for number in range(count)]
    instructions = raw.ecinstruct()
    hub = [row for row in instructions["ecinstruct/ECInstruct.json"] if "Substitute" not in row["task"]]
    relations = instructions["ecinstruct/Product_Relation_Prediction.json"]
    review = {"asin": "text", "overall": "rating", "reviewText": "text"}
    question = {"asin": "text", "questionText": "text", "review_snippets": "texts", "answers": "list", "is_answerable": "flag"}
    for name, write, rows, fields in (
        ("Kitchen_Gadgets_5.json.gz", spoiler.json_lines, reviews, review),
        ("Garden_5.json", spoiler.json_lines, reviews, review),
        ("meta_Kitchen_Gadgets.json.gz", spoiler.json_lines, products, {"asin": "text"}),
        ("train-qar.jsonl", spoiler.json_lines, raw.amazonqa(count)["amazonqa/train-qar.jsonl"], question),
        ("val-qar.jsonl.gz", spoiler.json_lines, raw.amazonqa(count)["amazonqa/train-qar.jsonl"], question),
        ("shopping_queries_dataset_examples.parquet", spoiler.parquet, examples, JUDGMENT | {"query_id": "int"}),
        ("shopping_queries_dataset_products.parquet", spoiler.parquet, titled, PRODUCT),
        ("examples.csv", spoiler.csv, examples, JUDGMENT),
        ("products.csv", spoiler.csv, titled, PRODUCT),
        ("judgments.json", spoiler.judgment_list, listed, {"query": "text", "docId": "text", "rating": "gain"}),
        ("part-0.parquet", spoiler.parquet, events, EVENT | {"item_id": "int"}),
        ("part-1.csv", spoiler.csv, events, EVENT),
        ("ECInstruct.json", spoiler.document, repeated(hub, count), OUTPUT),
        ("Product_Relation_Prediction.json", spoiler.document, repeated(relations, count), OUTPUT | {"output": "text"}),
    ):
        write(folder / name, name, rows, fields)


def spoilt_shop(folder: Path, count: int, spoiler: Spoiler, ending: str) -> None:
    events = [
        {"session_id": f"s{n // 5}", "position": n, "action": "view", "product_id": f"sku-{n}", "title": raw.title(n)}
        for n in range(40)
    ]
    for table, rows in {**raw.own_shop(), "events": events}.items():
        kinds = {"strings": "texts", "bool": "flag", "int": "int", "string": "text"}
        fields = {
            column.name: "label" if column.allowed else kinds[column.kind]
            for column in TABLES[table].columns
            if column.required and column.default is None and column.name != "locale"
        }
        fields |= {"rating": "rating"} if table == "reviews" else {"title": "title"} if table == "products" else {}
        name = f"{table}.{ending}"
        (spoiler.csv if ending == "csv" else spoiler.parquet)(folder / name, name, repeated(rows, count), fields)


def staged(folder: Path, out: Path, tables: bool = False) -> tuple[RecordCounts, dict[str, Records]]:
    import pyarrow.parquet as pq

    out.mkdir()
    files, unclaimed = find_tables(folder) if tables else find_corpora(folder, commercial_only=False)
    assert not unclaimed
    counts = RecordCounts()
    stage(files, folder, out, frozenset({"us"}), counts)
    return counts, {name: pq.read_table(path).to_pylist() for name in TABLES if (path := out / f"{name}.parquet").exists()}


def places_of(records: dict[str, Any]) -> set[str]:
    """File and line of the records; a CSV file's first line is its header."""
    return {f"{name}:{number + name.endswith('.csv')}" for name, numbers in records.items() for number in numbers}


def check(counts: RecordCounts, tables: dict[str, Records], spoiler: Spoiler) -> int:
    """The account balances, what was staged is sound, and what was rejected is what was spoilt; the number of the latter."""
    used = Counter(source for source, _ in {(row["source"], row["record"]) for rows in tables.values() for row in rows})
    for source, read in counts.read.items():
        assert read == used[source] + counts.rejects[source].total(), source
    assert not [row for name, rows in tables.items() for row in rows if isinstance(admitted(TABLES[name], row), Rejected)]
    assert all(reason.isprintable() for reasons in counts.rejects.values() for reason in reasons)
    rejected = {place.partition(": ")[0] for places in counts.places.values() for place in places}
    assert len(rejected) == sum(reasons.total() for reasons in counts.rejects.values())
    must, may = places_of(spoiler.must), places_of(spoiler.may)
    assert sorted(must - rejected) == []
    assert sorted(rejected - must - may) == []
    return len(must) + len(may)


@pytest.fixture(autouse=True)
def every_place_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_counts, "SAMPLES", 10**9)


@pytest.fixture(autouse=True)
def a_column_of_another_scale_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scales, "MOST_OFF_SCALE", 1.0)


def test_ten_thousand_spoilt_records_are_rejected_each_at_its_place(tmp_path: Path) -> None:
    total = 0
    for name, spoil, tables in (
        ("corpora", spoilt_corpora, False),
        ("csv", lambda *each: spoilt_shop(*each, "csv"), True),
        ("parquet", lambda *each: spoilt_shop(*each, "parquet"), True),
    ):
        spoiler = Spoiler(seed=0)
        (tmp_path / name).mkdir()
        spoil(tmp_path / name, 480, spoiler)
        counts, found = staged(tmp_path / name, tmp_path / f"{name}.staged", tables)
        total += check(counts, found, spoiler)
    assert total >= 10_000


def wrong_types() -> dict[str, tuple[str, Any]]:
    """Name of a table or a file -> three rows of it as Arrow data, of which none can be used."""
    import pyarrow as pa

    def changed(rows: Records, **columns: Any) -> Any:
        return pa.table(pa.Table.from_pylist(rows[:3]).to_pydict() | columns)

    shop = raw.own_shop()
    events = [raw.merrec_event(0, step) for step in range(3)]
    examples = raw.esci_judgments(1)
    products = [raw.esci_product(raw.asin(number), number) for number in range(3)]
    beyond = 2**62
    return {
        "struct for a text": ("products", changed(shop["products"], title=[{"a": 1}] * 3)),
        "list for a text": ("products", changed(shop["products"], title=[["a"], [], ["b"]])),
        "bytes for a text": ("products", changed(shop["products"], title=[b"\xff\xfe", b"\x80", b"a\xff"])),
        "holes of pandas for an id": ("products", changed(shop["products"], product_id=[NAN] * 3)),
        "fractions for a rating": ("reviews", changed(shop["reviews"], rating=[2.5, NAN, INFINITY])),
        "times for a rating": ("reviews", changed(shop["reviews"], rating=pa.array([1, 2, 3], pa.timestamp("us")))),
        "lists for a rating": ("reviews", changed(shop["reviews"], rating=[[5], [4], []])),
        "numbers for snippets": ("questions", changed(shop["questions"], snippets=[[1], [2], [3]])),
        "a text for snippets": ("questions", changed(shop["questions"], snippets=["a", "[1]", "{a"])),
        "a struct for a flag": ("questions", changed(shop["questions"], answerable=[{"a": True}] * 3)),
        "times that are none": ("part-0", changed(events, stime=pa.array([beyond, -beyond, None], pa.timestamp("us")))),
        "a time zone that is none": ("part-0", changed(events, stime=pa.array([1, 2, 3], pa.timestamp("us", tz="No/Where")))),
        "days beyond years": ("part-0", changed(events, stime=pa.array([2**31 - 1, -(2**31), None], pa.date32()))),
        "numbers for times": ("part-0", changed(events, stime=[NAN, -1.0, 1e300])),
        "a struct for a query": ("shopping_queries_dataset_examples", changed(examples, query=[{"a": 1}] * 3)),
        "numbers for titles": ("shopping_queries_dataset_products", changed(products, product_title=[1, 2, None])),
        "no column that is known": ("shopping_queries_dataset_products", pa.table({"x": [1, 2, 3]})),
    }


@pytest.mark.parametrize("name", wrong_types())
def test_a_column_of_a_wrong_type_rejects_its_rows_and_no_more(tmp_path: Path, name: str) -> None:
    import pyarrow.parquet as pq

    stem, table = wrong_types()[name]
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / f"{stem}.parquet")
    counts, found = staged(tmp_path / "in", tmp_path / "staged", tables=stem in TABLES)
    assert (counts.read.total(), sum(map(Counter.total, counts.rejects.values())), found) == (3, 3, {})


def test_no_damage_to_the_bytes_of_a_file_stops_the_reading(tmp_path: Path) -> None:
    draw = random.Random(0)
    whole = raw.write(tmp_path / "whole", raw.corpora())
    contents = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    for turn in range(25):
        for name, content in contents.items():
            damaged = bytearray(content)
            for _ in range(draw.choice((1, 3, 30))):
                # Half of it near the end, where Parquet keeps what it says about all the rest.
                place = draw.randrange(len(damaged)) if draw.random() < 0.5 else -draw.randrange(1, min(3000, len(damaged)))
                damaged[place] = draw.randrange(256)
            (whole / name).write_bytes(damaged[: draw.randrange(len(damaged))] if draw.random() < 0.2 else damaged)
        files, _ = find_corpora(whole, commercial_only=False)
        counts, out = RecordCounts(), tmp_path / f"staged{turn}"
        out.mkdir()
        stage(files, whole, out, frozenset({"us"}), counts)
        balanced(counts, out)


def balanced(counts: RecordCounts, out: Path) -> None:
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=["source", "record"]).to_pylist() for path in out.glob("*.parquet")]
    used = Counter(source for source, _ in {(row["source"], row["record"]) for rows in tables for row in rows})
    for source, read in counts.read.items():
        assert read == used[source] + counts.rejects[source].total(), source


def test_a_build_of_good_and_spoilt_files_accounts_for_every_record(tmp_path: Path, run_build: Callable[..., int]) -> None:
    spoiler = Spoiler(seed=1)
    raw.write(tmp_path / "raw" / "good", raw.corpora())
    (tmp_path / "raw" / "spoilt").mkdir()
    spoilt_corpora(tmp_path / "raw" / "spoilt", 60, spoiler)
    assert run_build("--raw", tmp_path / "raw", "--out", tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for source, counts in manifest["sources"].items():
        assert counts["read"] == counts["used"] + sum(manifest["rejects"].get(source, {}).values()), source
    places = json.loads((tmp_path / "out" / "rejects" / "places.json").read_text())
    told = {place.partition(": ")[0] for entry in places for place in entry["places"]}
    assert told >= {f"spoilt/{place}" for place in places_of(spoiler.must)}
    assert not [place for place in told if place.startswith("good/")]
    assert manifest["not_built"] == {}
