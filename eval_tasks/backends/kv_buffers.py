"""A preallocated KV cache of rows, with room for the whole answer, and the attention that reads it.

transformers' own cache copies itself at every token, and its attention copies grouped heads where there is a mask.
https://huggingface.co/docs/transformers/kv_cache, https://huggingface.co/docs/transformers/attention_interface
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, Cache
from transformers.cache_utils import DynamicLayer

ATTENTION = "grouped"
"""The `attn_implementation` that a model is loaded with to use `grouped_attention`."""


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's buffers (rows, heads, positions, size), of which the first `length` positions are filled."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.length = keys, values, length
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, self.length = self.length, self.length + key_states.size(2)
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        return self.length


IGNORED = frozenset(
    {
        *("dropout", "is_causal", "sliding_window", "use_cache", "output_attentions", "output_hidden_states"),
        *("position_ids", "cache_position", "position_embeddings", "logits_to_keep", "output_router_logits"),
    }
)
"""Arguments of an attention function that change nothing here: no text that is generated is longer than a window."""

QUERIES_AT_A_TIME = 160
"""Queries whose scores are computed together: of longer texts, what comes after them is left out and not masked."""

TREE_QUERIES = 96
"""The same of a tree of texts, where what none of them sees is left out, too: most of the tree is other texts."""


@dataclass(frozen=True)
class KVBuffers:
    """All layers' buffers of the same rows. `filled` (rows, positions) is true where a position holds a token."""

    layers: tuple[PreallocatedLayer, ...]
    filled: torch.Tensor

    @property
    def cache(self) -> Cache:
        """The layers as transformers' models take them."""
        return Cache(layers=list(self.layers))

    @property
    def length(self) -> int:
        return self.layers[0].length


def empty(shape: Sequence[tuple[int, int]], rows: int, positions: int, like: torch.Tensor) -> KVBuffers:
    """KVBuffers without a token. `shape`: heads and size of each layer; `like` has the data type and the device."""
    layers = [
        PreallocatedLayer(like.new_empty(rows, heads, positions, size), like.new_empty(rows, heads, positions, size), 0)
        for heads, size in shape
    ]
    return KVBuffers(tuple(layers), torch.zeros(rows, positions, dtype=torch.bool, device=like.device))


def prefixed(prefix: KVBuffers, rows: int, positions: int) -> KVBuffers:
    """KVBuffers for `positions` more tokens of each of `rows` rows, behind the tokens of the one row of `prefix`."""
    shared = prefix.length
    layers = []
    for layer in prefix.layers:
        _, heads, _, size = layer.keys.shape
        keys, values = (tensor.new_empty(rows, heads, shared + positions, size) for tensor in (layer.keys, layer.values))
        keys[:, :, :shared], values[:, :, :shared] = layer.keys[:, :, :shared], layer.values[:, :, :shared]
        layers.append(PreallocatedLayer(keys, values, shared))
    filled = prefix.filled.new_zeros(rows, shared + positions)
    filled[:, :shared] = True
    return KVBuffers(tuple(layers), filled)


def joined(parts: Sequence[tuple[KVBuffers, Sequence[int]]], room: int) -> KVBuffers:
    """KVBuffers with the given rows of each part, in this order, and so much room.

    Padding goes: every row's tokens stand behind one another and end at the same position.
    """
    device = parts[0][0].filled.device
    kept = []  # part, its rows, and the places of their tokens in it, padding first
    for part, places in parts:
        index = torch.tensor(places, device=device)
        filled = part.filled[index, : part.length]
        kept.append((part, index, filled.int().argsort(dim=1, stable=True), filled.sum(1)))
    counts = torch.cat([count for *_, count in kept])
    length, rows = int(counts.max()), len(counts)
    layers = []
    for number, first in enumerate(parts[0][0].layers):
        heads, size = first.keys.size(1), first.keys.size(3)
        # Zeros and not what happens to be in memory: a masked position weighs nothing, but nothing times NaN is NaN.
        keys, values = (first.keys.new_zeros(rows, heads, length + room, size) for _ in range(2))
        start = 0
        for part, index, order, _ in kept:
            layer, stop, tail = part.layers[number], start + len(index), order[:, -length:]
            for new, old in ((keys, layer.keys), (values, layer.values)):
                new[start:stop, :, length - tail.size(1) : length] = old.transpose(1, 2)[index[:, None], tail].transpose(1, 2)
            start = stop
        layers.append(PreallocatedLayer(keys, values, length))
    filled = torch.arange(length + room, device=device) >= (length - counts)[:, None]
    filled[:, length:] = False
    return KVBuffers(tuple(layers), filled)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by its definition, with `attention_mask` (rows, 1, queries, positions) added to the scores.

    `query` is (rows, heads, queries, size), `key` and `value` have their own number of heads; the last query is that of the
    last position, and no query sees what comes after it. The result is (rows, queries, heads, size). Of several queries
    matrices are multiplied in the tensors' own type, and the softmax is in float32. Raises NotImplementedError for an argument
    that it does not know, such as a soft-cap or attention sinks, without which the result would be another.
    """
    if unknown := [name for name, value in kwargs.items() if value is not None and name not in IGNORED]:
        raise NotImplementedError(f"{ATTENTION} attention has no {', '.join(unknown)}")
    rows, heads, queries, size = query.shape
    scale = size**-0.5 if scaling is None else scaling
    if queries > 1 and query.device.type != "cpu":
        # With fewer heads of keys and a mask torch has its slowest kernel only; with copies of them, a fast one.
        keys, values = (tensor.repeat_interleave(heads // key.size(1), dim=1) for tensor in (key, value))
        attended = torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=attention_mask.to(query.dtype), scale=scale
        )
        return attended.transpose(1, 2).contiguous(), None
    if queries == 1:
        # The heads of a group as queries of one head, or torch would copy keys and values for each.
        asked, mask = query.reshape(rows, key.size(1), -1, size), attention_mask.to(query.dtype)
        attended = torch.nn.functional.scaled_dot_product_attention(asked, key, value, attn_mask=mask, scale=scale)
        return attended.reshape(rows, 1, heads, size), None
    # Of several queries torch's own kernel for CPUs takes twice as long at these lengths.
    parts = []
    together = TREE_QUERIES if rows == 1 else QUERIES_AT_A_TIME
    for start in range(0, queries, together):
        stop = min(start + together, queries)
        seen = key.size(2) - queries + stop
        keys, values, mask = key[:, :, :seen], value[:, :, :seen], attention_mask[:, :, start:stop, :seen]
        if rows == 1:
            places = (mask[0, 0].amax(0) == 0).nonzero()[:, 0]
            if len(places) < seen:
                keys, values, mask = (each.index_select(dim, places) for each, dim in ((keys, 2), (values, 2), (mask, 3)))
                seen = len(places)
        asked = query[:, :, start:stop].reshape(rows, key.size(1), -1, size)  # the heads of a group behind one another
        scores = torch.matmul(asked, keys.transpose(2, 3)).view(rows, heads, stop - start, seen)
        weights = torch.add(mask, scores, alpha=scale).softmax(-1).to(value.dtype)
        attended = torch.matmul(weights.view(rows, key.size(1), -1, seen), values)
        parts.append(attended.view(rows, heads, stop - start, size).transpose(1, 2))
    return torch.cat(parts, dim=1), None


AttentionInterface.register(ATTENTION, grouped_attention)
# cuDNN's kernel makes a plan for every new shape, and here nearly every step has one of its own.
torch.backends.cuda.enable_cudnn_sdp(False)
