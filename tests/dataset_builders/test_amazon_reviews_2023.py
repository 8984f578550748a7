"""Amazon Reviews 2023 under any name: which edition a file is, what its records become, and what is told where some are
missing."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.records import Rejected
from dataset_builders.sources import REVIEWER, amazon_reviews_2023, corpus_modules
from dataset_builders.sources.amazon_reviews_2023 import canonical, category_of
from tests import raw

Records = list[dict[str, Any]]
REVIEWS, META = Path("raw/review_categories/Gift_Cards.jsonl"), Path("raw/meta_categories/meta_Gift_Cards.jsonl")
TASKS = "review_rating,also_buy,next_title_amazon"


def corpus(**options: Any) -> tuple[Records, Records]:
    found = raw.amazon_reviews_2023("Gift_Cards", **options)
    return found["Gift_Cards.jsonl"], found["meta_Gift_Cards.jsonl"]


def review(**changes: Any) -> dict[str, Any]:
    return corpus()[0][0] | changes


def meta(**changes: Any) -> dict[str, Any]:
    return corpus()[1][1] | changes


def write_lines(path: Path, records: list[Any]) -> Path:
    """JSON lines; a text is a line as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def claimed(path: Path) -> str | None:
    return next((module.NAME for module in corpus_modules() if module.claims(path)), None)


# Which edition a file is of.


@pytest.mark.parametrize(
    "name",
    [
        "Gift_Cards.jsonl",
        "meta_Gift_Cards.jsonl.gz",
        "reviews.ndjson",
        "Gift_Cards_5.json.gz",
        "meta_Gift_Cards.json",
        "meta_2023",
    ],
)
@pytest.mark.parametrize("kind", [0, 1], ids=["reviews", "metadata"])
def test_a_file_is_known_by_its_fields_whatever_its_name(tmp_path: Path, name: str, kind: int) -> None:
    assert claimed(write_lines(tmp_path / name, corpus()[kind])) == "amazon_reviews_2023"


def test_parquet_files_are_known_by_their_columns(tmp_path: Path) -> None:
    for kind, records in enumerate(corpus()):
        raw.write_parquet(tmp_path / "full-00000-of-00001.parquet", records)
        assert claimed(tmp_path / "full-00000-of-00001.parquet") == "amazon_reviews_2023", kind


@pytest.mark.parametrize("name", ["Gift_Cards_5.json.gz", "reviews_Gift_Cards_5.json", "Gift_Cards.json"])
@pytest.mark.parametrize("edition", [2014, 2018, 2023])
def test_editions_are_told_apart_under_each_others_names(tmp_path: Path, name: str, edition: int) -> None:
    older = raw.amazon_reviews("Gift_Cards", 3)["amazon/Gift_Cards_5.json.gz"]
    pair = [{**record, "helpful": [1, 2]} for record in older]
    records = {2014: pair, 2018: older, 2023: corpus()[0]}[edition]
    assert claimed(write_lines(tmp_path / name, records)) == f"amazon_reviews_{edition}"


@pytest.mark.parametrize("edition", [2014, 2018, 2023])
def test_metadata_of_editions_is_told_apart(tmp_path: Path, edition: int) -> None:
    older = raw.amazon_reviews("Gift_Cards", 3)["amazon/meta_Gift_Cards.json.gz"]
    records = {2014: [str(record) for record in older], 2018: older, 2023: corpus()[1]}[edition]
    path = write_lines(tmp_path / "meta_Gift_Cards.json.gz", records)
    assert claimed(path) == f"amazon_reviews_{edition}"
    module = next(module for module in corpus_modules() if edition == int(module.NAME[-4:]))
    reasons = {record.reason for _, record in module.read(path) if isinstance(record, Rejected)}
    assert all("2014 edition" in reason for reason in reasons)
    assert bool(reasons) == (edition == 2014)


