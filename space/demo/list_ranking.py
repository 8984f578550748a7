"""A visitor's own list, ranked: each product is scored by itself, in words or by text, as `python -m eval_tasks.rank` does."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

from common.tasks import TASKS, WordForm
from common.words import expected_gain, in_words, word_prompts

from .answer_view import AnswerLine
from .backend import AnswerRequest, Answers, BackendError, ModelAnswer, ModelBackend
from .inputs import InputError, InputField, clean_prompt, parse_value
from .list_scoring import item_requests

TASK = TASKS["query_product_ranking"]
MOST_PRODUCTS = 50
QUERY = InputField("query", is_list=False)
PRODUCTS = InputField("products", is_list=True, min_items=2, max_items=MOST_PRODUCTS)

IN_WORDS = "from 0 to 1: its expected gain by the model's probabilities of exact, substitute, complement and irrelevant."
BY_TEXT = "by how likely the search is behind it: the logarithm of that likelihood, so that nearer to 0 is better."
TEXT_IS_MISSING = (
    "This model learnt lists that are scored by text, and an endpoint tells no likelihoods of texts. So here it is asked for "
    "lists in words or writes them, which it has hardly learnt."
)
UNSCORED = "This model tells no probabilities of the labels, by which a list is ranked. Compare five products instead."


@dataclass(frozen=True)
class ScoredProduct:
    """A product, its number in the list from 1, its score, and its likeliest label.

    The score is its expected gain from 0 to 1, or `by_text` a log-likelihood, without a label. Both are unknown, None and "",
    where the time did not suffice.
    """

    product: str
    number: int
    score: float | None = None
    label: str = ""
    by_text: bool = False


def read_list(query: Any, products: Any) -> tuple[str, list[str]]:
    """The form's values. Raises InputError."""
    texts = parse_value(PRODUCTS, products)
    if isinstance(texts, str):
        raise InputError("Products: this has to be a list of texts.")
    return str(parse_value(QUERY, query)), texts


def questions(query: str, products: list[str], by_text: bool = False) -> list[AnswerRequest]:
    """One for each product: how likely each label is, by an answer's first token; `by_text`, how likely the query is behind it.

    Raises InputError.
    """
    if by_text:
        return [
            replace(each, prompt=clean_prompt(each.prompt))
            for each in item_requests(TASK, {"query": query, "products": products})
        ]
    labels = in_words(TASK).labels
    prompts = word_prompts(TASK, {"query": query, "products": products})
    return [AnswerRequest(clean_prompt(prompt), 1, labels) for prompt in prompts]


def scores_so_far(
    backend: ModelBackend, query: str, products: list[str], timeout: float, by_text: bool = False
) -> Iterator[dict[str, dict[int, ModelAnswer]]]:
    """By model the answers that are there, by place in the list; again after each product. Raises InputError, BackendError."""
    found: dict[str, dict[int, ModelAnswer]] = {who: {} for who in backend.names}
    yield found
    for place, answers in backend.answer_all(questions(query, products, by_text), timeout):
        if isinstance(answers, BackendError):
            raise answers
        for who, answer in scored(answers).items():
            found[who][place] = answer
        yield found


def scored(answers: Answers) -> Answers:
    """Those with probabilities or a likelihood: an answer that was cut before its first token has none. Raises BackendError."""
    known = {who: one for who, one in answers.items() if one.probabilities is not None or one.likelihood is not None}
    if any(not answer.cut for who, answer in answers.items() if who not in known):
        raise BackendError(UNSCORED)
    return known


def ranked(products: list[str], answers: Mapping[int, ModelAnswer]) -> list[ScoredProduct]:
    """The best first; of equals, and of those without a score, in the list's order."""
    form, labels = TASK.words, in_words(TASK).labels
    if form is None:
        raise ValueError(f"{TASK.name} has no form in words")
    found = []
    for place, product in enumerate(products):
        answer = answers.get(place, ModelAnswer())
        if answer.likelihood is not None:
            found.append(ScoredProduct(product, place + 1, answer.likelihood, by_text=True))
        elif chances := answer.probabilities:
            label = max(zip(labels, chances, strict=True), key=lambda pair: pair[1])[0]
            found.append(ScoredProduct(product, place + 1, gain(form, chances), label))
        else:
            found.append(ScoredProduct(product, place + 1))
    return sorted(found, key=lambda one: float("-inf") if one.score is None else one.score, reverse=True)


def gain(form: WordForm, chances: tuple[float, ...]) -> float:
    return expected_gain(form, [log(max(chance, sys.float_info.min)) for chance in chances])


def lines(found: list[ScoredProduct]) -> tuple[AnswerLine, ...]:
    return tuple(
        AnswerLine(
            one.product,
            str(one.number),
            note="not scored: the time was up" if one.score is None else one.label,
            chosen=one.score is not None,
            moved=None if one.score is None else one.number - place,
            score=None if one.by_text else one.score,
            likelihood=one.score if one.by_text else None,
        )
        for place, one in enumerate(found, 1)
    )


def as_json(found: list[ScoredProduct]) -> list[dict[str, Any]]:
    return [{"product": one.product, "number": one.number, "score": one.score, "label": one.label or None} for one in found]
