"""Scales of ratings, told by their values."""

import pytest

from common.errors import UserError
from dataset_builders.scales import ScaleCounts, check_narrow, scale_of


@pytest.mark.parametrize(
    ("numbers", "ends"),
    [
        ([1, 2, 3, 4, 5], None),
        ([2, 4], None),
        ([1, 2, 3] * 10, (1, 3)),
        ([0, 4], (0, 4)),
        ([0, 5], (1, 5)),
        ([2, 10], (1, 10)),
        ([20, 60, 100], (20, 100)),
        ([13, 87], (1, 100)),
        ([-1, 1], (-1, 1)),
        ([-1, 2, 3, 5], (1, 5)),
        ([1, 2, 4, 5, 99], (1, 5)),
        ([1, 2, 4, 5, 9, 10], (1, 10)),
        ([1.5, 5], (1, 5)),
    ],
)
def test_the_ends_of_a_scale(numbers: list[float], ends: tuple[float, float] | None) -> None:
    assert scale_of([float(number) for number in numbers])[0] == ends


def counts(ratings: list[int], table: str = "reviews") -> ScaleCounts:
    found = ScaleCounts(table)
    for rating in ratings:
        found.add({"rating": rating})
    return found


def test_ratings_that_all_end_below_five_are_refused_over_all_files_of_the_table() -> None:
    low, high = counts([1, 2, 3] * 10), counts([4, 5])
    check_narrow([low, high])
    check_narrow([counts([1, 2, 3])])
    with pytest.raises(UserError, match=r"no rating of 30 is above 3.*scale: \[1, 3\]\}, or scale: \[1, 5\] if they are right"):
        check_narrow([low])


@pytest.mark.parametrize(
    ("ratings", "told"),
    [([0, 1, 2, 3, 4], r"scale: \[0, 4\]"), ([0, 3, 5], r"scale: \[1, 5\]\}, which leaves 0 out, or \[0, 5\]")],
)
def test_the_ends_that_a_refusal_names_are_those_of_the_values(ratings: list[int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        counts(ratings * 10).check("reviews.csv")
