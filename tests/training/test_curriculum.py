"""training/curriculum.py: easier versions of rows, and in which part of training they come."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import listed_numbers
from common.prompts import read_fields, render_prompt
from common.tasks import TASKS
from training.curriculum import CurriculumSampler, ask_for_best, easier, sort_options

OPTIONS = st.lists(st.text("ab. 1", min_size=1, max_size=6), min_size=2, max_size=5, unique=True)
HEAD = "Which statement fits best?\n"
TAIL = "Answer with one number: "


def question(options: list[str], first: int = 0) -> str:
    return HEAD + "".join(f"{number}. {option}\n" for number, option in enumerate(options, first)) + TAIL


@given(options=OPTIONS, first=st.integers(0, 1), data=st.data())
def test_the_right_option_stays_the_right_one_and_options_come_in_one_order_however_they_were_shuffled(
    options: list[str], first: int, data: st.DataObject
) -> None:
    right = data.draw(st.sampled_from(options))
    shuffled = data.draw(st.permutations(options))
    prompt, completion = sort_options(question(options, first), str(options.index(right) + first))
    assert sorted(options)[int(completion) - first] == right
    assert prompt == question(sorted(options), first)
    assert sort_options(question(shuffled, first), str(shuffled.index(right) + first)) == (prompt, completion)
    assert sort_options(prompt, completion) == (prompt, completion)


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("Rate this review from 1 to 5.\nAnswer: ", "4"),
        (question(["b", "a"]), "0,1"),
        (question(["b", "a"]), "2"),
        ("Is it?\n0. no\nAnswer: ", "0"),
        ("Which?\n1. b\n1. a\nAnswer: ", "1"),
        ("", ""),
    ],
)
def test_what_asks_for_no_numbered_option_stays_as_it_is(prompt: str, completion: str) -> None:
    assert sort_options(prompt, completion) == (prompt, completion)


def test_a_list_in_a_product_s_text_is_none_to_choose_from() -> None:
    text = "The box holds\n1. screws\n2. nails\nand more.\n"
    prompt, completion = sort_options(text + question(["b", "a"]), "0")
    assert (prompt, completion) == (text + question(["a", "b"]), "1")


LISTING = [task for task in TASKS.values() if task.lists_options]


@pytest.mark.parametrize("task", LISTING, ids=lambda task: task.name)
def test_every_phrasing_of_a_task_that_lists_statements_is_read(task: Any) -> None:
    for template in task.templates:
        fields = dict.fromkeys(re.findall(r"\{(\w+)", template), "a thing")
        statements = [f"statement {letter}" for letter in "dbca"[: len(task.labels)]]
        prompt = render_prompt(template, fields | {"options": statements})
        right = statements.index("statement b")
        prompt, completion = sort_options(prompt, str(right))
        assert completion == str(sorted(statements).index("statement b"))
        assert read_fields(task, prompt)["options"] == tuple(sorted(statements))
        assert listed_numbers(prompt) == range(len(statements))


def test_a_row_of_messages_keeps_all_but_its_question_and_answer() -> None:
    row = {
        "prompt": [{"role": "system", "content": "0. x\n1. a\n"}, {"role": "user", "content": question(["b", "a"])}],
        "completion": [{"role": "assistant", "content": "1"}],
    }
    assert easier(row) == {
        "prompt": [{"role": "system", "content": "0. x\n1. a\n"}, {"role": "user", "content": question(["a", "b"])}],
        "completion": [{"role": "assistant", "content": "0"}],
    }
    assert row["completion"] == [{"role": "assistant", "content": "1"}]


RANKING = TASKS["query_product_ranking"]
PRODUCTS = ("oak stool", "steel lamp", "lamp (2)", "red tent", "blue tent")


@pytest.mark.parametrize("template", RANKING.templates)
def test_the_query_of_a_ranking_becomes_its_best_product_and_the_answer_stays(template: str) -> None:
    prompt = render_prompt(template, {"query": "lamp", "products": PRODUCTS})
    row = {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": "3,2,1,5,4"}],
        "task": RANKING.name,
    }
    changed = easier(row)
    assert read_fields(RANKING, changed["prompt"][0]["content"]) == {"query": "lamp (2)", "products": PRODUCTS}
    assert changed["completion"] == row["completion"]


@pytest.mark.parametrize(
    ("task", "prompt", "completion"),
    [
        ("also_buy", render_prompt(TASKS["also_buy"].templates[1], {"product": "lamp", "candidates": PRODUCTS}), "3,5"),
        (RANKING.name, render_prompt(RANKING.templates[0], {"query": "lamp", "products": PRODUCTS}), "7,2,1,5,4"),
        (RANKING.name, render_prompt(RANKING.templates[0], {"query": "lamp", "products": PRODUCTS}), "none"),
        (RANKING.name, "Rank them:\nlamp (1)\ntent (2)", "1,2"),
        ("someone_elses_task", "Rank them:\nlamp (1)\ntent (2)", "1,2"),
        (None, "", ""),
    ],
)
def test_what_is_no_ranking_in_a_known_wording_keeps_what_it_asks(task: str | None, prompt: str, completion: str) -> None:
    assert ask_for_best(prompt, completion, task) == prompt


@given(count=st.integers(0, 50), share=st.floats(0, 1), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_an_epoch_has_each_batch_once_and_only_the_first_one_begins_with_easier_rows(
    count: int, share: float, seed: int, epoch: int
) -> None:
    order = CurriculumSampler(count, share, seed)
    order.set_epoch(epoch)
    drawn = list(order)
    assert len(order) == count
    assert sorted(number % count for number in drawn) == list(range(count))
    are_easier = [number >= count for number in drawn]
    assert sum(are_easier) == (0 if epoch else round(share * count))
    assert are_easier == sorted(are_easier, reverse=True)
    assert drawn == list(order)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = []
    for seed, epoch in ((0, 1), (0, 2), (1, 1)):
        order = CurriculumSampler(40, 0.5, seed)
        order.set_epoch(epoch)
        orders.append(tuple(order))
    assert len(set(orders)) == 3
