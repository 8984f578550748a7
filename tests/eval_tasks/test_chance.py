"""The floor of guessing, against scores worked out by hand."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.tasks import TASKS
from eval_tasks.chance import chance

ROOT = Path(__file__).parents[2]


def row(answer: Any, prompt: str = "") -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": prompt}], "answer": json.dumps(answer)}


def test_a_choice_is_guessed_by_its_most_frequent_label() -> None:
    assert chance(TASKS["review_rating"], [row("5"), row("5"), row("1"), row("5")]) == 0.75


def test_a_selection_is_guessed_from_as_many_items_as_the_prompt_lists() -> None:
    prompt = "Pick some.\n" + "\n".join(f"{number}. product {number}" for number in range(1, 16)) + "\nOutput: "
    assert chance(TASKS["also_buy"], [row([1, 2, 3], prompt), row([4, 5, 6, 7, 8, 9], prompt)]) == pytest.approx(0.3)


def test_an_order_is_guessed_by_the_mean_of_all_orders() -> None:
    """One product has all the gain: its place is 1 to 5 with the same chance, and its discount 1 / log2(place + 1)."""
    expected = (1 + 0.6309297535714575 + 0.5 + 0.43067655807339306 + 0.38685280723454163) / 5
    assert chance(TASKS["query_product_ranking"], [row([0, 0, 1, 0, 0])]) == pytest.approx(expected)


def test_a_text_has_no_floor() -> None:
    assert chance(TASKS["answer_generation"], [row("Yes.")]) is None


def test_a_folder_without_test_rows_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval_tasks.chance", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
