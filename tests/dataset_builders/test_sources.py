"""Raw records of each corpus become rows of canonical tables, or a reason; nobody's name or id comes along."""

import datetime
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.records import Rejected
from dataset_builders.sources import (
    HELD_OUT,
    amazon_reviews,
    amazonqa,
    corpus_modules,
    ecinstruct,
    esci,
    identifier,
    merrec,
    own_tables,
)
from dataset_builders.tables import TABLES, admitted
from tests import raw

REVIEWS, META = Path("Kitchen_Gadgets_5.json.gz"), Path("meta_Kitchen_Gadgets.json.gz")


def outcome(rows: Any) -> str | None:
    """The one reason that a record yields nothing: the source's, or the first of a table's."""
    if isinstance(rows, Rejected):
        return rows.reason
    offered = [admitted(TABLES[table], row) for table, row in rows if table != HELD_OUT]
    return offered[0].reason if all(isinstance(found, Rejected) for found in offered) else None


def tables_of(rows: Any) -> list[str]:
    return [table for table, _ in rows]


# Which files a corpus claims.


@pytest.mark.parametrize(
    ("name", "corpus"),
    [
        ("Gift_Cards_5.json.gz", amazon_reviews),
        ("Gift_Cards_5.json", amazon_reviews),
        ("meta_Gift_Cards.json.gz", amazon_reviews),
        ("judgments.json", esci),
        ("shopping_queries_dataset_examples.parquet", esci),
        ("train-qar.jsonl", amazonqa),
        ("val-qar.jsonl.gz", amazonqa),
        ("ecinstruct/anything.json", ecinstruct),
        ("ECInstruct.json", ecinstruct),
        ("Sentiment_Analysis.json", ecinstruct),
        ("Gift_Cards.json.gz", None),
        ("package.json", None),
        ("notes.pdf", None),
        ("meta_data.csv", None),
    ],
)
def test_files_are_claimed_by_name(tmp_path: Path, name: str, corpus: Any) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert next((found for found in corpus_modules() if found.claims(path)), None) is corpus


def test_parquet_and_csv_files_are_claimed_by_their_columns(tmp_path: Path) -> None:
    raw.write(tmp_path, {f"a.{form}": raw.esci_judgments(1) for form in ("csv", "parquet")})
    raw.write(tmp_path, {f"b.{form}": [raw.esci_product("B1", 1)] for form in ("csv", "parquet")})
    raw.write(tmp_path, {f"c.{form}": [raw.merrec_event(0, 0)] for form in ("csv", "parquet")})
    raw.write(tmp_path, {f"d.{form}": [{"name": "x"}] for form in ("csv", "parquet")})
    claims = {
        path.name: next((corpus.NAME for corpus in corpus_modules() if corpus.claims(path)), None)
        for path in tmp_path.iterdir()
    }
    expected = {"a": "esci", "b": "esci", "c": "merrec", "d": None}
    assert claims == {f"{stem}.{form}": name for stem, name in expected.items() for form in ("csv", "parquet")}


# One record of each kind.


def review(**changes: Any) -> dict[str, Any]:
    return raw.amazon_reviews("Kitchen_Gadgets", 1)["amazon/Kitchen_Gadgets_5.json.gz"][0] | changes


def meta(**changes: Any) -> dict[str, Any]:
    return raw.amazon_reviews("Kitchen_Gadgets", 5)["amazon/meta_Kitchen_Gadgets.json.gz"][0] | changes


def question(**changes: Any) -> dict[str, Any]:
    return raw.amazonqa(2)["amazonqa/train-qar.jsonl"][1] | changes


def judgment(**changes: Any) -> dict[str, Any]:
    return raw.esci_judgments(1)[1] | changes


def event(**changes: Any) -> dict[str, Any]:
    return raw.merrec_event(1, 2) | changes


def test_a_review() -> None:
    [(table, row)] = amazon_reviews.canonical(review(), REVIEWS)
    assert table == "reviews"
    assert len(row.pop("review_id")) == 32
    assert row == {
        "product_id": raw.asin(0),
        "category": "Kitchen Gadgets",
        "rating": 1,
        "title": "broke at once",
        "text": f"My {raw.title(0)} broke at once.",
    }


