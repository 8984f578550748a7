"""The views that there are, and what they are called."""

from common.tasks import TASKS
from space.demo.views import TITLES, views

NAMED_USES = {
    "query_product_ranking",
    "next_query",
    "also_buy",
    "query_relation",
    "review_rating",
    "next_title_amazon",
    "answer_generation",
}


def test_every_task_has_a_view_and_the_named_uses_come_first() -> None:
    names = [view.name for view in views()]
    assert sorted(names) == sorted(TASKS)
    assert set(names[:7]) == NAMED_USES


def test_titles_are_short_and_all_different() -> None:
    titles = [view.title for view in views()]
    assert len(set(titles)) == len(titles)
    assert max(map(len, titles)) < 30
    assert set(TITLES) <= set(TASKS)
