"""Raw files become canonical tables, and every record that yields no row is counted once, with its reason."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders import spans
from dataset_builders.record_counts import SAMPLES, RecordCounts
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.sources import own_tables
from dataset_builders.staging import find_corpora, find_tables, stage
from dataset_builders.tables import TABLES
from dataset_builders.workers import worker_pool
from tests import raw

US = frozenset({"us"})
JSON_LINES = (".jsonl", ".json.gz")


def staged(
    folder: Path, out: Path, tables: bool = False, locales: frozenset[str] = US
) -> tuple[RecordCounts, dict[str, list[dict]]]:
    """The counts and the rows of each table that was written."""
    out.mkdir()
    files, _ = find_tables(folder) if tables else find_corpora(folder, commercial_only=False)
    counts = RecordCounts()
    stage(files, folder, out, locales, counts)
    return counts, {path.stem: pq.read_table(path).to_pylist() for path in out.glob("*.parquet") if path.stem in TABLES}


def accounted(counts: RecordCounts, tables: dict[str, list[dict]]) -> None:
    """read = records that a row was made of + sum of rejects, for every source."""
    used = {(row["source"], row["record"]) for rows in tables.values() for row in rows}
    in_a_table = Counter(source for source, _ in used)
    for source, read in counts.read.items():
        assert read == in_a_table[source] + sum(counts.rejects[source].values()), source


def test_all_five_corpora_are_staged_and_each_record_is_accounted_for(tmp_path: Path) -> None:
    files = raw.corpora()
    counts, tables = staged(raw.write(tmp_path / "raw", files), tmp_path / "out")
    accounted(counts, tables)
    assert set(tables) == set(TABLES)
    assert set(counts.read) == {"amazon_reviews_2018", "esci", "merrec", "amazonqa", "ecinstruct"}
    ratings = sum(len(entry["ratings"]) - 1 for entry in files["esci/judgments.json"])
    assert counts.read.total() == sum(map(len, files.values())) + ratings
    assert {name: dict(reasons) for name, reasons in counts.rejects.items() if reasons} == {}
    assert len(tables["reviews"]) == 40 + 1
    assert {row["source"] for row in tables["questions"]} == {"amazonqa", "ecinstruct"}


def test_nobodys_name_or_id_is_staged(tmp_path: Path) -> None:
    _, tables = staged(raw.write(tmp_path / "raw", raw.corpora()), tmp_path / "out")
    told = repr(tables)
    assert not [secret for secret in (*raw.REVIEWER.values(), raw.USER) if secret in told]


BAD_LINES = (b"not json", b"[1]", b'{"asin": "\xff"}', b"\x00", b"{}", b'{"asin": ')
SPOIL: dict[str, Any] = {
    "none": None,
    "empty": "",
    "blank": "  ",
    "number": 7,
    "half": 0.5,
    "list": ["x"],
    "long": "x" * 100_001,
    "surrogate": "\ud83d",
    "markup": "<span>",
}
INPUT = raw.corpora()
PLACES = [(name, index) for name, rows in INPUT.items() for index in range(min(len(rows), 5))]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spoilt=st.lists(
        st.tuples(st.sampled_from(PLACES), st.integers(0, 30), st.sampled_from([*SPOIL, "gone"])), min_size=5, max_size=20
    ),
    lines=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(BAD_LINES)), max_size=6),
    cut=st.booleans(),
)
def test_every_record_is_accounted_for_whatever_is_wrong_with_it(
    tmp_path_factory: pytest.TempPathFactory, spoilt: list, lines: list, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("messy")
    files = {name: [dict(row) for row in rows[:5]] for name, rows in INPUT.items()}
    for (name, index), field, kind in spoilt:
        row = files[name][index]
        key = sorted(row)[field % len(row)] if row else None
        typed = name.endswith((".parquet", ".csv"))  # a column has one type there, and a row all columns
        if key and kind == "gone" and not typed:
            del row[key]
        elif key and kind != "gone" and not (typed and kind in ("number", "half", "list", "surrogate")):
            row[key] = SPOIL[kind] if kind == "none" or not name.endswith(".parquet") or isinstance(row[key], str) else None
    raw.write(folder / "raw", files)
    expected = 0
    for place, line in lines:
        path = folder / "raw" / ("amazonqa/train-qar.jsonl" if place % 2 else "amazon/Kitchen_Gadgets_5.json.gz")
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        parts = content.split(b"\n")
        parts.insert(min(place, len(parts)), line)
        path.write_bytes(gzip.compress(b"\n".join(parts)) if path.suffix == ".gz" else b"\n".join(parts))
        expected += 1
    if cut:
        for path in (folder / "raw").rglob("meta_*.gz"):
            path.write_bytes(path.read_bytes()[:-30])
    counts, tables = staged(folder / "raw", folder / "out")
    accounted(counts, tables)
    assert sum(map(Counter.total, counts.rejects.values())) >= expected
    assert all(reason and "\n" not in reason for reasons in counts.rejects.values() for reason in reasons)


def test_the_places_of_rejected_records_are_kept_but_only_some(tmp_path: Path) -> None:
    bad = "not json\n" * (SAMPLES + 5)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x-qar.jsonl").write_text(json.dumps(INPUT["amazonqa/train-qar.jsonl"][0]) + "\n" + bad)
    counts, _ = staged(tmp_path / "raw", tmp_path / "out")
    assert counts.rejects["amazonqa"]["line is not JSON"] == SAMPLES + 5
    places = counts.places["amazonqa", "line is not JSON"]
    assert places == [f"x-qar.jsonl:{number}" for number in range(2, SAMPLES + 2)]


def test_locales_that_were_not_asked_for_are_rejected(tmp_path: Path) -> None:
    rows = [row | {"product_locale": locale} for row, locale in zip(raw.esci_judgments(1), ("us", "es", "jp") * 2, strict=True)]
    folder = raw.write(tmp_path / "raw", {"x.csv": rows})
    counts, tables = staged(folder, tmp_path / "us")
    assert [row["locale"] for row in tables["judgments"]] == ["us", "us"]
    assert counts.rejects["esci"] == {"locale was not asked for": 4}
    counts, tables = staged(folder, tmp_path / "two", locales=frozenset({"es", "jp"}))
    assert {row["locale"] for row in tables["judgments"]} == {"es", "jp"}
    accounted(counts, tables)


def test_an_empty_file_counts_as_one_record(tmp_path: Path) -> None:
    raw.write(tmp_path / "raw", raw.amazonqa(2))
    (tmp_path / "raw" / "meta_Empty.json").write_bytes(b"\n")
    counts, tables = staged(tmp_path / "raw", tmp_path / "out")
    assert counts.rejects["amazon_reviews_2018"] == {"file is empty": 1}
    accounted(counts, tables)


def test_half_a_download_of_the_queries_is_told_as_such(tmp_path: Path) -> None:
    raw.write(tmp_path / "raw", raw.esci())
    path = tmp_path / "raw" / "esci" / "shopping_queries_dataset_products.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    counts, tables = staged(tmp_path / "raw", tmp_path / "out")
    assert counts.rejects["esci"] == {"file is not readable as Parquet": 1}
    accounted(counts, tables)


def test_the_number_of_a_record_tells_it_from_all_others(tmp_path: Path) -> None:
    files = raw.corpora()
    _, tables = staged(raw.write(tmp_path / "raw", files), tmp_path / "out")
    reviews = [row["record"] for row in tables["reviews"]]
    assert len(set(reviews)) == len(reviews)
    assert not set(reviews) & {row["record"] for row in tables["questions"] if row["source"] == "amazonqa"}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_shops_own_tables_are_staged_the_same_from_csv_and_parquet(tmp_path: Path, ending: str) -> None:
    counts, tables = staged(raw.write_tables(tmp_path / "raw", raw.own_shop(), ending), tmp_path / "out", tables=True)
    assert counts.read == {"own": sum(map(len, raw.own_shop().values()))}
    assert not counts.rejects["own"]
    for name, rows in raw.own_shop().items():
        for given_row, row in zip(rows, tables[name], strict=True):
            assert row | {key: value for key, value in given_row.items() if key != "price"} == row
            assert row["source"] == "own"


def test_a_table_may_be_a_folder_of_files(tmp_path: Path) -> None:
    rows = raw.own_shop()["products"]
    raw.write(tmp_path / "raw", {"products/a.csv": rows[:20], "products/b.parquet": rows[20:]})
    _, tables = staged(tmp_path / "raw", tmp_path / "out", tables=True)
    assert [row["title"] for row in tables["products"]] == [row["title"] for row in rows]


def test_ids_are_the_same_whether_pandas_wrote_them_as_int_or_float(tmp_path: Path) -> None:
    shop = {
        "products": [{"product_id": float(n), "locale": "us", "title": raw.title(n)} for n in range(3)],
        "co_purchases": [{"product_id": n, "other_product_id": n + 1.0, "relation": "also_buy"} for n in range(2)],
    }
    for ending in ("csv", "parquet"):
        _, tables = staged(raw.write_tables(tmp_path / ending, shop, ending), tmp_path / f"out_{ending}", tables=True)
        assert [row["product_id"] for row in tables["products"]] == ["0", "1", "2"]
        assert [(row["product_id"], row["other_product_id"]) for row in tables["co_purchases"]] == [("0", "1"), ("1", "2")]


def test_files_that_no_corpus_has_are_listed_and_helpers_are_not(tmp_path: Path) -> None:
    raw.write(tmp_path, raw.amazonqa(1))
    for name in ("notes.pdf", "README.md", ".DS_Store", ".cache/huggingface/x.csv", ".ipynb_checkpoints/train-qar.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    files, unclaimed = find_corpora(tmp_path, commercial_only=False)
    assert [file.path.name for file in files] == ["train-qar.jsonl"]
    assert [path.name for path in unclaimed] == ["notes.pdf"]


def test_commercial_leaves_out_corpora_whose_licence_does_not_allow_it(tmp_path: Path) -> None:
    files, _ = find_corpora(raw.write(tmp_path, raw.corpora()), commercial_only=True)
    assert {(file.source, file.licence) for file in files} == {("esci", "Apache-2.0"), ("ecinstruct", "CC-BY-4.0")}


def test_sample_corpora_carry_their_own_name_and_licence(tmp_path: Path) -> None:
    raw.write(tmp_path, raw.corpora())
    (tmp_path / SAMPLE_MARKER).write_text("{}")
    files, unclaimed = find_corpora(tmp_path, commercial_only=True)
    assert {file.licence for file in files} == {"Apache-2.0"}
    assert all(file.source.endswith("_sample") for file in files)
    assert len(files) == len(raw.corpora())
    assert unclaimed == []


def spoil_nothing(folder: Path) -> None:
    folder.mkdir()


def spoil_noncommercial(folder: Path) -> None:
    raw.write(folder, {**raw.merrec(), **raw.amazonqa(1)})


def spoil_unreadable(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / name).symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "is not a folder"),
        (lambda folder: folder.write_text("x"), "is not a folder"),
        (spoil_nothing, "holds no file of a known corpus"),
        (lambda folder: raw.write(folder, {"x.csv": [{"a": 1}]}), "holds no file of a known corpus"),
        (spoil_noncommercial, "does not allow commercial use: amazonqa, merrec"),
    ],
)
def test_a_folder_without_corpora_is_told_in_a_sentence(tmp_path: Path, make: Any, sentence: str) -> None:
    make(tmp_path / "raw")
    with pytest.raises(UserError, match=sentence):
        find_corpora(tmp_path / "raw", commercial_only=True)


@pytest.mark.parametrize(("name", "tables"), [("x-qar.jsonl", False), ("x.csv", False), ("products.csv", True)])
def test_a_file_that_the_system_refuses_to_read_is_told_in_a_sentence(tmp_path: Path, name: str, tables: bool) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file whose reading fails, which Linux has")
    spoil_unreadable(tmp_path / "raw", name)
    with pytest.raises(UserError, match=f"{name} cannot be read: "):
        staged(tmp_path / "raw", tmp_path / "out", tables)


@pytest.mark.parametrize("name", ["meta_Mugs.json", "Mugs_5.json", "train-qar.jsonl"])
def test_a_record_that_is_nested_too_deeply_is_rejected_and_its_neighbours_are_read(tmp_path: Path, name: str) -> None:
    key = "similar_item" if name.startswith("meta") else "asin"
    source = raw.amazon_reviews("Mugs", 3) | raw.amazonqa(3)
    (rows,) = (rows for path, rows in source.items() if Path(path).name.removesuffix(".gz") == name)
    folder = raw.write(tmp_path / "raw", {name: rows})
    first, second, third = (folder / name).read_bytes().splitlines()
    nested = f', "{key}": {"[" * 1000}{"]" * 1000}}}'.encode()
    (folder / name).write_bytes(b"\n".join((first, second.removesuffix(b"}") + nested, third)))
    counts, tables = staged(folder, tmp_path / "out")
    (reasons,) = counts.rejects.values()
    assert reasons == {"record is nested too deeply": 1}
    accounted(counts, tables)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"mugs.csv": [{"a": 1}]}, "holds no canonical table. Expected is at least one of products.csv"),
        ({"products.csv": [{"product_id": 1, "locale": "us"}]}, "lacks the column title of table products"),
        ({"reviews.parquet": [{"text": "x"}]}, "lacks the columns review_id, product_id, rating of table reviews"),
    ],
)
def test_tables_that_cannot_be_used_are_told_in_a_sentence(tmp_path: Path, files: raw.Corpora, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find_tables(raw.write(tmp_path, files))


def parts_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.parquet") if path.is_file()}


@pytest.mark.parametrize("tables", [False, True])
def test_files_in_many_parts_and_processes_give_the_same_rows_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: bool
) -> None:
    """Bad records stand in every file of JSON lines, so that reasons, places and examples come from several parts too."""
    shop = {f"{name}.jsonl": rows for name, rows in raw.own_shop().items()}
    folder = raw.write(tmp_path / "raw", shop if tables else raw.corpora())
    for path in folder.rglob("*.jsonl"):
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join(line for pair in zip(lines, BAD_LINES * len(lines), strict=False) for line in pair) + b"\n")
    whole = staged(folder, tmp_path / "whole", tables)
    monkeypatch.setattr(spans, "SPAN_BYTES", 2000)
    monkeypatch.setattr(spans, "BLOCK", 500)
    files, _ = find_tables(folder) if tables else find_corpora(folder, commercial_only=False)
    found = []
    for name, workers in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        counts = RecordCounts()
        with worker_pool(workers) as run:
            stage(files, folder, tmp_path / name, US, counts, run)
        found.append((counts, parts_of(tmp_path / name)))
    assert found[0] == found[1]
    counts, parts = found[0]
    assert len(parts) > 2 * len(whole[1])
    assert counts == whole[0]
    assert repr(counts.tables) == repr(whole[0].tables), "ties go by the order of the files"
    assert counts.rejects[next(iter(counts.rejects))]
    for name, rows in whole[1].items():
        assert pq.read_table(tmp_path / "one" / f"{name}.parquet").to_pylist() == rows


def test_an_unreadable_file_is_told_the_same_from_another_process(tmp_path: Path) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file whose reading fails, which Linux has")
    folder = raw.write(tmp_path / "raw", raw.corpora())
    files, _ = find_corpora(folder, commercial_only=False)
    (folder / "amazonqa" / "train-qar.jsonl").unlink()
    (folder / "amazonqa" / "train-qar.jsonl").symlink_to("/proc/self/mem")
    with (
        pytest.raises(UserError, match=r"train-qar\.jsonl cannot be read: .*\. Mend it or take it away\."),
        worker_pool(2) as run,
    ):
        stage(files, folder, tmp_path / "out", US, RecordCounts(), lambda job, jobs: run(job, [*jobs, *jobs]))


def test_an_own_table_in_parquet_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = raw.write_tables(tmp_path / "raw", {"products": raw.own_shop()["products"]}, "parquet")
    monkeypatch.setattr(own_tables, "parquet_rows", lambda *_: pytest.fail("it is read to be found"))
    assert len(find_tables(folder)[0]) == 1
