"""When a model's answer agrees with the constructed one, and which rows a policy keeps for it."""

import json
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.labelling.votes import (
    BOUNDS,
    DIFFERS,
    ONE_MODEL,
    POLICIES,
    SOME_AGREE,
    UNPARSABLE,
    Vote,
    chance_agreement,
    comparable,
    label_columns,
    parse_bounds,
    rejection,
)
from tests.dataset_builders.labelling.example_rows import ranking, rating, relation, selection, vote

BEST = [0.0, 1.0, 0.1, 0.0, 0.01]


@pytest.mark.parametrize(
    ("row", "text", "agrees"),
    [
        (relation("2"), "2", True),
        (relation("2"), " 2. irrelevant", True),
        (relation("2"), "1", False),
        (relation("2"), "irrelevant", False),
        (rating("5"), "<think>\nThe customer says 3, or 4?\n</think>\n\n5", True),
        (rating("5"), "55", False),
        (selection([3]), "3", True),
        (selection([3]), "4,3", False),
        (selection([3, 7]), "7,3,9", True),
        (selection([3, 7]), "7,9", False),
        (selection([3, 7, 9]), "7,9,1", True),
        (selection([3, 7, 9]), "7,1,2", False),
        (ranking(BEST), "2,3,5,1,4", True),
        (ranking(BEST), "2,1,4,3,5", True),
        (ranking(BEST), "3,2,5,1,4", False),
        (ranking(BEST), "2,3,5,1", False),
    ],
)
def test_an_answer_agrees_where_the_evaluation_scores_it_high_enough(row: object, text: str, agrees: bool) -> None:
    assert vote(row, text).agrees == agrees  # type: ignore[arg-type]


def test_the_constructed_answer_agrees_with_itself() -> None:
    for row in (relation("0"), rating("1"), selection([1, 15]), ranking(BEST), ranking([1.0] * 5)):
        assert vote(row, row.completion) == Vote("one", row.completion, 1.0, True)


def test_what_cannot_be_read_has_no_text_and_keeps_its_reason_without_details() -> None:
    assert vote(rating("1"), "I cannot say") == Vote("one", None, 0.0, False)
    refused = vote(rating("1"), "", reason="refused: 400: row 17 is odd")
    assert (refused.text, refused.refused) == (None, "refused")


def test_free_texts_are_not_compared() -> None:
    assert {task.family for task in TASKS.values() if not comparable(task)} == {"generation"}


def votes(*agreeing: bool, model: str = "one") -> list[Vote]:
    return [Vote(model, "1" if agrees else "2", float(agrees), agrees) for agrees in agreeing]


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_majority_is_more_than_half_and_a_tie_is_none(agreeing: list[bool]) -> None:
    kept = rejection("majority", votes(*agreeing)) == ""
    assert kept == (sum(agreeing) > len(agreeing) - sum(agreeing))
    assert rejection("majority", votes(True, False)) == SOME_AGREE


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(0, 3))
def test_votes_that_could_not_be_read_count_against_a_row(agreeing: list[bool], unread: int) -> None:
    lost = [Vote("one", None, 0.0, False)] * unread
    for policy in ("agree", "majority"):
        against = votes(*agreeing, *[False] * unread)
        assert (rejection(policy, [*votes(*agreeing), *lost]) == "") == (rejection(policy, against) == "")


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.lists(st.booleans(), min_size=1, max_size=9))
def test_two_models_keep_what_each_of_them_has_a_majority_for(first: list[bool], second: list[bool]) -> None:
    both = [*votes(*first), *votes(*second, model="other")]
    kept = [rejection("majority", votes(*each)) == "" for each in (first, second)]
    reason = rejection("two-models", both)
    assert (reason == "") == all(kept)
    assert (reason == ONE_MODEL) == (sum(kept) == 1)


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_votes_changes_nothing_and_one_more_that_agrees_rejects_no_row(agreeing: list[bool], rng: object) -> None:
    given_votes = votes(*agreeing)
    shuffled = rng.sample(given_votes, len(given_votes))  # type: ignore[attr-defined]
    for policy in POLICIES:
        assert rejection(policy, shuffled) == rejection(policy, given_votes)
        if rejection(policy, given_votes) == "":
            assert rejection(policy, [*given_votes, *votes(True)]) == ""


def test_stricter_policies_keep_no_more() -> None:
    for agreeing in ((True, True, True), (True, True, False), (True, False, False), (False,) * 3):
        kept = [rejection(policy, votes(*agreeing)) == "" for policy in ("agree", "majority", "all")]
        assert kept == sorted(kept)


def test_a_rejection_says_what_was_wrong() -> None:
    lost = Vote("one", None, 0.0, False)
    assert rejection("agree", votes(False)) == DIFFERS
    assert rejection("agree", votes(True, False)) == SOME_AGREE
    assert rejection("agree", [lost]) == UNPARSABLE
    assert rejection("agree", [Vote("one", None, 0.0, False, "content filter"), lost]) == "content filter"
    assert rejection("all", [lost]) == ""


@pytest.mark.parametrize("gains", [BEST, [1.0, 1.0, 0.0, 0.1, 0.0], [1.0] * 5, [0.1, 0.1, 0.1, 0.0, 0.0]])
def test_the_chance_of_a_ranking_is_the_share_of_orders_that_agree(gains: list[float]) -> None:
    row = ranking(gains)
    orders = [vote(row, ",".join(map(str, order))).agrees for order in permutations(range(1, 6))]
    assert chance_agreement(row, BOUNDS) == pytest.approx(sum(orders) / 120)


@pytest.mark.parametrize("answer", [[4], [1, 9], [2, 3, 15], [1, 2, 3, 4, 5]])
def test_the_chance_of_a_selection_is_the_share_of_picks_as_many_that_agree(answer: list[int]) -> None:
    row = selection(answer)
    picks = [vote(row, ",".join(map(str, picked))).agrees for picked in combinations(range(1, 16), len(answer))]
    assert chance_agreement(row, BOUNDS) == pytest.approx(sum(picks) / len(picks))


def test_the_chance_of_a_label_is_that_of_the_options() -> None:
    assert chance_agreement(relation("0"), BOUNDS) == 1 / 4
    assert chance_agreement(rating("4"), BOUNDS) == 1 / 5


def test_bounds_are_read_by_family() -> None:
    assert parse_bounds(None) == BOUNDS
    assert parse_bounds(" retrieval=1, ranking = 0.9") == {**BOUNDS, "retrieval": 1.0, "ranking": 0.9}


@pytest.mark.parametrize("text", ["", "0.5", "retrieval", "retrieval=0", "ranking=1.5", "ranking=nan", "multiple_choice=0.5"])
def test_a_bound_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UserError, match=r"Cannot read --agreement .*"):
        parse_bounds(text)


def test_a_row_tells_what_each_model_said() -> None:
    row = relation("2")
    told = [vote(row, "2"), vote(row, "?"), vote(row, "1", model="other"), vote(row, "2. yes", model="other")]
    columns = label_columns("two-models", told)
    assert columns["label_source"] == "two-models"
    assert json.loads(columns["label_votes"]) == {"one": ["2", None], "other": ["1", "2"]}
    assert columns["label_agreement"] == 0.5
