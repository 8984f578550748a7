"""A right answer in the form that a row asks for, and the pattern of all such answers."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.metrics.shopbench import TASK_TYPES, says_nothing
from eval_tasks.suites.shopbench_rows import ShopBenchRow, pattern, right_answer
from eval_tasks.suites.shopbench_scoring import parse_answer, score_samples

TEN = "\n".join(f"{number}.aspect {number}" for number in range(1, 11))
FIFTEEN = "\n".join(f"{number}. product {number}" for number in range(1, 16))


def row_of(metric: str, truth: Any, prompt: str = "?") -> ShopBenchRow:
    return ShopBenchRow(prompt, truth, "task1", TASK_TYPES[metric], metric)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (row_of("accuracy", 2, "Which?\n0. a\n1. b\n2. c\nAnswer: "), "0|1|2"),
        (row_of("accuracy", 4, "Rate it on a scale of 1 to 5, with 1 being bad."), "1|2|3|4|5"),
        (row_of("accuracy", 4, "Which?"), "[0-9]"),
        (row_of("accuracy", 7, "0. a\n1. b"), "[0-9]"),
        (row_of("accuracy", 3, "Description:\n1. of steel\n2. of brass\nWhich?\n0. a\n1. b\n2. c\n3. d"), "0|1|2|3"),
        (row_of("ndcg", [1, 0, 0.1]), "1,(?:2,(?:3)|3,(?:2))|2,(?:1,(?:3)|3,(?:1))|3,(?:1,(?:2)|2,(?:1))"),
        (row_of("ndcg", [1, 0, 0.1, 0, 0, 0]), ""),
        (row_of("hit rate@3", [1, 2, 3], "Pick three."), ""),
        (row_of("micro f1", ["lamp"], TEN), ""),
        (row_of("rougel", "lamp", TEN), ""),
    ],
)
def test_a_pattern_allows_what_the_prompt_asks_for(row: ShopBenchRow, expected: str) -> None:
    assert pattern(row) == expected


@pytest.mark.parametrize(
    ("prompt", "allowed", "forbidden"),
    [
        (TEN, ["1,2,3", "10,9,1"], ["1,2", "1,2,2", "1,2,11", "0,1,2", "1,2,3,4"]),
        (FIFTEEN, ["1,2,3", "15,14,1", "2,2,2"], ["1,2", "1,2,16", "0,1,2", "1,2,3,4"]),
    ],
)
def test_three_numbers_of_the_list_are_picked(prompt: str, allowed: list[str], forbidden: list[str]) -> None:
    found = re.compile(pattern(row_of("hit rate@3", [4], prompt)))

    assert all(map(found.fullmatch, allowed))
    assert not any(map(found.fullmatch, forbidden))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (row_of("hit rate@3", [4], TEN), "4,1,2"),
        (row_of("hit rate@3", [4], "no list"), "4"),
        (row_of("hit rate@3", [4, 7, 9, 1], TEN), "4,7,9"),
        (row_of("ndcg", [0, 1, 0.1]), "2,3,1"),
        (row_of("micro f1", ["brass", "lamp"]), "brass,lamp"),
        (row_of("sent-transformer", ["a lamp", "lamp"]), "a lamp"),
        (row_of("accuracy", 2), "2"),
    ],
)
def test_a_right_answer_has_the_form_that_is_asked_for(row: ShopBenchRow, text: str) -> None:
    assert right_answer(row) == text


ANY_PROMPT = st.text() | st.sampled_from([TEN, FIFTEEN, "0. a\n1. b\n2. c\n3. d", f"{TEN}\n1. a\n2. b"])


@given(
    prompt=ANY_PROMPT,
    of=st.tuples(st.just("accuracy"), st.integers(0, 9))
    | st.tuples(st.just("hit rate@3"), st.lists(st.integers(1, 15), min_size=1, max_size=4, unique=True))
    | st.tuples(st.just("ndcg"), st.lists(st.sampled_from([0, 0.1, 1]), min_size=5, max_size=5).filter(any)),
    data=st.data(),
)
def test_the_right_answer_matches_and_what_matches_can_be_read(prompt: str, of: tuple[str, Any], data: st.DataObject) -> None:
    row = row_of(*of, prompt)
    found = pattern(row)

    (sample,) = score_samples([row], [right_answer(row)])
    assert sample.score == pytest.approx(min(3, len(row.truth)) / len(row.truth) if row.metric == "hit rate@3" else 1)
    if found:
        assert re.fullmatch(found, right_answer(row))
        assert not says_nothing(parse_answer(row, data.draw(st.from_regex(found, fullmatch=True))))
        assert not re.search(r"\(\?[^:]|\\[0-9]", found), "engines of automata have no lookaround and no backreference"
