"""From what a shop has to a prompt, and back."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.prompts import template_fields
from common.tasks import TASKS, Task
from space.demo.examples import read_examples
from space.demo.inputs import MAX_CHARS, MAX_ITEMS, InputError, build_prompt, fill_form, input_fields

RANKING, RELATION, BUYING = (TASKS[name] for name in ("query_product_ranking", "query_relation", "also_buy"))
PRODUCTS = ["red hose", "blue hose", "hose reel", "garden chair", "novel"]
UNKNOWN = Task(
    "size_advice",
    "Which size?",
    "multiple_choice",
    (),
    ("For a {body_height} tall customer:\n{size_chart:-}\n{options:0}\nAnswer: ",),
    "accuracy",
    1,
    1,
    labels=("0", "1", "2"),
)
WORDS = st.text("abcdefg <>&{}$é日", min_size=1, max_size=30).filter(str.strip)


def values_for(task: Task) -> st.SearchStrategy[dict[str, Any]]:
    def value(name: str, is_list: bool, min_items: int, max_items: int) -> st.SearchStrategy[Any]:
        if name == "number":
            return st.just("2 products")
        return st.lists(WORDS, min_size=max(min_items, 2), max_size=min(max_items, 6)) if is_list else WORDS

    return st.fixed_dictionaries(
        {field.name: value(field.name, field.is_list, field.min_items, field.max_items) for field in input_fields(task)}
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@given(data=st.data())
def test_whatever_words_a_form_holds_its_prompt_fills_a_form_that_sends_the_same_prompt(
    task: Task, data: st.DataObject
) -> None:
    wording = data.draw(st.integers(1, len(task.templates)))
    prompt = build_prompt(task, data.draw(values_for(task)), wording)
    filled = fill_form(task, prompt)
    assert filled is not None
    assert build_prompt(task, filled.values, filled.wording) == prompt


@pytest.mark.parametrize("name", TASKS)
def test_the_fields_of_a_task_are_all_that_its_templates_name(name: str) -> None:
    task = TASKS[name]
    assert {field.name for field in input_fields(task)} == set().union(*map(template_fields, task.templates))


def test_every_shipped_example_fills_its_form() -> None:
    for name, rows in read_examples().items():
        for row in rows:
            filled = fill_form(TASKS[name], row.prompt)
            assert filled is not None, row.prompt
            assert build_prompt(TASKS[name], filled.values, filled.wording) == row.prompt


def test_a_list_may_be_typed_one_a_line_with_empty_lines_and_blanks() -> None:
    typed = "\n red hose\r\nblue   hose\n\n" + "\n".join(PRODUCTS[2:]) + "\n"
    assert build_prompt(RANKING, {"query": "hose", "products": typed}) == build_prompt(
        RANKING, {"query": "hose", "products": PRODUCTS}
    )


def test_a_text_of_several_lines_keeps_them_and_loses_what_cannot_be_seen() -> None:
    task = TASKS["review_rating"]
    prompt = build_prompt(task, {"category": "Gar\u200bden\u0000", "review": "Good\n\n  but\tsmall \ud83d"})
    assert "Category: Garden\nReview: Good\nbut small\nAnswer: " in prompt


@pytest.mark.parametrize(
    ("task", "given", "sentence"),
    [
        (RANKING, {}, "Search query: this is empty. Fill it in."),
        (RANKING, {"query": " \u200b\n", "products": PRODUCTS}, "Search query: this is empty."),
        (RANKING, {"query": "a"}, "Products: this is empty. Fill it in, one a line."),
        (
            RANKING,
            {"query": "a", "products": PRODUCTS[:4]},
            "Products: there have to be exactly 5, one a line, and there are 4.",
        ),
        (RANKING, {"query": "a", "products": ["one"]}, "and there is 1."),
        (RANKING, {"query": "a", "products": [*PRODUCTS, "six"]}, "exactly 5, one a line, and there are 6."),
        (
            RANKING,
            {"query": "a", "products": ["x" * (MAX_CHARS + 1), *PRODUCTS[1:]]},
            "Products: this is too long. It has 2,001",
        ),
        (RANKING, {"query": "a" * (MAX_CHARS + 1), "products": PRODUCTS}, "Search query: this is too long."),
        (RANKING, {"query": "a", "products": ["x" * 1900] * 5}, "The prompt is too long: 9,"),
        (RANKING, {"query": ["a"], "products": PRODUCTS}, "Search query: this has to be one text."),
        (RANKING, {"query": "a", "products": 7}, "Products: this has to be a list of texts."),
        (RANKING, {"query": "a", "products": [{"title": "x"}]}, "Products: this has to be a list of texts."),
        (RANKING, {"query": "a", "products": ["x"] * 1000}, "Products: there are too many"),
        (RELATION, {"query": "a", "other_query": "b", "options": list("abcde")}, "there have to be 2 to 4, one a line"),
        (
            BUYING,
            {"product": "a", "candidates": ["b"] * (MAX_ITEMS + 1), "number": "2"},
            "there have to be 2 to 30, one a line",
        ),
        (
            BUYING,
            {"product": "a", "candidates": ["b", "c"], "number": "3 products"},
            "How many to pick: this has to begin with a number",
        ),
        (BUYING, {"product": "a", "candidates": ["b", "c"], "number": "a few"}, "a number from 1 to 2"),
        (BUYING, {"product": "a", "candidates": ["b", "c"]}, "How many to pick: this is empty."),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(task: Task, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        build_prompt(task, given)


@pytest.mark.parametrize("wording", [0, 3, "1", 1.0, None])
def test_a_wording_that_is_none_is_told_in_a_sentence(wording: Any) -> None:
    with pytest.raises(InputError, match="give a whole number from 1 to 2"):
        build_prompt(RANKING, {"query": "a", "products": PRODUCTS}, wording)


def test_a_field_that_only_another_wording_names_is_not_asked_for() -> None:
    prompt = build_prompt(BUYING, {"product": "tent", "candidates": ["pegs", "pan"]}, 2)
    assert "'tent'" in prompt
    assert "pan (2)" in prompt


def test_fields_that_nobody_has_named_yet_are_called_by_their_names() -> None:
    assert [field.heading for field in input_fields(UNKNOWN)] == [
        "Body height",
        "Size chart, one a line",
        "Statements to choose from, one a line, 2 to 3",
    ]
    prompt = build_prompt(UNKNOWN, {"body_height": "1.80 m", "size_chart": "M to 1.75\nL to 1.85", "options": ["M", "L", "XL"]})
    assert prompt == "For a 1.80 m tall customer:\n- M to 1.75\n- L to 1.85\n0. M\n1. L\n2. XL\nAnswer: "


def test_a_field_that_a_template_names_twice_is_one_box() -> None:
    task = replace(UNKNOWN, templates=("Is {query} it?\n{options:0}\nOnce more, {query}: ",))
    assert [field.name for field in input_fields(task)] == ["query", "options"]
    prompt = build_prompt(task, {"query": "a lamp", "options": ["no", "yes"]})
    filled = fill_form(task, prompt)
    assert filled is not None
    assert filled.values == {"query": "a lamp", "options": ["no", "yes"]}


def test_a_prompt_that_no_template_makes_fills_no_form() -> None:
    assert fill_form(RANKING, "Rank these, please.") is None
