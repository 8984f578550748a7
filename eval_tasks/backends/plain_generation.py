"""Batched greedy generation by transformers' own `generate`: slower than generation.py, and right for every model it runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.constrained_decoding import mask_logits
from eval_tasks.backends.generation_rows import GenerationRow, complete_answer

PADDED_TOKENS = 4096
"""Prompt tokens of a batch, padding included, unless it is a single row."""


@dataclass(frozen=True)
class PlainGenerator:
    """A model with its own attention, how it is asked, and how many rows it may answer together."""

    model: Any
    form: ChatFormat
    together: int

    def answers(self, rows: Sequence[GenerationRow]) -> Iterator[tuple[int, str]]:
        """(place, text) of each row's answer, batch by batch, with early stopping of each row."""
        for batch in batches(rows, self.together):
            watch = RowWatch(batch, self.form)
            tokens, mask = padded([row.ids for row in batch])
            with torch.inference_mode():
                self.model.generate(
                    input_ids=tokens.to(self.model.device),
                    attention_mask=mask.to(self.model.device),
                    max_new_tokens=max(row.limit for row in batch),
                    logits_processor=[watch.limit_logits],
                    stopping_criteria=[watch.take_tokens],
                )
            yield from watch.answers.items()


@dataclass
class RowWatch:
    """Ends each row of one call of `generate` where its answer is complete. `answers`: place -> text, of those that are."""

    rows: Sequence[GenerationRow]
    form: ChatFormat
    answers: dict[int, str] = field(default_factory=dict)

    def limit_logits(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits processor that allows only what a row's pattern allows."""
        mask_logits(scores, [None if row.place in self.answers else row.constraint for row in self.rows])
        return scores

    def take_tokens(self, ids: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        """Stopping criterion (rows): true where the answer is complete with the newest token."""
        for row, token in zip(self.rows, ids[:, -1].tolist(), strict=True):
            if row.place not in self.answers:
                row.take(token, self.form.ends)
                if (answer := complete_answer(row, self.form)) is not None:
                    self.answers[row.place] = answer
        return torch.tensor([row.place in self.answers for row in self.rows], device=ids.device)


def padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (rows, longest), with padding on the left, where 0 stands for any token."""
    longest = max(map(len, ids))
    tokens = torch.tensor([[0] * (longest - len(row)) + list(row) for row in ids])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids])
    return tokens, mask


def batches(rows: Sequence[GenerationRow], together: int) -> list[list[GenerationRow]]:
    """Rows of about the same length, whose answers may be equally long."""
    found: list[list[GenerationRow]] = []
    for row in sorted(rows, key=lambda row: (-row.limit, -len(row.ids))):
        last = found[-1] if found else []
        longest = max([len(row.ids), *(len(other.ids) for other in last)])
        alike = last and last[0].limit == row.limit
        if alike and len(last) < together and longest * (len(last) + 1) <= PADDED_TOKENS:
            last.append(row)
        else:
            found.append([row])
    return found