def test_a_bad_first_record_does_not_hide_the_edition(tmp_path: Path) -> None:
    reviews, _ = corpus()
    without = {key: value for key, value in reviews[0].items() if key not in ("parent_asin", "text")}
    assert claimed(write_lines(tmp_path / "Gift_Cards.jsonl", ["not JSON", without, *reviews])) == "amazon_reviews_2023"


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("asin2category.json", {"B1": "Gift_Cards", "parent_asin": "Books"}),
        ("notes.jsonl", {"title": "x", "text": "y", "rating": 5}),
        ("train-qar.jsonl", {"asin": "B1", "questionText": "x"}),
    ],
)
def test_other_files_are_not_claimed(tmp_path: Path, name: str, record: dict[str, Any]) -> None:
    assert not amazon_reviews_2023.claims(write_lines(tmp_path / name, [record]))


# What a record becomes.


def test_a_review_becomes_a_row_that_names_no_customer() -> None:
    [(table, row), (helper, reviewer)] = canonical(review(), REVIEWS)  # type: ignore[misc]
    assert (table, helper) == ("reviews", REVIEWER)
    assert reviewer["review_id"] == row["review_id"]
    assert isinstance(reviewer["customer"], int)
    assert raw.USER not in str((row, reviewer))
    del row["review_id"]
    assert row == {
        "product_id": raw.asin(0),
        "category": "Gift Cards",
        "rating": 1,
        "title": "As told",
        "text": f"Customer 0 says: the {raw.title(0)} is number 0.",
    }


def test_a_product() -> None:
    [(table, row)] = canonical(meta(), META)  # type: ignore[misc]
    assert table == "products"
    assert row == {
        "product_id": raw.asin(1),
        "locale": "us",
        "title": raw.title(1),
        "description": f"<p>A {raw.title(1)}</p>",
        "brand": "Bolt",
        "category": "Gift Cards",
        "color": "Red",
    }


@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"description": []}, "description", "Dishwasher safe"),
        ({"description": None, "features": None}, "description", None),
        ({"details": {}}, "brand", "Acme"),
        ({"details": None, "store": None}, "brand", None),
        ({"details": '{"Brand": "Coil"}'}, "brand", "Coil"),
        ({"details": "{"}, "color", None),
        ({"details": '["Brand"]'}, "color", None),
    ],
)
def test_optional_fields_of_a_product(changes: dict[str, Any], column: str, value: str | None) -> None:
    assert canonical(meta(**changes), META)[0][1][column] == value  # type: ignore[index]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (review(parent_asin=None, asin=None), "parent_asin is missing"),
        (review(rating=None), "rating is missing"),
        (review(text=""), "text is missing"),
        (meta(title=None), "title is missing"),
        (meta(title=" "), "title is missing"),
        (meta(parent_asin=""), "parent_asin is missing"),
        ({"parent_asin": "B1"}, "record is neither a review nor a product"),
    ],
)
def test_what_lacks_something_is_rejected_with_its_name(record: dict[str, Any], reason: str) -> None:
    assert canonical(record, REVIEWS) == Rejected(reason)


def test_a_rating_may_be_text_and_stated_links_are_taken() -> None:
    [(_, row), _] = canonical(review(rating="4.0"), REVIEWS)  # type: ignore[misc]
    assert row["rating"] == 4
    _, *links = canonical(meta(bought_together=["B8", "B9", "B8"]), META)  # type: ignore[misc]
    assert [(name, row["other_product_id"], row["relation"]) for name, row in links] == [  # type: ignore[index]
        ("co_purchases", "B8", "also_buy"),
        ("co_purchases", "B9", "also_buy"),
    ]


def test_a_review_without_parent_is_one_of_the_variant_and_without_user_of_nobody() -> None:
    [(_, row)] = canonical(review(parent_asin=None, user_id=None, timestamp="whenever"), REVIEWS)  # type: ignore[misc]
    assert row["product_id"] == "V000000000"


