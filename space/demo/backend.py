"""The interface between the page and the models: a request, the answers so far, and the protocol of every backend.

It imports the standard library only, so that the page starts before any model library is loaded.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Literal, Protocol


@dataclass(frozen=True)
class AnswerRequest:
    """One prompt. `labels` are those of a multiple choice, empty for other tasks; `only` are the models asked, if not all.

    `text`: how likely it is as the answer is asked, and nothing is written. Only a backend that `scores_texts` takes it.
    """

    prompt: str
    max_new_tokens: int
    labels: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class ModelAnswer:
    """The answer of one model, complete or so far."""

    text: str = ""
    seconds: float | None = None
    """Generation time; None until the answer is complete."""
    cut: bool = False
    """Whether the timeout ended it."""
    probabilities: tuple[float, ...] | None = None
    """Of each of `AnswerRequest.labels`, normalised to sum to 1. None where the backend does not know them (yet)."""
    likelihood: float | None = None
    """The natural logarithm of that of `AnswerRequest.text`, summed over its tokens. None of an answer that is written."""
    scored: bool = False
    """Whether `text` was put together from likelihoods, and not written (see list_scoring.py)."""


Answers = dict[str, ModelAnswer]
"""By "base" and "tuned"."""


@dataclass(frozen=True)
class BackendState:
    """Loading progress; `message` is a sentence for the page, without paths, addresses and secrets."""

    kind: Literal["loading", "ready", "failed"]
    message: str


class BackendError(Exception):
    """A failure whose message is one sentence for the visitor, without internals."""


class BackendBusy(BackendError):
    """Too many requests at the moment; the same one may succeed later."""


class ModelBackend(Protocol):
    """Generates answers. All methods are thread-safe, and no answer contains anything of another request."""

    @property
    def names(self) -> dict[str, str]:
        """Display names by "base" and, where there is a tuned model, "tuned", in this order."""

    @property
    def scores_texts(self) -> bool:
        """Whether it knows how likely a whole text is as an answer."""

    @property
    def max_concurrency(self) -> int:
        """Requests that are answered at the same time; further calls of `stream` wait for their turn."""

    def start(self) -> None:
        """Starts loading in the background, as `wait` does. Called once the page is served, which loading would delay."""

    def state(self) -> BackendState:
        """Returns at once, also during loading."""

    def wait(self, timeout: float) -> None:
        """Blocks until the models are ready. Raises BackendError if loading fails or takes more than `timeout` seconds."""

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        """The answers of all models so far, again after each token, until all are complete. Raises BackendError.

        `timeout` in seconds includes the time in the queue, where it raises BackendBusy. Answers that it ends have `cut` set.
        Closing the iterator cancels the request.
        """

    def answer_all(self, requests: Sequence[AnswerRequest], timeout: float) -> "Iterator[PlacedAnswers]":
        """The complete answers to many requests, as they come, or why one has none. What `timeout` seconds, which are for all
        of them together, do not suffice for is left out or cut. Raises BackendError where none can be answered."""


PlacedAnswers = tuple[int, Answers | BackendError]
"""The place of a request among many, and its answers."""


def answered_apart(
    backend: ModelBackend, requests: Sequence[AnswerRequest], timeout: float, at_once: int
) -> Iterator[PlacedAnswers]:
    """ModelBackend.answer_all by `stream`, so many at once: each takes its turn among those of other visitors."""
    until = time.monotonic() + timeout

    def answer(place: int) -> PlacedAnswers | None:
        left = until - time.monotonic()
        if left <= 0:
            return None
        try:
            *_, answers = backend.stream(requests[place], left)
        except BackendError as error:
            return place, error
        return place, answers

    pool = ThreadPoolExecutor(at_once, "rows")
    try:
        for done in as_completed([pool.submit(answer, place) for place in range(len(requests))]):
            if (found := done.result()) is not None:
                yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class BackendThread(Thread):
    """A backend's daemon thread. `start` may be called by several threads and more than once."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._starting = Lock()

    def start(self) -> None:
        with self._starting:
            if self.ident is None:
                super().start()


AnswerUpdates = SimpleQueue[Answers | BackendError | None]
"""From the generating thread to the reading one; None or an error is the last item."""


def read_updates(updates: AnswerUpdates) -> Iterator[Answers]:
    """Raises the error that is the last item, if there is one."""
    while (update := updates.get()) is not None:
        if isinstance(update, BackendError):
            raise update
        yield update


def public_name(source: str) -> str:
    """A Hub id unchanged; the last part only of a folder, since the page shows no paths."""
    return Path(source).resolve().name if Path(source).exists() or Path(source).is_absolute() else source
