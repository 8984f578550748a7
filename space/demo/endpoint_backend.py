"""Base and tuned model on a server that speaks OpenAI's chat completions, such as `vllm serve` with a LoRA adapter.

https://platform.openai.com/docs/api-reference/chat and https://docs.vllm.ai/en/latest/features/lora.html. Both models are asked
at the same time. What the server says of an error goes to the log, without the key; the page gets a sentence written here.
"""

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from typing import Any

from .backend import Ask, Busy, ModelError, Said, State, Updates, Worker, public_name, read

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 10.0
"""Between two tries to reach a server that was not there."""

TOP_LOGPROBS = 20
"""The most that OpenAI's interface gives."""

UNSEEN = 0.01
"""Labels that are not among the likeliest tokens count as 0 where together they cannot have more than this share."""

TOO_LONG = re.compile(r"context_length_exceeded|maximum context length|maximum model length|context window", re.IGNORECASE)


@dataclass(frozen=True)
class Endpoint:
    """`models` are the names that base and tuned model have at `url`; `key` is sent there and shown nowhere."""

    url: str
    models: dict[str, str]
    key: str = field(default="", repr=False)


class EndpointModel:
    """Asks in an event loop of its own, where a request that is given up closes its connections at once."""

    at_once = 16

    def __init__(self, endpoint: Endpoint) -> None:
        self.names = {who: public_name(name) for who, name in endpoint.models.items()}
        self._endpoint = endpoint
        self._client: Any = None
        self._state = State("loading", "Connecting to the endpoint.")
        self._tried = Event()
        self._places = asyncio.Semaphore(self.at_once)
        self._tells_chances = True
        self._label_tokens: dict[tuple[str, ...], list[int]] = {}
        self._loop = asyncio.new_event_loop()
        self._worker = Worker(self._run, "endpoint")

    def start(self) -> None:
        self._worker.start()

    def state(self) -> State:
        return self._state

    def wait(self, seconds: float) -> None:
        self.start()
        if not self._tried.wait(seconds):
            raise ModelError("The page is still connecting to the endpoint. Try again in a minute.")
        if self._state.kind == "failed":
            raise ModelError(self._state.message)

    def stream(self, ask: Ask, seconds: float) -> Iterator[dict[str, Said]]:
        self.wait(0)
        updates: Updates = SimpleQueue()
        task = asyncio.run_coroutine_threadsafe(self._answer(ask, seconds, updates), self._loop)
        try:
            yield from read(updates)
        finally:
            task.cancel()

    def _run(self) -> None:
        connecting = self._loop.create_task(self._connect())
        connecting.add_done_callback(lambda task: task.result())
        self._loop.run_forever()

    async def _connect(self) -> None:
        """Goes on until the server answers and lets us in."""
        from openai import APIStatusError, AsyncOpenAI, Timeout

        self._client = AsyncOpenAI(
            base_url=self._endpoint.url,
            api_key=self._endpoint.key or "none",  # a server without keys has none, and the client wants one
            timeout=Timeout(None, connect=CONNECT_SECONDS),
            max_retries=0,
        )
        while True:
            try:
                await self._client.with_options(timeout=CONNECT_SECONDS).models.list()
            except Exception as error:
                # A server that does not list its models may have them all the same.
                there = isinstance(error, APIStatusError) and error.status_code not in (401, 403) and error.status_code < 500
                self._state = self._ready() if there else State("failed", str(self._sentence(error, "")))
            else:
                self._state = self._ready()
            self._tried.set()
            if self._state.kind == "ready":
                return
            await asyncio.sleep(RETRY_SECONDS)

    def _ready(self) -> State:
        return State("ready", f"{list(self.names.values())[-1]} is ready, at an endpoint.")

    async def _answer(self, ask: Ask, seconds: float, updates: Updates) -> None:
        said: dict[str, Said] = {}
        try:
            async with asyncio.timeout(seconds), self._places, asyncio.TaskGroup() as group:
                said |= {who: Said() for who in self.names}
                for who in self.names:
                    group.create_task(self._write(who, ask, said, updates))
            updates.put(None)
        except TimeoutError:
            if not said:
                updates.put(Busy("The endpoint is busy with other requests. Try again in a minute."))
            elif any(one.text for one in said.values()):
                updates.put({who: cut(one, seconds) for who, one in said.items()})
                updates.put(None)
            else:
                updates.put(ModelError(f"The endpoint gave no answer within {seconds:.0f} seconds. Try again in a minute."))
        except ExceptionGroup as errors:
            updates.put(next(error for error in errors.exceptions if isinstance(error, ModelError)))

    async def _write(self, who: str, ask: Ask, said: dict[str, Said], updates: Updates) -> None:
        """Fills said[who] and tells all of `said` after each piece. Raises ModelError."""
        started = time.monotonic()
        first_token = ended = False
        try:
            async with await self._open(self._endpoint.models[who], ask) as chunks:
                async for chunk in chunks:
                    for choice in chunk.choices[:1]:  # a chunk about usage has none
                        one = replace(said[who], text=said[who].text + (choice.delta.content or ""))
                        if not first_token and choice.logprobs and choice.logprobs.content:
                            first_token = True
                            tops = {top.token: top.logprob for top in choice.logprobs.content[0].top_logprobs}
                            one = replace(one, chances=label_chances(ask.labels, tops))
                        said[who] = one
                        updates.put(dict(said))
                        ended = ended or choice.finish_reason is not None
        except Exception as error:
            raise self._sentence(error, self.names[who]) from None
        if not ended:
            raise ModelError("The endpoint broke off in the middle of an answer. Try again in a minute.")
        said[who] = replace(said[who], seconds=time.monotonic() - started)
        updates.put(dict(said))

    async def _open(self, model: str, ask: Ask) -> Any:
        """The stream of an answer, with the likeliest tokens where labels are asked for and the server gives them."""
        from openai import BadRequestError, UnprocessableEntityError

        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": ask.prompt}],
            "temperature": 0,
            "max_tokens": ask.max_new_tokens,
            "stream": True,
        }
        create = self._client.chat.completions.create
        if not (ask.labels and self._tells_chances):
            return await create(**request)
        tokens = await self._tokens(ask.labels)
        exactly = {"logprob_token_ids": tokens} if tokens else None
        try:
            return await create(**request, logprobs=True, top_logprobs=TOP_LOGPROBS, extra_body=exactly)
        except (BadRequestError, UnprocessableEntityError):
            chunks = await create(**request)
        self._tells_chances = False  # it was this that the server did not take
        return chunks

    async def _tokens(self, labels: tuple[str, ...]) -> list[int]:
        """Ids of the labels' first tokens where the server tells them, as vLLM does, which then gives just their chances."""
        import openai

        if labels not in self._label_tokens:
            url = self._endpoint.url.rstrip("/").removesuffix("/v1") + "/tokenize"
            asked = {"model": self._endpoint.models["base"], "add_special_tokens": False}
            try:
                told = [await self._client.post(url, cast_to=object, body=asked | {"prompt": label}) for label in labels]
                self._label_tokens[labels] = [int(one["tokens"][0]) for one in told]
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError):
                return []  # which the answer itself will tell; the next time the server may tell the ids
            except (openai.APIStatusError, LookupError, TypeError, ValueError):
                self._label_tokens[labels] = []
        return self._label_tokens[labels]

    def _sentence(self, error: Exception, name: str) -> ModelError:
        """What the page says of an error. The log has the rest."""
        import openai

        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        # What a server says of a key or of a prompt may hold a part of it.
        unspoken = status in (400, 401, 403, 413, 422)
        self._log(f"the endpoint answers {status}" if unspoken else f"{type(error).__name__}: {error}"[:300])
        if status in (429, 503):
            return Busy("The endpoint is busy. Try again in a minute.")
        if status in (401, 403):
            told = "The endpoint does not let this page in. ENDPOINT_API_KEY has to be a key that it accepts."
        elif status == 404:
            told = (
                f"The endpoint knows no model {name}. ENDPOINT_BASE_MODEL and ENDPOINT_TUNED_MODEL have to be names that it "
                "serves, and ENDPOINT_URL mostly ends in /v1."
            )
        elif status == 413 or (status == 400 and TOO_LONG.search(str(error))):
            told = "The prompt is too long for the model. Shorten it."
        elif status is not None:
            told = f"The endpoint does not answer this request ({status}). Try another prompt, or try again in a minute."
        elif isinstance(error, openai.APIConnectionError):
            told = "The endpoint cannot be reached, or the connection broke. Try again in a minute."
        elif isinstance(error, openai.APIError):
            told = "The endpoint failed in the middle of an answer. Try again in a minute."
        else:
            told = "The endpoint answers with something that is no chat completion. ENDPOINT_URL has to be its address."
        return ModelError(told)

    def _log(self, text: str) -> None:
        print(text.replace(self._endpoint.key, "…") if self._endpoint.key else text, file=sys.stderr, flush=True)


def cut(said: Said, seconds: float) -> Said:
    """What is there when the time is up."""
    return said if said.seconds is not None else replace(said, seconds=seconds, cut=True)


def label_chances(labels: tuple[str, ...], tops: Mapping[str, float]) -> tuple[float, ...] | None:
    """Each label's share of what all labels have together; None where that is not known.

    tops: the likeliest first tokens with their logarithmic probabilities. A label is begun by the longest token that it
    starts with.
    """
    begins = [max((token for token in tops if token and label.startswith(token)), key=len, default="") for label in labels]
    found = [token for token in begins if token]
    if not found or len(set(found)) < len(found):
        return None
    masses = [math.exp(tops[token]) if token else 0.0 for token in begins]
    unseen = (len(labels) - len(found)) * math.exp(min(tops.values()))
    if unseen > UNSEEN * sum(masses):
        return None
    return tuple(mass / sum(masses) for mass in masses)
