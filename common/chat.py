"""Client for OpenAI-compatible chat completions (https://platform.openai.com/docs/api-reference/chat): one request.

The result is a completion, with a reason and no text where the prompt was rejected, or an error: a TransientError, which a
retry may overcome, a RequestRefused, for which this request alone may be to blame, or a UserError, which ends the run.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
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
"""(pattern in a server's error, why it rejects this one prompt)"""


@dataclass(frozen=True)
class Endpoint:
    """A server, a model on it, and the limits for requests to it. `url` ends as the server's manual says, mostly in /v1.

    `timeout` is in seconds, for each of the 1 + `retries` tries. `concurrency` is the most requests in flight. The limits per
    minute count requests and tokens (of the prompt by a rule of thumb, of the answer at most); 0 is no limit. `key` is sent to
    the server and printed nowhere; `key_name` is its environment variable.
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
        """A server's message with the key masked, should it repeat it."""
        return text.replace(self.key, "…") if len(self.key) >= 8 else text


@dataclass(frozen=True)
class Completion:
    """A reply's text, or the reason why it has none. `cut`: it ended at the limit of tokens.

    `likeliest` are the first token's alternatives and their log-probabilities; None where the server gives none.
    `reasoning` is what the server keeps apart from the text, if it does.
    """

    text: str
    reason: str = ""
    cut: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    likeliest: Mapping[str, float] | None = None
    reasoning: str = ""


class TransientError(Exception):
    """A failure that a retry may overcome. `retry_after`: seconds that the server asks to wait, if it does.

    `busy`: a rate limit, which says nothing about this request. `unreachable`: no connection was made.
    """

    def __init__(self, reason: str, retry_after: float | None = None, busy: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.busy = busy
        self.unreachable = unreachable


class RequestRefused(Exception):
    """The server calls the request bad: for its prompt, or for the form that all requests have."""


def base_url(text: str) -> str:
    """The URL of a server, without a trailing slash. Raises UserError."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid port
        whole = False
    if not whole:
        raise UserError(f"{text!r} is not a server's URL, such as http://localhost:8000/v1")
    return text.rstrip("/")


def api_key(environment: Mapping[str, str], name: str = KEY_NAME) -> str:
    """The key in this environment variable, or "": a server on the same machine may need none. Raises UserError."""
    key = environment.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{name} contains characters that no key has; set it again")
    return key


def new_client(endpoint: Endpoint) -> Any:
    """An aiohttp.ClientSession, to be used with `async with`.

    Not the openai client: what it does around aiohttp for each request takes three times as long as the request itself.
    """
    import ssl

    import aiohttp
    import certifi
    from aiohttp.helpers import get_env_proxy_for_url
    from yarl import URL

    secure: Any = True
    proxy: Any = (None, None)
    with suppress(LookupError):  # once, since with `trust_env` aiohttp reads the environment for each request, in a thread
        proxy = get_env_proxy_for_url(URL(endpoint.url))
    if endpoint.url.startswith("https:"):
        secure = ssl.create_default_context()
        secure.load_verify_locations(certifi.where())  # for systems without certificates of their own
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=endpoint.concurrency, ssl=secure),
        headers={"Authorization": f"Bearer {endpoint.key or 'none'}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=None),  # that of a whole reply is `complete`'s
        proxy=proxy[0],
        proxy_auth=proxy[1],
    )


async def complete(client: Any, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
    """The completion of one request. Raises TransientError, RequestRefused and UserError."""
    import aiohttp

    try:
        async with (
            asyncio.timeout(endpoint.timeout),
            client.post(f"{endpoint.url}/chat/completions", data=json.dumps(body).encode()) as reply,
        ):
            content = await reply.read()
    except TimeoutError:  # also aiohttp's
        raise TransientError(f"no reply within {endpoint.timeout} seconds") from None
    except aiohttp.ClientError as error:
        unreachable = isinstance(error, aiohttp.ClientConnectorError)
        raise TransientError(f"it cannot be reached ({endpoint.hide(first_line(error))})", unreachable=unreachable) from None
    try:
        decoded = json.loads(content)
    except (ValueError, RecursionError):
        decoded = content.decode(errors="replace").strip()
        if reply.status < 400:
            raise TransientError(f"its reply is not JSON ({endpoint.hide(decoded)[:200]!r})") from None
    if reply.status >= 400:
        found = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
        return read_error(endpoint, reply.status, found, reply.headers)
    return read_completion(endpoint, decoded)


def read_completion(endpoint: Endpoint, reply: Any) -> Completion:
    """The completion in a decoded reply. Raises TransientError where it has none."""
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
        return Completion("", f"refused: {first_line(ValueError(_without_surrogates(refusal)))[:300]}", False, *tokens)
    if not isinstance(text, str | None):
        raise TransientError(f"its reply is not a chat completion ({endpoint.hide(str(reply))[:200]!r})")
    reasoning = message.get("reasoning_content") or message.get("reasoning")  # vLLM's and SGLang's, OpenRouter's
    apart = _without_surrogates(reasoning) if isinstance(reasoning, str) else ""
    said = _without_surrogates(text or "")
    return Completion(said, "", ending == "length", *tokens, likeliest=_likeliest(choice), reasoning=apart)


def _likeliest(choice: Mapping[str, Any]) -> dict[str, float] | None:
    try:
        tops = choice["logprobs"]["content"][0]["top_logprobs"]
        return {str(top["token"]): float(top["logprob"]) for top in tops} or None
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _count(usage: Any, name: str) -> int:
    found = usage.get(name) if isinstance(usage, dict) else 0
    return found if isinstance(found, int) else 0


def _without_surrogates(text: str) -> str:
    """Without lone surrogates, which JSON can hold and a file cannot."""
    return text.encode("utf-8", "replace").decode()


def read_error(endpoint: Endpoint, status: int, body: Any, headers: Mapping[str, str]) -> Completion:
    """The meaning of an error response: an empty completion where it concerns the prompt, else an exception of `complete`.

    `body` is the "error" of the reply, or the whole reply.
    """
    code, message = (body.get("code"), body.get("message")) if isinstance(body, dict) else (None, body or "no reason given")
    reason = f"{status}: {first_line(ValueError(endpoint.hide(str(message))))[:300]}"
    if status in (401, 403):  # its message may hold a part of the key
        raise UserError(f"{endpoint.url} refuses the key ({status}); set {endpoint.key_name} to a key for {endpoint.model}")
    if status == 402 or code == "insufficient_quota":
        raise UserError(f"{endpoint.url}: the quota of this key is used up ({reason}); what was answered is kept")
    if status in TRANSIENT_STATUSES:
        wait = retry_after(headers)
        if wait and wait > LONGEST_RETRY_AFTER:
            raise UserError(f"{endpoint.url} asks to wait {wait:.0f} seconds; run the same command then")
        raise TransientError(reason, wait, busy=status == 429)
    if status == 413:
        return Completion("", "too long")
    for pattern, rejection in REJECTIONS:
        if re.search(pattern, f"{code} {reason}", re.IGNORECASE):
            return Completion("", rejection)
    if status == 404:
        raise UserError(
            f"{endpoint.url} knows no model {endpoint.model!r} ({reason}); give the model's name there, and a URL that ends "
            "as the server's manual says, mostly in /v1"
        )
    raise RequestRefused(reason)