def test_ids_of_reviews_are_the_same_in_json_and_parquet_and_for_any_customer() -> None:
    first = canonical(review(), REVIEWS)[0][1]  # type: ignore[index]
    assert canonical(review(rating=1, user_id="other", timestamp=0), REVIEWS)[0][1] == first  # type: ignore[index]
    assert canonical(review(rating=2.0), REVIEWS)[0][1]["review_id"] != first["review_id"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("Gift_Cards.jsonl", "Gift Cards"),
        ("meta_Gift_Cards.jsonl.gz", "Gift Cards"),
        ("reviews_Gift_Cards.json", "Gift Cards"),
        ("raw_meta_All_Beauty/full-00000-of-00010.parquet", "All Beauty"),
        ("raw_review_All_Beauty/train.parquet", "All Beauty"),
        ("corpora/part-0001.parquet", None),
        ("corpora/reviews.jsonl", None),
    ],
)
def test_the_category_is_in_the_name_of_the_file_or_of_its_folder(path: str, category: str | None) -> None:
    assert category_of(Path(path)) == category


# Whole builds.


def build(run_build: Callable[..., int], folder: Path, name: str = "dataset", tasks: str = TASKS) -> dict[str, Any]:
    assert run_build("--raw", folder / "raw", "--out", folder / name, "--tasks", tasks) == 0
    manifest: dict[str, Any] = json.loads((folder / name / "manifest.json").read_text())
    for source, found in manifest["sources"].items():
        assert found["read"] == found["used"] + sum(manifest["rejects"].get(source, {}).values())
    return manifest


