"""Constrained decoding by regular expressions, with llguidance (https://github.com/guidance-ai/llguidance)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    import torch
    from llguidance import LLTokenizer


def grammar_tokenizer(tokenizer: Any, vocabulary: int) -> "LLTokenizer":
    """A tokenizer as llguidance needs it, for `vocabulary` logits; made once for a model, since it takes a second."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer, n_vocab=vocabulary)


class Constraint:
    """What may come next in one answer."""

    def __init__(self, tokenizer: "LLTokenizer", pattern: str) -> None:
        """`pattern` matches an answer in full. Raises UserError where llguidance cannot read it."""
        from llguidance import LLMatcher

        self._matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_regex(pattern))
        if self._matcher.is_error():
            raise UserError(
                f"the answer pattern {pattern!r} cannot limit decoding: {self._matcher.get_error().splitlines()[0]}"
            )

    def bits(self) -> bytes:
        """One bit for each token, the lowest of a byte first: 1 where it may come next."""
        return self._matcher.compute_bitmask()

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)


def mask_logits(logits: "torch.Tensor", constraints: Sequence[Constraint | None]) -> None:
    """Sets the logits (rows, vocabulary) of what may not come next to minus infinity, row by row; None: all may come."""
    import numpy as np
    import torch

    for row, constraint in enumerate(constraints):
        if constraint:
            allowed = np.unpackbits(np.frombuffer(constraint.bits(), dtype=np.uint8), bitorder="little")[: logits.size(1)]
            logits[row].masked_fill_(torch.from_numpy(allowed == 0).to(logits.device), float("-inf"))
