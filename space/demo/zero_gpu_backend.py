"""Backend for a Space on ZeroGPU, where each request gets a GPU for some seconds, in a process of its own.

https://huggingface.co/docs/hub/spaces-zerogpu: the model is moved to "cuda" before the page is launched, by the launching
thread, since the package `spaces` emulates the GPU in that thread only. So here the page waits for the model.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Thread

from .backend import AnswerRequest, Answers, BackendBusy, BackendError, BackendState
from .model_pair import ModelPair, load, log, public_names
from .streaming import GenerationJob, TokenisedRequest

GPU_SECONDS = 20
"""The GPU time that a request reserves and the visitor must have left; only the time that it uses is charged."""

STARTING_SECONDS = 8
"""The part of it that moving the weights to the GPU may take."""


class ZeroGpuBackend:
    """Each request has its own GPU process; while it waits for a GPU, `spaces` says so on the page."""

    max_concurrency = 4

    def __init__(self, base: str, adapter: str | None = None) -> None:
        import spaces

        self.names = public_names(base, adapter)
        self._pair: ModelPair | None = None
        try:
            self._pair = load(base, adapter, lambda stage: print(stage, flush=True))
            self._state = BackendState("ready", f"{list(self.names.values())[-1]} is ready, on ZeroGPU.")
        except BackendError as error:
            self._state = BackendState("failed", str(error))

        # Arguments and results are pickled. An error is yielded, since `spaces` would drop the message of a raised one.
        def generate(request: TokenisedRequest, timeout: float) -> Iterator[Answers | BackendError]:
            job = GenerationJob(request, time.monotonic() + timeout)
            Thread(target=self._loaded().run, args=(job,), daemon=True).start()
            try:
                yield from job.read()
            except BackendError as error:
                yield error

        self._generate = spaces.GPU(generate, duration=GPU_SECONDS)

    def start(self) -> None:
        """Nothing to do: the model was loaded by the constructor."""

    def state(self) -> BackendState:
        return self._state

    def wait(self, timeout: float) -> None:
        self._loaded()

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        """`timeout` excludes waiting for a GPU. Must run in the thread of a Gradio event, which identifies the visitor."""
        import gradio

        tokenised = self._loaded().tokenised(request)
        try:
            with closing(self._generate(tokenised, min(timeout, GPU_SECONDS - STARTING_SECONDS))) as updates:
                for update in updates:
                    if isinstance(update, BackendError):
                        raise update
                    yield update
        except gradio.Error as error:  # no GPU or no quota: ZeroGPU's message is meant for the visitor
            raise BackendBusy(str(error.message)) from None
        except BackendError:
            raise
        except Exception as error:
            log(error)
            raise BackendError("The GPU gave no answer. Try again in a minute.") from None

    def _loaded(self) -> ModelPair:
        if self._pair is None:
            raise BackendError(self._state.message)
        return self._pair
