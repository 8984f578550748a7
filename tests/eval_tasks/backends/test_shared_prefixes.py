from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.backends.shared_prefixes import LEAST_ROWS, prompt_groups

IDS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), max_size=40)


@given(IDS)
def test_every_prompt_is_in_one_group_and_begins_with_what_the_group_shares(ids: list[list[int]]) -> None:
    groups = prompt_groups(ids)
    assert sorted(place for group in groups for place in group.places) == list(range(len(ids)))
    for group in groups:
        assert len({tuple(ids[place][: group.shared]) for place in group.places}) == 1
        assert all(len(ids[place]) > group.shared for place in group.places)
        lengths = [len(ids[place]) for place in group.places]
        assert lengths == sorted(lengths, reverse=True)


def test_prompts_of_two_templates_are_two_groups_that_share_their_whole_beginning() -> None:
    header, templates = [9] * 20, ([1] * 15, [2] * 12)
    ids = [header + template + [100 + row, 7, 7] for template in templates for row in range(LEAST_ROWS)]
    groups = prompt_groups(ids)
    assert sorted(group.shared for group in groups) == [32, 35]


def test_a_few_rows_of_another_template_stay_with_the_rest() -> None:
    header = [9] * 20
    ids = [header + [1] * 15 + [100 + row] for row in range(LEAST_ROWS)] + [[*header, 2, 3, 4]]
    assert sorted((group.shared, len(group.places)) for group in prompt_groups(ids)) == [(0, 1), (35, LEAST_ROWS)]


def test_equal_prompts_leave_one_token_to_read_for_each() -> None:
    (group,) = prompt_groups([[1, 2, 3]] * 4)
    assert group.shared == 2
