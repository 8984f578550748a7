"""A client for a tuned model behind an OpenAI-compatible server, such as vLLM's: it asks and reads as the evaluation does.

    shop = ShopClient("http://localhost:8000/v1", "NAME")
    shop.rank("steel water bottle", ["Insulated bottle 1 l", "Garden hose"])       # the best first, with scores
    shop.rate("The lid leaks.", category="Kitchen").answer                          # "2"
    await shop.aanswer("Does it come with a bulb?", ["The bulb is in the box."])

Every method `x` has an asynchronous `ax`. Failures that may pass are tried again with waits. Where the server gives no answer
the result has none, and its `error` says why. A mistake in a call raises UserError.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.chat import Endpoint
from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends.endpoint import answers, scores
from eval_tasks.prediction.asking import row_question
from eval_tasks.prediction.questions import RowForm, row_form


@dataclass(frozen=True)
class ShopAnswer:
    """An answer: a label as a word or a text, or the chosen items, best first. None, and `error`, where there is none.

    `probabilities` by label and `confidence` are those of scored choices; `scores` are those of a list's items, in its order.
    """

    answer: str | list[str] | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[float, ...] = ()
    confidence: float | None = None
    error: str = ""


@dataclass(frozen=True)
class RankedProduct:
    """A product of a list, its place there from 0, and its expected gain in words: a server tells no likelihoods of texts."""

    product: str
    place: int
    score: float


@dataclass(frozen=True)
class ShopClient:
    """A model's name at a server. `key` is sent to it; `constrained` needs vLLM's structured outputs."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    constrained: bool = True
    concurrency: int = 16
    timeout: int = 60
    retries: int = 4

    # --- Any task ---

    async def aask(self, task: str, rows: Sequence[Mapping[str, Any]], scored: bool = False) -> list[ShopAnswer]:
        """The answers to rows of a task's fields; `predict --describe TASK` prints them. Raises UserError."""
        if task not in TASKS:
            raise UserError(f"there is no task {task!r}; there are {', '.join(TASKS)}")
        if not rows:
            return []
        form = row_form(task, scored, sorted(set[str]().union(*rows)), {})
        questions = [row_question(form, row) for row in rows]
        said = iter(await self._said(form, [prompt for each in questions for prompt in each.prompts]))
        return [_answer(each.read([next(said) for _ in each.prompts])) for each in questions]

    async def _said(self, form: RowForm, prompts: Sequence[Any]) -> list[Any]:
        at = Endpoint(self.url.rstrip("/"), self.model, self.concurrency, self.timeout, self.retries, key=self.key)
        replies: Any = scores(at, prompts, skip=True) if form.scored else answers(at, prompts, self.constrained, skip=True)
        found = {place: reply async for place, reply in replies}
        return [found[place] for place in range(len(prompts))]

    def ask(self, task: str, rows: Sequence[Mapping[str, Any]], scored: bool = False) -> list[ShopAnswer]:
        return asyncio.run(self.aask(task, rows, scored))

    # --- Uses ---

    async def arank(self, query: str, products: Sequence[str], top: int | None = None) -> list[RankedProduct]:
        """Products, any number of them, by how well they fit the query. Raises UserError, also where one has no score."""
        if not products:
            return []
        [found] = await self.aask("query_product_ranking", [{"query": query, "products": list(products)}], scored=True)
        if found.error:
            raise UserError(found.error)
        order = sorted(range(len(products)), key=lambda place: -found.scores[place])
        return [RankedProduct(products[place], place, found.scores[place]) for place in order][:top]

    def rank(self, query: str, products: Sequence[str], top: int | None = None) -> list[RankedProduct]:
        return asyncio.run(self.arank(query, products, top))

    async def arate(self, review: str, category: str, scored: bool = False) -> ShopAnswer:
        """How many stars of 5 a review gives."""
        return (await self.aask("review_rating", [{"review": review, "category": category}], scored))[0]

    def rate(self, review: str, category: str, scored: bool = False) -> ShopAnswer:
        return asyncio.run(self.arate(review, category, scored))

    async def amatch(self, query: str, product: str, scored: bool = False) -> ShopAnswer:
        """Whether a product is exact, a substitute, a complement or irrelevant for a query."""
        return (await self.aask("query_product_relation", [{"query": query, "product": product}], scored))[0]

    def match(self, query: str, product: str, scored: bool = False) -> ShopAnswer:
        return asyncio.run(self.amatch(query, product, scored))

    async def aanswer(self, question: str, snippets: Sequence[str]) -> ShopAnswer:
        """A written answer to a customer's question from passages of reviews."""
        return (await self.aask("answer_generation", [{"question": question, "snippets": list(snippets)}]))[0]

    def answer(self, question: str, snippets: Sequence[str]) -> ShopAnswer:
        return asyncio.run(self.aanswer(question, snippets))


def _answer(read: Mapping[str, Any]) -> ShopAnswer:
    chances = {label: chance for label, chance in (read.get("probabilities") or {}).items() if chance is not None}
    return ShopAnswer(read.get("answer"), chances, tuple(read.get("scores", ())), read.get("confidence"), read.get("error", ""))