def test_a_product_and_its_links() -> None:
    rows = amazon_reviews.canonical(meta(), META)
    assert tables_of(rows) == ["products", *["co_purchases"] * 4]
    assert rows[0][1] == {
        "product_id": raw.asin(0),
        "locale": "us",
        "title": raw.title(0),
        "description": f"<p>A {raw.title(0)}</p> For every home.",
        "brand": "Acme",
        "category": "Kitchen Gadgets",
        "color": None,
    }
    links = [(row["other_product_id"], row["relation"]) for _, row in rows[1:]]
    assert links == [*((raw.asin(n), "also_buy") for n in (1, 2, 3)), (raw.asin(2), "also_view")]


def test_the_same_review_has_the_same_id_and_another_one_has_another() -> None:
    def identity(**changes: Any) -> str:
        return amazon_reviews.canonical(review(**changes), REVIEWS)[0][1]["review_id"]

    assert identity() == identity(reviewerID="A2OTHER", unixReviewTime=1)
    assert len({identity(), identity(asin="B2"), identity(overall=2.0), identity(reviewText="x"), identity(summary="x")}) == 5


def test_a_question() -> None:
    [(table, row)] = amazonqa.canonical(question(), Path("train-qar.jsonl"))
    assert table == "questions"
    assert len(row.pop("question_id")) == 32
    assert row == {
        "product_id": raw.asin(1),
        "question": f"Does the {raw.title(1)} fit a shelf of 1 cm?",
        "snippets": ["Snippet 0 about shelf 1: it fits well.", "Snippet 1 about shelf 1: it fits well."],
        "answers": ["Yes, with 1 cm to spare.", "No idea."],
        "answerable": True,
    }


@pytest.mark.parametrize("answers", [[], None])
def test_a_question_that_cannot_be_answered_needs_no_answers(answers: list[str] | None) -> None:
    [(_, row)] = amazonqa.canonical(question(answers=answers, is_answerable=0), Path("train-qar.jsonl"))
    assert (row["answers"], row["answerable"]) == ([], False)


def test_an_example_joined_to_its_product_is_a_judgment_and_a_product() -> None:
    joined = judgment() | raw.esci_product(raw.asin(5001), 1)
    (first, row), (second, product) = esci.canonical(joined, Path("x.csv"))
    assert (first, second) == ("judgments", "products")
    assert row == {
        "query_id": "0",
        "query": "red steel kettle 0",
        "product_id": raw.asin(5001),
        "locale": "us",
        "label": "substitute",
    }
    assert product["title"] == raw.title(1)
    assert (product["brand"], product["color"]) == ("Acme", "blue")
    assert tables_of(esci.canonical(judgment(), Path("x.parquet"))) == ["judgments"]
    assert tables_of(esci.canonical(raw.esci_product("B1", 1), Path("x.parquet"))) == ["products"]


@pytest.mark.parametrize(
    ("letter", "gain", "label"),
    [("E", "100.000", "exact"), ("S", 10, "substitute"), ("C", 1.0, "complement"), ("I", "0", "irrelevant")],
)
def test_labels_are_told_by_letters_and_by_gains(tmp_path: Path, letter: str, gain: Any, label: str) -> None:
    assert esci.canonical(judgment(esci_label=letter), Path("x.csv"))[0][1]["label"] == label
    path = tmp_path / "judgments.json"
    path.write_text(json.dumps({"judgmentRatings": [{"query": "mug", "ratings": [{"docId": "B1", "rating": gain}]}]}))
    [(_, record)] = esci.read(path)
    [(_, row)] = esci.canonical(record, path)
    assert (row["query"], row["product_id"], row["locale"], row["label"]) == ("mug", "B1", "us", label)


def test_a_listed_querys_id_does_not_depend_on_its_place(tmp_path: Path) -> None:
    entries = [{"query": query, "ratings": [{"docId": "B1", "rating": "1"}]} for query in ("mug", "cup")]
    ids = []
    for order in (entries, entries[::-1]):
        path = tmp_path / "judgments.json"
        path.write_text(json.dumps({"judgmentRatings": order}))
        ids.append({esci.canonical(record, path)[0][1]["query_id"] for _, record in esci.read(path)})
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


