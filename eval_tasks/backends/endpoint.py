"""Answers to prompts from a chat completions server, with concurrent requests and retries (see common.chat).

Transient failures are retried: rate limits, a server that is down, cut or stalled connections, replies without a completion. A
permanent failure ends the run with one sentence. A prompt that the server rejects gets a RefusedAnswer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from common.chat import Completion, Endpoint, RequestRefused, TransientError, complete, new_client
from common.errors import UserError
from common.retry import backoff
from common.thinking import OPEN, without_thoughts
from eval_tasks.backends.prompts import Likelihoods, Prompt, RefusedAnswer, RefusedLikelihoods, ScoredPrompt

CONSTRAINT_NEEDS = "constrained=true needs a server with vLLM's structured_outputs"

WAYS_OUT = (
    (r"max_tokens|max_completion_tokens", "give --option max_completion_tokens=4000, the tokens of reasoning and answer"),
    ("temperature", "give --option temperature=none, which leaves it out"),
    ("reasoning_effort", "give another --option reasoning_effort, or leave it out"),
    ("chat_template_kwargs", "leave out --template-option, which this server does not take"),
)
"""(field in a server's refusal of the form of all requests, what to do about it)"""

WRITE_INSTEAD = "let the model write its answers (--answers written), or serve it with vLLM"

TOP_LOGPROBS = 20
"""Alternatives of a token that OpenAI's interface gives at most."""

MOST_FAILURES = 100
"""Failures in a row that end a run which goes on without the prompts that fail: the server is not well."""

Reply = TypeVar("Reply")


def answers(
    endpoint: Endpoint,
    prompts: Sequence[Prompt],
    constrained: bool,
    fields: Mapping[str, Any] | None = None,
    skip: bool = False,
) -> AsyncIterator[tuple[int, str]]:
    """(place, text or RefusedAnswer) of each prompt; see `in_flight`. `skip`: a RefusedAnswer also stands for a failure.

    `fields` go over those of every request; None leaves a field out. Reasoning comes in a think block before the answer.
    """
    return in_flight(
        endpoint,
        len(prompts),
        lambda client, place: answer(client, endpoint, prompts[place], constrained, fields or {}),
        RefusedAnswer if skip else None,
    )


def scores(
    endpoint: Endpoint, prompts: Sequence[ScoredPrompt], fields: Mapping[str, Any] | None = None, skip: bool = False
) -> AsyncIterator[tuple[int, Likelihoods]]:
    """(place, Likelihoods) of each prompt; see `in_flight`, `score` and `answers`. `skip`: RefusedLikelihoods for a failure."""
    return in_flight(
        endpoint,
        len(prompts),
        lambda client, place: score(client, endpoint, prompts[place], fields or {}),
        RefusedLikelihoods if skip else None,
    )


async def in_flight(
    endpoint: Endpoint,
    count: int,
    ask: Callable[[Any, int], Awaitable[Reply]],
    failed: Callable[[str], Reply] | None = None,
) -> AsyncIterator[tuple[int, Reply]]:
    """(place, reply) of each of `count` requests as they arrive, with at most `concurrency` of them in flight.

    `ask(client, place)` makes one. Raises UserError for a permanent failure, after the replies in flight have been yielded;
    where `failed` makes a reply of a failure's sentence, only after MOST_FAILURES in a row.
    """
    in_a_row = 0
    places = iter(range(count))
    replies: asyncio.Queue[tuple[int, Reply] | None] = asyncio.Queue()
    failures: list[UserError] = []

    async def reply_to(client: Any, place: int) -> Reply:
        nonlocal in_a_row
        try:
            reply = await ask(client, place)
        except UserError as error:
            in_a_row += 1
            if failed is None or in_a_row >= MOST_FAILURES:
                raise
            return failed(str(error))
        in_a_row = 0
        return reply

    async def work(client: Any) -> None:
        try:
            for place in places:
                if failures:
                    break
                replies.put_nowait((place, await reply_to(client, place)))
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
    try:
        completion = await completed(client, endpoint, request_body(endpoint, prompt, pattern, fields))
    except RequestRefused as refusal:
        advice = [sentence for field, sentence in WAYS_OUT if re.search(field, str(refusal))]
        advice += [CONSTRAINT_NEEDS] if pattern else []
        raise UserError("; ".join([f"{endpoint.url} refuses the request ({refusal})", *advice])) from None
    if completion.reason:
        return RefusedAnswer(completion.reason.partition(":")[0])
    if completion.cut and not completion.text.strip():  # a whole budget of reasoning, which not every server shows
        return OPEN + completion.reasoning
    said = without_thoughts(completion.text)
    if pattern and said is not None and not completion.cut and not re.fullmatch(pattern, said):
        raise UserError(f"{endpoint.url} answers {said[:80]!r} where only {pattern!r} is allowed: {CONSTRAINT_NEEDS}")
    return completion.text


async def score(client: Any, endpoint: Endpoint, scored: ScoredPrompt, fields: Mapping[str, Any]) -> Likelihoods:
    """The likelihoods of a prompt's candidates by those of the answer's first tokens, as far as the server tells them.

    A candidate that is not among the likeliest is taken to be as likely as the last of them. Raises UserError where the server
    gives no log-probabilities, refuses the prompt, or where two candidates begin with one token.
    """
    first = replace(scored.prompt, max_new_tokens=1)
    asked = {name: value for name, value in fields.items() if name != "max_completion_tokens"}
    request = request_body(endpoint, first, "", {**asked, "logprobs": True, "top_logprobs": TOP_LOGPROBS})
    try:
        completion = await completed(client, endpoint, request)
    except RequestRefused as refusal:
        raise UserError(f"{endpoint.url} refuses a request for log-probabilities ({refusal}); {WRITE_INSTEAD}") from None
    if completion.reason:
        raise UserError(f"{endpoint.url} refuses a prompt ({completion.reason}), which cannot be scored; {WRITE_INSTEAD}")
    if completion.likeliest is None:
        raise UserError(f"{endpoint.url} gives no log-probabilities (logprobs) with its answers; {WRITE_INSTEAD}")
    return first_token_likelihoods(endpoint, scored.candidates, completion.likeliest)


def first_token_likelihoods(endpoint: Endpoint, candidates: Sequence[str], likeliest: Mapping[str, float]) -> Likelihoods:
    """The first token of a candidate is the longest one that it begins with. Raises UserError."""
    tokens = [token for token in likeliest if token.strip()]
    firsts = [max((token for token in tokens if text.startswith(token.lstrip())), key=len, default="") for text in candidates]
    known = [token for token in firsts if token]
    if len(set(known)) < len(known):
        alike = next(token for token in known if known.count(token) > 1)
        raise UserError(
            f"{endpoint.url} tells the first token of an answer only, and several of {', '.join(candidates)} begin with "
            f"{alike!r}; {WRITE_INSTEAD}"
        )
    least = min(likeliest.values())
    return tuple(likeliest[token] if token else least for token in firsts)


async def completed(client: Any, endpoint: Endpoint, request: dict[str, Any]) -> Completion:
    """The completion, tried again after failures that a retry may overcome. Raises RequestRefused and UserError."""
    for tries in range(1, endpoint.retries + 2):
        try:
            return await complete(client, endpoint, request)
        except TransientError as failure:
            if tries > endpoint.retries:
                raise UserError(
                    f"{endpoint.url} gave no answer in {tries} tries: {failure}. What was answered is kept: run the same "
                    "command when the server is well"
                ) from None
            await asyncio.sleep(backoff(tries, failure.retry_after))
    raise AssertionError("the loop returns or raises")


def request_body(endpoint: Endpoint, prompt: Prompt, pattern: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request for a prompt, greedy unless `fields` say otherwise."""
    limit = {} if "max_completion_tokens" in fields else {"max_tokens": prompt.max_new_tokens}
    constraint = {"structured_outputs": {"regex": pattern}} if pattern else {}
    body = {"model": endpoint.model, "messages": prompt.chat(), "temperature": 0, **limit, **constraint, **fields}
    return {name: value for name, value in body.items() if value is not None}
