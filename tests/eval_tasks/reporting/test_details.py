"""The answers that a run kept: found, read, and the same rows of two models put together."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from eval_tasks.reporting.details import Answer, by_row, read_details, read_file
from eval_tasks.reporting.results import read_run
from tests.eval_tasks.rows import dataset_row
from tests.eval_tasks.runs import TIME, Said, said, write_run

ANSWER = Answer("0", "prompt", "gold", "text", 1.0, False, "", {})


def test_a_real_run_of_lighteval_is_read(shop_run: Path) -> None:
    from common.tasks import TASKS

    details, scores = read_details(shop_run), read_run(shop_run).scores

    assert details.keys() == scores.keys()
    for task, answers in details.items():
        rows = [dataset_row(TASKS[task.removeprefix("shop:")], index) for index in range(3)]
        assert [answer.id for answer in answers] == ["0", "1", "2"]
        assert [answer.prompt for answer in answers] == [row["prompt"][0]["content"] for row in rows]
        assert [answer.gold for answer in answers] == [row["completion"][0]["content"] for row in rows]
        assert [answer.specific["answer"] for answer in answers] == [row["answer"] for row in rows]
        assert sum(answer.value for answer in answers) / 3 == pytest.approx(scores[task].value)  # type: ignore[misc]
        assert sum(answer.unparsable for answer in answers) / 3 == pytest.approx(scores[task].unparsable)


def test_an_answer_has_all_that_its_row_has(tmp_path: Path) -> None:
    row = Said("q", "1", [1.0, 0.0, 2.0], "3", True, {"row": "{}", "group": "g"}, raw="<think>hm</think>1")

    (answer,) = read_details(write_run(tmp_path, {"shopbench:task4": [row]}, metric="micro f1"))["shopbench:task4"]

    specific = {"row": "{}", "group": "g"}
    assert answer == Answer("0", "q", "3", "1", [1.0, 0.0, 2.0], True, "g", specific, thoughts="<think>hm</think>")


def test_rows_come_in_their_own_order_even_from_ten_on(tmp_path: Path) -> None:
    details = read_details(write_run(tmp_path, {"shop:also_buy": said(*range(12))}))

    assert [answer.value for answer in details["shop:also_buy"]] == list(range(12))


def test_details_are_those_of_the_results_that_are_read(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(0.0)}, time="2026-01-01T00-00-00.000001")
    write_run(tmp_path, {"shop:also_buy": said(1.0)}, time="2026-01-02T00-00-00.000001")
    old = next(tmp_path.rglob("results_2026-01-01*.json"))

    assert read_details(tmp_path)["shop:also_buy"][0].value == 1.0
    assert read_details(old)["shop:also_buy"][0].value == 0.0


def test_a_newer_run_without_details_does_not_take_those_of_an_older_one(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(0.0)}, time="2026-01-01T00-00-00.000001")
    write_run(tmp_path, {"shop:also_buy": said(1.0)}, time="2026-01-02T00-00-00.000001", details=False)

    assert read_details(tmp_path) == {}


def test_a_run_from_the_hub_has_its_details_beside_the_results(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"shop:also_buy": said(1.0)})
    (tmp_path / "hub").mkdir()
    shutil.move(next((tmp_path / "run").rglob("results_*.json")), tmp_path / "hub")
    shutil.move(tmp_path / "run" / "details" / "org" / "model" / TIME, tmp_path / "hub")

    assert len(read_details(tmp_path / "hub")["shop:also_buy"]) == 1


@pytest.mark.parametrize("kept", [0, 4, 200])
def test_a_file_that_a_killed_run_left_half_written_is_told(kept: int, tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(1.0)})
    file = next(tmp_path.rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:kept])

    with pytest.raises(UserError, match=r"is no whole file of lighteval's details .* --save-details"):
        read_details(tmp_path)


def test_a_value_that_is_no_number_is_told(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(float("nan"))})

    with pytest.raises(UserError, match="is no whole file"):
        read_file(next(tmp_path.rglob("*.parquet")), "shop:also_buy")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), min_size=1), st.randoms(use_true_random=False))
def test_a_row_is_found_by_prompt_and_right_answer_wherever_it_stands(rows: list[tuple[str, str]], random: object) -> None:
    answers = [replace(ANSWER, id=str(number), prompt=prompt, gold=gold) for number, (prompt, gold) in enumerate(rows)]
    shuffled = answers.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = by_row(answers), by_row(shuffled)

    assert first.keys() == second.keys()
    assert len(first) == len(rows)
    assert all((first[key].prompt, first[key].gold) == (second[key].prompt, second[key].gold) for key in first)