def test_an_event() -> None:
    [(table, row)] = merrec.canonical(event(), Path("x.parquet"))
    assert table == "events"
    assert len(row.pop("session_id")) == 32
    assert row == {
        "position": int(datetime.datetime(2023, 5, 2, 10, 2, tzinfo=datetime.UTC).timestamp() * 1_000_000),
        "action": "view",
        "product_id": str(238357102 + 5),
        "title": raw.title(5),
        "query": None,
        "brand": "Acme",
        "category": "yoga mat",
        "color": "yellow",
        "size": None,
    }


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ids_that_pandas_made_floats_are_the_same_ids(tmp_path: Path, form: str) -> None:
    files = {
        f"{kind}.{form}": [event(item_id=kind(238357102)) if kind is not str else event(item_id="238357102")]
        for kind in (int, float, str)
    }
    raw.write(tmp_path, {name.replace("<class '", "").replace("'>", ""): rows for name, rows in files.items()})
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    rows = [merrec.canonical(record, path)[0][1] for path in paths for _, record in merrec.read(path)]
    assert {row["product_id"] for row in rows} == {"238357102"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(12, "12"), (12.0, "12"), ("12.0", "12"), ("B0.0", "B0.0"), ("1.5", "1.5"), ("nan", None), (math.nan, None), (None, None)],
)
def test_identifiers_are_brought_to_one_form(value: Any, text: str | None) -> None:
    assert identifier(value) == text


@pytest.mark.parametrize("stime", ["2023-05-02 10:02:00", "2023-05-02T10:02:00Z", datetime.datetime(2023, 5, 2, 10, 2)])
def test_times_are_read_as_text_and_as_timestamps(stime: Any) -> None:
    [(_, row)] = merrec.canonical(event(stime=stime), Path("x.csv"))
    assert row["position"] == 1683021720000000


def test_one_session_id_with_two_sequences_is_two_sessions() -> None:
    ids = {merrec.canonical(event(sequence_id=sequence), Path("x.csv"))[0][1]["session_id"] for sequence in ("a", "b")}
    assert len(ids) == 2


