"""Answers in the making: a question in tokens, the job of answering it, and what `generate` reports of the rows it writes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from typing import Any

from .backend import Said, Updates, read


@dataclass(frozen=True)
class Question:
    """A request in tokens: ids of the prompt, and the first one of each label where they are known and all different."""

    ids: list[int]
    max_new_tokens: int
    labels: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One question on its way between the thread that reads and the one that writes.

    `deadline` is a time of `time.monotonic`. `stop` is set when the reader has gone.
    """

    question: Question
    deadline: float
    stop: Event = field(default_factory=Event)
    updates: Updates = field(default_factory=SimpleQueue)

    def read(self) -> Iterator[dict[str, Said]]:
        """What is said so far, again and again. Raises ModelError."""
        try:
            yield from read(self.updates)
        finally:
            self.stop.set()


class Writing:
    """Rows that `generate` writes together, one for each of `names`: its streamer, its stopping criterion, and a look at the
    first tokens' probabilities.

    A row's tokens are decoded together each time. transformers' own streamers take one row only and decode in pieces, and
    where a character has more than one token the pieces do not add up to the text.
    """

    def __init__(self, names: Sequence[str], question: Question, tokenizer: Any, ends: frozenset[int]) -> None:
        self.said = {name: Said() for name in names}
        self._question = question
        self._tokenizer = tokenizer
        self._ends = ends
        self._tokens: dict[str, list[int]] = {name: [] for name in names}
        self._started = time.monotonic()
        self._prompt_is_next = True

    def steps(self, stopped: Callable[[], bool], tell: Callable[[dict[str, Said]], None]) -> dict[str, Any]:
        """Arguments for `generate`: it ends when `stopped`, and `tell` gets what the rows say after every token."""
        import torch

        def stop(ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((ids.shape[0],), stopped(), device=ids.device, dtype=torch.bool)

        self.tell = tell
        return {"streamer": self, "stopping_criteria": [stop], "logits_processor": [self._look]}

    def _look(self, _: Any, scores: Any) -> Any:
        """Takes the labels' chances from the scores of the first tokens (rows x vocabulary) and leaves the scores alone."""
        if self._question.labels and not any(self._tokens.values()):
            chances = scores[:, self._question.labels].double().softmax(-1).tolist()
            for name, row in zip(self.said, chances, strict=True):
                self.said[name] = replace(self.said[name], chances=tuple(row))
        return scores

    def put(self, tokens: Any) -> None:
        """One more token of each row; a row that has ended gets padding."""
        if self._prompt_is_next:
            self._prompt_is_next = False
            return
        for name, token in zip(self.said, tokens.tolist(), strict=True):
            if self.said[name].seconds is None:
                self._take(name, token)
        self.tell(dict(self.said))

    def _take(self, name: str, token: int) -> None:
        written = self._tokens[name]
        written.append(token)
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        if token in self._ends or len(written) == self._question.max_new_tokens:
            self.said[name] = replace(self.said[name], text=text, seconds=time.monotonic() - self._started)
        else:
            self.said[name] = replace(self.said[name], text=text.rstrip("\ufffd"))  # a character that is not complete yet

    def end(self) -> None:
        """Rows that have not ended were cut."""
        for name, said in self.said.items():
            if said.seconds is None:
                self.said[name] = replace(said, seconds=time.monotonic() - self._started, cut=True)
        self.tell(dict(self.said))
