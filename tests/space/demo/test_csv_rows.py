"""A visitor's own table: each row gets an answer or a reason, and comes back with all that it had."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks import TASKS
from space.demo.backend import AnswerRequest, Answers, BackendBusy, BackendError, ModelAnswer
from space.demo.csv_rows import (
    MOST_ROWS,
    NO_TIME,
    RowAnswer,
    answers_so_far,
    example_table,
    read_table,
    written,
)
from space.demo.examples import read_examples
from space.demo.inputs import FilledForm, InputError, fill_form
from tests.space.demo.rows_backend import RowsBackend

RATING = TASKS["review_rating"]
REVIEWS = 'id,category,review\n1,Kitchen,"Leaks, and\nhow"\n2,Kitchen,\n3,Garden,Holds\n'


def rated(request: AnswerRequest) -> Answers:
    label = "1" if "Leaks" in request.prompt else "5"
    chances = tuple(0.6 if one == label else 0.1 for one in RATING.labels)
    return {who: ModelAnswer(label, 0.1, probabilities=chances) for who in request.only}


def test_a_row_of_a_list_by_text_is_answered_when_all_of_its_items_are() -> None:
    def likely(request: AnswerRequest) -> Answers:
        if "lamp" in request.prompt:
            raise BackendError("The model failed.")
        return {who: ModelAnswer("", 0.1, likelihood=-1.0 * len(request.prompt)) for who in request.only}

    table = read_table('product,candidates,number\ncup,"mug\nflask\ntea",2 products\ncup,"mug\nlamp",1 product\ncup,,1\n')
    backend = RowsBackend(likely)
    *_, found = answers_so_far(backend, TASKS["also_buy"], table, None, 10, by_text=True)
    assert [(json.loads(one.answer) if one.answer else "", one.error) for _, one in sorted(found.items())[:2]] == [
        (["mug", "tea"], ""),
        ("", "The model failed."),
    ]
    assert "this is empty" in found[2].error
    assert {request.only for request in backend.asked} == {("tuned",)}
    assert {request.text for request in backend.asked} == {"cup", "mug", "flask", "tea", "lamp"}, "both ways"


def rows_of(text: str, separator: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=separator))


def answered(text: str, task: str = "review_rating", backend: RowsBackend | None = None, seconds: float = 10) -> str:
    table = read_table(text)
    *_, found = answers_so_far(backend or RowsBackend(rated), TASKS[task], table, None, seconds)
    return written(table, found)


def test_each_row_comes_back_with_its_columns_and_an_answer_or_a_reason() -> None:
    backend = RowsBackend(rated)
    rows = rows_of(answered(REVIEWS, backend=backend))
    assert [(row["id"], row["answer"], row["confidence"], row["error"]) for row in rows] == [
        ("1", "1", "0.6000", ""),
        ("2", "", "", "Review: this is empty. Fill it in."),
        ("3", "5", "0.6000", ""),
    ]
    assert rows[0]["review"] == "Leaks, and\nhow"
    assert {request.only for request in backend.asked} == {("tuned",)}
    assert len(backend.asked) == 2


def test_without_a_tuned_model_the_base_answers() -> None:
    assert rows_of(answered(REVIEWS, backend=RowsBackend(rated, {"base": "small"})))[2]["answer"] == "5"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_line_ends_and_a_byte_order_mark_are_read(separator: str) -> None:
    text = "\ufeff" + separator.join(["category", "review"]) + "\r\n" + separator.join(["Garden", "Holds"]) + "\r\n\r\n"
    [row] = rows_of(answered(text), separator)
    assert row["answer"] == "5"


def test_a_row_whose_time_is_up_whose_answer_is_unreadable_or_that_a_server_refuses_says_so() -> None:
    def trouble(request: AnswerRequest) -> Answers:
        if "Leaks" in request.prompt:
            raise BackendError("The prompt is too long for the model. Shorten it.")
        return {"tuned": ModelAnswer("no idea" if "Holds" in request.prompt else "4", 9.0, cut="slow" in request.prompt)}

    rows = rows_of(answered(REVIEWS + "4,Garden,slow\n", backend=RowsBackend(trouble)))
    assert [row["error"] for row in rows] == [
        "The prompt is too long for the model. Shorten it.",
        "Review: this is empty. Fill it in.",
        "the answer cannot be read",
        NO_TIME,
    ]
    assert rows[2]["text"] == "no idea"
    assert [row["error"] for row in rows_of(answered(REVIEWS, seconds=0))][::2] == [NO_TIME, NO_TIME]


def test_lists_are_json_or_lines_and_picks_come_back_as_their_texts() -> None:
    also = TASKS["also_buy"]
    example = fill_form(also, read_examples()["also_buy"][0].prompt)
    assert example is not None
    items = example.values["candidates"]
    table = example_table(also, [example])
    lines = table.replace(json.dumps(items, ensure_ascii=False).replace('"', '""'), "\n".join(items))
    backend = RowsBackend(lambda request: {who: ModelAnswer("2,1,99", 0.1) for who in request.only})
    for text in (table, lines):
        [row] = rows_of(answered(text, "also_buy", backend))
        assert json.loads(row["answer"]) == [items[1], items[0]]
    assert len({request.prompt for request in backend.asked}) == 1


def test_a_statement_stands_for_its_number_where_a_table_brings_no_options() -> None:
    task = TASKS["query_relation"]
    backend = RowsBackend(lambda request: {who: ModelAnswer("1", 0.1) for who in request.only})
    table = read_table("query,other_query\nlamp,desk lamp\n")
    *_, found = answers_so_far(backend, task, table, ["narrowing", "substitute", "complement", "irrelevant"], 10)
    assert found[0].answer == "substitute"


@pytest.mark.parametrize("name", sorted(read_examples()))
def test_the_example_of_every_task_is_answered(name: str) -> None:
    forms = [form for row in read_examples()[name] if (form := fill_form(TASKS[name], row.prompt))]
    table = read_table(example_table(TASKS[name], forms))
    answer = {"ranking": "2,1,3,4,5", "retrieval": "1", "generation": "some text"}.get(TASKS[name].family, "")
    backend = RowsBackend(lambda request: {who: ModelAnswer(answer or request.labels[0], 0.1) for who in request.only})
    *_, found = answers_so_far(backend, TASKS[name], table, forms[0].values.get("options"), 10)
    assert [one.error for one in found.values()] == [""] * len(table.rows)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The table is empty"),
        ("category,review", "a header only"),
        ("category,category\na,b", "has to name each column"),
        ("category,\na,b", "has to name each column"),
        ("category,review\na", "Row 1 has 1 cells, and the header has 2"),
        ('category,review\na,"b', "This is no CSV"),
        ("category,review\n" + "a,b\n" * (MOST_ROWS + 1), "has 201 rows, and 200 are the most"),
        ("category,review\na," + "b" * 400_000, "The table is too long"),
        ("category,words\na,b", "There is no column review. This task's columns are category, review"),
    ],
)
def test_a_table_that_cannot_be_asked_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        answered(text)


def test_two_hundred_rows_are_taken_and_columns_of_an_earlier_run_kept() -> None:
    text = answered("category,review\n" + "a,b\n" * MOST_ROWS)
    again = rows_of(answered(text))
    assert len(again) == MOST_ROWS
    assert {row["answer"] for row in again} == {row["answer_2"] for row in again} == {"5"}


def test_a_busy_model_is_a_reason_of_the_row() -> None:
    def busy(request: AnswerRequest) -> Answers:
        raise BackendBusy("The model is busy with other requests. Try again in a minute.")

    assert "busy" in rows_of(answered(REVIEWS, backend=RowsBackend(busy)))[0]["error"]


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]))
def test_any_cells_come_back_as_they_were(rows: list[tuple[str, str]], separator: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([("category", "review"), *rows])
    table = read_table(out.getvalue())
    back = rows_of(written(table, {0: RowAnswer("=1", 0.5)}), separator)
    assert [(row["category"], row["review"]) for row in back] == rows


def test_the_header_alone_is_the_example_of_a_task_without_one() -> None:
    assert example_table(RATING, []) == "category,review\n"
    assert example_table(RATING, [FilledForm({"category": "Toys", "review": "Good"}, 1)]) == "category,review\nToys,Good\n"
