"""What is asked of a model, what it says, and what every backend offers: the words between the page and what answers.

Only the standard library is imported: the page is there before any model is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Literal, Protocol


@dataclass(frozen=True)
class Ask:
    """One request. `labels` are those of a multiple choice, none for other tasks; `max_new_tokens` is for each answer."""

    prompt: str
    max_new_tokens: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What one model said so far."""

    text: str = ""
    seconds: float | None = None
    """From the beginning of the work on this answer to its end; None until it has finished."""
    cut: bool = False
    """Whether it had to stop before its end, since the time was up."""
    chances: tuple[float, ...] | None = None
    """Probability of each of `Ask.labels`, in their order, as if there were no other answers: they sum to 1. None where the
    model does not tell, and until it has begun to write."""


@dataclass(frozen=True)
class State:
    """How far a backend is, in a sentence for the page: no path, no address, no secret."""

    kind: Literal["loading", "ready", "failed"]
    message: str


class ModelError(Exception):
    """Something that the person at the page should read as it stands: one sentence, no internals."""


class Busy(ModelError):
    """There are more requests than can be answered now; the same one may be answered later."""


class Backend(Protocol):
    """What answers. All of it may be called by many threads at once; no answer holds a word of another's request."""

    @property
    def names(self) -> dict[str, str]:
        """Public names by "base" and, where there is a tuned model, "tuned", in this order."""

    @property
    def at_once(self) -> int:
        """Requests that are answered at the same time; further calls of `stream` wait for their turn."""

    def start(self) -> None:
        """Begins to load in the background; `wait` does so too. Called when the page is there, which loading would delay."""

    def state(self) -> State:
        """At once, also while it loads."""

    def wait(self, seconds: float) -> None:
        """Returns when it is ready. Raises ModelError if it cannot be, or not within `seconds`."""

    def stream(self, ask: Ask, seconds: float) -> Iterator[dict[str, Said]]:
        """What each of `names` said so far, again and again as they write side by side, until all have finished.

        `seconds` are for the whole answer, its turn included. What is there then is the answer, with `cut`; where its turn
        has not come, Busy is raised. Closing the iterator frees the place. Raises ModelError.
        """


class Worker(Thread):
    """The thread that a backend works in. Whoever asks first starts it; to start it again does nothing."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self._starting = Lock()

    def start(self) -> None:
        with self._starting:
            if self.ident is None:
                super().start()


Updates = SimpleQueue[dict[str, Said] | ModelError | None]
"""What is said so far, from the thread that writes to the one that reads; None or an error ends it."""


def read(updates: Updates) -> Iterator[dict[str, Said]]:
    """Raises the error that ends the updates, if one does."""
    while (update := updates.get()) is not None:
        if isinstance(update, ModelError):
            raise update
        yield update


def public_name(source: str) -> str:
    """A Hub id as it is; of a folder only its last name, since the page tells nothing about the machine."""
    return Path(source).resolve().name if Path(source).exists() or Path(source).is_absolute() else source
