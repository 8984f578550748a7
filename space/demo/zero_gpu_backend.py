"""Backend for a Space on ZeroGPU, where each request gets a GPU for some seconds, in a process of its own.

https://huggingface.co/docs/hub/spaces-zerogpu: the model is moved to "cuda" before the page is launched, by the launching
thread, since the package `spaces` emulates the GPU in that thread only. So here the page waits for the model.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Thread
from typing import Any

from .backend import AnswerRequest, Answers, BackendBusy, BackendError, BackendState, PlacedAnswers
from .model_pair import ModelPair, load, log, public_names
from .streaming import GenerationJob, TokenisedRequest

GPU_SECONDS = 20
"""The GPU time that a request reserves and the visitor must have left; only the time that it uses is charged."""

MANY_SECONDS = 60
"""The same for many requests together."""

STARTING_SECONDS = 8
"""The part of it that moving the weights to the GPU may take."""


class ZeroGpuBackend:
    """Each request has its own GPU process; while it waits for a GPU, `spaces` says so on the page."""

    max_concurrency = 4
    scores_texts = True

    def __init__(self, base: str, adapter: str | None = None) -> None:
        import spaces

        self.names = public_names(base, adapter)
        self._pair: ModelPair | None = None
        try:
            self._pair = load(base, adapter, lambda stage: print(stage, flush=True))
            self._state = BackendState("ready", f"{list(self.names.values())[-1]} is ready, on ZeroGPU.")
        except BackendError as error:
            self._state = BackendState("failed", str(error))

        def generate_here(request: TokenisedRequest, deadline: float) -> Iterator[Answers]:
            job = GenerationJob(request, deadline)
            Thread(target=self._loaded().run, args=(job,), daemon=True).start()
            yield from job.read()

        # Arguments and results are pickled. An error is yielded, since `spaces` would drop the message of a raised one.
        def generate(request: TokenisedRequest, timeout: float) -> Iterator[Answers | BackendError]:
            try:
                yield from generate_here(request, time.monotonic() + timeout)
            except BackendError as error:
                yield error

        def generate_all(requests: dict[int, TokenisedRequest], timeout: float) -> Iterator[PlacedAnswers]:
            until = time.monotonic() + timeout
            for place, request in requests.items():
                if time.monotonic() >= until:
                    return
                try:
                    *_, answers = generate_here(request, until)
                except BackendError as error:
                    yield place, error
                else:
                    yield place, answers

        self._generate = spaces.GPU(generate, duration=GPU_SECONDS)
        self._generate_all = spaces.GPU(generate_all, duration=MANY_SECONDS)

    def start(self) -> None:
        """Nothing to do: the model was loaded by the constructor."""

    def state(self) -> BackendState:
        return self._state

    def wait(self, timeout: float) -> None:
        self._loaded()

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        """`timeout` excludes waiting for a GPU. Must run in the thread of a Gradio event, which identifies the visitor."""
        tokenised = self._loaded().tokenised(request)
        updates = self._generate(tokenised, min(timeout, GPU_SECONDS - STARTING_SECONDS))
        for update in _from_gpu(updates):
            if isinstance(update, BackendError):
                raise update
            yield update

    def answer_all(self, requests: Sequence[AnswerRequest], timeout: float) -> Iterator[PlacedAnswers]:
        """As `stream`: one GPU for all of them."""
        pair, tokenised = self._loaded(), dict[int, TokenisedRequest]()
        for place, request in enumerate(requests):
            try:
                tokenised[place] = pair.tokenised(request)
            except BackendError as error:
                yield place, error
        if tokenised:
            yield from _from_gpu(self._generate_all(tokenised, min(timeout, MANY_SECONDS - STARTING_SECONDS)))

    def _loaded(self) -> ModelPair:
        if self._pair is None:
            raise BackendError(self._state.message)
        return self._pair


def _from_gpu(updates: Any) -> Iterator[Any]:
    """What a GPU's process yields. Raises BackendError."""
    import gradio

    try:
        with closing(updates):
            yield from updates
    except gradio.Error as error:  # no GPU or no quota: ZeroGPU's message is meant for the visitor
        raise BackendBusy(str(error.message)) from None
    except BackendError:
        raise
    except Exception as error:
        log(error)
        raise BackendError("The GPU gave no answer. Try again in a minute.") from None
