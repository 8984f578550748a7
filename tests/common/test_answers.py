"""How a model's text is parsed: what is rendered is read back, and what is not an answer is None."""

import json
import re
import sys
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import (
    answer_pattern,
    decode_answer,
    gold,
    listed_numbers,
    numbered_items,
    parse_completion,
    parse_numbers,
    render_completion,
    row_pattern,
    selection_pattern,
    whole_characters,
)
from common.prompts import render_prompt, template_fields
from common.tasks import GAINS, TASKS, Task

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
LONGEST_LIST = 15
one_line = (
    st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=80).map(str.strip).filter(bool)
)


def values(task: Task) -> st.SearchStrategy[Any]:
    """Every value that a completion of the task may have."""
    return {
        "multiple_choice": st.sampled_from(task.labels or ("",)),
        "ranking": st.sampled_from([list(order) for order in permutations(range(1, 6))]),
        "retrieval": st.lists(st.integers(1, LONGEST_LIST), min_size=1, max_size=5, unique=True),
        "generation": one_line,
    }[task.family]


@every_task
@given(data=st.data())
def test_a_rendered_completion_parses_to_its_value_and_matches_the_pattern(task: Task, data: st.DataObject) -> None:
    value = data.draw(values(task))
    text = render_completion(task, value)
    assert parse_completion(task, text) == value
    assert re.fullmatch(answer_pattern(task), text)


CHOICES = {"options": 4, "candidates": 15, "queries": 10, "products": 5}
"""Field with a numbered list -> its length in a real prompt."""


@st.composite
def rows(draw: st.DrawFn, task: Task) -> tuple[str, Any]:
    """A prompt of the task whose texts hold anything, lists among it, and an answer to it."""
    template = draw(st.sampled_from(task.templates))
    text = st.text(max_size=20) | st.sampled_from(
        ["0. a\n1. b", "1.5 inch", "1. a\n2. b\n3. c", "\n15. x", "a (1)\nb (2)", "lid (2)"]
    )
    fields: dict[str, Any] = {name: draw(text) for name in template_fields(template)}
    for name in CHOICES.keys() & fields.keys():
        length = len(task.labels) or CHOICES[name]
        fields[name] = draw(st.lists(text, min_size=length, max_size=length))
    gains = st.lists(st.sampled_from(list(GAINS.values())), min_size=5, max_size=5)
    answer = draw(
        {"ranking": gains, "retrieval": st.lists(st.integers(1, 10), min_size=1, max_size=5, unique=True)}.get(
            task.family, values(task)
        )
    )
    return render_prompt(template, fields), answer


@every_task
@given(data=st.data())
def test_a_rows_pattern_matches_the_gold_completion_and_nothing_that_cannot_be_read(task: Task, data: st.DataObject) -> None:
    prompt, answer = data.draw(rows(task))
    pattern = row_pattern(task, prompt, answer)
    if task.family == "generation":
        assert pattern == ""
        return
    assert re.fullmatch(pattern, render_completion(task, gold(task, answer)))
    assert parse_completion(task, data.draw(st.from_regex(pattern, fullmatch=True))) is not None
    assert not re.search(r"\(\?[^:]|\\[0-9]", pattern), "engines of automata have no lookaround and no backreference"
    assert len(pattern) < 4096


@pytest.mark.parametrize(
    ("name", "prompt", "answer", "pattern"),
    [
        ("review_rating", "1. bad\n2. worse", "2", "1|2|3|4|5"),
        ("query_relation", "0. a\n1. b\n2. c\n3. d\nAnswer: ", "3", "0|1|2|3"),
        ("product_relation", "0. a\n1. b\nAnswer: ", "1", "0|1"),
        ("product_relation", "0. a\n1. b\nAnswer: ", "2", "0|1|2"),
        ("answerability", "0. a\n1. b\nAnswer: ", "yes", "no|yes"),
        ("next_query", "1. a\n2. b\n3. c\n", [2, 3], "1,(?:2|3)|2,(?:1|3)|3,(?:1|2)"),
        ("next_query", "1. a\n2. b\n3. c\n", [3], "1|2|3"),
        ("next_query", "a (1)\nb (2)\nc (3)\n", [3], "1|2|3"),
        ("next_query", "1. a\n2. b\n3. c\n", [9], r"[1-9][0-9]?(?:,[1-9][0-9]?)*"),
    ],
)
def test_a_pattern_is_made_for_what_the_prompt_lists(name: str, prompt: str, answer: Any, pattern: str) -> None:
    assert row_pattern(TASKS[name], prompt, answer) == pattern


