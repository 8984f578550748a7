"""Backend that generates in this process, on a GPU where there is one, else on the CPU."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from .backend import AnswerRequest, Answers, BackendError, BackendState, BackendThread, PlacedAnswers, answered_apart
from .model_pair import ModelPair, load, public_names
from .streaming import GenerationJob


class LocalBackend:
    """Loads in the background and generates in one thread, request by request: a batch holds the rows of one prompt."""

    max_concurrency = 1
    scores_texts = True

    def __init__(self, base: str, adapter: str | None = None) -> None:
        self.names = public_names(base, adapter)
        self._state = BackendState("loading", "The model is about to load.")
        self._pair: Future[ModelPair] = Future()
        self._jobs: SimpleQueue[GenerationJob] = SimpleQueue()
        self._thread = BackendThread(lambda: self._run(base, adapter), "model")

    def start(self) -> None:
        self._thread.start()

    def state(self) -> BackendState:
        return self._state

    def wait(self, timeout: float) -> None:
        self.start()
        try:
            self._pair.result(timeout)
        except TimeoutError:
            raise BackendError("The model is still loading. Try again in a minute.") from None

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        self.wait(0)
        job = GenerationJob(self._pair.result().tokenised(request), time.monotonic() + timeout)
        self._jobs.put(job)
        yield from job.read()

    def answer_all(self, requests: Sequence[AnswerRequest], timeout: float) -> Iterator[PlacedAnswers]:
        return answered_apart(self, requests, timeout, at_once=1)

    def _run(self, base: str, adapter: str | None) -> None:
        started = time.monotonic()
        try:
            pair = load(base, adapter, self._loading)
        except BackendError as error:
            self._state = BackendState("failed", str(error))
            self._pair.set_exception(error)
            return
        name = list(self.names.values())[-1]
        self._state = BackendState("ready", f"{name} is ready; it took {time.monotonic() - started:.0f} seconds to load.")
        self._pair.set_result(pair)
        while True:
            pair.run(self._jobs.get())

    def _loading(self, stage: str) -> None:
        self._state = BackendState("loading", stage)
