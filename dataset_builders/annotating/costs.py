"""Tokens and money: before anything is sent, and while it is."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dataset_builders.annotating.asks import Ask
from dataset_builders.annotating.endpoint import Counts

CountTokens = Callable[[Ask], int]


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens, in any currency."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float: ...


@dataclass(frozen=True)
class Estimate:
    """Requests, their prompts' tokens, and the tokens of the answers at most."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def token_counter(tokenizer: str = "") -> CountTokens:
    """Counts a prompt's tokens with the tokenizer of a folder or Hub id; "": a quarter of its characters. Raises UserError."""


def estimate(asks: Iterable[Ask], count: CountTokens) -> Estimate: ...


@contextmanager
def progress_bar(total: int, prices: Prices) -> Iterator[Callable[[Counts], None]]:
    """A bar on standard error: done of total, requests and tokens per second, cost, time left. Gives ask_all's `progress`."""