def test_selections_are_spelled_out_up_to_three_of_ten_and_beyond_may_repeat_a_number() -> None:
    three, five = selection_pattern(range(1, 11), 3), selection_pattern(range(1, 16), 5)

    assert re.fullmatch(three, "10,1,2")
    assert not re.fullmatch(three, "10,1,10")
    assert not re.fullmatch(three, "10,1")
    assert re.fullmatch(selection_pattern(range(1, 16), 20), ",".join(["15"] * 20))
    assert re.fullmatch(five, "15,1,10,15,2")
    assert not re.fullmatch(five, "16,1,10,15,2")
    assert not re.fullmatch(five, "15,1,10,2")


@pytest.mark.parametrize(
    ("prompt", "numbers"),
    [
        ("", range(0)),
        ("1. only one", range(0)),
        ("1. a\n2. b\nOutput: ", range(1, 3)),
        ("Aspects:\n1.lid\n2.hook\n3.value\n", range(1, 4)),
        ("0. a\n1. b\n2. c", range(3)),
        ("1. of a text\n2. of a text\n0. a\n1. b\n2. c", range(3)),
        ("a (1)\nb (2)\nc (3)\nOutput: ", range(1, 4)),
        ("1. a\n2. b\n1.5 inch wide\n3. c", range(1, 4)),
        ("1. a\n2. b\n1. left alone", range(1, 3)),
        ("3. a\n4. b", range(0)),
    ],
)
def test_the_last_numbered_list_is_found(prompt: str, numbers: range) -> None:
    assert listed_numbers(prompt) == numbers


@every_task
@given(text=st.text() | st.text("0123456789,. ½²٣①\n") | st.integers(0, 10**9).map(lambda n: str(n) * 1000))
def test_parsing_never_raises_and_yields_a_value_of_the_task_or_none(task: Task, text: str) -> None:
    value = parse_completion(task, text)
    if value is None:
        return
    if task.family == "multiple_choice":
        assert value in task.labels
    elif task.family == "ranking":
        assert sorted(value) == [1, 2, 3, 4, 5]
    elif task.family == "retrieval":
        assert value
        assert len(set(value)) == len(value)
        assert min(value) >= 1
    else:
        assert value == value.strip()
        assert "\n" not in value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("review_rating", " 4", "4"),
        ("review_rating", "4 stars", "4"),
        ("review_rating", "4.", "4"),
        ("review_rating", "4\nBecause it is good", "4"),
        ("review_rating", "45", None),
        ("review_rating", "6", None),
        ("review_rating", "0", None),
        ("review_rating", "I say 4", None),
        ("review_rating", "", None),
        ("answerability", "Yes.", "yes"),
        ("answerability", "NO", "no"),
        ("answerability", "not sure", None),
        ("answerability", "yesterday", None),
        ("product_relation", "3", None),
        ("query_product_ranking", "3,1,2,5,4", [3, 1, 2, 5, 4]),
        ("query_product_ranking", "[3, 1, 2, 5, 4]", [3, 1, 2, 5, 4]),
        ("query_product_ranking", "3,1,2,5,4,4", [3, 1, 2, 5, 4]),
        ("query_product_ranking", "3,1,2,5", None),
        ("query_product_ranking", "3,1,2,5,5", None),
        ("query_product_ranking", "0,1,2,3,4", None),
        ("query_product_ranking", "the best is the third", None),
        ("also_buy", "2, 7,7, 15", [2, 7, 15]),
        ("also_buy", "0", None),
        ("also_buy", "none of them", None),
        ("answer_generation", "  It fits.\nQuestion: next", "It fits."),
        ("answer_generation", " \n ", None),
    ],
)
def test_completions_are_read_as_people_would(name: str, text: str, expected: Any) -> None:
    assert parse_completion(TASKS[name], text) == expected


