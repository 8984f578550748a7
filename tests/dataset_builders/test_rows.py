"""A recipe's fields become a row: cleaned, phrased, answerable, or dropped with a reason."""

import json
from dataclasses import replace
from typing import Any

import pytest

from common.answers import parse_completion
from common.prompts import read_fields, render_prompt, template_fields
from common.tasks import TASKS
from common.words import row_task
from dataset_builders.records import Rejected
from dataset_builders.rows import DatasetRow, make_row, make_word_rows, row_of_columns

LICENCES = {"esci": "Apache-2.0", "amazonqa": "none stated"}
RANKING = {
    "query": "steel kettle",
    "products": ["Kettle A", "Kettle B", "Kettle C", "Kettle D", "Kettle E"],
    "answer": [0.1, 1.0, 0.0, 0.01, 1.0],
}
BUY = {"product": "Kettle", "number": "2 products", "candidates": [f"Item {n}" for n in range(15)], "answer": [3, 15]}
QUESTION = {"question": "Is it loud?", "snippets": ["It hums.", "It sings."], "answer": "It hums a little."}


def make(task: str, fields: dict[str, Any], seed: int = 0, key: str = "k", **changes: Any) -> DatasetRow | Rejected:
    base = {"key": key, "group": "query:x", "source": "esci", "records": [4, None, 7]}
    return make_row(TASKS[task], {**base, **fields, **changes}, LICENCES, seed)


@pytest.mark.parametrize(
    ("task", "fields", "completion", "answer"),
    [
        ("query_product_ranking", RANKING, "2,5,1,4,3", [0.1, 1.0, 0.0, 0.01, 1.0]),
        ("also_buy", BUY, "3,15", [3, 15]),
        ("answer_generation", QUESTION, "It hums a little.", "It hums a little."),
    ],
)
def test_a_row_says_what_was_asked_and_answered(task: str, fields: dict[str, Any], completion: str, answer: Any) -> None:
    row = make(task, fields)
    columns = row.as_columns()
    assert columns["prompt"] == [{"role": "user", "content": row.prompt}]
    assert columns["completion"] == [{"role": "assistant", "content": completion}]
    assert json.loads(columns["answer"]) == answer
    assert (columns["task"], columns["family"]) == (task, TASKS[task].family)
    assert (columns["source"], columns["licence"], columns["group"]) == ("esci", "Apache-2.0", "query:x")
    assert len(columns["sample_id"]) == 32
    assert row.records == (4, 7)
    assert "records" not in columns
    assert parse_completion(TASKS[task], completion) is not None


def test_markup_tokens_and_length_are_cleaned_in_every_field() -> None:
    dirty = "<b>It</b> hums<|im_end|>\n<|im_start|>assistant &amp; sings " + "la " * 200
    row = make("answer_generation", {"question": dirty, "snippets": [dirty], "answer": dirty})
    told = row.prompt + row.completion + row.answer
    assert not [token for token in ("<|", "|>", "<b>", "&amp;") if token in told]
    assert "It hums assistant & sings la" in row.prompt
    assert len(row.completion.split()) == 60
    assert row.completion.endswith(" …")


def test_product_text_with_braces_is_not_read_as_a_template() -> None:
    row = make("query_product_ranking", RANKING, query="{products:1} {0} {x}")
    assert "{products:1} {0} {x}" in row.prompt


@pytest.mark.parametrize(
    ("task", "fields", "changes", "reason"),
    [
        ("query_product_ranking", RANKING, {"query": "<p></p>"}, "query holds nothing to read"),
        ("query_product_ranking", RANKING, {"products": ["a", "b", "c", "d", " "]}, "products holds nothing to read"),
        (
            "query_product_ranking",
            RANKING,
            {"products": ["a", "b", "c", "d", "<b>A</b>"]},
            "products holds the same text twice",
        ),
        ("answer_generation", QUESTION, {"answer": "<br>"}, "answer cannot be read back"),
        ("also_buy", BUY, {"answer": []}, "answer cannot be read back"),
        ("query_product_ranking", RANKING, {"answer": [1.0, 0.1]}, "answer cannot be read back"),
        ("review_rating", {"category": "Home", "review": "Nice", "answer": "6"}, {}, "answer cannot be read back"),
    ],
)
def test_a_row_that_cannot_be_asked_or_answered_says_why(task: str, fields: Any, changes: Any, reason: str) -> None:
    assert make(task, fields | changes) == Rejected(reason)


def test_both_templates_are_used_and_the_seed_decides() -> None:
    def prompts(seed: int) -> list[str]:
        return [make("query_product_ranking", RANKING, seed, key=str(key)).prompt for key in range(40)]

    assert len(set(prompts(0))) == 2
    assert prompts(0) == prompts(0)
    assert prompts(0) != prompts(1)


def test_a_sample_is_told_from_others_by_task_prompt_and_completion() -> None:
    row = make("answer_generation", QUESTION)
    assert row.sample_id == make("answer_generation", QUESTION, source="amazonqa", group="query:y").sample_id
    assert row.sample_id != make("answer_generation", QUESTION | {"answer": "No."}).sample_id


def test_a_row_to_test_on_has_its_question_in_the_unseen_wording_too_and_is_otherwise_the_same() -> None:
    about = {"key": "k", "group": "query:x", "source": "esci", "records": []}
    tested = make_row(TASKS["also_buy"], {**about, **BUY}, LICENCES, 0, tested=True)
    trained = make_row(TASKS["also_buy"], {**about, **BUY}, LICENCES, 0)
    assert isinstance(tested, DatasetRow)
    assert isinstance(trained, DatasetRow)
    assert replace(tested, unseen="") == trained
    assert tested.unseen == render_prompt(TASKS["also_buy"].unseen, BUY)
    assert tested.as_columns()["unseen"] == [{"role": "user", "content": tested.unseen}]
    assert trained.as_columns()["unseen"] is None
    assert row_of_columns(tested.as_columns()) == replace(tested, content={})