@pytest.mark.parametrize("fold", [lambda row: row, raw.folded], ids=["hub", "folded"])
@pytest.mark.parametrize(
    ("task", "content", "output", "expected"),
    [
        (
            "Multiclass_Product_Classification",
            {"query": "mug", "product title": "Red mug"},
            "B",
            [("judgments", {"query": "mug", "label": "substitute"}), ("products", {"title": "Red mug"})],
        ),
        (
            "Multiclass_Product_Classification",
            {"query": "mug", "product title": "Red mug"},
            "D: The product is irrelevant to the query.",
            [("judgments", {"label": "irrelevant"}), ("products", {})],
        ),
        (
            "Product_Substitute_Identification",
            {"query": "mug", "product": "Cup"},
            "yes",
            [("judgments", {"label": "substitute"}), ("products", {"title": "Cup"})],
        ),
        (
            "Product_Relation_Prediction",
            {"Product 1:": "Mug", "Product 2:": "Cup"},
            "A",
            [("co_purchases", {"relation": "also_buy"}), ("products", {"title": "Mug"}), ("products", {"title": "Cup"})],
        ),
        (
            "Product_Relation_Prediction",
            {"Product 1:": "Mug", "Product 2:": "Cup"},
            "C",
            [("co_purchases", {"relation": "similar"}), ("products", {}), ("products", {})],
        ),
        ("Sentiment_Analysis", "I adore it", "A", [("reviews", {"rating": 5, "text": "I adore it", "title": None})]),
        ("Sentiment_Analysis", "I adore it", "D: negative", [("reviews", {"rating": 2})]),
        (
            "Answerability_Prediction",
            {"question": "Loud?", "document": ["It hums.", "Hm."]},
            "no",
            [("questions", {"question": "Loud?", "snippets": ["It hums.", "Hm."], "answerable": False, "answers": []})],
        ),
        (
            "Answer_Generation",
            {"question": "Loud?", "document": "It hums."},
            "Rather: yes.",
            [("questions", {"snippets": ["It hums."], "answerable": True, "answers": ["Rather: yes."]})],
        ),
    ],
)
def test_an_instruction_is_taken_back_to_its_facts(
    fold: Any, task: str, content: Any, output: str, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    rows = ecinstruct.canonical(fold(raw.ecinstruct_row(task, content, output)), Path(f"{task}.json"))
    assert outcome(rows) is None
    assert tables_of(rows) == [table for table, _ in expected]
    for (_, row), (_, part) in zip(rows, expected, strict=True):
        assert row | part == row
    if rows[0][0] in ("judgments", "co_purchases"):
        assert rows[0][1]["product_id"] == rows[1][1]["product_id"]


# Values as copies of the corpora write them.


def test_ratings_and_lists_that_became_text_are_read() -> None:
    assert amazon_reviews.canonical(review(overall="5.0"), REVIEWS)[0][1]["rating"] == 5
    links = amazon_reviews.canonical(meta(also_buy="['B1', 'B2']", also_view=None), META)[1:]
    assert [row["other_product_id"] for _, row in links][:2] == ["B1", "B2"]
    broken = amazon_reviews.canonical(meta(also_buy="B1|B2", also_view=None), META)
    assert outcome(broken[1:2]) == "other_product_id is not known: also_buy is not a list"


def test_a_reviews_id_is_made_of_the_rating_as_it_is_written() -> None:
    """Another id would draw other rows from the same corpus."""
    record = review(overall=5.0)
    written = "\0".join((record["asin"], "5.0", record["summary"], record["reviewText"]))
    assert amazon_reviews.canonical(record, REVIEWS)[0][1]["review_id"] == hashlib.md5(written.encode()).hexdigest()


def test_answers_and_flags_that_became_text_are_read() -> None:
    (_, row), *_ = amazonqa.canonical(question(is_answerable="1", answers=["Yes.", None]), Path("x-qar.jsonl"))
    assert (row["answers"], row["answerable"]) == (["Yes."], True)


@pytest.mark.parametrize("split", ["Test", " TEST ", b"test"])
def test_escis_own_test_split_is_known_in_any_case(split: Any) -> None:
    assert tables_of(esci.canonical(judgment(split=split), Path("x.csv"))) == ["judgments", "held_out"]


def test_times_in_numbers_order_a_session_and_unknown_actions_are_shown() -> None:
    (_, row), *_ = merrec.canonical(event(stime="1712010112345", event_id="item_share"), Path("x.csv"))
    assert (row["position"], row["action"]) == (1712010112345, "item_share")


# Records that yield nothing, each with its reason.

LONG = "x" * 100_001
BAD = [
    (amazon_reviews, REVIEWS, review, {"asin": None}, "asin is missing"),
    (amazon_reviews, REVIEWS, review, {"overall": None}, "overall is missing"),
    (amazon_reviews, REVIEWS, review, {"reviewText": ""}, "reviewText is missing"),
    (amazon_reviews, REVIEWS, review, {"reviewText": " \n"}, "reviewText is missing"),
    (amazon_reviews, REVIEWS, review, {"reviewText": ["x"]}, "text is not text"),
    (amazon_reviews, REVIEWS, review, {"reviewText": LONG}, "text is longer than 100,000 characters"),
    (amazon_reviews, REVIEWS, review, {"reviewText": "\ud83d"}, "text is not Unicode text"),
    (amazon_reviews, REVIEWS, review, {"overall": 0.0}, "rating is not 1 to 5"),
    (amazon_reviews, REVIEWS, review, {"overall": 6}, "rating is not 1 to 5"),
    (amazon_reviews, REVIEWS, review, {"overall": 4.5}, "rating is not a whole number"),
    (amazon_reviews, REVIEWS, review, {"overall": "five"}, "rating is not a whole number"),
    (amazon_reviews, REVIEWS, review, {"overall": True}, "rating is not a whole number"),
    (amazon_reviews, META, meta, {"asin": ""}, "asin is missing"),
    (amazon_reviews, META, meta, {"title": None, "also_buy": [], "also_view": []}, "title is missing"),
    (
        amazon_reviews,
        META,
        meta,
        {"title": '<span id="productTitle">Mug', "also_buy": None, "also_view": ""},
        "title is markup",
    ),
    (amazon_reviews, META, meta, {"title": "nan", "also_buy": [], "also_view": []}, "title is missing"),
    (amazonqa, Path("x-qar.jsonl"), question, {"questionText": "null"}, "questionText is missing"),
    (amazonqa, Path("x-qar.jsonl"), question, {"asin": None}, "asin is missing"),
    (amazonqa, Path("x-qar.jsonl"), question, {"questionText": ""}, "questionText is missing"),
    (amazonqa, Path("x-qar.jsonl"), question, {"answers": None}, "answers is not a list"),
    (amazonqa, Path("x-qar.jsonl"), question, {"answers": [{"answerText": 5}]}, "answers is not a list of texts"),
    (amazonqa, Path("x-qar.jsonl"), question, {"review_snippets": "one"}, "review_snippets is not a list of texts"),
    (amazonqa, Path("x-qar.jsonl"), question, {"review_snippets": [1]}, "review_snippets is not a list of texts"),
    (amazonqa, Path("x-qar.jsonl"), question, {"is_answerable": None}, "is_answerable is not 0 or 1"),
    (amazonqa, Path("x-qar.jsonl"), question, {"is_answerable": 2}, "is_answerable is not 0 or 1"),
    (esci, Path("x.csv"), judgment, {"query": ""}, "query is missing"),
    (esci, Path("x.csv"), judgment, {"query": "  "}, "query is missing"),
    (esci, Path("x.csv"), judgment, {"product_id": None}, "product_id is missing"),
    (esci, Path("x.csv"), judgment, {"product_locale": None}, "product_locale is missing"),
    (esci, Path("x.csv"), judgment, {"esci_label": ""}, "esci_label is missing"),
    (esci, Path("x.csv"), judgment, {"esci_label": "X"}, "label is none of exact, substitute, complement, irrelevant"),
    (esci, Path("x.csv"), judgment, {"query": "NaN"}, "query is missing"),
    (
        esci,
        Path("x.csv"),
        judgment,
        {"product_id": "4.01E+12"},
        "product_id is in scientific notation, so its digits are lost; export ids as text",
    ),
    (merrec, Path("x.csv"), event, {"stime": "1712010"}, "stime is not a time"),
    (merrec, Path("x.csv"), event, {"name": "NULL"}, "name is missing"),
    (merrec, Path("x.csv"), event, {"session_id": None}, "session_id is missing"),
    (merrec, Path("x.csv"), event, {"session_id": "  "}, "session_id is missing"),
    (
        merrec,
        Path("x.csv"),
        event,
        {"sequence_id": "4.2E+12"},
        "sequence_id is in scientific notation, so its digits are lost; export ids as text",
    ),
    (merrec, Path("x.csv"), event, {"stime": "yesterday"}, "stime is not a time"),
    (merrec, Path("x.csv"), event, {"event_id": "item_hide"}, "action is none of view, like, cart, offer, buy, query"),
    (merrec, Path("x.csv"), event, {"item_id": ""}, "item_id is missing"),
    (merrec, Path("x.csv"), event, {"item_id": math.nan}, "item_id is missing"),
    (merrec, Path("x.csv"), event, {"name": None}, "name is missing"),
    (merrec, Path("x.csv"), event, {"name": "\t"}, "name is missing"),
]


@pytest.mark.parametrize(
    ("corpus", "path", "record", "changes", "reason"),
    BAD,
    ids=[f"{corpus.NAME}-{'_'.join(map(str, changes))[:30]}-{reason[:40]}" for corpus, _, _, changes, reason in BAD],
)
def test_a_record_that_yields_nothing_says_why(corpus: Any, path: Path, record: Any, changes: Any, reason: str) -> None:
    assert outcome(corpus.canonical(record(), path)) is None
    spoilt = corpus.canonical(record(**changes), path)
    assert outcome(spoilt) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": ""}, "input is missing"),
        ({"output": None}, "output is missing"),
        ({"split": "test"}, "split is for evaluation"),
        ({"setting": "IND_Single_Instruction"}, "setting repeats another one's rows"),
        ({"task": "Query_Product_Rank"}, "task Query_Product_Rank has no canonical table"),
        ({"task": ["x"]}, "task is not a task's name"),
        ({"task": "\ud83d"}, "task is not a task's name"),
        ({"task": "x" * 1000}, "task is not a task's name"),
        ({"output": "Z"}, "output does not say which label it is"),
        ({"input": "no JSON"}, "input is not of the form of Multiclass_Product_Classification"),
        ({"input": '{"query": "mug"}'}, "input is not of the form of Multiclass_Product_Classification"),
        ({"input": 5}, "input is not of the form of Multiclass_Product_Classification"),
        ({"input": "[" * 5000}, "input is not of the form of Multiclass_Product_Classification"),
        ({"output": 5}, "input is not of the form of Multiclass_Product_Classification"),
        ({"task": "Product_Relation_Prediction"}, "output does not say which relation it is"),
        (
            {"task": "Product_Relation_Prediction", "input": '{"Product 1:": "Mug"}', "output": "may also buy"},
            "input is not of the form of Product_Relation_Prediction",
        ),
        (
            {"task": "Product_Substitute_Identification", "output": "no"},
            "product is no substitute, but may be exact, complement or irrelevant",
        ),
        ({"task": "Sentiment_Analysis", "output": "mixed"}, "output does not say which sentiment it is"),
        (
            {"task": "Answerability_Prediction", "input": '{"question": "Loud?", "document": ["It hums."]}', "output": "maybe"},
            "output is not yes or no",
        ),
    ],
)
def test_an_instruction_that_yields_nothing_says_why(changes: dict[str, Any], reason: str) -> None:
    content = {"query": "mug", "product title": "Red mug"}
    row = raw.ecinstruct_row("Multiclass_Product_Classification", content, "A")
    assert outcome(ecinstruct.canonical(row, Path("ECInstruct.json"))) is None
    assert outcome(ecinstruct.canonical(row | changes, Path("ECInstruct.json"))) == reason