def test_numbers_are_read_as_shopbench_reads_them() -> None:
    assert parse_numbers("1, 2,3") == [1, 2, 3]
    assert parse_numbers("1. 2. 3") == []  # no comma: "1 2 3" is no int
    assert parse_numbers("No. 1, no. 2") == [1, 2]
    assert parse_numbers("½,²,٣") == [3]
    assert parse_numbers("9" * 5000) == []


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("review_rating", "4", "4"),
        ("query_product_ranking", [0.0, 1.0, 0.1, 0.01, 1.0], [2, 5, 3, 4, 1]),
        ("also_buy", [3, 9], [3, 9]),
        ("answer_generation", "It fits.", "It fits."),
    ],
)
def test_gold_is_what_a_perfect_completion_parses_to(name: str, answer: Any, expected: Any) -> None:
    assert gold(TASKS[name], decode_answer({"answer": json.dumps(answer)})) == expected


def test_an_endless_number_is_none_whatever_a_library_lets_python_read() -> None:
    usual = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(0)
        assert parse_numbers(f"2,{'1' * 5000},3") == [2, 3]
    finally:
        sys.set_int_max_str_digits(usual)
    assert parse_numbers(f"2,{'1' * 5000},3") == [2, 3]


@pytest.mark.parametrize("template", TASKS["query_product_ranking"].templates)
@given(titles=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), min_size=5, max_size=5))
def test_numbered_products_are_read_back_from_the_prompt_whatever_their_titles_hold(template: str, titles: list[str]) -> None:
    prompt = render_prompt(template, {"query": "a", "products": titles})
    assert numbered_items(prompt) == dict(enumerate(titles, 1))


@pytest.mark.parametrize(
    ("prompt", "items"),
    [
        ("no list here", {}),
        ("1. only one", {}),
        ("Explain 1. thing", {}),
        ("Which?\n0. a\n1. b\n10. no\nAnswer: ", {0: "a", 1: "b"}),
        ("Rate it.\nAspects:\n1.stability\n2. lid\n3.fit\nOutput: 1", {1: "stability", 2: "lid", 3: "fit"}),
        ("0. a\n1. b\n2. c", {0: "a", 1: "b", 2: "c"}),
        ("1. first\n2. second\nQuery List:\n1. x\n2. y\n3. z", {1: "x", 2: "y", 3: "z"}),
        ("1. a\n7. a size, not a number\n2. b", {1: "a", 2: "b"}),
        ("1. 2. Generation Charger\n2. b", {1: "2. Generation Charger", 2: "b"}),
        ("5. stars\n4. stars", {}),
        ("Product List:\nlid (1)\njar (2)\nOutput: ", {1: "lid", 2: "jar"}),
        ("lid (2) (1)\njar (1) (2)\nOutput: ", {1: "lid (2)", 2: "jar (1)"}),
        ("only one (1)", {}),
        ("a review (1)\nin two lines (2)\n0. yes\n1. no", {0: "yes", 1: "no"}),
        ("1. look\n2. choose\nlid (1)\njar (2)", {1: "lid", 2: "jar"}),
        ("1. lid (1)\n2. jar (2)", {1: "lid (1)", 2: "jar (2)"}),
        ("lid (1)\n1. pot (2)\n2. jar (3)", {1: "lid", 2: "1. pot", 3: "2. jar"}),
    ],
)
def test_the_last_upward_list_is_the_one_that_is_asked_about(prompt: str, items: dict[int, str]) -> None:
    assert numbered_items(prompt) == items


def test_halves_of_surrogate_pairs_are_replaced_and_nothing_else() -> None:
    assert whole_characters("a\ud83d\ude00b\U0001f600\0") == "a\ufffd\ufffdb\U0001f600\0"
