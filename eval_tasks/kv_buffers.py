"""Keys and values of rows that are being answered, with room for what is still to come, and the attention that reads them.

transformers' own cache copies itself at every token, and its attention copies grouped heads where there is a mask.
https://huggingface.co/docs/transformers/kv_cache, https://huggingface.co/docs/transformers/attention_interface
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, Cache
from transformers.cache_utils import DynamicLayer

NAME = "grouped"
"""The `attn_implementation` that a model is loaded with to use `grouped_attention`."""


class RoomyLayer(DynamicLayer):
    """One layer's buffers (rows, heads, positions, size), of which the first `length` positions are filled."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        super().__init__()
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


@dataclass(frozen=True)
class Buffers:
    """All layers' buffers of the same rows. `filled` (rows, positions) tells which of their positions hold a token."""

    cache: Cache
    filled: torch.Tensor

    @property
    def length(self) -> int:
        return self.cache.layers[0].length

    @property
    def room(self) -> int:
        return self.filled.size(1) - self.length


def empty(shape: Sequence[tuple[int, int]], rows: int, positions: int, like: torch.Tensor) -> Buffers:
    """Buffers without a token. `shape`: heads and size of each layer; `like` has the data type and the device."""
    layers: list[Any] = [
        RoomyLayer(like.new_empty(rows, heads, positions, size), like.new_empty(rows, heads, positions, size), 0)
        for heads, size in shape
    ]
    return Buffers(Cache(layers=layers), torch.zeros(rows, positions, dtype=torch.bool, device=like.device))


def prefixed(prefix: Buffers, rows: int, positions: int) -> Buffers:
    """Buffers for `positions` more tokens of each of `rows` rows, behind the tokens of the one row of `prefix`."""
    shared = prefix.length
    layers: list[Any] = []
    for layer in prefix.cache.layers:
        _, heads, _, size = layer.keys.shape
        keys, values = (tensor.new_empty(rows, heads, shared + positions, size) for tensor in (layer.keys, layer.values))
        keys[:, :, :shared], values[:, :, :shared] = layer.keys[:, :, :shared], layer.values[:, :, :shared]
        layers.append(RoomyLayer(keys, values, shared))
    filled = prefix.filled.new_zeros(rows, shared + positions)
    filled[:, :shared] = True
    return Buffers(Cache(layers=layers), filled)


def joined(parts: Sequence[tuple[Buffers, Sequence[int]]], room: int) -> Buffers:
    """Buffers with the given rows of each part, in this order, and so much room. Their tokens end at the same position."""
    length = max(part.length for part, _ in parts)
    rows = sum(len(places) for _, places in parts)
    device = parts[0][0].filled.device
    chosen = [torch.tensor(places, device=device) for _, places in parts]
    layers: list[Any] = []
    for number, first in enumerate(parts[0][0].cache.layers):
        heads, size = first.keys.size(1), first.keys.size(3)
        # Zeros and not what happens to be in memory: a masked position weighs nothing, but nothing times NaN is NaN.
        keys, values = (first.keys.new_zeros(rows, heads, length + room, size) for _ in range(2))
        start = 0
        for (part, places), index in zip(parts, chosen, strict=True):
            layer, stop = part.cache.layers[number], start + len(places)
            keys[start:stop, :, length - part.length : length] = layer.keys[index, :, : part.length]
            values[start:stop, :, length - part.length : length] = layer.values[index, :, : part.length]
            start = stop
        layers.append(RoomyLayer(keys, values, length))
    filled = torch.zeros(rows, length + room, dtype=torch.bool, device=device)
    start = 0
    for (part, places), index in zip(parts, chosen, strict=True):
        filled[start : start + len(places), length - part.length : length] = part.filled[index, : part.length]
        start += len(places)
    return Buffers(Cache(layers=layers), filled)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by its definition where `attention_mask` (rows, 1, queries, positions) is true.

    `query` is (rows, heads, queries, size), `key` and `value` have their own number of heads. The result is (rows, queries,
    heads, size). Matrices are multiplied in the tensors' own type, and the softmax is in float32.
    """
    rows, heads, queries, size = query.shape
    if query.device.type != "cpu":
        attended = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=key.size(1) != heads
        )
        return attended.transpose(1, 2).contiguous(), None
    # The queries of the heads of a group lie behind one another: torch's own kernel would copy keys and values for each.
    asked = query.reshape(rows, key.size(1), -1, size)
    scores = torch.matmul(asked, key.transpose(2, 3)).float() * (size**-0.5 if scaling is None else scaling)
    by_head = scores.view(rows, heads, queries, -1).masked_fill_(~attention_mask, float("-inf"))
    weights = by_head.softmax(-1).to(value.dtype).view_as(scores)
    attended = torch.matmul(weights, value).view(rows, heads, queries, size)
    return attended.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, grouped_attention)