def test_a_row_that_is_neither_judgment_nor_product_says_why() -> None:
    rows = esci.canonical({"product_id": "B1", "query": "mug"}, Path("shopping_queries_dataset_examples.parquet"))
    assert outcome(rows) == "row has neither esci_label nor product_title"


@pytest.mark.parametrize(
    "rating",
    [None, {}, {"docId": "B1"}, {"rating": "1"}, {"docId": "B1", "rating": 7}, {"docId": "B1", "rating": 10**400}, "1"],
)
def test_a_listed_rating_that_yields_nothing_says_why(rating: Any) -> None:
    rows = esci.canonical({"query": "mug", "rating": rating}, Path("judgments.json"))
    assert outcome(rows) == "rating is not one of 100, 10, 1, 0 with a docId"


@pytest.mark.parametrize(
    ("document", "reasons"),
    [
        ("[]", ["file has no list judgmentRatings"]),
        ('{"judgmentRatings": 5}', ["file has no list judgmentRatings"]),
        ("{", ["file is not JSON"]),
        ('{"judgmentRatings": [5, {"query": "x"}]}', ["judgmentRatings entry has no list of ratings"] * 2),
    ],
)
def test_a_judgment_list_of_another_form_says_why(tmp_path: Path, document: str, reasons: list[str]) -> None:
    (tmp_path / "judgments.json").write_text(document)
    assert [record.reason for _, record in esci.read(tmp_path / "judgments.json")] == reasons


