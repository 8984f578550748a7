"""Tokens and money: before anything is sent, and while it is."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.errors import UserError, first_line
from dataset_builders.labelling.requests import Ask, Counts

CountTokens = Callable[[Ask], int]

CHARACTERS_PER_TOKEN = 4
"""Of English text, by a rule of thumb: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them"""

AROUND_A_MESSAGE = 4
"""Tokens that a chat template puts around each message, where the template is not known."""

MILLION = 1_000_000

SHOWN_EVERY = 0.25
"""Seconds between changes of the bar."""

LINE_EVERY = 60.0
"""Seconds between lines of progress where there is no terminal."""


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens, in any currency."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / MILLION


@dataclass(frozen=True)
class Estimate:
    """Requests, the tokens of their prompts, and the tokens of the answers at most. Nothing is asked twice in it."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def rough_tokens(ask: Ask) -> int:
    """Tokens of a prompt by the number of its characters, and those of its schema, which many servers put into it."""
    characters = sum(len(content) for _, content in ask.messages) + len(ask.schema)
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + AROUND_A_MESSAGE * len(ask.messages)


def token_counter(tokenizer: str = "") -> CountTokens:
    """Counts the tokens of a prompt, of its chat template too, with the tokenizer of a folder or Hub id; "": `rough_tokens`.

    Raises UserError where there is no such tokenizer.
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

    def count(ask: Ask) -> int:
        if loaded.chat_template is None:
            texts = [content for _, content in ask.messages]
            return sum(len(ids) for ids in loaded(texts).input_ids) + AROUND_A_MESSAGE * len(texts)
        chat = [{"role": role, "content": content} for role, content in ask.messages]
        return len(loaded.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))

    return count


def estimate(asks: Iterable[Ask], count: CountTokens) -> Estimate:
    requests = prompt_tokens = completion_tokens = 0
    for ask in asks:
        requests += 1
        prompt_tokens += count(ask)
        completion_tokens += ask.max_tokens
    return Estimate(requests, prompt_tokens, completion_tokens)


@contextmanager
def progress_bar(total: int, prices: Prices) -> Iterator[Callable[[Counts], None]]:
    """A bar on standard error, or a line a minute where that is no terminal. Gives ask_all's `progress`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, markup=False, highlight=False)
    with Progress(BarColumn(10), TextColumn("{task.description}"), console=console, refresh_per_second=2) as bar:
        task = bar.add_task(f"0/{total:,}", total=total)
        shown, printed = -SHOWN_EVERY, 0.0

        def progress(counts: Counts) -> None:
            nonlocal shown, printed
            seconds = bar.tasks[0].elapsed or 0.0
            if seconds < shown + SHOWN_EVERY and counts.done < total:
                return
            shown, line = seconds, told(counts, total, seconds, prices)
            bar.update(task, completed=counts.done, description=line)
            if not console.is_terminal and seconds >= printed + LINE_EVERY:
                console.print(line, soft_wrap=True)
                printed = seconds

        yield progress


def told(counts: Counts, total: int, seconds: float, prices: Prices) -> str:
    """Progress after so many seconds in one line. Replies from before this run tell nothing about its speed."""
    new = counts.done - counts.kept
    tokens = counts.prompt_tokens + counts.completion_tokens
    parts = [f"{counts.done:,}/{total:,}"]
    if rejected := counts.rejected.total():
        parts.append(f"{rejected:,} rejected")
    if seconds:
        parts += [f"{new / seconds:,.1f} requests/s", f"{tokens / seconds:,.0f} tokens/s"]
    if prices != Prices():
        parts.append(f"cost {prices.cost(counts.prompt_tokens, counts.completion_tokens):,.2f}")
    if new and seconds:
        left = round(seconds / new * max(0, total - counts.done))
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return ", ".join(parts)
