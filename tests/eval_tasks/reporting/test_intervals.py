"""Intervals that cover what they say, p-values that are those of the permutation test, and inputs that tell nothing."""

import time
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval_tasks.metrics.task_scores import AGGREGATES, micro_f1
from eval_tasks.reporting import intervals
from eval_tasks.reporting.intervals import Difference, TaskValues, overall_interval, overall_paired

SHARES = st.floats(0, 1).map(lambda share: round(share, 3))
COUNTS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)).map(list)


def interval(values: Any, metric: str = "mean", groups: Any = None, **options: Any) -> tuple[float, float]:
    return overall_interval([TaskValues(values, metric, groups)], **options)


def paired(first: Any, second: Any, metric: str = "mean", groups: Any = None, **options: Any) -> Difference:
    return overall_paired([TaskValues(first, metric, groups)], [TaskValues(second, metric, groups)], **options)


def share_covered(draw: Any, truth: float, simulations: int = 400, **options: Any) -> float:
    random = np.random.default_rng(5)
    hits = 0
    for seed in range(simulations):
        low, high = interval(*draw(random), seed=seed, draws=500, **options)
        hits += low <= truth <= high
    return hits / simulations


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda random: [(random.random(60) < 0.6).astype(float)], 0.6),
        (lambda random: [random.normal(0.3, 0.2, 12)], 0.3),
        (lambda random: [random.beta(2, 5, 40)], 2 / 7),
    ],
    ids=["accuracy of 60 rows", "12 rows", "a skewed score of 40 rows"],
)
def test_an_interval_covers_the_true_score_as_often_as_its_level_says(draw: Any, truth: float, level: float) -> None:
    # Three standard errors of 400 simulations are 0.033 at 0.95 and 0.06 at 0.8.
    assert share_covered(draw, truth, level=level) == pytest.approx(level, abs=0.035 if level == 0.95 else 0.06)


def test_an_f1s_interval_covers_the_f1_of_all_rows() -> None:
    everyone = np.random.default_rng(1).integers(0, 4, (5000, 3))

    def draw(random: np.random.Generator) -> list[Any]:
        return [everyone[random.integers(0, len(everyone), 60)], "micro f1"]

    assert share_covered(draw, micro_f1(everyone.tolist())) == pytest.approx(0.95, abs=0.035)


def test_whole_groups_must_be_drawn_where_rows_of_a_group_are_alike() -> None:
    labels = [number // 6 for number in range(180)]

    def draw(random: np.random.Generator) -> list[Any]:
        return [np.repeat(random.normal(0.5, 0.2, 30), 6)]

    assert share_covered(draw, 0.5, groups=labels) == pytest.approx(0.95, abs=0.035)
    assert share_covered(draw, 0.5) < 0.75


def test_an_overall_interval_covers_the_mean_over_tasks_whatever_their_sizes() -> None:
    random = np.random.default_rng(9)
    hits = 0
    for seed in range(400):
        tasks = [TaskValues(random.normal(mean, 0.3, rows)) for mean, rows in ((0.2, 15), (0.6, 15), (0.7, 100))]
        low, high = overall_interval(tasks, seed=seed, draws=500)
        hits += low <= 0.5 <= high
    assert hits / 400 == pytest.approx(0.95, abs=0.035)


def test_models_of_the_same_quality_are_told_apart_as_rarely_as_the_p_value_says() -> None:
    random = np.random.default_rng(3)
    p_values = [paired(random.random(25), random.random(25), seed=seed, draws=300).p_value for seed in range(300)]

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.038)
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.087)


def test_a_model_that_is_better_on_every_row_is_told_apart() -> None:
    better = paired([0.7] * 20, [0.4] * 20)

    assert (better.low, better.high) == (pytest.approx(0.3), pytest.approx(0.3))
    assert better.value == pytest.approx(0.3)
    assert better.p_value == pytest.approx(2 / 2**20)


