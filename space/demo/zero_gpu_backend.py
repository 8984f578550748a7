"""A model pair on a Space with ZeroGPU, where each request gets a GPU for some seconds, in a process of its own.

https://huggingface.co/docs/hub/spaces-zerogpu: the model is put on "cuda" before the page is launched, by the thread that
launches it, since the package `spaces` stands in for the GPU in that thread only. So here the page waits for the model.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Thread

from .backend import Ask, Busy, ModelError, Said, State
from .model_pair import ModelPair, load, log, public_names
from .streaming import Job, Question

GPU_SECONDS = 20
"""What a request asks for at most, and what a visitor must have left; what is used is what counts."""

STARTING_SECONDS = 8
"""Of these, for moving the weights to the GPU."""


class ZeroGpuModel:
    """Requests at once each have their own GPU process; where the GPU itself is waited for, `spaces` says so on the page."""

    at_once = 4

    def __init__(self, base: str, adapter: str | None = None) -> None:
        import spaces

        self.names = public_names(base, adapter)
        self._pair: ModelPair | None = None
        try:
            self._pair = load(base, adapter, lambda stage: print(stage, flush=True))
            self._state = State("ready", f"{list(self.names.values())[-1]} is ready, on ZeroGPU.")
        except ModelError as error:
            self._state = State("failed", str(error))

        # It takes and gives what can be pickled. An error that it raised would lose its sentence on the way.
        def answers(question: Question, seconds: float) -> Iterator[dict[str, Said] | ModelError]:
            job = Job(question, time.monotonic() + seconds)
            Thread(target=self._loaded().write, args=(job,), daemon=True).start()
            try:
                yield from job.read()
            except ModelError as error:
                yield error

        self._answers = spaces.GPU(answers, duration=GPU_SECONDS)

    def start(self) -> None:
        """It has loaded already."""

    def state(self) -> State:
        return self._state

    def wait(self, seconds: float) -> None:
        self._loaded()

    def stream(self, ask: Ask, seconds: float) -> Iterator[dict[str, Said]]:
        """Waiting for a GPU is no part of `seconds`. Must run in the thread of a Gradio event: it tells who the visitor is."""
        import gradio

        question = self._loaded().question(ask)
        try:
            with closing(self._answers(question, min(seconds, GPU_SECONDS - STARTING_SECONDS))) as updates:
                for update in updates:
                    if isinstance(update, ModelError):
                        raise update
                    yield update
        except gradio.Error as error:  # no GPU, no quota: what ZeroGPU says is meant for the visitor
            raise Busy(str(error.message)) from None
        except ModelError:
            raise
        except Exception as error:
            log(error)
            raise ModelError("The GPU gave no answer. Try again in a minute.") from None

    def _loaded(self) -> ModelPair:
        if self._pair is None:
            raise ModelError(self._state.message)
        return self._pair
