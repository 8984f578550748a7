"""A share of all groups is tested on; sizes are read as they are written."""

import pytest

from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.splits import TEST_SHARE, Size, is_test, parse_sizes


def test_the_share_of_test_groups_is_as_stated_and_another_seed_draws_others() -> None:
    names = [f"product:{number}" for number in range(20_000)]
    tested = {seed: {name for name in names if is_test(name, seed)} for seed in (0, 1)}
    assert all(abs(len(found) / 20_000 - TEST_SHARE) < 0.01 for found in tested.values())
    assert len(tested[0] & tested[1]) < 0.2 * len(tested[0])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_sizes_are_shares_of_the_full_one_with_at_least_one_row_to_test(task) -> None:
    full = parse_sizes("full")[task.name]
    assert full == Size(task.train_size, task.test_size) == parse_sizes("1")[task.name]
    assert abs(parse_sizes("0.1")[task.name].train - task.train_size / 10) <= 0.5
    assert parse_sizes("1e-6")[task.name].test == 1
    assert parse_sizes("unlimited")[task.name].train > 10**12
    assert full.candidates() * TEST_SHARE > full.test, "enough candidates for the test split"
    assert full.candidates() * (1 - TEST_SHARE) > full.train, "and for train"


@pytest.mark.parametrize(
    ("text", "also_buy", "other"),
    [
        ("0.1,also_buy=110+40", Size(110, 40), Size(899, 96)),
        ("also_buy=0.5", Size(4604, 494), Size(8994, 965)),
        ("20+10, also_buy = unlimited", Size(2**40, 2**40), Size(20, 10)),
    ],
)
def test_a_task_may_have_a_size_of_its_own(text: str, also_buy: Size, other: Size) -> None:
    sizes = parse_sizes(text)
    assert sizes["also_buy"] == also_buy
    assert sizes["review_rating"] == other


@pytest.mark.parametrize(
    "text", ["0", "-1", "big", "", "nan", "inf", "1e9", "10%", "5+", "+5", "0.1,also_buy=", "also_buy=many"]
)
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a size"):
        parse_sizes(text)


def test_a_size_for_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="The tasks are review_rating, "):
        parse_sizes("0.1,nonsense=0.2")
