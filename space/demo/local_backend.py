"""A model pair in this process, on a GPU where there is one, else on the CPU."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from .backend import Ask, ModelError, Said, State, Worker
from .model_pair import ModelPair, load, public_names
from .streaming import Job


class LocalModel:
    """Loads in the background. All work is done by one thread, request by request: a batch holds the rows of one prompt."""

    at_once = 1

    def __init__(self, base: str, adapter: str | None = None) -> None:
        self.names = public_names(base, adapter)
        self._state = State("loading", "The model is about to load.")
        self._pair: Future[ModelPair] = Future()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._worker = Worker(lambda: self._work(base, adapter), "model")

    def start(self) -> None:
        self._worker.start()

    def state(self) -> State:
        return self._state

    def wait(self, seconds: float) -> None:
        self.start()
        try:
            self._pair.result(timeout=seconds)
        except TimeoutError:
            raise ModelError("The model is still loading. Try again in a minute.") from None

    def stream(self, ask: Ask, seconds: float) -> Iterator[dict[str, Said]]:
        self.wait(0)
        job = Job(self._pair.result().question(ask), time.monotonic() + seconds)
        self._jobs.put(job)
        yield from job.read()

    def _work(self, base: str, adapter: str | None) -> None:
        try:
            pair = self._load(base, adapter)
        except ModelError as error:
            self._state = State("failed", str(error))
            self._pair.set_exception(error)
            return
        self._pair.set_result(pair)
        while True:
            pair.write(self._jobs.get())

    def _load(self, base: str, adapter: str | None) -> ModelPair:
        started = time.monotonic()
        pair = load(base, adapter, self._loading)
        name = list(self.names.values())[-1]
        self._state = State("ready", f"{name} is ready; it took {time.monotonic() - started:.0f} seconds to load.")
        return pair

    def _loading(self, stage: str) -> None:
        self._state = State("loading", stage)
