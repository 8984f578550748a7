"""Answers to prompts from a chat completions server, with concurrent requests and retries (see common.chat).

Transient failures are retried: rate limits, a server that is down, cut or stalled connections, replies without a completion. A
permanent failure ends the run with one sentence. A prompt that the server rejects gets a RefusedAnswer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from common.chat import Endpoint, RequestRefused, TransientError, complete, new_client
from common.errors import UserError
from common.retry import backoff
from eval_tasks.backends.prompts import Prompt, RefusedAnswer

CONSTRAINT_NEEDS = "constrained=true needs a server with vLLM's structured_outputs"


async def answers(endpoint: Endpoint, prompts: Sequence[Prompt], constrained: bool) -> AsyncIterator[tuple[int, str]]:
    """(place, text or RefusedAnswer) of each prompt as the replies arrive, with at most `concurrency` requests in flight.

    Raises UserError for a permanent failure, after the replies in flight have been yielded.
    """
    places = iter(range(len(prompts)))
    replies: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
    failures: list[UserError] = []

    async def work(client: Any) -> None:
        try:
            for place in places:
                if failures:
                    break
                replies.put_nowait((place, await answer(client, endpoint, prompts[place], constrained)))
        except UserError as error:
            failures.append(error)
        finally:
            replies.put_nowait(None)

    async with new_client(endpoint) as client:
        workers = [asyncio.create_task(work(client)) for _ in range(endpoint.concurrency)]
        working = len(workers)
        while working:
            if (reply := await replies.get()) is None:
                working -= 1
            else:
                yield reply
        await asyncio.gather(*workers)
    if failures:
        raise failures[0]


async def answer(client: Any, endpoint: Endpoint, prompt: Prompt, constrained: bool) -> str:
    """The text of one answer, or RefusedAnswer. Raises UserError for a permanent failure, or when the retries are used up."""
    pattern = prompt.pattern if constrained else ""
    request = {
        "model": endpoint.model,
        "messages": prompt.chat(),
        "temperature": 0,
        "max_tokens": prompt.max_new_tokens,
        **({"structured_outputs": {"regex": pattern}} if pattern else {}),
    }
    for tries in range(1, endpoint.retries + 2):
        try:
            completion = await complete(client, endpoint, request)
        except RequestRefused as refusal:
            raise UserError(
                f"{endpoint.url} refuses the request ({refusal}){'; ' + CONSTRAINT_NEEDS if pattern else ''}"
            ) from None
        except TransientError as failure:
            if tries > endpoint.retries:
                raise UserError(
                    f"{endpoint.url} gave no answer in {tries} tries: {failure}. What was answered is kept: run the same "
                    "command when the server is well"
                ) from None
            await asyncio.sleep(backoff(tries, failure.retry_after))
            continue
        if completion.reason:
            return RefusedAnswer(completion.reason.partition(":")[0])
        if pattern and not completion.cut and not re.fullmatch(pattern, completion.text):
            shown = completion.text[:80]
            raise UserError(f"{endpoint.url} answers {shown!r} where only {pattern!r} is allowed: {CONSTRAINT_NEEDS}")
        return completion.text
    raise AssertionError("the loop returns or raises")
