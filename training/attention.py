"""Attention over rows that lie behind one another without padding, for any device and without another package.

TRL's `padding_free` collator lays the rows of a batch into one sequence and says where each begins (`cu_seq_lens_q`).
FlashAttention reads that; torch's own scaled_dot_product_attention does not, so here it is called for each row. All other
layers see one long sequence in which no position is padding.
https://huggingface.co/docs/trl/sft_trainer, https://huggingface.co/docs/transformers/attention_interface
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "sdpa_varlen"
"""What a recipe's `attn_implementation` says for it."""

QUERIES_AT_A_TIME = 256


def sdpa_varlen(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: "torch.Tensor | None" = None,
    **kwargs: Any,
) -> "tuple[torch.Tensor, None]":
    """Causal attention within each row.

    `query` is (1, heads, tokens, size), `key` and `value` have their own number of heads; `cu_seq_lens_q` holds the rows'
    boundaries, from 0 to tokens. The result is (1, tokens, heads, size). Raises ValueError where there are no boundaries
    but several rows, or a sliding window that is shorter than a row.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    if query.size(0) != 1:
        raise ValueError(f"attn_implementation {NAME} needs padding_free: true")
    lengths = [query.size(2)] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
    window = kwargs.get("sliding_window")
    if window is not None and max(lengths) > window:
        raise ValueError(f"attn_implementation {NAME} knows no sliding window; lower max_length to {window}, or use sdpa")
    attend: Callable[..., torch.Tensor]
    if query.device.type == "cpu":
        attend = attend_on_cpu
    else:
        grouped = key.size(1) != query.size(1)
        attend = partial(scaled_dot_product_attention, dropout_p=dropout, is_causal=True, enable_gqa=grouped)
    # split and not slices: the backward of a slice fills a tensor of the whole length with zeros.
    rows = zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True)
    attended = torch.cat([attend(*row, scale=scaling) for row in rows], dim=2)
    return attended.transpose(1, 2), None


def attend_on_cpu(query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *, scale: float | None) -> "torch.Tensor":
    """Causal attention of one row by its definition, some queries at a time; no dropout.

    torch's own kernel for CPUs takes twice as long on rows of a few hundred tokens, as it computes in float32 and does not
    skip what the causal mask hides. Here matrices are multiplied in the tensors' own type, and the softmax is in float32.
    """
    import torch

    _, heads, length, size = query.shape
    groups = heads // key.size(1)
    scale = size**-0.5 if scale is None else scale
    blocks = []
    for start in range(0, length, QUERIES_AT_A_TIME):
        stop = min(start + QUERIES_AT_A_TIME, length)
        asked = query[0, :, start:stop].reshape(key.size(1), groups * (stop - start), size)
        scores = torch.bmm(asked, key[0, :, :stop].transpose(1, 2)).float() * scale
        hidden = torch.full((stop - start, stop), float("-inf")).triu(start + 1)
        weights = (scores.view(-1, groups, stop - start, stop) + hidden).softmax(-1).to(value.dtype)
        blocks.append(torch.bmm(weights.view_as(scores), value[0, :, :stop]).view(1, heads, stop - start, size))
    return torch.cat(blocks, dim=2)


def register() -> None:
    """Makes `attn_implementation: sdpa_varlen` known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, sdpa_varlen)
