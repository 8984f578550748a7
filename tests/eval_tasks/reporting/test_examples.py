"""The rows that a page shows: which, and how each answer stands in them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.reporting.details import Answer
from eval_tasks.reporting.examples import AS_IT_IS, HEAD, TAIL, UNKNOWN, as_data, draw, equal_shares, row_score
from tests.eval_tasks.runs import Said, report_of, said, write_run


def examples_of(*folders: Path, limit: int = 100, seed: int = 0) -> list[Any]:
    report = report_of(*folders)
    drawn: list[Any] = as_data(report, draw(report, limit, seed))["examples"]
    return drawn


@given(st.dictionaries(st.text(), st.integers(0, 50), min_size=1), st.integers(0, 200))
def test_shares_are_as_equal_as_the_tasks_are_large(sizes: dict[str, int], limit: int) -> None:
    shares = equal_shares(sizes, limit)

    assert sum(shares.values()) == min(limit, sum(sizes.values()))
    assert all(shares[task] <= size for task, size in sizes.items())
    cut = [share for task, share in shares.items() if share < sizes[task]]
    assert all(share >= max(shares.values()) - 1 for share in cut), "who is cut has no less than who has most"


def test_few_rows_are_all_shown_in_their_order(tmp_path: Path) -> None:
    tasks = {"shop:also_buy": said(0.0, 1.0), "shop:answerability": said(1.0, 0.0)}

    drawn = examples_of(write_run(tmp_path / "a", tasks))

    assert [(task, number) for task, number, *_ in drawn] == [(0, "0"), (0, "1"), (1, "0"), (1, "1")]


def test_of_many_rows_some_are_drawn_from_every_task_by_the_seed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", {"shop:also_buy": said(*range(30)), "shop:answerability": said(0.0, 1.0)})
    report = report_of(folder)

    drawn = draw(report, 10, seed=0)

    assert [sum(task == name for task, _ in drawn.chosen) for name in ("shop:also_buy", "shop:answerability")] == [8, 2]
    assert drawn.total == 32
    assert drawn == draw(report, 10, seed=0)
    assert drawn != draw(report, 10, seed=1)


def test_an_answer_stands_with_its_text_reading_and_score_beside_the_others_of_its_row(tmp_path: Path) -> None:
    rows = [
        Said("p", "yes, it is", 1.0, "yes"),
        Said("q", "yes", 0.0, "no"),
        Said("r", "who knows", 0.0, "no", unparsable=True),
    ]
    base = write_run(tmp_path / "a", {"shop:answerability": rows})
    tuned = write_run(tmp_path / "b", {"shop:answerability": rows[:1]})

    assert examples_of(base, tuned) == [
        [0, "0", "p", "yes", [["yes, it is", "yes", 1.0], ["yes, it is", "yes", 1.0]]],
        [0, "1", "q", "no", [["yes", AS_IT_IS, 0.0], None]],
        [0, "2", "r", "no", [["who knows", None, 0.0], None]],
    ]


def test_thoughts_stand_behind_the_answer(tmp_path: Path) -> None:
    row = Said("p", "yes", 1.0, "yes", raw="<think>no</think>yes")

    ((*_, answers),) = examples_of(write_run(tmp_path / "a", {"shop:answerability": [row]}))

    assert answers == [["yes", AS_IT_IS, 1.0, "<think>no</think>"]]


def test_counts_of_a_row_are_shown_as_its_score(tmp_path: Path) -> None:
    fields = {"prompt": "p", "truth": ["brass", "lamp"], "task": "task4", "metric": "micro f1"}
    specific = {"row": json.dumps(fields | {"task_type": "named_entity_recognition"})}
    row = Said("p", "brass", [1.0, 0.0, 1.0], "brass,lamp", specific=specific)

    ((*_, ((text, read, score),)),) = examples_of(write_run(tmp_path / "a", {"shopbench:task4": [row]}, metric="micro f1"))

    assert (text, read, score) == ("brass", AS_IT_IS, 0.6667)


@pytest.mark.parametrize(
    ("metric", "value", "unparsable", "score"),
    [
        ("accuracy", 0.25, False, 0.25),
        ("micro f1", [1.0, 1.0, 0.0], False, pytest.approx(2 / 3)),
        ("f1", [0.0, 0.0, 0.0], False, 1.0),  # a "no" that is right
        ("f1", [0.0, 0.0, 0.0], True, 0.0),
        ("f1", [0.0, 0.0, 1.0], False, 0.0),
        ("macro f1", [3.0, 3.0], False, 1.0),
        ("macro f1", [3.0, 1.0], False, 0.0),
        ("hr@1", [1.0, 1.0], False, 1.0),
        ("hr@1", [0.0, 0.0], True, 0.0),
    ],
)
def test_a_row_has_a_score_of_its_own(metric: str, value: Any, unparsable: bool, score: float) -> None:
    assert row_score(metric, Answer("0", "p", "g", "t", value, unparsable, "", {})) == score


@pytest.mark.parametrize("specific", [{}, {"row": "no JSON"}, {"row": "{}"}])
def test_a_row_that_does_not_say_how_it_is_read_is_shown_all_the_same(specific: dict[str, str], tmp_path: Path) -> None:
    row = Said("p", "brass", 1.0, specific=specific)

    ((*_, ((_, read, _),)),) = examples_of(write_run(tmp_path / "a", {"shopbench:task2": [row]}))

    assert read == UNKNOWN


def test_a_long_text_loses_its_middle_and_says_how_much(tmp_path: Path) -> None:
    prompt = "a" * HEAD + "b" * 100_000 + "c" * TAIL
    folder = write_run(tmp_path / "a", {"shop:answerability": [Said(prompt, "yes", 1.0)]})

    ((_, _, shown, *_),) = examples_of(folder)

    assert shown == "a" * HEAD + "\n[… 100,000 characters left out …]\n" + "c" * TAIL
    assert draw(report_of(folder), 10, 0).shortened
