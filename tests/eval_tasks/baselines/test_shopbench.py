"""What baselines say to ShopBench's prompts: lists are read, what is listed is said, and nothing where nothing is known."""

from collections import Counter
from statistics import mean

import pytest

from common.scoring import expected_ndcg
from eval_tasks.baselines.shop import BASELINES
from eval_tasks.baselines.shopbench import shopbench_answers
from eval_tasks.baselines.template_rows import template_row
from eval_tasks.suites.shopbench_rows import ShopBenchRow, parse_rows
from eval_tasks.suites.shopbench_scoring import score_samples
from tests.eval_tasks.questions import TITLES, make_row
from tests.eval_tasks.rows import shopbench_records

CHOICE = ShopBenchRow(
    "Which fits brass lamp best?\n0. teapot\n1. brass lamp\n2. hose\nAnswer: ", 1, "task2", "multiple-choice", "accuracy"
)
RATING = ShopBenchRow(
    "Rate it from 1 to 5.\nInput: a thing\nA superb thing\nOutput:\n", 5, "task15", "multiple-choice", "accuracy"
)
PICK = ShopBenchRow(
    "Pick three for a lamp.\n" + "\n".join(f"{n}. item {n}" for n in range(1, 8)), [2, 5, 7], "task3", "retrieval", "hit rate@3"
)
RANK = ShopBenchRow(
    "Rank for: lamp\n" + "\n".join(f"{n}. item {n}" for n in range(1, 6)), [0.1, 1, 0, 0, 0], "task12", "ranking", "ndcg"
)
TRAIN = {
    "review_rating": [
        template_row(make_row("review_rating", str(rating), review=words, group=words))
        for number in range(19)
        for words, rating in [(f"A superb thing {number}", 5) if number % 2 else (f"An awful thing {number}", 1)]
    ],
    "query_generation": [template_row(make_row("query_generation", "lamp", product=title)) for title in TITLES],
}


@pytest.fixture(scope="module")
def rows() -> list[ShopBenchRow]:
    return parse_rows([("", record) for record in shopbench_records()], "rows")


def scores(rows: list[ShopBenchRow], said: list[str | None]) -> list[float]:
    return [float(sample.score) for sample in score_samples(rows, [text or "" for text in said])]


@pytest.mark.parametrize(
    ("row", "expected"),
    [(CHOICE, 1 / 3), (RATING, 1 / 5), (PICK, 3 / 7), (RANK, expected_ndcg([0.1, 1, 0, 0, 0]))],
    ids=["choice", "rating", "retrieval", "ranking"],
)
def test_guesses_score_what_chance_gives_on_average(row: ShopBenchRow, expected: float) -> None:
    found = [scores([row], shopbench_answers("random", {}, [row], seed))[0] for seed in range(1500)]
    deviation = (mean(score**2 for score in found) - mean(found) ** 2) ** 0.5
    assert mean(found) == pytest.approx(expected, abs=4 * deviation / len(found) ** 0.5)


def test_a_text_has_no_guess(rows: list[ShopBenchRow]) -> None:
    assert shopbench_answers("random", {}, rows)[-1] is None


@pytest.mark.parametrize("name", ["tfidf", "bm25", "minilm"])
def test_what_is_most_like_the_question_is_said_first(name: str) -> None:
    assert shopbench_answers(name, TRAIN, [CHOICE]) == ["1"]
    assert shopbench_answers(name, {}, [CHOICE]) == [None]


def test_a_review_is_rated_as_the_train_rows_teach() -> None:
    said = {name: shopbench_answers(name, TRAIN, [RATING])[0] for name in BASELINES}
    assert said.pop("random") in {"1", "2", "3", "4", "5"}
    assert said == {"majority": "1", "tfidf": "5", "bm25": None, "minilm": "5"}
    assert shopbench_answers("tfidf", {"query_generation": TRAIN["query_generation"]}, [RATING]) == [None]


@pytest.mark.parametrize("name", BASELINES)
def test_rows_without_a_list_are_not_answered(name: str, rows: list[ShopBenchRow]) -> None:
    answered = Counter(
        row.task_type for row, text in zip(rows, shopbench_answers(name, TRAIN, rows), strict=True) if text is not None
    )
    assert answered == ({} if name == "majority" else {"multiple-choice": 2, "retrieval": 1})
