"""Attention over packed rows: several in one sequence without padding, on any device and without another package.

TRL's `padding_free` collator puts the rows of a batch into one sequence and marks where each begins (`cu_seq_lens_q`).
FlashAttention reads that; torch's own scaled_dot_product_attention does not, so here it is called for each row. All other
layers see one long sequence without padding. A prefix that all rows share is in it only once (batches.py): every row attends
to it.
https://huggingface.co/docs/trl/sft_trainer, https://huggingface.co/docs/transformers/attention_interface
"""

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "sdpa_varlen"
"""Its value of a recipe's `attn_implementation`."""

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
    shared_prefix: int = 0,
    **kwargs: Any,
) -> "tuple[torch.Tensor, None]":
    """Causal attention within each row.

    `query` is (1, heads, tokens, size), `key` and `value` have their own number of heads; `cu_seq_lens_q` holds the rows'
    boundaries, from 0 to tokens. `shared_prefix` is the length of a prefix that all rows share, which then comes first as a row
    of its own. The result is (1, tokens, heads, size). Raises ValueError for several rows without boundaries, and for a sliding
    window that is shorter than a row.
    """
    import torch

    if query.size(0) != 1:
        raise ValueError(f"attn_implementation {NAME} needs padding_free: true")
    lengths = [query.size(2)] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
    window = kwargs.get("sliding_window")
    if window is not None and max(lengths) + shared_prefix > window:
        raise ValueError(f"attn_implementation {NAME} has no sliding window; lower max_length to {window}, or use sdpa")
    attend = partial(attend_on_cpu if query.device.type == "cpu" else partial(attend_on_gpu, dropout=dropout), scale=scaling)
    # split and not slices: the backward of a slice fills a tensor of the whole length with zeros.
    rows = list(zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True))
    if shared_prefix:
        prefix, *rest = rows
        known = prefix[1:]
        rows = [prefix, *((row[0], *(torch.cat(pair, dim=2) for pair in zip(known, row[1:], strict=True))) for row in rest)]
    return torch.cat([attend(*row) for row in rows], dim=2).transpose(1, 2), None


def attend_on_gpu(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *, scale: float | None, dropout: float
) -> "torch.Tensor":
    """Causal attention of one row, whose queries are its last tokens, by torch's own kernels."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    asked, known = query.size(2), key.size(2)
    seen = None if asked == known else torch.ones(asked, known, dtype=torch.bool, device=query.device).tril(known - asked)
    grouped = key.size(1) != query.size(1)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=seen, dropout_p=dropout, is_causal=seen is None, scale=scale, enable_gqa=grouped
    )


def attend_on_cpu(query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *, scale: float | None) -> "torch.Tensor":
    """Causal attention of one row, whose queries are its last tokens, in blocks of queries; without dropout.

    torch's own kernel for CPUs takes twice as long on rows of a few hundred tokens, as it computes in float32 and does not
    skip what the causal mask hides. Here matrices are multiplied in the tensors' own type, and the softmax is in float32.
    """
    import torch

    _, heads, length, size = query.shape
    groups = heads // key.size(1)
    before = key.size(2) - length
    scale = size**-0.5 if scale is None else scale
    blocks = []
    for start in range(0, length, QUERIES_AT_A_TIME):
        stop = min(start + QUERIES_AT_A_TIME, length)
        known = before + stop
        asked = query[0, :, start:stop].reshape(key.size(1), groups * (stop - start), size)
        scores = torch.bmm(asked, key[0, :, :known].transpose(1, 2)).float() * scale
        hidden = torch.full((stop - start, known), float("-inf")).triu(before + start + 1)
        weights = (scores.view(-1, groups, stop - start, known) + hidden).softmax(-1).to(value.dtype)
        blocks.append(torch.bmm(weights.view_as(scores), value[0, :, :known]).view(1, heads, stop - start, size))
    return torch.cat(blocks, dim=2)


def shares_prefixes(model: Any) -> bool:
    """Whether all layers of this model use the attention above, so that rows can share a prefix."""
    kinds = getattr(model.config, "layer_types", None) or ["full_attention"]
    return model.config._attn_implementation == NAME and set(kinds) == {"full_attention"}


def register() -> None:
    """Registers `attn_implementation: sdpa_varlen` with transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, sdpa_varlen)
