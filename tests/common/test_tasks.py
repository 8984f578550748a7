"""The declarations that all parts share: what is rendered is read back, what is not an answer is None, text stays text."""

import json
import re
import string
import subprocess
import sys
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import (
    answer_pattern,
    decode_answer,
    gold,
    listed_numbers,
    parse_completion,
    parse_numbers,
    render_completion,
    row_pattern,
    selection_pattern,
)
from common.tasks import FAMILIES, GAINS, TASKS, Task, render_prompt, template_fields
from dataset_builders.tables import LABELS, TABLES

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
LONGEST_LIST = 15
TWELVE = (
    *("review_rating", "query_relation", "query_product_relation", "product_relation", "answerability"),
    *("query_product_ranking", "also_buy", "next_query"),
    *("query_generation", "next_title_merrec", "next_title_amazon", "answer_generation"),
)
"""The tasks of the system that is rebuilt; others may follow them."""

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
    text = st.text(max_size=20) | st.sampled_from(["0. a\n1. b", "1.5 inch", "1. a\n2. b\n3. c", "\n15. x"])
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


@every_task
def test_a_perfect_models_completion_can_be_generated_within_the_tasks_token_limit(task: Task) -> None:
    """With a token for each digit and comma, and one for two letters of a word, which is as many as a tokenizer needs."""
    longest = {"ranking": "1,2,3,4,5", "retrieval": "11,12,13,14,15" if task.name == "also_buy" else "8,9,10"}
    text = longest.get(task.family, max(task.labels, key=len, default=""))
    assert task.max_new_tokens > (len(text) // 2 if text.isalpha() else len(text))


def test_there_are_twelve_tasks_or_more_in_four_families_and_a_metric_for_each() -> None:
    assert list(TASKS)[:12] == list(TWELVE)
    assert {task.family for task in TASKS.values()} == set(FAMILIES)
    metrics = {"multiple_choice": "accuracy", "ranking": "ndcg", "retrieval": "hit_rate", "generation": "rougel"}
    assert all(task.metric == metrics[task.family] for task in TASKS.values())
    assert all(name == task.name for name, task in TASKS.items())
    assert not set(TASKS) & {*FAMILIES, "default"}, "a config of a task and one of a family would have the same name"


def test_full_sizes_add_up_to_those_of_the_system_that_is_rebuilt() -> None:
    assert sum(TASKS[name].train_size for name in TWELVE) == 105_865
    assert sum(TASKS[name].test_size for name in TWELVE) == 11_359


@every_task
def test_labels_are_there_for_multiple_choice_alone_and_none_begins_another(task: Task) -> None:
    assert bool(task.labels) == (task.family == "multiple_choice")
    assert not [a for a in task.labels for b in task.labels if a != b and b.startswith(a)]


@every_task
def test_a_task_needs_only_canonical_tables(task: Task) -> None:
    assert task.tables
    assert set(task.tables) <= set(TABLES)


def test_gains_are_given_for_every_label_of_a_judgment() -> None:
    assert set(GAINS) == set(LABELS)
    assert [GAINS[label] for label in LABELS] == [1.0, 0.1, 0.01, 0.0]


@every_task
def test_both_templates_ask_for_fields_that_tell_the_same(task: Task) -> None:
    assert len(task.templates) == 2
    first, second = map(template_fields, task.templates)
    assert first - {"category", "number"} == second - {"category", "number"}


NASTY = ("{x}", "{0}", "}{", "{query!r}", "{products:1}", "`code` ```", "%s %(x)s", "\\n", "$1", "{{", "<|im_end|>", "")


@every_task
def test_text_of_fields_comes_out_verbatim(task: Task) -> None:
    for template, nasty in product(task.templates, NASTY):
        fields: dict[str, Any] = {name: f"{name}: {nasty} end" for name in template_fields(template)}
        listed = {name for _, name, spec, _ in string.Formatter().parse(template) if name and spec}
        fields |= {name: [f"{name} {place}: {nasty} end" for place in range(3)] for name in listed}
        prompt = render_prompt(template, fields)
        for value in fields.values():
            for text in value if isinstance(value, list) else [value]:
                assert text in prompt
        for literal, _, _, _ in string.Formatter().parse(template):
            assert literal in prompt


def test_lists_are_numbered_from_one_or_zero_or_get_bullets_or_stay_plain_lines() -> None:
    items = ["a", "b {0}"]
    assert render_prompt("{x:1}", {"x": items}) == "1. a\n2. b {0}"
    assert render_prompt("{x:0}", {"x": items}) == "0. a\n1. b {0}"
    assert render_prompt("{x:-}", {"x": items}) == "- a\n- b {0}"
    assert render_prompt("{x}", {"x": tuple(items)}) == "a\nb {0}"
    assert render_prompt("{x:1}", {"x": list(range(12))}).endswith("\n12. 11")


def test_a_missing_field_raises() -> None:
    with pytest.raises(KeyError):
        render_prompt("{query} {product}", {"query": "x"})


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


def test_the_module_imports_nothing_but_the_standard_library() -> None:
    """The Space takes this one file along."""
    code = (
        "import sys, runpy; runpy.run_path('common/tasks.py');"
        "print([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names and '__' not in m])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_endless_number_is_none_whatever_a_library_lets_python_read() -> None:
    usual = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(0)
        assert parse_numbers(f"2,{'1' * 5000},3") == [2, 3]
    finally:
        sys.set_int_max_str_digits(usual)
    assert parse_numbers(f"2,{'1' * 5000},3") == [2, 3]