def test_the_number_of_the_wording_is_that_of_the_template() -> None:
    rows = [make("query_product_ranking", RANKING, key=str(key)) for key in range(20)]
    templates = TASKS["query_product_ranking"].templates
    assert {row.prompt: row.wording for row in rows} == {render_prompt(text, RANKING): n for n, text in enumerate(templates, 1)}
    form = TASKS["also_buy"].words
    assert form
    for row in worded("also_buy"):
        fields = read_fields(TASKS["also_buy"], row.prompt)
        assert row.prompt == render_prompt(form.templates[row.wording - 1], fields)
        assert not row.unseen


def test_a_row_of_an_earlier_version_keeps_its_columns() -> None:
    row = make("also_buy", BUY)
    assert isinstance(row, DatasetRow)
    columns = {name: value for name, value in row.as_columns().items() if name not in ("wording", "unseen")}
    assert row_of_columns(columns).as_columns() == columns


WORDED = ("query_relation", "query_product_relation", "product_relation", "query_product_ranking", "also_buy", "next_query")


def recipe_row(task: str, **changes: Any) -> dict[str, Any]:
    """What a recipe yields for a list of things, or for a choice whose statements are in another order than the labels."""
    form = TASKS[task].words
    assert form
    names = set().union(*map(template_fields, TASKS[task].templates))
    lists: dict[str, dict[str, Any]] = {
        "candidates": {"candidates": [f"thing {place}" for place in range(10)], "answer": [2, 9]},
        "queries": {"queries": [f"thing {place}" for place in range(10)], "answer": [1, 2, 3]},
        "products": {"products": [f"thing {place}" for place in range(5)], "answer": [0.0, 1.0, 0.1, 0.01, 0.1]},
        "options": {"options": list(reversed(form.statements)), "answer": "1"},
        "actions": {"actions": ["Looked at 'a lamp'", "Bought 'tea'"]},
    }
    texts = {name: f"a {name}" for name in names - lists.keys()}
    about = {"key": "k0", "group": "g0", "source": "shop", "records": [0]}
    return {**texts, **about, **{key: value for name in names & lists.keys() for key, value in lists[name].items()}, **changes}


def worded(task: str, **changes: Any) -> list[DatasetRow]:
    rows = make_word_rows(TASKS[task], recipe_row(task, **changes), {"shop": "own"}, 0)
    assert isinstance(rows, list)
    return rows


@pytest.mark.parametrize("task", WORDED)
def test_a_row_in_words_reads_as_a_choice_of_its_words_and_keeps_what_it_is_about(task: str) -> None:
    numbered = make_row(TASKS[task], recipe_row(task), {"shop": "own"}, 0)
    assert isinstance(numbered, DatasetRow)
    for made in worded(task):
        form = row_task(TASKS[task], json.loads(made.answer))
        assert form is not TASKS[task]
        assert parse_completion(form, made.completion) == json.loads(made.answer) == made.completion
        assert read_fields(form, made.prompt)
        assert (made.task, made.family, made.group, made.content) == (task, numbered.family, numbered.group, numbered.content)
        assert made.prompt != numbered.prompt


def test_a_choice_in_words_has_the_word_of_its_number() -> None:
    assert [row.completion for row in worded("query_product_relation")] == ["complement"], (
        "statements stand the other way round"
    )


@pytest.mark.parametrize("task", ["also_buy", "next_query"])
def test_a_list_makes_as_many_rows_to_say_yes_to_as_to_turn_down(task: str) -> None:
    rows = worded(task)
    assert sorted(row.completion for row in rows) == ["no", "no", "yes", "yes"]
    assert rows[0].completion != rows[1].completion, "by turns"
    assert len({row.prompt for row in rows}) == 4
    firsts = {worded(task, key=f"k{number}")[0].completion for number in range(20)}
    assert firsts == {"yes", "no"}, "which is first is drawn"


def test_what_is_hard_to_turn_down_is_asked_first_and_what_is_right_never_is() -> None:
    hard = ["THING 1", "green lamp", "blue lamp", "red lamp"]
    rows = worded("also_buy", hard=hard, hard_records=[7, 8, 9, 10])
    refused = [row.prompt for row in rows if row.completion == "no"]
    assert ["green lamp" in refused[0], "blue lamp" in refused[1]] == [True, True]
    assert set(rows[0].records) == {0, 7, 8, 9, 10}
    plain = make_row(TASKS["also_buy"], recipe_row("also_buy", hard=hard, hard_records=[7]), {"shop": "own"}, 0)
    assert isinstance(plain, DatasetRow)
    assert plain.records == (0,)


def test_products_of_a_ranking_have_the_words_of_their_gains() -> None:
    rows = worded("query_product_ranking")
    said = {row.prompt.partition("thing ")[2][0]: row.completion for row in rows}
    truth = {"0": "irrelevant", "1": "exact", "2": "substitute", "3": "complement", "4": "substitute"}
    assert len(said) == 4
    assert {place: truth[place] for place in said} == said
    assert len(set(said.values())) == 4


def test_what_was_masked_is_counted_once() -> None:
    rows = worded("also_buy", product="write to jo@example.com for a lamp")
    assert [bool(row.masked) for row in rows] == [True, False, False, False]
