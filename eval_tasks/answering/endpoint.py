"""Asks a server that speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), through storms.

What may pass is asked again: a server that is busy or down, a cut connection, a stall, a reply that is no completion. What will
not pass ends the run with one sentence. What concerns a single prompt makes its answer Refused.
"""

import asyncio
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from dataset_builders.errors import UserError, first_line
from eval_tasks.answering.asking import Prompt, Refused

FIRST_WAIT = 0.5
"""Seconds before the first retry; each further one waits twice as long."""

LONGEST_WAIT = 30.0
"""Seconds before a retry at most, unless the server asks for more."""

LONGEST_BREAK = 600.0
"""A server that asks to be left alone for more seconds is taken at its word: the run ends."""

REFUSALS = (
    (r"content_filter|content_policy_violation|content management policy", "content filter"),
    (r"context_length_exceeded|maximum context length|maximum model length|context window", "too long"),
)
"""What is found in the error that a server answers a single prompt with, and what the prompt is refused for."""

CONSTRAINT_NEEDS = "constrained=true needs a server that knows vLLM's structured_outputs"


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask. `timeout` is in seconds and for each try; `key` is sent to the server and shown nowhere."""

    url: str
    model: str
    concurrency: int = 8
    timeout: int = 120
    retries: int = 8
    key: str = field(default="", repr=False)

    def hide(self, text: str) -> str:
        """What a server says, without the key, should it repeat it."""
        return text.replace(self.key, "…") if len(self.key) >= 8 else text


class PassingError(Exception):
    """A failure that may not come again. `wait` is the time in seconds that the server asks for, if it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


async def answers(endpoint: Endpoint, prompts: Sequence[Prompt], constrained: bool) -> AsyncIterator[tuple[int, str]]:
    """(place, text or Refused) of each prompt as the replies come, `concurrency` requests at once at most.

    Raises UserError for what will not pass, when all replies that were under way have been yielded.
    """
    from openai import AsyncOpenAI

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # under lighteval its line for each request would be shown
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

    # The client's own retries know no reply that is no completion, and no time-out of a whole reply. A server on the same
    # machine has no key, and the client wants one.
    options: dict[str, Any] = {"timeout": endpoint.timeout, "max_retries": 0}
    async with AsyncOpenAI(base_url=endpoint.url, api_key=endpoint.key or "none", **options) as client:
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
    """The text of one answer, or Refused. Raises UserError for what will not pass or has not passed."""
    pattern = prompt.pattern if constrained else ""
    request = {
        "model": endpoint.model,
        "messages": prompt.chat(),
        "temperature": 0,
        "max_tokens": prompt.max_new_tokens,
        "extra_body": {"structured_outputs": {"regex": pattern}} if pattern else {},
    }
    for tries in range(1, endpoint.retries + 2):
        try:
            return await reply_text(client, endpoint, request, pattern)
        except PassingError as failure:
            if tries > endpoint.retries:
                raise UserError(
                    f"{endpoint.url} gave no answer in {tries} tries: {failure}. What was answered is kept: run the same "
                    "command when the server is well"
                ) from None
            backoff = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.75, 1.25)
            await asyncio.sleep(backoff if failure.wait is None else failure.wait)
    raise AssertionError("the loop returns or raises")


async def reply_text(client: Any, endpoint: Endpoint, request: dict[str, Any], pattern: str) -> str:
    """The text of the reply to one request. Raises PassingError and UserError."""
    import openai

    try:
        async with asyncio.timeout(endpoint.timeout):
            reply = await client.chat.completions.create(**request)
    except (TimeoutError, openai.APITimeoutError):
        raise PassingError(f"no reply within {endpoint.timeout} seconds") from None
    except openai.APIConnectionError as error:
        raise PassingError(f"it cannot be reached ({endpoint.hide(first_line(error.__cause__ or error))})") from None
    except openai.APIStatusError as error:
        return refused(endpoint, error, pattern)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise PassingError("its reply is no JSON") from None
    return completion_text(endpoint, reply, pattern)


def completion_text(endpoint: Endpoint, reply: Any, pattern: str) -> str:
    """The text of a completion, or Refused. Raises PassingError where it is none, UserError where the pattern was ignored."""
    try:
        choice = reply.choices[0]
        text, ending = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        text, ending = NotImplemented, None
    if ending == "content_filter":
        return Refused("content filter")
    if not isinstance(text, str | None):
        raise PassingError(f"its reply is no chat completion ({endpoint.hide(str(reply))[:200]!r})")
    text = text or ""
    if pattern and ending != "length" and not re.fullmatch(pattern, text):
        raise UserError(f"{endpoint.url} answers {text[:80]!r} where only {pattern!r} is allowed: {CONSTRAINT_NEEDS}")
    return text


def refused(endpoint: Endpoint, error: Any, pattern: str) -> str:
    """Refused, for an error that concerns a single prompt. Raises PassingError or UserError for any other."""
    status, headers = error.status_code, error.response.headers
    said = endpoint.hide(str(error.body.get("message") if isinstance(error.body, dict) else error.body or "no reason given"))
    said = f"{status}: {first_line(ValueError(said))[:300]}"
    if status in (401, 403):  # what it says may hold a part of the key
        raise UserError(f"{endpoint.url} does not let you in ({status}); set OPENAI_API_KEY to a key for {endpoint.model}")
    if error.code == "insufficient_quota":
        raise UserError(f"{endpoint.url}: the quota of this key is used up ({said}); what was answered is kept")
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(headers.get("retry-after"))
        if wait and wait > LONGEST_BREAK:
            raise UserError(f"{endpoint.url} asks for a break of {wait:.0f} seconds; run the same command then")
        raise PassingError(said, wait)
    if status == 413:
        return Refused("too long")
    for found, reason in REFUSALS:
        if re.search(found, f"{error.code} {said}", re.IGNORECASE):
            return Refused(reason)
    if status == 404:
        raise UserError(
            f"{endpoint.url} knows no model {endpoint.model!r} ({said}); give the name that it has there as model_name, and a "
            "base_url that ends as the server's manual says, mostly in /v1"
        )
    raise UserError(f"{endpoint.url} refuses the request ({said}){'; ' + CONSTRAINT_NEEDS if pattern else ''}")


def retry_after(value: str | None) -> float | None:
    """Seconds from now of a Retry-After header (RFC 9110, section 10.2.3); None where it is absent or unreadable."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
