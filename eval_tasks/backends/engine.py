"""A loaded model that answers prompts, by the way that self_check.py measured, and with each adapter's own tokenizer."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eval_tasks.backends.chat_format import ChatFormat, kept_ids
from eval_tasks.backends.generation import DECODED_ROWS, BatchGenerator
from eval_tasks.backends.generation_rows import generation_rows
from eval_tasks.backends.kv_buffers import ATTENTION
from eval_tasks.backends.likelihoods import PLAIN_ROWS, placed_texts, plain_likelihoods, tree_likelihoods
from eval_tasks.backends.plain_generation import PlainGenerator
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
from eval_tasks.backends.self_check import Way, measured_way

UNLIMITED = 2**30


@dataclass(frozen=True)
class Engine:
    """`positions`: what prompt and answer may take together. `seen`: up to how many a token sees all before it.

    `attention`: the model's own, which `generate` is used with.
    """

    model: Any
    way: Way
    positions: int
    seen: int
    attention: str

    def answers(self, prompts: Sequence[Prompt], form: ChatFormat, constrained: bool) -> Iterator[tuple[int, str]]:
        """(place, text) of each prompt's answer as soon as it is there. Raises UserError."""
        rows = generation_rows(prompts, kept_ids(prompts, form, self.positions), form, constrained)
        within = [row for row in rows if row.positions <= self.seen]
        beyond = [row for row in rows if row.positions > self.seen]
        plain = PlainGenerator(self.model, form, DECODED_ROWS if self.way != Way.SINGLE else 1)
        if self.way == Way.FAST:
            yield from BatchGenerator(self.model, form).answers(within)
        else:
            yield from plain.answers(within)
        if beyond:
            with own_attention(self.model, self.attention):
                yield from plain.answers(beyond)

    def likelihoods(self, prompts: Sequence[ScoredPrompt], form: ChatFormat) -> Iterator[tuple[int, Likelihoods]]:
        """(place, Likelihoods) of each prompt as soon as they are there, by the same ways. Raises UserError."""
        placed = placed_texts(form, prompts, self.positions)
        rows = PLAIN_ROWS if self.way != Way.SINGLE else 1
        if self.way != Way.FAST:
            yield from plain_likelihoods(self.model, form, placed, rows)
        elif max((len(text.ids) for text in placed.texts), default=0) <= self.seen:
            yield from tree_likelihoods(self.model, form, placed)
        else:
            with own_attention(self.model, self.attention):
                yield from plain_likelihoods(self.model, form, placed, rows)


def make_engine(model: Any, form: ChatFormat, positions: int) -> Engine:
    """Checks the model on a few prompts and says so where it is slow. Raises UserError where it cannot generate."""
    attention = model.config._attn_implementation
    way = measured_way(model, form)
    if way != Way.FAST:
        together = "in padded batches" if way == Way.BATCHED else "one prompt at a time, since padding changes its answers"
        print(
            f"note: {type(model).__name__} does not give its own logits with the fast attention; it is asked by "
            f"transformers' generate, {together}: slower, with the same answers",
            file=sys.stderr,
        )
    return Engine(model, way, positions, seen_whole(model.config), attention)


@contextmanager
def own_attention(model: Any, attention: str) -> Iterator[None]:
    """The model with its own attention, as long as the context is open."""
    before = model.config._attn_implementation
    if before == ATTENTION:
        model.set_attn_implementation(attention)
    try:
        yield
    finally:
        if before == ATTENTION:
            model.set_attn_implementation(before)


def context_length(config: Any) -> int:
    """Positions that the model takes; UNLIMITED where its configuration names none, as recurrent models' do."""
    text = config.get_text_config()
    found = [getattr(text, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    return next((length for length in found if isinstance(length, int) and length > 0), UNLIMITED)


def seen_whole(config: Any) -> int:
    """Up to how many tokens a text is attended to as a whole: no window, chunk or change of rotary frequencies is shorter."""
    text = config.get_text_config()
    fields = text.to_dict()
    kinds = set(fields.get("layer_types") or [])
    windows = [
        value
        for name, value in fields.items()
        if name.endswith(("window", "window_size", "chunk_size", "index_topk")) and isinstance(value, int) and value > 1
    ]
    if kinds == {"full_attention"}:
        windows = []
    ropes = fields.get("rope_parameters") or {}
    for rope in (ropes, *(part for part in ropes.values() if isinstance(part, dict))):
        if rope.get("rope_type") == "longrope":
            original = rope.get("original_max_position_embeddings") or fields.get("original_max_position_embeddings")
            windows += [original] if original else []
    return min(windows, default=UNLIMITED)
