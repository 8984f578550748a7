"""Answers to prompts from a chat completions server, with concurrent requests and retries (see common.chat).

Transient failures are retried: rate limits, a server that is down, cut or stalled connections, replies without a completion. A
permanent failure ends the run with one sentence. A prompt that the server rejects gets a RefusedAnswer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from common.chat import Endpoint, RequestRefused, TransientError, complete, new_client
from common.errors import UserError
from common.retry import backoff
from common.thinking import OPEN, without_thoughts
from eval_tasks.backends.prompts import Prompt, RefusedAnswer

CONSTRAINT_NEEDS = "constrained=true needs a server with vLLM's structured_outputs"

WAYS_OUT = (
    (r"max_tokens|max_completion_tokens", "give --option max_completion_tokens=4000, the tokens of reasoning and answer"),
    ("temperature", "give --option temperature=none, which leaves it out"),
    ("reasoning_effort", "give another --option reasoning_effort, or leave it out"),
    ("chat_template_kwargs", "leave out --template-option, which this server does not take"),
)
"""(field in a server's refusal of the form of all requests, what to do about it)"""


async def answers(
    endpoint: Endpoint, prompts: Sequence[Prompt], constrained: bool, fields: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[int, str]]:
    """(place, text or RefusedAnswer) of each prompt as the replies arrive, with at most `concurrency` requests in flight.

    `fields` go over those of every request; None leaves a field out. Reasoning comes in a think block before the answer.
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
                replies.put_nowait((place, await answer(client, endpoint, prompts[place], constrained, fields or {})))
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


async def answer(client: Any, endpoint: Endpoint, prompt: Prompt, constrained: bool, fields: Mapping[str, Any]) -> str:
    """The text of one answer, or RefusedAnswer. Raises UserError for a permanent failure, or when the retries are used up."""
    pattern = prompt.pattern if constrained else ""
    request = request_body(endpoint, prompt, pattern, fields)
    for tries in range(1, endpoint.retries + 2):
        try:
            completion = await complete(client, endpoint, request)
        except RequestRefused as refusal:
            advice = [sentence for field, sentence in WAYS_OUT if re.search(field, str(refusal))]
            advice += [CONSTRAINT_NEEDS] if pattern else []
            raise UserError("; ".join([f"{endpoint.url} refuses the request ({refusal})", *advice])) from None
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
        if completion.cut and not completion.text.strip():  # a whole budget of reasoning, which not every server shows
            return OPEN + completion.reasoning
        said = without_thoughts(completion.text)
        if pattern and said is not None and not completion.cut and not re.fullmatch(pattern, said):
            raise UserError(f"{endpoint.url} answers {said[:80]!r} where only {pattern!r} is allowed: {CONSTRAINT_NEEDS}")
        return completion.text
    raise AssertionError("the loop returns or raises")


def request_body(endpoint: Endpoint, prompt: Prompt, pattern: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request for a prompt, greedy unless `fields` say otherwise."""
    limit = {} if "max_completion_tokens" in fields else {"max_tokens": prompt.max_new_tokens}
    constraint = {"structured_outputs": {"regex": pattern}} if pattern else {}
    body = {"model": endpoint.model, "messages": prompt.chat(), "temperature": 0, **limit, **constraint, **fields}
    return {name: value for name, value in body.items() if value is not None}
