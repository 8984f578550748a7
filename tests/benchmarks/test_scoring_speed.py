"""The benchmark of scoring: what it scores, and that both ways give the same scores."""

import json

import pytest

from benchmarks.scoring_speed import KINDS, main
from benchmarks.stored_answers import stored_answers
from common.answers import parse_completion
from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.metrics.embeddings import PACKAGED_SENTENCE_MODEL
from eval_tasks.metrics.shopbench import TASK_TYPES, is_truth
from tests.benchmarks.conftest import Benchmark


def test_stored_answers_are_of_all_tasks_and_metrics_and_the_same_for_a_seed() -> None:
    answers = stored_answers(rows=3, models=2, backends=2, seed=0)

    assert answers == stored_answers(rows=3, models=2, backends=2, seed=0) != stored_answers(3, 2, 2, seed=1)
    assert len(answers) == 3 * 2 * 2 * len(KINDS)
    assert {answer.kind for answer in answers} == set(KINDS) == {*TASKS, *TASK_TYPES} - {"multilingual-sent-transformer"}
    assert all(is_truth(answer.truth, answer.kind) for answer in answers if answer.kind in TASK_TYPES)


def test_better_models_are_right_more_often_and_backends_mostly_agree() -> None:
    answers = [answer for answer in stored_answers(100, 2, 2, seed=0) if answer.kind == "review_rating"]
    worse, same, better, _ = (answers[start : start + 100] for start in range(0, 400, 100))

    right = [sum(parse_completion(TASKS[a.kind], a.text) == a.truth for a in part) for part in (worse, better)]
    assert right[0] + 30 < right[1]
    assert 80 <= sum(one.text == other.text for one, other in zip(worse, same, strict=True)) < 100


def test_both_ways_give_the_same_scores(benchmark: Benchmark) -> None:
    pytest.importorskip(PACKAGED_SENTENCE_MODEL, reason="the packaged sentence-embedding model is not installed")

    done = benchmark("scoring_speed", "--answers", 80, "--models", 2, "--backends", 2)

    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["answers"] == 80
    assert figures["largest_difference"] < 1e-6
    assert figures["identical"] > 0.9
    assert set(figures["ratios"]) == set(KINDS)
    assert figures["ratio"] > 0


def test_fewer_answers_than_kinds_are_told() -> None:
    with pytest.raises(UserError, match="--answers must be at least 20, the kinds of answers, times"):
        main(["--answers", "19", "--models", "1", "--backends", "1"])
