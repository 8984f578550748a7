"""Every rule of the ShopBench scorer as a case worked out by hand, and what holds for any text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import PARSERS, parse_entities, parse_ranking, parse_retrieval
from eval_tasks.metrics import aggregate as metrics
from eval_tasks.metrics.aggregate import TASK_TYPES, TEXT_METRICS
from eval_tasks.metrics.embeddings import SENTENCE_MODELS

CASES = json.loads((Path(__file__).parents[1] / "cases" / "samples.json").read_text(encoding="utf-8"))
ANY_TEXT = st.text() | st.text(alphabet="0123456789,. ½²٣[]'\"()-\n", max_size=60)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_sample_is_read_and_scored_as_worked_out_by_hand(case: dict[str, Any]) -> None:
    parsed = PARSERS[case["task_type"]](case["text"])
    score = TEXT_METRICS[case["metric"]](parsed, case["truth"])

    assert parsed == case["parsed"]
    assert (list(score) if isinstance(score, tuple) else score) == pytest.approx(case["score"], abs=1e-12)


def test_cases_cover_every_metric_but_the_embedding_ones() -> None:
    assert {case["metric"] for case in CASES} == set(TEXT_METRICS) == set(TASK_TYPES) - set(SENTENCE_MODELS)


def test_ndcg_leaves_the_weights_in_their_order() -> None:
    weights = [0.0, 1.0, 0.1]

    metrics.ndcg([2, 3, 1], weights)

    assert weights == [0.0, 1.0, 0.1]


@pytest.mark.parametrize(
    ("counts", "f1"),
    [
        ([(2, 1, 0), (0, 0, 2)], 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)),
        ([(0, 0, 3)], 0.0),
        ([(0, 3, 0)], 0.0),
        ([(0, 0, 0)], 0.0),
    ],
)
def test_micro_f1_divides_summed_counts_and_never_by_zero(counts: list[tuple[int, int, int]], f1: float) -> None:
    assert metrics.micro_f1(counts) == f1


@given(text=ANY_TEXT, weights=st.lists(st.sampled_from([0, 0.01, 0.1, 1, 1.0]), min_size=1, max_size=7))
def test_ndcg_of_any_text_lies_between_0_and_1_unless_0_and_5_share_a_weight(text: str, weights: list[float]) -> None:
    order = parse_ranking(text)

    score = metrics.ndcg(order, weights)

    assert score >= 0
    assert score <= 1 + 1e-12 or (0 in order and len(weights) in order)


@given(text=ANY_TEXT, truth=st.lists(st.integers(1, 15), min_size=1, unique=True))
def test_hit_rate_of_any_text_lies_between_0_and_1(text: str, truth: list[int]) -> None:
    assert 0 <= metrics.hit_rate_at_3(parse_retrieval(text), truth) <= 1


@given(text=ANY_TEXT, truth=st.lists(st.text(max_size=5), unique_by=str.lower))
def test_entity_counts_add_up_to_what_was_predicted_and_what_was_true(text: str, truth: list[str]) -> None:
    entities = parse_entities(text)

    hits, false_positives, false_negatives = metrics.entity_counts(entities, truth)

    assert hits + false_positives == len(entities)
    assert hits + false_negatives == len(truth)
    assert min(hits, false_positives, false_negatives) >= 0


# --- Scores of tasks that are no means ---

CLASSES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(pairs=CLASSES)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    true, predicted = zip(*pairs, strict=True)

    assert metrics.macro_f1(pairs) == pytest.approx(f1_score(true, predicted, average="macro"), abs=1e-12)


@given(pairs=CLASSES)
def test_micro_f1_of_one_class_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    counts = [(t == p == 0, p == 0 != t, t == 0 != p) for t, p in pairs]

    expected = f1_score([t == 0 for t, _ in pairs], [p == 0 for _, p in pairs], zero_division=0)
    assert metrics.micro_f1(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pairs", "score"),
    [
        ([[0, 0], [1, -1]], 0.5),  # what is missed counts against its class and is no class itself
        ([[0, 0], [-1, -1]], 1.0),  # what is left out does not count at all
        ([[-1, -1]], 0.0),
        ([[0.0, 0.0], [1.0, 0.0]], 1 / 3),  # F1 of 0: 2/3; of 1: 0
    ],
)
def test_macro_f1_knows_answers_of_no_class(pairs: list[list[float]], score: float) -> None:
    assert metrics.macro_f1(pairs) == pytest.approx(score)


def test_a_share_leaves_out_what_is_not_counted() -> None:
    assert metrics.share([[1, 1], [0, 1], [0, 0]]) == 0.5
    assert metrics.share([[0, 0]]) == 0.0