@pytest.mark.parametrize(
    ("document", "reasons"),
    [("5", ["line is not a JSON object"]), ("[5, []]", ["item is not a JSON object"] * 2), ("[", ["file is not JSON"])],
)
def test_an_instruction_file_of_another_form_says_why(tmp_path: Path, document: str, reasons: list[str]) -> None:
    (tmp_path / "ECInstruct.json").write_text(document)
    assert [record.reason for _, record in ecinstruct.read(tmp_path / "ECInstruct.json")] == reasons


def test_one_bad_link_costs_neither_its_product_nor_the_other_links() -> None:
    rows = amazon_reviews.canonical(meta(also_buy=["B1", 5, "", "B2"], also_view="none"), META)
    found = [admitted(TABLES[table], row) for table, row in rows]
    reasons = [each.reason if isinstance(each, Rejected) else None for each in found]
    assert reasons == [None, None, "other_product_id is not text", "other_product_id is missing", None]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["A", "yes", '{"query": "q", "product title": "t"}', '{"Product 1": "x"}', "{}\noptions: [1]", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
EVERY_RECORD = [
    (amazon_reviews, REVIEWS, review()),
    (amazon_reviews, META, meta()),
    (amazonqa, Path("x-qar.jsonl"), question()),
    (esci, Path("x.csv"), judgment() | raw.esci_product("B1", 1)),
    (esci, Path("judgments.json"), {"query": "mug", "rating": {"docId": "B1", "rating": "1"}}),
    (merrec, Path("x.parquet"), event()),
    *((ecinstruct, Path("x.json"), row) for row in raw.ecinstruct()["ecinstruct/ECInstruct.json"][-5:]),
    (ecinstruct, Path("x.json"), raw.ecinstruct_row("Product_Relation_Prediction", {"Product 1": "a", "Product 2": "b"}, "A")),
]


@given(data=st.data())
def test_no_value_of_any_field_makes_a_source_raise(data: st.DataObject) -> None:
    corpus, path, record = data.draw(st.sampled_from(EVERY_RECORD))
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(record)), json_values, min_size=1, max_size=2))
    gone = data.draw(st.sampled_from([None, *record]))
    spoilt = {key: value for key, value in (record | changes).items() if key != gone}
    rows = corpus.canonical(spoilt, path)
    if not isinstance(rows, Rejected):
        for table, row in rows:
            assert set(row) == {column.name for column in TABLES[table].columns}
            admitted(TABLES[table], row)


