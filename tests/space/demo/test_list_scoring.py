"""Lists scored by text in the Space: which requests a prompt makes, and the answer that their likelihoods make."""

import json
from typing import Any

import pytest

from common.answers import parse_completion
from common.prompts import render_prompt
from common.tasks import TASKS
from space.demo.backend import AnswerRequest, Answers, BackendBusy, BackendError, ModelAnswer
from space.demo.comparison import ModelComparison, answer_panel
from space.demo.list_scoring import question, shown_prompt
from tests.space.demo.rows_backend import RowsBackend

RANKING, ALSO_BUY, RATING = (TASKS[name] for name in ("query_product_ranking", "also_buy", "review_rating"))
PRODUCTS = ["cup", "steel bottle", "garden hose", "lamp", "bottle brush"]
LIKED = {"cup": -9.0, "steel bottle": -2.0, "garden hose": -30.0, "lamp": -20.0, "bottle brush": -4.0}
RANKING_PROMPT = render_prompt(RANKING.templates[0], {"query": "bottle", "products": PRODUCTS})


def likely(request: AnswerRequest) -> Answers:
    """The base likes items the other way round."""
    given = request.text if request.text in LIKED else request.prompt
    [value] = [value for product, value in LIKED.items() if product in given]
    both = {"base": ModelAnswer("", 0.5, likelihood=-40 - value), "tuned": ModelAnswer("", 0.5, likelihood=value)}
    return {who: answer for who, answer in both.items() if who in (request.only or both)}


def test_a_ranking_is_asked_for_the_query_behind_each_product_and_answered_as_the_evaluation_does() -> None:
    from lighteval.tasks.requests import Doc

    from eval_tasks.backends.scored_rows import scored_rows

    asked = question(RANKING, RANKING_PROMPT, by_text=True)
    [row] = scored_rows([Doc(RANKING_PROMPT, [""], 0, task_name=f"shop:{RANKING.name}|0")], "text").values()
    assert [(each.prompt, (each.text,)) for each in asked.requests] == [
        (each.prompt.plain, each.candidates) for each in row.prompts
    ]
    found = asked.answer(dict(enumerate(map(likely, asked.requests))))
    assert found["tuned"].text == row.answer([(LIKED[product],) for product in PRODUCTS], {})
    assert parse_completion(RANKING, found["tuned"].text) == [2, 5, 1, 4, 3]
    assert parse_completion(RANKING, found["base"].text) == [3, 4, 1, 5, 2]
    assert (found["tuned"].seconds, found["tuned"].cut, found["tuned"].scored) == (2.5, False, True)


@pytest.mark.parametrize(("wording", "picked"), [(0, [2, 5]), (1, [2, 5, 1])])
def test_as_many_are_picked_as_are_asked_for(wording: int, picked: list[int]) -> None:
    fields: dict[str, Any] = {"product": "flask", "candidates": PRODUCTS, "number": "2 products"}
    asked = question(ALSO_BUY, render_prompt(ALSO_BUY.templates[wording], fields), by_text=True)
    assert [request.text for request in asked.requests] == [text for product in PRODUCTS for text in ("flask", product)]
    assert "so for 4 other items" in shown_prompt(ALSO_BUY, asked.prompt, by_text=True)
    found = asked.answer(dict(enumerate(map(likely, asked.requests))))
    assert parse_completion(ALSO_BUY, found["tuned"].text) == picked


@pytest.mark.parametrize(
    ("task", "prompt", "by_text"),
    [(RANKING, RANKING_PROMPT, False), (RANKING, "Rank these.", True), (RATING, "Rate this.", True)],
)
def test_what_is_no_list_by_text_is_written(task: Any, prompt: str, by_text: bool) -> None:
    asked = question(task, prompt, by_text)
    assert [(request.prompt, request.text) for request in asked.requests] == [(prompt, "")]
    assert shown_prompt(task, prompt, by_text) == prompt


