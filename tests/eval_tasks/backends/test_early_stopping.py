import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import parse_completion
from common.tasks import TASKS
from eval_tasks.backends.early_stopping import final_check

LIKELY = st.one_of(st.text(max_size=12), st.text("012345 yesno.,-\n\ufffd", max_size=12))


@pytest.mark.parametrize("name", TASKS)
@given(text=LIKELY, more=LIKELY)
def test_what_is_final_is_read_the_same_whatever_follows(name: str, text: str, more: str) -> None:
    if final_check(f"shop:{name}")(text):
        # What a decoder shows for a character whose bytes are not all there may become any character.
        whole = text.rstrip("\ufffd")
        assert parse_completion(TASKS[name], text) == parse_completion(TASKS[name], whole + more)


@pytest.mark.parametrize(
    ("name", "text", "is_final"),
    [
        ("review_rating", "4", False),
        ("review_rating", "4.", True),
        ("review_rating", "10", True),
        ("review_rating", " \n4", False),
        ("answerability", "yes", False),
        ("answerability", "yes,", True),
        ("query_generation", "red shoes", False),
        ("query_generation", "\n\nred shoes\n", True),
        ("also_buy", "1,2,3,4,5,6\nbecause", False),
        ("query_product_ranking", "1,2,3,4,5,", False),
    ],
)
def test_an_answer_is_final_as_soon_as_its_task_reads_no_further(name: str, text: str, is_final: bool) -> None:
    assert final_check(f"shop:{name}")(text) is is_final


def test_nothing_is_final_in_a_task_that_is_not_known() -> None:
    assert not final_check("shopbench:task1")("1, and so on\n")
    assert not final_check("")("1, and so on\n")
