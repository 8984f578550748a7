"""Batched greedy generation for thousands of short prompts: shared prefixes, continuous batching and early stopping.

The tokens are those of `model.generate` on one prompt at a time, up to rounding. What makes it fast:

- The common prefix of prompts, such as a task's instruction, is computed once.
- Prefill: prompts of about the same length go through the model together, some thousand tokens at a time.
- Decoding: many rows at once. A row leaves when its turn has ended, or when further tokens cannot change the parsed answer;
  when half have left, others come in (continuous batching).
- The KV cache has room for the whole answer, so that it is not copied at every token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.constrained_decoding import mask_logits
from eval_tasks.backends.generation_rows import GenerationRow, complete_answer
from eval_tasks.backends.kv_buffers import KVBuffers, empty, joined, prefixed
from eval_tasks.backends.shared_prefixes import PrefixGroup, prompt_groups

PREFILL_TOKENS = 1024
"""Prompt tokens that go through the model together: as many as two cores' caches hold, with the matrices at full speed."""

PREFILL_TOKENS_ON_GPU = 16 * 1024

DECODED_ROWS = 64
"""Rows that are decoded together, where their prompts are short enough."""

DECODED_POSITIONS = 64 * 1024
"""Positions in the KV cache of these rows at most, unless it is a single row: it takes the memory beside the weights."""


@dataclass(frozen=True)
class DecodingBatch:
    """Rows that are decoded together, in the order of their buffers. `alive` are places among them."""

    rows: list[GenerationRow]
    buffers: KVBuffers
    alive: list[int]


