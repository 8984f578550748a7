"""Scores of tasks that are no mean of their rows' values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.metrics.task_scores import macro_f1, micro_f1, share

CLASSES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


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
    assert micro_f1(counts) == f1


@given(pairs=CLASSES)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    true, predicted = zip(*pairs, strict=True)

    assert macro_f1(pairs) == pytest.approx(f1_score(true, predicted, average="macro"), abs=1e-12)


@given(pairs=CLASSES)
def test_micro_f1_of_one_class_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    counts = [(t == p == 0, p == 0 != t, t == 0 != p) for t, p in pairs]

    expected = f1_score([t == 0 for t, _ in pairs], [p == 0 for _, p in pairs], zero_division=0)
    assert micro_f1(counts) == pytest.approx(expected, abs=1e-12)


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
    assert macro_f1(pairs) == pytest.approx(score)


def test_a_share_leaves_out_what_is_not_counted() -> None:
    assert share([[1, 1], [0, 1], [0, 0]]) == 0.5
    assert share([[0, 0]]) == 0.0
