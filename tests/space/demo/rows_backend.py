"""A backend that answers by a function, for many requests at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from space.demo.backend import AnswerRequest, Answers, BackendState, PlacedAnswers, answered_apart


@dataclass
class RowsBackend:
    """`answer(request)` gives the answers, or raises BackendError; `asked` are the requests."""

    answer: Callable[[AnswerRequest], Answers]
    names: dict[str, str] = field(default_factory=lambda: {"base": "small", "tuned": "small + shop"})
    max_concurrency: int = 1
    scores_texts: bool = True
    asked: list[AnswerRequest] = field(default_factory=list)

    def start(self) -> None:
        pass

    def state(self) -> BackendState:
        return BackendState("ready", "")

    def wait(self, timeout: float) -> None:
        pass

    def stream(self, request: AnswerRequest, timeout: float) -> Iterator[Answers]:
        self.asked.append(request)
        yield self.answer(request)

    def answer_all(self, requests: Sequence[AnswerRequest], timeout: float) -> Iterator[PlacedAnswers]:
        return answered_apart(self, requests, timeout, self.max_concurrency)
