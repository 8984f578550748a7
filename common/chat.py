"""One request to a server that speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat).

What comes of it is a completion, which has a reason and no text where the prompt was rejected, or a failure: one that may pass
when it is asked again (PassingError), one that this request alone may be to blame for (RequestRefused), or one that will not
pass (UserError).
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from common.errors import UserError, first_line
from common.retry import LONGEST_RETRY_AFTER, TRANSIENT_STATUSES, retry_after

KEY_NAME = "OPENAI_API_KEY"

REJECTIONS = (
    (r"content_filter|content_policy_violation|content management policy|invalid_prompt", "content filter"),
    (r"context_length_exceeded|maximum context length|maximum model length|context window", "too long"),
)
"""What is found in the error that a server answers a single prompt with, and what the prompt is rejected for."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask. `url` ends as the server's manual says, mostly in /v1.

    `timeout` is in seconds and for each of the 1 + `retries` tries. No more than `concurrency` requests are under way at once,
    nor are more sent a minute than the limits say, in requests and in tokens (of the prompt by a rule of thumb, of the answer
    at most); 0 is no limit. `key` is sent to the server and shown nowhere; `key_name` is the variable that it comes from.
    """

    url: str
    model: str
    concurrency: int = 8
    timeout: int = 120
    retries: int = 8
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    key: str = field(default="", repr=False)
    key_name: str = KEY_NAME

    def hide(self, text: str) -> str:
        """What a server says, without the key, should it repeat it."""
        return text.replace(self.key, "…") if len(self.key) >= 8 else text


@dataclass(frozen=True)
class Completion:
    """A reply's text, or the reason why it has none. `cut` where it was ended by its limit of tokens."""

    text: str
    reason: str = ""
    cut: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class PassingError(Exception):
    """A failure that may not come again. `wait` is the time in seconds that the server asks for, if it does.

    `busy`: the server has too many requests, which says nothing about this one. `unreachable`: no connection was made.
    """

    def __init__(self, reason: str, wait: float | None = None, busy: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.busy = busy
        self.unreachable = unreachable


class RequestRefused(Exception):
    """The server takes this request for wrong: for the prompt in it, or for the form that all requests have."""


def base_url(text: str) -> str:
    """A server's address, without a slash at its end. Raises UserError."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        whole = False
    if not whole:
        raise UserError(f"{text!r} is no server's address, such as http://localhost:8000/v1")
    return text.rstrip("/")


def api_key(environment: Mapping[str, str], name: str = KEY_NAME) -> str:
    """The key in this variable; "" where there is none, as a server on the same machine may need none. Raises UserError."""
    key = environment.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{name} holds characters that no key has; set it anew")
    return key


def new_client(endpoint: Endpoint) -> Any:
    """An openai.AsyncOpenAI, to be used with `async with`."""
    import httpx2
    from openai import AsyncOpenAI, DefaultAioHttpClient

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # under lighteval its line for each request would be shown
    # aiohttp's pool, since httpx's looks at all of its connections at every request.
    limits = httpx2.Limits(max_connections=endpoint.concurrency)
    # The client's own retries know no reply that is no completion, no time-out of a whole reply and no other requests. A
    # server on the same machine has no key, and the client wants one.
    return AsyncOpenAI(
        base_url=endpoint.url,
        api_key=endpoint.key or "none",
        timeout=endpoint.timeout,
        max_retries=0,
        http_client=DefaultAioHttpClient(limits=limits),
    )


async def complete(client: Any, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
    """What the server makes of one request. Raises PassingError, RequestRefused and UserError."""
    import httpx2
    import openai

    try:
        async with asyncio.timeout(endpoint.timeout):
            # `chat.completions.create` would walk through types of body and reply, which takes as long as all the rest.
            reply = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
    except TimeoutError:
        raise PassingError(f"no reply within {endpoint.timeout} seconds") from None
    except openai.APIConnectionError as error:  # openai's time-outs among them
        raise _connection_failure(endpoint, error) from None
    except openai.APIStatusError as error:
        return rejected(endpoint, error.status_code, error.body, error.response.headers)
    try:
        decoded = json.loads(reply.content)
    except (ValueError, RecursionError):
        shown = endpoint.hide(reply.content[:200].decode(errors="replace"))
        raise PassingError(f"its reply is no JSON ({shown!r})") from None
    return read_completion(endpoint, decoded)


def _connection_failure(endpoint: Endpoint, error: BaseException) -> PassingError:
    """By what aiohttp said first: on the way here, a refused and a cut connection have become time-outs."""
    import aiohttp

    causes = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return PassingError(f"no reply within {endpoint.timeout} seconds")
    unreachable = any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes)
    said = next((cause for cause in causes if isinstance(cause, aiohttp.ClientError)), causes[-1])
    return PassingError(f"it cannot be reached ({endpoint.hide(first_line(said))})", unreachable=unreachable)


def read_completion(endpoint: Endpoint, reply: Any) -> Completion:
    """The completion of a decoded reply. Raises PassingError where it is none."""
    try:
        choice = reply["choices"][0]
        message, ending = choice["message"], choice.get("finish_reason")
        text, refusal, usage = message.get("content"), message.get("refusal"), reply.get("usage")
    except (AttributeError, IndexError, KeyError, TypeError):
        text, refusal, usage, ending = NotImplemented, None, None, None
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if ending == "content_filter":
        return Completion("", "content filter", False, *tokens)
    if isinstance(refusal, str) and refusal and not text:
        return Completion("", f"refused: {first_line(ValueError(_sound(refusal)))[:300]}", False, *tokens)
    if not isinstance(text, str | None):
        raise PassingError(f"its reply is no chat completion ({endpoint.hide(str(reply))[:200]!r})")
    return Completion(_sound(text or ""), "", ending == "length", *tokens)


def _count(usage: Any, name: str) -> int:
    found = usage.get(name) if isinstance(usage, dict) else 0
    return found if isinstance(found, int) else 0


def _sound(text: str) -> str:
    """Without lone surrogates, which JSON can hold and no file."""
    return text.encode("utf-8", "replace").decode()


def rejected(endpoint: Endpoint, status: int, body: Any, headers: Mapping[str, str]) -> Completion:
    """What an error of a server says: an empty completion where it concerns the prompt, else an exception of `complete`.

    `body` is what is under "error" in the reply, where there is such a thing, or the whole of it.
    """
    code, message = (body.get("code"), body.get("message")) if isinstance(body, dict) else (None, body or "no reason given")
    said = f"{status}: {first_line(ValueError(endpoint.hide(str(message))))[:300]}"
    if status in (401, 403):  # what it says may hold a part of the key
        raise UserError(f"{endpoint.url} does not let you in ({status}); set {endpoint.key_name} to a key for {endpoint.model}")
    if status == 402 or code == "insufficient_quota":
        raise UserError(f"{endpoint.url}: the quota of this key is used up ({said}); what was answered is kept")
    if status in TRANSIENT_STATUSES:
        wait = retry_after(headers)
        if wait and wait > LONGEST_RETRY_AFTER:
            raise UserError(f"{endpoint.url} asks for a break of {wait:.0f} seconds; run the same command then")
        raise PassingError(said, wait, busy=status == 429)
    if status == 413:
        return Completion("", "too long")
    for found, reason in REJECTIONS:
        if re.search(found, f"{code} {said}", re.IGNORECASE):
            return Completion("", reason)
    if status == 404:
        raise UserError(
            f"{endpoint.url} knows no model {endpoint.model!r} ({said}); give the name that it has there, and an address that "
            "ends as the server's manual says, mostly in /v1"
        )
    raise RequestRefused(said)