def test_no_row_says_who_wrote_or_clicked() -> None:
    for corpus, path, record in EVERY_RECORD:
        rows = corpus.canonical(record | raw.REVIEWER | {"user_id": raw.USER}, path)
        told = repr(rows)
        assert not [secret for secret in (*raw.REVIEWER.values(), raw.USER) if secret in told]
        assert not [key for _, row in rows for key in row if "reviewer" in key.lower() or "user" in key]


# A shop's own tables.


def own(table: str, **values: Any) -> Any:
    return own_tables.canonical(values, own_tables.OwnFile(Path(f"{table}.csv"), TABLES[table], frozenset(values)))


@pytest.mark.parametrize(
    ("table", "column", "value", "expected"),
    [
        ("products", "product_id", 12, "12"),
        ("products", "product_id", 12.0, "12"),
        ("products", "product_id", "12.0", "12.0"),
        ("products", "product_id", b"sku", "sku"),
        ("products", "product_id", math.nan, None),
        ("products", "title", "3.0", "3.0"),
        ("products", "title", "", None),
        ("reviews", "rating", "4", 4),
        ("reviews", "rating", "4.0", 4),
        ("reviews", "rating", 4.0, 4),
        ("events", "position", str(2**62 + 1), 2**62 + 1),
        ("questions", "answerable", "True", True),
        ("questions", "answerable", "no", False),
        ("questions", "answerable", 1, True),
        ("questions", "answers", '["a", "b"]', ["a", "b"]),
        ("questions", "answers", '["", "N/A", null]', []),
        ("questions", "answers", '"[\\"a\\"]"', ["a"]),
        ("questions", "answers", {"list": [{"element": "a"}]}, ["a"]),
        ("events", "position", "1970-01-01 24:00:00", 86_400_000_000),
        ("judgments", "label", "exact\u200b", "exact"),
        ("questions", "answers", ["a"], ["a"]),
        ("questions", "answers", [], []),
    ],
)
def test_own_values_are_brought_to_their_columns_type(table: str, column: str, value: Any, expected: Any) -> None:
    [(name, row)] = own(table, **{column: value})
    assert name == table
    assert row[column] == expected
    assert type(row[column]) is type(expected)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("products", "product_id", b"\xff"),
        ("products", "product_id", True),
        ("products", "title", {"text": "Mug"}),
        ("products", "title", ["Mug"]),
        ("reviews", "rating", "four"),
        ("reviews", "rating", "4.5"),
        ("reviews", "rating", math.inf),
        ("reviews", "rating", [4]),
        ("questions", "answerable", "maybe"),
        ("questions", "answers", "yes, it does"),
        ("questions", "answers", "[" * 5000),
    ],
)
def test_own_values_of_another_type_say_so(table: str, column: str, value: Any) -> None:
    [(_, row)] = own(table, **{column: value})
    assert isinstance(row[column], Rejected)
    assert row[column].reason.startswith("is ")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("products.parquet", "products"),
        ("products.csv", "products"),
        ("co_purchases/part-0.parquet", "co_purchases"),
        ("reviews/2024/01.csv", "reviews"),
        ("products.json", "products"),
        ("products.csv.gz", "products"),
        ("products.parquet/part-0.parquet", "products"),
        ("products.bak/part-0.parquet", None),
        ("products.xlsx", None),
        ("product.csv", None),
        ("backup/products.csv", None),
    ],
)
def test_own_tables_are_told_by_their_names(tmp_path: Path, name: str, table: str | None) -> None:
    found = own_tables.table_of(tmp_path / name, tmp_path)
    assert (found and found.name) == table


def test_own_tables_need_their_required_columns_alone(tmp_path: Path) -> None:
    raw.write(tmp_path, {"products.csv": [{"product_id": "1", "locale": "us", "title": "Mug", "stock": 5}]})
    file = own_tables.open_file(tmp_path / "products.csv", tmp_path, TABLES["products"], None, "us")
    assert file.columns == {"product_id", "locale", "title", "stock"}
    with pytest.raises(UserError, match="lacks the columns review_id, rating, text of table reviews"):
        own_tables.open_file(tmp_path / "products.csv", tmp_path, TABLES["reviews"], None, "us")