def test_an_item_that_the_time_did_not_suffice_for_comes_last_and_the_answer_is_cut() -> None:
    asked = question(RANKING, RANKING_PROMPT, by_text=True)
    found = asked.answer({place: likely(asked.requests[place]) for place in (0, 4)})
    assert parse_completion(RANKING, found["tuned"].text) == [5, 1, 2, 3, 4]
    assert found["tuned"].cut


def test_an_item_that_was_asked_one_way_only_comes_last_too() -> None:
    fields: dict[str, Any] = {"product": "flask", "candidates": PRODUCTS, "number": "2 products"}
    asked = question(ALSO_BUY, render_prompt(ALSO_BUY.templates[0], fields), by_text=True)
    found = asked.answer({place: likely(asked.requests[place]) for place in range(3)})
    assert parse_completion(ALSO_BUY, found["tuned"].text) == [1, 2], "the second is the better one, as far as it was asked"
    assert found["tuned"].cut


def test_the_page_and_the_endpoint_answer_lists_by_text_where_the_models_learnt_them_so() -> None:
    backend = RowsBackend(likely)
    told = ModelComparison(backend, lists="text").answer(RANKING.name, RANKING_PROMPT)
    assert told["tuned"]["read_as"] == [2, 5, 1, 4, 3]
    assert told["tuned"]["scored"]
    assert told["base"]["read_as"] == [3, 4, 1, 5, 2]
    assert len(backend.asked) == len(PRODUCTS)
    assert "Write a search query" in shown_prompt(RANKING, RANKING_PROMPT, by_text=True)
    answer = ModelAnswer("2,5,1,4,3", 1.0, scored=True)
    panel = answer_panel("Tuned", "org/model", RANKING, RANKING_PROMPT, answer, None)
    assert (panel.raw_text, panel.state) == (None, "1.0 s, scored by text")


def test_a_backend_that_cannot_score_texts_writes_and_the_page_says_so() -> None:
    backend = RowsBackend(lambda request: {"base": ModelAnswer("1,2,3,4,5", 0.1)}, {"base": "served"}, scores_texts=False)
    comparison = ModelComparison(backend, lists="text")
    assert (comparison.by_text, comparison.text_is_missing) == (False, True)
    assert not comparison.answer(RANKING.name, RANKING_PROMPT)["base"]["scored"]
    assert [request.prompt for request in backend.asked] == [RANKING_PROMPT]


@pytest.mark.parametrize("scores_texts", [True, False])
def test_the_page_and_the_tool_say_how_lists_are_scored(scores_texts: bool) -> None:
    from space.demo.api_endpoints import rank_endpoint
    from space.demo.page import page

    def answers(request: AnswerRequest) -> Answers:
        return likely(request) if request.text else {"base": ModelAnswer("e", 0.1, probabilities=(0.7, 0.1, 0.1, 0.1))}

    comparison = ModelComparison(RowsBackend(answers, scores_texts=scores_texts), lists="text")
    shown = json.dumps(page(comparison, None).get_config_file(), default=str)
    assert ("the logarithm of that likelihood" in shown) == scores_texts
    assert shown.count("an endpoint tells no likelihoods of texts") == (0 if scores_texts else 3), "two tabs and one's own list"
    tool = rank_endpoint(comparison)
    assert ("the log-likelihood of the query" in str(tool.__doc__)) == scores_texts
    told = tool("bottle", ["cup", "steel bottle"])
    assert told["lists"] == ("text" if scores_texts else "words")
    best = told["tuned" if scores_texts else "base"][0]
    assert (best["product"], best["label"]) == (("steel bottle", None) if scores_texts else ("cup", "exact"))


def test_where_no_item_is_answered_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(request: AnswerRequest) -> Answers:
        raise BackendError("The model failed.")

    with pytest.raises(BackendError, match="The model failed"):
        ModelComparison(RowsBackend(failing), lists="text").answer(RANKING.name, RANKING_PROMPT)
    monkeypatch.setattr("space.demo.comparison.ANSWER_SECONDS", 0.0)
    with pytest.raises(BackendBusy, match="busy"):
        ModelComparison(RowsBackend(likely), lists="text").answer(RANKING.name, RANKING_PROMPT)