@dataclass(frozen=True)
class BatchGenerator:
    """A model whose attention is `kv_buffers.ATTENTION`, and how it is asked."""

    model: Any
    form: ChatFormat

    def answers(self, rows: list[GenerationRow]) -> Iterator[tuple[int, str]]:
        """(place, text) of each row's answer as soon as it is there."""
        with torch.inference_mode():
            yield from self._answers(rows)

    def _answers(self, rows: list[GenerationRow]) -> Iterator[tuple[int, str]]:
        waiting = self._prefill(rows)
        batch: DecodingBatch | None = None
        more = True
        while batch or more:
            if more and (batch is None or len(batch.alive) <= DECODED_ROWS // 2):
                parts = [batch] if batch else []
                while more and (not parts or _fits(parts)):
                    part = next(waiting, None)
                    more = part is not None
                    if part:
                        parts.append(part)
                        yield from self._finished(part)
                batch = _merged(parts)
            if batch:
                self._choose(batch, self._decode_step(batch))
                yield from self._finished(batch)
                if len(batch.alive) <= len(batch.rows) // 2:
                    batch = _merged([batch])

    def _prefill(self, rows: list[GenerationRow]) -> Iterator[DecodingBatch]:
        """Batches of rows after prefill and with their first tokens, from long to short."""
        ids = [row.ids for row in rows]
        most = PREFILL_TOKENS if self.model.device.type == "cpu" else PREFILL_TOKENS_ON_GPU
        parts = [
            (group, [group.places[number] for number in numbers])
            for group in prompt_groups(ids)
            for numbers in chunks([len(ids[place]) - group.shared for place in group.places], most)
        ]
        prefixes: dict[PrefixGroup, KVBuffers] = {}
        # Rows of about the same length are decoded together: buffers are as long as their longest.
        for group, places in sorted(parts, key=lambda part: -len(ids[part[1][0]])):
            if group.shared and group not in prefixes:
                prefixes[group] = self._prefix(ids[places[0]][: group.shared])
            batch, logits = self._prefill_batch([rows[place] for place in places], group.shared, prefixes.get(group))
            self._choose(batch, logits)
            yield batch

    def _prefix(self, ids: list[int]) -> KVBuffers:
        buffers = empty(self._shape(), 1, len(ids), self._like())
        tokens = torch.tensor([ids], device=self.model.device)
        self._forward(tokens, torch.ones_like(tokens, dtype=torch.bool), buffers, torch.arange(len(ids))[None])
        return buffers

    def _prefill_batch(
        self, rows: list[GenerationRow], shared: int, prefix: KVBuffers | None
    ) -> tuple[DecodingBatch, torch.Tensor]:
        """The rows after prefill, and the logits of their first tokens."""
        longest = max(len(row.ids) for row in rows) - shared
        positions = longest + max(row.limit for row in rows)
        count = len(rows)
        buffers = prefixed(prefix, count, positions) if prefix else empty(self._shape(), count, positions, self._like())
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        real = torch.zeros(len(rows), longest, dtype=torch.bool)
        for number, row in enumerate(rows):
            own = row.ids[shared:]
            tokens[number, longest - len(own) :] = torch.tensor(own)
            real[number, longest - len(own) :] = True
        numbers = shared + (real.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(tokens.to(self.model.device), real.to(self.model.device), buffers, numbers)
        return DecodingBatch(rows, buffers, list(range(len(rows)))), logits

    def _decode_step(self, batch: DecodingBatch) -> torch.Tensor:
        """The logits of one more token for each row; those of finished rows are not used."""
        device = self.model.device
        tokens = torch.tensor([[row.written[-1]] for row in batch.rows], device=device)
        numbers = torch.tensor([[len(row.ids) + len(row.written) - 1] for row in batch.rows])
        return self._forward(tokens, torch.ones_like(tokens, dtype=torch.bool), batch.buffers, numbers)

    def _choose(self, batch: DecodingBatch, logits: torch.Tensor) -> None:
        if any(batch.rows[place].constraint for place in batch.alive):
            alive = set(batch.alive)
            mask_logits(logits, [row.constraint if place in alive else None for place, row in enumerate(batch.rows)])
        for place, token in enumerate(logits.argmax(-1).tolist()):
            batch.rows[place].take(token, self.form.ends)

    def _forward(self, tokens: torch.Tensor, real: torch.Tensor, buffers: KVBuffers, numbers: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of what follows each row's last token; the tokens' keys and values go into the buffers.

        `real` is true of tokens and false of padding, `numbers` are their positions in their own texts, both (rows, tokens).
        """
        start, count = buffers.length, tokens.size(1)
        buffers.filled[:, start : start + count] = real
        # A token sees those before it. Padding sees itself, since it has to see something.
        seen = torch.ones(count, start + count, dtype=torch.bool, device=tokens.device).tril(start)
        itself = torch.eye(count, start + count, dtype=torch.bool, device=tokens.device).roll(start, 1)
        visible = (buffers.filled[:, None, None, : start + count] & seen) | itself
        mask = torch.zeros(visible.shape, device=tokens.device).masked_fill_(~visible, float("-inf"))
        said: torch.Tensor = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=numbers.to(tokens.device),
            past_key_values=buffers.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return said

    def _finished(self, batch: DecodingBatch) -> Iterator[tuple[int, str]]:
        """Answers that are complete; their rows leave `alive`."""
        for place in list(batch.alive):
            answer = complete_answer(batch.rows[place], self.form)
            if answer is not None:
                batch.alive.remove(place)
                yield batch.rows[place].place, answer

    def buffers(self, rows: int, positions: int) -> KVBuffers:
        """KVBuffers of this model without a token."""
        return empty(self._shape(), rows, positions, self._like())

    def _shape(self) -> list[tuple[int, int]]:
        config = self.model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return [(config.num_key_value_heads, size)] * config.num_hidden_layers

    def _like(self) -> torch.Tensor:
        return torch.empty(0, dtype=self.model.dtype, device=self.model.device)


def chunks(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of rows, sorted from long to short, in batches: with padding at most `most` tokens, or one row."""
    found: list[list[int]] = []
    for place in range(len(lengths)):
        if found and len(found[-1]) < DECODED_ROWS and (len(found[-1]) + 1) * lengths[found[-1][0]] <= most:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _fits(parts: Sequence[DecodingBatch]) -> bool:
    """Whether there is room for more rows."""
    rows = sum(len(part.alive) for part in parts)
    return rows < DECODED_ROWS and rows * max((part.buffers.length for part in parts), default=0) < DECODED_POSITIONS


def _merged(parts: Sequence[DecodingBatch]) -> DecodingBatch | None:
    """The rows that are not finished, as one batch."""
    parts = [part for part in parts if part.alive]
    if not parts:
        return None
    rows = [part.rows[place] for part in parts for place in part.alive]
    if len(parts) == 1 and len(rows) == len(parts[0].rows):
        return parts[0]
    room = max(row.limit - len(row.written) for row in rows)
    return DecodingBatch(rows, joined([(part.buffers, part.alive) for part in parts], room), list(range(len(rows))))
