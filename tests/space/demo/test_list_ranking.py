"""A visitor's own list: the questions and scores are those of `python -m eval_tasks.rank`."""

from math import log

import pytest

from common.tasks import GAINS
from eval_tasks.backends.prompts import ScoredPrompt
from eval_tasks.prediction.questions import row_form
from space.demo import list_ranking
from space.demo.backend import AnswerRequest, Answers, BackendError, ModelAnswer
from space.demo.inputs import InputError
from space.demo.list_ranking import MOST_PRODUCTS, lines, questions, ranked, read_list, scores_so_far
from tests.space.demo.rows_backend import RowsBackend

PRODUCTS = ["Garden hose", "Steel bottle", "Bottle brush"]
CHANCES = {
    "Garden hose": (0.1, 0.1, 0.1, 0.7),
    "Steel bottle": (0.9, 0.1, 0.0, 0.0),
    "Bottle brush": (0.0, 0.2, 0.7, 0.1),
}


def answers(request: AnswerRequest) -> Answers:
    [chances] = [chances for product, chances in CHANCES.items() if f"Product: {product}\n" in request.prompt]
    base = ModelAnswer("e", 0.1, probabilities=(0.25, 0.25, 0.25, 0.25))
    return {"base": base, "tuned": ModelAnswer("e", 0.1, probabilities=chances)}


def test_it_asks_and_scores_as_the_ranking_command_does() -> None:
    form = row_form("query_product_ranking", True, ["query", "products"], {})
    fields = form.fields({"query": "bottle", "products": PRODUCTS})
    asked = questions("bottle", PRODUCTS)
    theirs = [each for each in form.prompts(fields) if isinstance(each, ScoredPrompt)]
    assert [each.prompt.plain for each in theirs] == [request.prompt for request in asked]
    assert {request.labels for request in asked} == {tuple(GAINS)}
    found = [{place: answers(request)["tuned"]} for place, request in enumerate(asked)]
    told = form.read_likelihoods(fields, [[log(max(x, 1e-300)) for x in CHANCES[product]] for product in PRODUCTS])
    together = {place: answer for one in found for place, answer in one.items()}
    by_number = sorted(ranked(PRODUCTS, together), key=lambda one: one.number)
    assert [one.score for one in by_number] == pytest.approx(told["scores"])
    assert [one.product for one in ranked(PRODUCTS, together)] == told["answer"]


def test_by_text_products_are_ordered_by_the_likelihood_of_the_query() -> None:
    def likely(request: AnswerRequest) -> Answers:
        assert request.text == "bottle"
        assert not request.labels
        liked = {"Garden hose": -30.0, "Steel bottle": -2.5, "Bottle brush": -4.0}
        [value] = [value for product, value in liked.items() if product in request.prompt]
        return {"base": ModelAnswer("", 0.1, likelihood=-5.0), "tuned": ModelAnswer("", 0.1, likelihood=value)}

    *_, found = scores_so_far(RowsBackend(likely), "bottle", PRODUCTS, 10, by_text=True)
    assert [(one.product, one.score, one.label) for one in ranked(PRODUCTS, found["tuned"])] == [
        ("Steel bottle", -2.5, ""),
        ("Bottle brush", -4.0, ""),
        ("Garden hose", -30.0, ""),
    ]
    assert [one.product for one in ranked(PRODUCTS, found["base"])] == PRODUCTS
    first, *_ = lines(ranked(PRODUCTS, found["tuned"]))
    assert (first.note, first.moved, first.score, first.likelihood) == ("", 1, None, -2.5)
    [*_, last] = lines(ranked(PRODUCTS, {place: one for place, one in found["tuned"].items() if place}))
    assert (last.text, last.note) == ("Garden hose", "not scored: the time was up")


def test_both_models_rank_and_equal_scores_keep_the_lists_order() -> None:
    *_, found = scores_so_far(RowsBackend(answers), "bottle", PRODUCTS, 10)
    assert [one.product for one in ranked(PRODUCTS, found["base"])] == PRODUCTS
    tuned = ranked(PRODUCTS, found["tuned"])
    assert [(one.product, one.label) for one in tuned] == [
        ("Steel bottle", "exact"),
        ("Garden hose", "irrelevant"),
        ("Bottle brush", "complement"),
    ]
    assert [line.moved for line in lines(tuned)] == [1, -1, 0]


def test_what_the_time_did_not_suffice_for_comes_last_and_says_so() -> None:
    def slow(request: AnswerRequest) -> Answers:
        cut = ModelAnswer("", 1.0, cut=True)
        return dict.fromkeys(("base", "tuned"), cut) if "hose" in request.prompt else answers(request)

    *_, found = scores_so_far(RowsBackend(slow), "bottle", PRODUCTS, 10)
    *_, last = lines(ranked(PRODUCTS, found["tuned"]))
    assert (last.text, last.note, last.score) == ("Garden hose", "not scored: the time was up", None)
    *_, nothing = scores_so_far(RowsBackend(answers), "bottle", PRODUCTS, 0)
    assert [one.score for one in ranked(PRODUCTS, nothing["tuned"])] == [None] * 3


def test_a_model_without_probabilities_is_told_in_a_sentence() -> None:
    silent = RowsBackend(lambda request: {"base": ModelAnswer("exact", 0.1), "tuned": ModelAnswer("exact", 0.1)})
    with pytest.raises(BackendError, match="tells no probabilities"):
        list(scores_so_far(silent, "bottle", PRODUCTS, 10))


@pytest.mark.parametrize(
    ("query", "products", "sentence"),
    [
        ("", "a\nb", "Search query: this is empty"),
        ("bottle", "", "Products: this is empty"),
        ("bottle", "one", "there have to be 2 to 50"),
        ("bottle", [f"product {number}" for number in range(MOST_PRODUCTS + 1)], "there are 51"),
        ("bottle", ["a", "b" * 2001], "this is too long"),
        ("bottle", "\n".join("x" * 10 for _ in range(5000)), "there are too many, and 50 are the most"),
        ("bottle", {"a": "b"}, "this has to be a list"),
    ],
)
def test_a_bad_list_is_one_sentence(query: str, products: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_list(query, products)


def test_a_list_of_fifty_is_taken() -> None:
    query, products = read_list(" steel  bottle ", "\n".join(f"Bottle {number}" for number in range(MOST_PRODUCTS)))
    assert query == "steel bottle"
    assert len(questions(query, products)) == MOST_PRODUCTS
    assert list_ranking.PRODUCTS.heading == "Products, one a line, 2 to 50"
