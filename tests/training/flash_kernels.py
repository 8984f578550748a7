"""Attention by its definition in place of torch's FlashAttention kernels, which CPUs do not have.

What stands above the kernels is torch's own: `varlen_attn`, its checks of shapes and heads, and its autograd formula.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

Row = tuple[Any, Any, Any, Any]
"""Query, key and value of a row in double precision, (heads, tokens, size), and the attention's weights."""


def attended_rows(
    query: Any, key: Any, value: Any, boundaries: Any, causal: bool, scale: float, seen: tuple[int, int]
) -> list[Row]:
    """A query sees `seen` tokens before its own and after it; -1 is all. Each key's head is repeated for its queries' heads."""
    groups = query.size(1) // key.size(1)
    rows = []
    for start, stop in zip(boundaries[:-1].tolist(), boundaries[1:].tolist(), strict=True):
        asked, keys, values = (tensor[start:stop].transpose(0, 1).double() for tensor in (query, key, value))
        keys, values = (tensor.repeat_interleave(groups, dim=0) for tensor in (keys, values))
        after = torch.arange(stop - start)[None, :] - torch.arange(stop - start)[:, None]
        visible = (after <= 0) if causal else (after <= seen[1]) | torch.tensor(seen[1] < 0)
        if seen[0] >= 0:
            visible = visible & (after >= -seen[0])
        scores = (asked @ keys.transpose(1, 2) * scale).masked_fill(~visible, float("-inf"))
        rows.append((asked, keys, values, scores.softmax(-1)))
    return rows


def forward(
    query: Any,
    key: Any,
    value: Any,
    boundaries: Any,
    boundaries_of_keys: Any,
    longest: int,
    longest_of_keys: int,
    dropout: float,
    causal: bool,
    return_debug_mask: bool,
    *,
    scale: float | None = None,
    window_size_left: int = -1,
    window_size_right: int = -1,
    **more: Any,
) -> "tuple[Any, ...]":
    assert boundaries.dtype == torch.int32
    assert all(tensor.stride(-1) == 1 for tensor in (query, key, value)), "the kernels' own condition"
    assert longest == longest_of_keys >= int(boundaries.diff().max())
    assert not dropout
    seen = (window_size_left, window_size_right)
    rows = attended_rows(query, key, value, boundaries, causal, scale or query.size(-1) ** -0.5, seen)
    attended = torch.cat([(weights @ values).transpose(0, 1) for _, _, values, weights in rows]).to(query.dtype)
    sums = torch.zeros(query.size(1), query.size(0))
    return attended, sums, torch.zeros(2, dtype=torch.uint64), torch.zeros(()), torch.zeros(())


def backward(
    into: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    sums: Any,
    boundaries: Any,
    boundaries_of_keys: Any,
    longest: int,
    longest_of_keys: int,
    dropout: float,
    causal: bool,
    rng_state: Any,
    unused: Any,
    *,
    scale: float | None = None,
    window_size_left: int = -1,
    window_size_right: int = -1,
) -> Any:
    scale, groups = scale or query.size(-1) ** -0.5, query.size(1) // key.size(1)
    rows = attended_rows(query, key, value, boundaries, causal, scale, (window_size_left, window_size_right))
    grads: list[tuple[Any, Any, Any]] = []
    start = 0
    for asked, keys, values, weights in rows:
        incoming = into[start : start + asked.size(1)].transpose(0, 1).double()
        start += asked.size(1)
        towards = incoming @ values.transpose(1, 2)
        scores = weights * (towards - (towards * weights).sum(-1, keepdim=True)) * scale
        of_heads = (scores.transpose(1, 2) @ asked, weights.transpose(1, 2) @ incoming)
        of_groups = (grad.unflatten(0, (-1, groups)).sum(1) for grad in of_heads)
        grads.append((scores @ keys, *of_groups))  # type: ignore[arg-type]
    return tuple(torch.cat([grad.transpose(0, 1) for grad in part]).to(query.dtype) for part in zip(*grads, strict=True))


@contextmanager
def kernels_on_cpu() -> Iterator[None]:
    """For the block, torch's operators of FlashAttention are there on the CPU."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "CPU")
    library.impl("_flash_attention_backward", backward, "CPU")
    try:
        yield
    finally:
        library._destroy()  # type: ignore[no-untyped-call]
