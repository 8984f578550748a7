"""Backend that calls an OpenAI-compatible server, such as `vllm serve` with a LoRA adapter, for base and tuned model at once.

https://platform.openai.com/docs/api-reference/chat and https://docs.vllm.ai/en/latest/features/lora.html. The server's error
messages go to the log, without the API key; the page shows a sentence written here.
"""

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from typing import Any

from .backend import (
    AnswerRequest,
    Answers,
    AnswerUpdates,
    BackendBusy,
    BackendError,
    BackendState,
    BackendThread,
    ModelAnswer,
    PlacedAnswers,
    answered_apart,
    public_name,
    read_updates,
)
from .streaming import answer_text

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 10.0
"""Between attempts to connect."""

TOP_LOGPROBS = 20
"""The most that the API allows."""

MAX_UNSEEN_MASS = 0.01
"""Labels outside the top tokens get probability 0 if their share cannot exceed this; otherwise no probability is known."""

TOO_LONG = re.compile(r"context_length_exceeded|maximum context length|maximum model length|context window", re.IGNORECASE)


@dataclass(frozen=True)
class EndpointSettings:
    """`models` are the names of "base" and "tuned" at `url`; `api_key` is sent there and shown nowhere.

    `template` are arguments of the chat template, such as enable_thinking=False, which a server applies.
    """

    url: str
    models: dict[str, str]
    api_key: str = field(default="", repr=False)
    template: Mapping[str, Any] = field(default_factory=dict)


