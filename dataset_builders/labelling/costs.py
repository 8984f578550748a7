"""Token counts, cost estimates and the progress bar of requests."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.errors import UserError, first_line
from dataset_builders.labelling.requests import LabelRequest, ReplyCounts

CountTokens = Callable[[LabelRequest], int]

CHARACTERS_PER_TOKEN = 4
"""Of English text, by a rule of thumb: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them"""

TOKENS_PER_MESSAGE = 4
"""Tokens that an unknown chat template puts around each message."""

BAR_SECONDS = 0.25
"""Between two updates of the progress bar."""

LINE_SECONDS = 60.0
"""Between two lines of progress without a terminal."""


@dataclass(frozen=True)
class TokenPrices:
    """Price of a million tokens, in any currency."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class CostEstimate:
    """Requests, tokens of their prompts, and tokens of their answers at most."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def rough_tokens(request: LabelRequest) -> int:
    """Tokens of a prompt by its characters, with those of its schema, which many servers put into it."""
    characters = sum(len(content) for _, content in request.messages) + len(request.schema)
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + TOKENS_PER_MESSAGE * len(request.messages)


def token_counter(tokenizer: str = "") -> CountTokens:
    """A function that counts a prompt's tokens, with the chat template of this tokenizer; "": `rough_tokens`.

    tokenizer: folder or Hub id. Raises UserError where there is no such tokenizer.
    """
    if not tokenizer:
        return rough_tokens
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the tokenizer of {tokenizer} cannot be loaded ({first_line(error)}); give --tokenizer a folder or a Hub id, or "
            "leave it out"
        ) from None

    def count(request: LabelRequest) -> int:
        if loaded.chat_template is None:
            texts = [content for _, content in request.messages]
            return sum(len(ids) for ids in loaded(texts).input_ids) + TOKENS_PER_MESSAGE * len(texts)
        chat = [{"role": role, "content": content} for role, content in request.messages]
        return len(loaded.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))

    return count


def estimate_cost(requests: Iterable[LabelRequest], count: CountTokens) -> CostEstimate:
    number = prompt_tokens = completion_tokens = 0
    for request in requests:
        number += 1
        prompt_tokens += count(request)
        completion_tokens += request.max_tokens
    return CostEstimate(number, prompt_tokens, completion_tokens)


@contextmanager
def progress_bar(total: int, prices: TokenPrices) -> Iterator[Callable[[ReplyCounts], None]]:
    """A bar on standard error, or a line a minute without a terminal. Yields the `progress` of request_all."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, markup=False, highlight=False)
    with Progress(BarColumn(10), TextColumn("{task.description}"), console=console, refresh_per_second=2) as bar:
        task = bar.add_task(f"0/{total:,}", total=total)
        shown, printed = -BAR_SECONDS, 0.0

        def progress(counts: ReplyCounts) -> None:
            nonlocal shown, printed
            seconds = bar.tasks[0].elapsed or 0.0
            if seconds < shown + BAR_SECONDS and counts.done < total:
                return
            shown, line = seconds, progress_line(counts, total, seconds, prices)
            bar.update(task, completed=counts.done, description=line)
            if not console.is_terminal and seconds >= printed + LINE_SECONDS:
                console.print(line, soft_wrap=True)
                printed = seconds

        yield progress


def progress_line(counts: ReplyCounts, total: int, seconds: float, prices: TokenPrices) -> str:
    """Progress in one line. The rates leave out replies from before this run."""
    new = counts.done - counts.kept
    tokens = counts.prompt_tokens + counts.completion_tokens
    parts = [f"{counts.done:,}/{total:,}"]
    if rejected := counts.rejected.total():
        parts.append(f"{rejected:,} rejected")
    if seconds:
        parts += [f"{new / seconds:,.1f} requests/s", f"{tokens / seconds:,.0f} tokens/s"]
    if prices != TokenPrices():
        parts.append(f"cost {prices.cost(counts.prompt_tokens, counts.completion_tokens):,.2f}")
    if new and seconds:
        left = round(seconds / new * max(0, total - counts.done))
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return ", ".join(parts)
