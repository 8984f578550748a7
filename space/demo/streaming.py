"""Streaming the rows of one `generate` call: the tokenised request, its job, and the streamer that decodes each row."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from typing import Any

from common.thinking import without_thoughts

from .backend import Answers, AnswerUpdates, ModelAnswer, read_updates


@dataclass(frozen=True)
class TokenisedRequest:
    """`label_ids` are the first tokens of the labels; empty where they are unknown or two labels share one.

    `tuned` is the same for the tuned model, where that has another tokenizer or chat template; `only` as in AnswerRequest.
    `text_ids` are the tokens of the text whose likelihood is asked; empty where an answer is to be written.
    """

    prompt_ids: list[int]
    max_new_tokens: int
    label_ids: list[int] = field(default_factory=list)
    tuned: "TokenisedRequest | None" = None
    only: tuple[str, ...] = ()
    text_ids: list[int] = field(default_factory=list)

    def of(self, name: str) -> "TokenisedRequest":
        return self.tuned if name == "tuned" and self.tuned else self


@dataclass(frozen=True)
class GenerationJob:
    """A request on its way from the reading thread to the generating one and back.

    `deadline` is a time of `time.monotonic`; `cancelled` is set when the reader is gone.
    """

    request: TokenisedRequest
    deadline: float
    cancelled: Event = field(default_factory=Event)
    updates: AnswerUpdates = field(default_factory=SimpleQueue)

    def read(self) -> Iterator[Answers]:
        """The answers so far, after each token. Raises BackendError."""
        try:
            yield from read_updates(self.updates)
        finally:
            self.cancelled.set()


def answer_text(text: str) -> str:
    """What was answered after any reasoning; while a model reasons, its reasoning."""
    answer = without_thoughts(text)
    return text if answer is None else answer


class BatchStreamer:
    """Streamer for `generate` of several rows, one for each of `names`; `report` gets all answers so far after each token.

    transformers' own streamers take one row only and decode it in pieces, which is wrong where a character has several
    tokens. Here all tokens of a row are decoded together each time.
    """

    def __init__(
        self,
        names: Sequence[str],
        request: TokenisedRequest,
        tokenizer: Any,
        eos_ids: frozenset[int],
        report: Callable[[Answers], None],
    ) -> None:
        self._answers = {name: ModelAnswer() for name in names}
        self._request = request
        self._tokenizer = tokenizer
        self._eos_ids = eos_ids
        self._report = report
        self._tokens: dict[str, list[int]] = {name: [] for name in names}
        self._started = time.monotonic()
        self._prompt_is_next = True

    def record_probabilities(self, _: Any, scores: Any) -> Any:
        """Logits processor: reads the labels' probabilities off the first token's scores and returns the scores unchanged."""
        if self._request.label_ids and not any(self._tokens.values()):
            rows = scores[:, self._request.label_ids].double().softmax(-1).tolist()
            for name, probabilities in zip(self._answers, rows, strict=True):
                self._answers[name] = replace(self._answers[name], probabilities=tuple(probabilities))
        return scores

    def put(self, tokens: Any) -> None:
        """Called with the prompt, then with one token of each row; a finished row gets padding."""
        if self._prompt_is_next:
            self._prompt_is_next = False
            return
        for name, token in zip(self._answers, tokens.tolist(), strict=True):
            if self._answers[name].seconds is None:
                self._append(name, token)
        self._report(dict(self._answers))

    def _append(self, name: str, token: int) -> None:
        tokens = self._tokens[name]
        tokens.append(token)
        text = answer_text(self._tokenizer.decode(tokens, skip_special_tokens=True))
        if token in self._eos_ids or len(tokens) == self._request.max_new_tokens:
            self._answers[name] = replace(self._answers[name], text=text, seconds=time.monotonic() - self._started)
        else:
            self._answers[name] = replace(self._answers[name], text=text.rstrip("\ufffd"))  # an incomplete character

    def end(self) -> None:
        """Called when `generate` returns: rows that are not complete were cut."""
        for name, answer in self._answers.items():
            if answer.seconds is None:
                self._answers[name] = replace(answer, seconds=time.monotonic() - self._started, cut=True)
        self._report(dict(self._answers))