class RemoteBackend:
    """Runs its requests in one event loop, so that cancelling one closes its connections at once."""

    max_concurrency = 16
    scores_texts = False
    """The interface tells the likelihoods of tokens that a model writes, not of a text that is given."""
    rows_at_once = 8
    """Of one visitor's many, so that others find a free place."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.names = {who: public_name(name) for who, name in settings.models.items()}
        self._settings = settings
        self._client: Any = None
        self._state = BackendState("loading", "Connecting to the endpoint.")
        self._tried = Event()
        self._slots = asyncio.Semaphore(self.max_concurrency)
        self._supports_logprobs = True
        self._label_ids: dict[tuple[str, ...], list[int]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = BackendThread(self._run, "endpoint")

    def start(self) -> None:
        self._thread.start()

    def state(self) -> BackendState:
        return self._state

    def wait(self, timeout: float) -> None:
        self.start()
        if not self._tried.wait(timeout):
            raise BackendError("The page is still connecting to the endpoint. Try again in a minute.")
        if self._state.kind == "failed":
            raise BackendError(self._state.message)

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        self.wait(0)
        updates: AnswerUpdates = SimpleQueue()
        task = asyncio.run_coroutine_threadsafe(self._answer(request, timeout, updates), self._loop)
        try:
            yield from read_updates(updates)
        finally:
            task.cancel()

    def answer_all(self, requests: Sequence[AnswerRequest], timeout: float) -> Iterator[PlacedAnswers]:
        self.wait(0)
        return answered_apart(self, requests, timeout, self.rows_at_once)

    def _run(self) -> None:
        connecting = self._loop.create_task(self._connect())
        connecting.add_done_callback(lambda task: task.result())
        self._loop.run_forever()

    async def _connect(self) -> None:
        """Retries until the server answers and accepts the key."""
        from openai import APIStatusError, AsyncOpenAI, Timeout

        self._client = AsyncOpenAI(
            base_url=self._settings.url,
            api_key=self._settings.api_key or "none",  # the client requires one, also for a server without keys
            timeout=Timeout(None, connect=CONNECT_SECONDS),
            max_retries=0,
        )
        while True:
            try:
                await self._client.with_options(timeout=CONNECT_SECONDS).models.list()
            except Exception as error:
                # A server may serve models without listing them.
                answers = isinstance(error, APIStatusError) and error.status_code not in (401, 403) and error.status_code < 500
                self._state = self._ready() if answers else BackendState("failed", str(self._as_backend_error(error, "")))
            else:
                self._state = self._ready()
            self._tried.set()
            if self._state.kind == "ready":
                return
            await asyncio.sleep(RETRY_SECONDS)

    def _ready(self) -> BackendState:
        return BackendState("ready", f"{list(self.names.values())[-1]} is ready, at an endpoint.")

    async def _answer(self, request: AnswerRequest, timeout: float, updates: AnswerUpdates) -> None:
        answers: Answers = {}
        try:
            async with asyncio.timeout(timeout), self._slots, asyncio.TaskGroup() as group:
                answers |= {who: ModelAnswer() for who in self.names if who in (request.only or self.names)}
                for who in list(answers):
                    group.create_task(self._generate(who, request, answers, updates))
            updates.put(None)
        except TimeoutError:
            if not answers:
                updates.put(BackendBusy("The endpoint is busy with other requests. Try again in a minute."))
            elif any(answer.text for answer in answers.values()):
                updates.put({who: cut_off(answer, timeout) for who, answer in answers.items()})
                updates.put(None)
            else:
                updates.put(BackendError(f"The endpoint gave no answer within {timeout:.0f} seconds. Try again in a minute."))
        except ExceptionGroup as errors:
            updates.put(next(error for error in errors.exceptions if isinstance(error, BackendError)))

    async def _generate(self, who: str, request: AnswerRequest, answers: Answers, updates: AnswerUpdates) -> None:
        """Streams one model's answer into answers[who] and puts all answers into `updates` each time. Raises BackendError."""
        started = time.monotonic()
        has_first_token = complete = False
        written = ""
        try:
            async with await self._open(self._settings.models[who], request) as chunks:
                async for chunk in chunks:
                    for choice in chunk.choices[:1]:  # a usage chunk has none
                        written += choice.delta.content or ""
                        answer = replace(answers[who], text=answer_text(written))
                        if not has_first_token and choice.logprobs and choice.logprobs.content:
                            has_first_token = True
                            tops = {top.token: top.logprob for top in choice.logprobs.content[0].top_logprobs}
                            answer = replace(answer, probabilities=label_probabilities(request.labels, tops))
                        answers[who] = answer
                        updates.put(dict(answers))
                        complete = complete or choice.finish_reason is not None
        except Exception as error:
            raise self._as_backend_error(error, self.names[who]) from None
        if not complete:
            raise BackendError("The endpoint broke off in the middle of an answer. Try again in a minute.")
        answers[who] = replace(answers[who], seconds=time.monotonic() - started)
        updates.put(dict(answers))

    async def _open(self, model: str, request: AnswerRequest) -> Any:
        """The stream of completion chunks, with logprobs where the request has labels and the server supports them."""
        from openai import BadRequestError, UnprocessableEntityError

        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": 0,
            "max_tokens": request.max_new_tokens,
            "stream": True,
        }
        extra = {"chat_template_kwargs": dict(self._settings.template)} if self._settings.template else {}
        create = self._client.chat.completions.create
        if not (request.labels and self._supports_logprobs):
            return await create(**body, extra_body=extra)
        ids = await self._first_token_ids(request.labels)
        only_labels = {"logprob_token_ids": ids} if ids else {}
        try:
            return await create(**body, logprobs=True, top_logprobs=TOP_LOGPROBS, extra_body=extra | only_labels)
        except (BadRequestError, UnprocessableEntityError):
            chunks = await create(**body, extra_body=extra)
        self._supports_logprobs = False  # without them the same request succeeded
        return chunks

    async def _first_token_ids(self, labels: tuple[str, ...]) -> list[int]:
        """Ids of the labels' first tokens from vLLM's /tokenize, for exact logprobs of the labels; empty elsewhere."""
        import openai

        if labels not in self._label_ids:
            url = self._settings.url.rstrip("/").removesuffix("/v1") + "/tokenize"
            body = {"model": self._settings.models["base"], "add_special_tokens": False}
            try:
                replies = [await self._client.post(url, cast_to=object, body=body | {"prompt": label}) for label in labels]
                self._label_ids[labels] = [int(reply["tokens"][0]) for reply in replies]
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError):
                return []  # not cached: the next request tries again
            except (openai.APIStatusError, LookupError, TypeError, ValueError):
                self._label_ids[labels] = []
        return self._label_ids[labels]

    def _as_backend_error(self, error: Exception, name: str) -> BackendError:
        """The error with a sentence for the page. The log has the details."""
        import openai

        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        # With these the server's message may quote the key or the prompt.
        private = status in (400, 401, 403, 413, 422)
        self._log(f"the endpoint answers {status}" if private else f"{type(error).__name__}: {error}"[:300])
        if status in (429, 503):
            return BackendBusy("The endpoint is busy. Try again in a minute.")
        if status in (401, 403):
            sentence = "The endpoint does not let this page in. ENDPOINT_API_KEY has to be a key that it accepts."
        elif status == 404:
            sentence = (
                f"The endpoint knows no model {name}. ENDPOINT_BASE_MODEL and ENDPOINT_TUNED_MODEL have to be names that it "
                "serves, and ENDPOINT_URL mostly ends in /v1."
            )
        elif status == 413 or (status == 400 and TOO_LONG.search(str(error))):
            sentence = "The prompt is too long for the model. Shorten it."
        elif status is not None:
            sentence = f"The endpoint does not answer this request ({status}). Try another prompt, or try again in a minute."
        elif isinstance(error, openai.APIConnectionError):
            sentence = "The endpoint cannot be reached, or the connection broke. Try again in a minute."
        elif isinstance(error, openai.APIError):
            sentence = "The endpoint failed in the middle of an answer. Try again in a minute."
        else:
            sentence = "The endpoint answers with something that is no chat completion. ENDPOINT_URL has to be its address."
        return BackendError(sentence)

    def _log(self, text: str) -> None:
        print(text.replace(self._settings.api_key, "…") if self._settings.api_key else text, file=sys.stderr, flush=True)


def cut_off(answer: ModelAnswer, seconds: float) -> ModelAnswer:
    """The answer as it is when the time is up."""
    return answer if answer.seconds is not None else replace(answer, seconds=seconds, cut=True)


def label_probabilities(labels: tuple[str, ...], top_logprobs: Mapping[str, float]) -> tuple[float, ...] | None:
    """The labels' probabilities, normalised over the labels; None where they are not known.

    top_logprobs: the first position's likeliest tokens. A label's first token is the longest one that it starts with.
    """
    tokens = [token for token in top_logprobs if token]
    firsts = [max(filter(label.startswith, tokens), key=len, default="") for label in labels]
    found = [token for token in firsts if token]
    if not found or len(set(found)) < len(found):
        return None
    masses = [math.exp(top_logprobs[token]) if token else 0.0 for token in firsts]
    unseen = (len(labels) - len(found)) * math.exp(min(top_logprobs.values()))
    if unseen > MAX_UNSEEN_MASS * sum(masses):
        return None
    return tuple(mass / sum(masses) for mass in masses)