def rows(folder: Path, task: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted((folder / "data" / task).rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_as_it_comes_gives_three_tasks_and_names_no_customer(
    tmp_path: Path, run_build: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two categories, one compressed, a copy of its reviews, and reviews of products without metadata."""
    reviews, metadata = corpus()
    other = raw.amazon_reviews_2023("All_Beauty", customers=10)["All_Beauty.jsonl"]
    strangers = [{**record, "parent_asin": record["parent_asin"].replace("B", "X")} for record in other]
    folder = tmp_path / "raw"
    write_lines(folder / "review_categories/Gift_Cards.jsonl", ["{", *reviews, {**reviews[0], "rating": 4.5}])
    write_lines(folder / "copy/Gift_Cards.jsonl.gz", reviews)
    write_lines(folder / "meta_categories/meta_Gift_Cards.jsonl", [*metadata, {**metadata[0], "title": None}])
    write_lines(folder / "review_categories/All_Beauty.jsonl", strangers)
    manifest = build(run_build, tmp_path)
    assert manifest["sources"]["amazon_reviews_2023"]["licence"] == "none stated"
    assert set(manifest["configs"]) >= set(TASKS.split(","))
    assert manifest["unclaimed_files"] == []
    rejects = manifest["rejects"]["amazon_reviews_2023"]
    assert rejects["line is not JSON"] == 1
    assert rejects["rating is not a whole number"] == 1
    assert rejects["title is missing"] == 1
    assert rejects["reviews: another record has the same review_id"] == len(reviews)
    # A third of the customers have a basket of another's, whose products are all linked.
    steps = (1, 2, 18, 19, 20, 21, 22, 38, 39)
    ring = {raw.title(number): {raw.title((number + step) % 40) for step in steps} for number in range(40)}
    bought = rows(tmp_path / "dataset", "also_buy")
    assert len(bought) > 10
    for row in (row for row in bought if row["answer"] != '"no"'):
        content = row["prompt"][0]["content"]
        assert any(title in content and any(other in content for other in others) for title, others in ring.items())
    card = (tmp_path / "dataset" / "README.md").read_text()
    assert "links between products bought together were derived: at least 2 customers of Amazon Reviews 2023" in card
    found = capsys.readouterr()
    everything = b"".join(files(tmp_path / "dataset").values()) + (found.out + found.err).encode()
    assert raw.USER.encode() not in everything
    assert b"reviewers" not in b"".join(name.encode() for name in files(tmp_path / "dataset"))


def test_shuffled_records_in_other_files_give_the_same_bytes(tmp_path: Path, run_build: Callable[..., int]) -> None:
    """Customers who review a product twice, and customers who say the same of it, included."""
    reviews, metadata = corpus()
    reviews += [{**record, "text": f"{record['text']} Twice."} for record in reviews[::3]]
    reviews += [{**record, "user_id": "another"} for record in reviews[::5]]
    shuffled = random.Random(1).sample(reviews, len(reviews))
    written = []
    for name, found in (("one", reviews), ("other", shuffled)):
        folder = tmp_path / name
        write_lines(folder / "raw/Gift_Cards.jsonl", found)
        write_lines(folder / "raw/meta_Gift_Cards.jsonl", random.Random(len(written)).sample(metadata, len(metadata)))
        build(run_build, folder)
        written.append(files(folder / "dataset"))
    assert {name for name in written[0] if written[0][name] != written[1][name]} <= {"rejects/places.json"}


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (["meta_Gift_Cards.jsonl"], "there are no usable reviews: add the file <Category>.jsonl beside meta_<Category>.jsonl"),
        (["Gift_Cards.jsonl"], "needs the table products"),
    ],
)
def test_half_a_corpus_says_which_half_is_missing(
    tmp_path: Path, run_build: Callable[..., int], capsys: pytest.CaptureFixture[str], kept: list[str], reason: str
) -> None:
    raw.write(tmp_path / "raw", {name: found for name, found in raw.amazon_reviews_2023("Gift_Cards").items() if name in kept})
    code = run_build("--raw", tmp_path / "raw", "--out", tmp_path / "dataset", "--tasks", "also_buy")
    assert code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert reason in told
    assert "known corpus" not in told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "there are no reviews with a user_id"),
        (
            {"parent_asin": raw.asin(0)},
            "there are no two products that 2 customers reviewed both: 0 of 60 customers reviewed more than one product",
        ),
    ],
)
def test_reviews_that_share_no_customers_say_why_nothing_is_bought_together(
    tmp_path: Path, run_build: Callable[..., int], change: dict[str, Any], reason: str
) -> None:
    reviews, metadata = corpus()
    write_lines(tmp_path / "raw/Gift_Cards.jsonl", [{**record, **change} for record in reviews])
    write_lines(tmp_path / "raw/meta_Gift_Cards.jsonl", metadata)
    manifest = build(run_build, tmp_path)
    assert reason in manifest["not_built"]["also_buy"]
    assert "derived from the products that the same customers reviewed" in manifest["not_built"]["next_title_amazon"]


@pytest.mark.parametrize("name", ["meta_Gift_Cards.jsonl", "meta_Gift_Cards.jsonl.gz"])
def test_an_empty_file_is_told(tmp_path: Path, run_build: Callable[..., int], name: str) -> None:
    raw.write(tmp_path / "raw", raw.amazon_reviews_2023("All_Beauty"))
    (tmp_path / "raw" / name).write_bytes(b"")
    manifest = build(run_build, tmp_path, tasks="review_rating")
    assert manifest["rejects"]["amazon_reviews_2023"]["file is empty"] == 1


def test_the_editions_stay_apart_in_one_folder(tmp_path: Path, run_build: Callable[..., int]) -> None:
    """Both name the same products: rows are of one source each, and stated links stay as they are."""
    raw.write(tmp_path / "raw", {**raw.amazon_reviews_2023("Gift_Cards"), **raw.amazon_reviews("Gift_Cards")})
    manifest = build(run_build, tmp_path, tasks=f"{TASKS},product_relation")
    assert set(manifest["sources"]) == {"amazon_reviews_2018", "amazon_reviews_2023"}
    assert {row["source"] for row in rows(tmp_path / "dataset", "review_rating")} == set(manifest["sources"])
    assert {row["source"] for row in rows(tmp_path / "dataset", "product_relation")} == {"amazon_reviews_2018"}