# --- Against brute force and scipy ---


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=9))
def test_the_p_value_of_few_rows_is_scipys_exact_one(rows: list[tuple[float, float]]) -> None:
    first, second = np.array(rows).T
    gains = first - second
    exact = stats.permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=np.inf) if len(rows) > 1 else None

    assert paired(first, second).p_value == pytest.approx(exact.pvalue if exact else 1.0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=6))
def test_the_p_value_of_an_f1_counts_all_ways_to_swap_the_rows(rows: list[tuple[list[int], list[int]]]) -> None:
    def gain(swaps: tuple[bool, ...]) -> float:
        pairs = [(b, a) if swap else (a, b) for swap, (a, b) in zip(swaps, rows, strict=True)]
        return micro_f1([a for a, _ in pairs]) - micro_f1([b for _, b in pairs])

    seen = gain((False,) * len(rows))
    every = [abs(gain(swaps)) >= abs(seen) - 1e-9 for swaps in product((False, True), repeat=len(rows))]

    found = paired([a for a, _ in rows], [b for _, b in rows], "micro f1")

    assert found.value == pytest.approx(seen)
    assert found.p_value == pytest.approx(np.mean(every))


def test_random_swaps_come_near_the_exact_p_value() -> None:
    random = np.random.default_rng(2)
    first, second = random.random(16), random.random(16) - 0.2

    exact = paired(first, second, draws=2**16).p_value

    assert 0.02 < exact < 0.9
    assert paired(first, second, draws=4000).p_value == pytest.approx(exact, abs=0.03)


def test_a_table_of_right_and_wrong_gives_mcnemars_exact_p_value() -> None:
    first = [1.0] * 30 + [0.0] * 12 + [1.0] * 100
    second = [0.0] * 30 + [1.0] * 12 + [1.0] * 100

    assert paired(first, second).p_value == stats.binomtest(30, 42).pvalue


def test_an_f1s_interval_is_that_of_drawing_rows_and_counting_anew() -> None:
    counts = np.random.default_rng(0).integers(0, 4, (50, 3)).tolist()
    random = np.random.default_rng(0)
    brute = [micro_f1([counts[row] for row in random.integers(0, 50, 50)]) for _ in range(4000)]

    assert interval(counts, "micro f1", draws=4000) == pytest.approx(tuple(np.quantile(brute, [0.025, 0.975])), abs=0.008)


def test_a_metric_without_a_rule_for_sums_gives_the_same_by_calling_it_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, (2, 40, 3))
    groups = [number // 2 for number in range(40)]
    fast = interval(first, "micro f1", groups, draws=200), paired(first, second, "micro f1", groups, draws=200)

    monkeypatch.setattr(intervals, "OF_SUMS", {})
    slow = interval(first, "micro f1", groups, draws=200), paired(first, second, "micro f1", groups, draws=200)

    assert slow[0] == pytest.approx(fast[0])
    assert vars(slow[1]) == pytest.approx(vars(fast[1]))


def test_a_metric_that_no_sum_tells_is_called_with_the_rows_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGGREGATES, "median", lambda values: float(np.median([value for (value,) in values])))

    low, high = interval([[value] for value in (0.0, 0.4, 0.5, 0.6, 9.0)], "median")

    assert 0.0 <= low <= 0.4
    assert 0.6 <= high <= 9.0


# --- What must not matter ---


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SHARES, SHARES, st.sampled_from("abcd")), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(rows: list[tuple[float, float, str]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    (first, second, groups), (first_too, second_too, groups_too) = zip(*rows, strict=True), zip(*shuffled, strict=True)

    for options in ({}, {"seed": 4}):
        assert interval(first, draws=50, **options) == interval(first_too, draws=50, **options)
        assert vars(paired(first, second, groups=groups, draws=50, **options)) == pytest.approx(
            vars(paired(first_too, second_too, groups=groups_too, draws=50, **options)), abs=1e-12
        )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SHARES, st.integers(0, 5)), min_size=1, max_size=30))
