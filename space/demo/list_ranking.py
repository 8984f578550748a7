"""A visitor's own list, ranked: each product is scored by itself, in words, as `python -m eval_tasks.rank` scores it."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log
from typing import Any

from common.tasks import TASKS, WordForm
from common.words import expected_gain, in_words, word_prompts

from .answer_view import AnswerLine
from .backend import AnswerRequest, Answers, BackendError, ModelAnswer, ModelBackend
from .inputs import InputError, InputField, clean_prompt, parse_value

TASK = TASKS["query_product_ranking"]
MOST_PRODUCTS = 50
QUERY = InputField("query", is_list=False)
PRODUCTS = InputField("products", is_list=True, min_items=2, max_items=MOST_PRODUCTS)

UNSCORED = "This model tells no probabilities of the labels, by which a list is ranked. Compare five products instead."


@dataclass(frozen=True)
class ScoredProduct:
    """A product, its number in the list from 1, its expected gain from 0 to 1, and its likeliest label.

    Both are unknown, None and "", where the time did not suffice.
    """

    product: str
    number: int
    score: float | None = None
    label: str = ""


def read_list(query: Any, products: Any) -> tuple[str, list[str]]:
    """The form's values. Raises InputError."""
    texts = parse_value(PRODUCTS, products)
    if isinstance(texts, str):
        raise InputError("Products: this has to be a list of texts.")
    return str(parse_value(QUERY, query)), texts


def questions(query: str, products: list[str]) -> list[AnswerRequest]:
    """One for each product: how likely each label is, by an answer's first token. Raises InputError."""
    labels = in_words(TASK).labels
    prompts = word_prompts(TASK, {"query": query, "products": products})
    return [AnswerRequest(clean_prompt(prompt), 1, labels) for prompt in prompts]


def scores_so_far(
    backend: ModelBackend, query: str, products: list[str], timeout: float
) -> Iterator[dict[str, dict[int, ModelAnswer]]]:
    """By model the answers that are there, by place in the list; again after each product. Raises InputError, BackendError."""
    found: dict[str, dict[int, ModelAnswer]] = {who: {} for who in backend.names}
    yield found
    for place, answers in backend.answer_all(questions(query, products), timeout):
        if isinstance(answers, BackendError):
            raise answers
        for who, answer in scored(answers).items():
            found[who][place] = answer
        yield found


def scored(answers: Answers) -> Answers:
    """Those with probabilities: an answer that was cut before its first token has none. Raises BackendError."""
    if any(answer.probabilities is None and not answer.cut for answer in answers.values()):
        raise BackendError(UNSCORED)
    return {who: answer for who, answer in answers.items() if answer.probabilities is not None}


def ranked(products: list[str], answers: Mapping[int, ModelAnswer]) -> list[ScoredProduct]:
    """The best first; of equals, and of those without a score, in the list's order."""
    form, labels = TASK.words, in_words(TASK).labels
    if form is None:
        raise ValueError(f"{TASK.name} has no form in words")
    found = []
    for place, product in enumerate(products):
        chances = answers[place].probabilities if place in answers else None
        if chances is None:
            found.append(ScoredProduct(product, place + 1))
        else:
            label = max(zip(labels, chances, strict=True), key=lambda pair: pair[1])[0]
            found.append(ScoredProduct(product, place + 1, gain(form, chances), label))
    return sorted(found, key=lambda one: -1.0 if one.score is None else one.score, reverse=True)


def gain(form: WordForm, chances: tuple[float, ...]) -> float:
    return expected_gain(form, [log(max(chance, sys.float_info.min)) for chance in chances])


def lines(found: list[ScoredProduct]) -> tuple[AnswerLine, ...]:
    return tuple(
        AnswerLine(
            one.product,
            str(one.number),
            note=one.label or "not scored: the time was up",
            chosen=one.score is not None,
            moved=None if one.score is None else one.number - place,
            score=one.score,
        )
        for place, one in enumerate(found, 1)
    )


def as_json(found: list[ScoredProduct]) -> list[dict[str, Any]]:
    return [{"product": one.product, "number": one.number, "score": one.score, "label": one.label or None} for one in found]
