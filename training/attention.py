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

NAME = "varlen"
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
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: "torch.Tensor | None" = None,
    **kwargs: Any,
) -> "tuple[torch.Tensor, None]":
    """Causal attention within each row.

    `query` is (1, heads, tokens, size), `key` and `value` have their own number of heads, and `value` its own size;
    `cu_seq_lens_q` holds the rows' boundaries, from 0 to tokens. `shared_prefix` is the length of a prefix that all rows share,
    which then comes first as a row of its own. A token sees `sliding_window` tokens, itself included; `softcap` bounds the
    scores (Gemma-2); `s_aux` are the heads' attention sinks (gpt-oss). The result is (1, tokens, heads, size of the values).
    Raises ValueError for several rows without boundaries.
    """
    import torch

    if query.size(0) != 1:
        raise ValueError(f"attn_implementation {NAME} needs padding_free: true")
    lengths = [query.size(2)] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
    if query.device.type == "cpu" or softcap is not None or s_aux is not None:
        attend: Any = partial(attend_in_blocks, softcap=softcap, sinks=s_aux)
    else:
        attend = attend_by_torch
    attend = partial(attend, scale=scaling, dropout=dropout, window=sliding_window)
    # split and not slices: the backward of a slice fills a tensor of the whole length with zeros.
    rows = list(zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True))
    if shared_prefix:
        prefix, *rest = rows
        known = prefix[1:]
        rows = [prefix, *((row[0], *(torch.cat(pair, dim=2) for pair in zip(known, row[1:], strict=True))) for row in rest)]
    return torch.cat([attend(*row) for row in rows], dim=2).transpose(1, 2), None


def attend_by_torch(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    window: int | None = None,
) -> "torch.Tensor":
    """Causal attention of one row, whose queries are its last tokens, by torch's own kernels, which are best on a GPU."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    asked, known = query.size(2), key.size(2)
    seen = None
    if asked != known or (window or known) < known:
        seen = torch.ones(asked, known, dtype=torch.bool, device=query.device).tril(known - asked)
        seen = seen.triu(known - asked - (window or known) + 1)
    grouped = key.size(1) != query.size(1)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=seen, dropout_p=dropout, is_causal=seen is None, scale=scale, enable_gqa=grouped
    )


def attend_in_blocks(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    window: int | None = None,
    softcap: float | None = None,
    sinks: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Causal attention of one row, whose queries are its last tokens, in blocks of queries.

    torch's own kernel for CPUs takes twice as long on rows of a few hundred tokens, as it computes in float32 and does not
    skip what the causal mask hides; no kernel of torch has soft-caps or sinks. Here matrices are multiplied in the tensors' own
    type, and the softmax is in float32.
    """
    import torch
    from torch.nn.functional import dropout as drop

    _, heads, length, size = query.shape
    groups = heads // key.size(1)
    before = key.size(2) - length
    scale = size**-0.5 if scale is None else scale
    blocks = []
    for start in range(0, length, QUERIES_AT_A_TIME):
        stop = min(start + QUERIES_AT_A_TIME, length)
        first, known = max(0, before + start + 1 - (window or key.size(2))), before + stop
        asked = query[0, :, start:stop].reshape(key.size(1), groups * (stop - start), size)
        scores = torch.bmm(asked, key[0, :, first:known].transpose(1, 2)).float() * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        hidden = torch.full((stop - start, known - first), float("-inf"), device=query.device)
        later = hidden.triu(before + start - first + 1)
        if window is not None:
            later = later + hidden.tril(before + start - first - window)
        scores = scores.view(-1, groups, stop - start, known - first) + later
        if sinks is not None:
            scores = torch.cat([scores, sinks.float().view(-1, groups, 1, 1).expand(-1, -1, stop - start, 1)], dim=-1)
        weights = scores.softmax(-1)[..., : known - first].to(value.dtype)
        if dropout:
            weights = drop(weights, dropout)
        weights = weights.reshape(key.size(1), groups * (stop - start), known - first)
        blocks.append(torch.bmm(weights, value[0, :, first:known]).view(1, heads, stop - start, value.size(-1)))
    return torch.cat(blocks, dim=2)


def register() -> None:
    """Registers `attn_implementation: sdpa_varlen` with transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, sdpa_varlen)