def test_an_interval_lies_among_the_values_and_around_what_is_drawn(rows: list[tuple[float, int]]) -> None:
    values = [value for value, _ in rows]
    for groups in (None, [group for _, group in rows]):
        low, high = interval(values, groups=groups)
        assert min(values) <= low <= high <= max(values)


@settings(deadline=None, max_examples=30)
@given(st.lists(SHARES, min_size=1, max_size=30), st.lists(COUNTS, min_size=1, max_size=30))
def test_identical_models_do_not_differ(values: list[float], counts: list[list[int]]) -> None:
    for same, metric in ((values, "mean"), (counts, "micro f1")):
        assert vars(paired(same, same, metric)) == {"value": 0, "low": 0, "high": 0, "p_value": 1}


def test_swapped_models_differ_by_the_opposite() -> None:
    first, second = np.random.default_rng(0).random((2, 30))
    one, other = paired(first, second), paired(second, first)

    assert other.value == pytest.approx(-one.value)
    assert other.p_value == pytest.approx(one.p_value, abs=0.03)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=0.02)


def test_one_group_a_row_is_the_same_as_no_groups() -> None:
    values = np.random.default_rng(0).random(40)

    assert interval(values, groups=range(40)) == pytest.approx(interval(values), abs=0.02)


def test_the_mean_over_tasks_has_the_difference_of_its_tasks() -> None:
    random = np.random.default_rng(0)
    first = [TaskValues(random.random(30) + 0.2), TaskValues(random.integers(0, 4, (20, 3)), "micro f1")]
    second = [TaskValues(random.random(30)), TaskValues(random.integers(0, 4, (20, 3)), "micro f1")]

    overall = overall_paired(first, second)

    each = [paired(mine.values, theirs.values, mine.metric) for mine, theirs in zip(first, second, strict=True)]
    assert overall.value == pytest.approx(np.mean([difference.value for difference in each]))
    assert overall.low < overall.value < overall.high
    assert overall_paired(first, first).p_value == 1
    assert overall_paired(first[:1], second[:1]) == each[0]


# --- Inputs that tell little or nothing ---


@pytest.mark.parametrize("values", [[0.1], [0.1] * 7, [0.7] * 300])
def test_equal_rows_give_an_interval_of_no_length(values: list[float]) -> None:
    assert interval(values) == (values[0], values[0])
    assert interval(values, groups=["a"] * len(values)) == (values[0], values[0])


def test_an_f1_without_anything_to_find_is_0() -> None:
    assert interval([[0, 0, 0]] * 3, "micro f1") == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval([]), "there are no rows"),
        (lambda: paired([], []), "there are no rows"),
        (lambda: overall_interval([]), "there are no tasks"),
        (lambda: overall_paired([], []), "there are no tasks"),
        (lambda: overall_paired([TaskValues([1.0])], []), "1 tasks of the first model and 0 of the second"),
        (lambda: paired([1.0, 0.0], [1.0]), "1 values of the second model for 2 rows"),
        (lambda: interval([1.0, 0.0], groups=["a"]), "1 groups for 2 rows"),
        (lambda: interval([1.0, float("nan")]), "finite numbers"),
        (lambda: interval([1.0, None]), "finite numbers"),
        (lambda: interval(["a"]), "must be numbers"),
        (lambda: interval([[1, 2, 3], [1, 2]], "micro f1"), "must be numbers, or lists of as many"),
        (lambda: interval([[1, 2, 3]]), "'mean' is a mean of numbers"),
        (lambda: interval([1.0], draws=0), "draws is 0"),
        (lambda: interval([1.0], level=95), "level is 95"),
    ],
)
def test_what_cannot_be_told_is_said_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_ten_thousand_rows_take_about_a_second() -> None:
    first, second = np.random.default_rng(0).random((2, 10_000))
    started = time.process_time()

    paired(first, second)

    assert time.process_time() - started < 6
