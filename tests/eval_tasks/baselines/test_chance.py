"""The floor of guessing, against scores worked out by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.tasks import TASKS
from eval_tasks.baselines.chance import chance
from tests.eval_tasks.questions import make_row

ROOT = Path(__file__).parents[3]


def test_a_choice_is_guessed_by_its_most_frequent_label() -> None:
    assert chance(TASKS["review_rating"], [make_row("review_rating", label) for label in "5515"]) == 0.75


def test_a_statement_is_the_same_guess_whatever_its_number() -> None:
    """Its number is drawn, so that each label is as frequent as any other, and yet one statement is right three times."""
    rows = [
        make_row("product_relation", str(place), options=list(options)) for place, options in enumerate(("abc", "cab", "bca"))
    ]
    assert chance(TASKS["product_relation"], [*rows, make_row("product_relation", "0", options=list("bca"))]) == 0.75


def test_a_selection_is_guessed_from_as_many_items_as_the_prompt_lists() -> None:
    rows = [make_row("also_buy", [1, 2, 3]), make_row("also_buy", [4, 5, 6, 7, 8, 9])]
    assert chance(TASKS["also_buy"], rows) == pytest.approx(0.3)


def test_an_order_is_guessed_by_the_mean_of_all_orders() -> None:
    """One product has all the gain: its place is 1 to 5 with the same chance, and its discount 1 / log2(place + 1)."""
    expected = (1 + 0.6309297535714575 + 0.5 + 0.43067655807339306 + 0.38685280723454163) / 5
    row = make_row("query_product_ranking", [0, 0, 1, 0, 0])
    assert chance(TASKS["query_product_ranking"], [row]) == pytest.approx(expected)


def test_a_text_has_no_floor() -> None:
    assert chance(TASKS["answer_generation"], [make_row("answer_generation", "Yes.")]) is None


def test_a_folder_without_test_rows_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval_tasks.baselines.chance", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
