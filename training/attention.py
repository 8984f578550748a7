"""Attention over packed rows: several in one sequence without padding, without another package.

TRL's `padding_free` collator puts the rows of a batch into one sequence and marks where each begins (`cu_seq_lens_q`). On a GPU
torch's variable-length FlashAttention reads that (`varlen_attn`), in one call for all rows. Where it does not apply (on a CPU,
in float32, on GPUs older than Ampere) scaled dot-product attention is computed row by row. All other layers see one long
sequence without padding. On a CPU, a prefix that all rows share is in it only once (batches.py): every row attends to it.
https://docs.pytorch.org/docs/stable/nn.attention.varlen.html, https://huggingface.co/docs/trl/sft_trainer,
https://huggingface.co/docs/transformers/attention_interface
"""

import inspect
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "varlen"
"""Its value of a recipe's `attn_implementation`."""

BY_ROW = "varlen_by_row"
"""The value that computes row by row on a GPU too, to compare or where torch's kernel fails."""

NAMES = (NAME, BY_ROW)

QUERIES_AT_A_TIME = 256

LARGEST_HEAD = 256
"""Of FlashAttention's kernels; a head's size must also be a multiple of 8."""


def sdpa_varlen(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: "torch.Tensor | None" = None,
    max_length_q: int | None = None,
    shared_prefix: int = 0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: "torch.Tensor | None" = None,
    by_row: bool = False,
    **kwargs: Any,
) -> "tuple[torch.Tensor, None]":
    """Causal attention within each row; with `by_row` one call a row where torch's kernel could take all at once, too.

    `query` is (1, heads, tokens, size), `key` and `value` have their own number of heads, and `value` its own size;
    `cu_seq_lens_q` (int32) holds the rows' boundaries, from 0 to tokens, `max_length_q` is the longest row. `shared_prefix` is
    the length of a prefix that all rows share, which then comes first as a row of its own. A token sees `sliding_window`
    tokens, itself included; `softcap` bounds the scores (Gemma-2); `s_aux` are the heads' attention sinks (gpt-oss). The result
    is (1, tokens, heads, size of the values). Raises ValueError for several rows without boundaries.
    """
    import torch

    if query.size(0) != 1:
        raise ValueError(f"attn_implementation {NAME} needs padding_free: true")
    tokens, same_size, plain = query.size(2), value.size(-1) == query.size(-1), softcap is None and s_aux is None
    if plain and same_size and not by_row and not shared_prefix and runs_varlen(query, dropout):
        if cu_seq_lens_q is None:
            cu_seq_lens_q, max_length_q = torch.tensor([0, tokens], dtype=torch.int32, device=query.device), tokens
        # The longest row is known from the collator; to ask the GPU for it would wait for all that it has still to do.
        return attend_by_varlen(query, key, value, cu_seq_lens_q, max_length_q or tokens, scaling, sliding_window), None
    lengths = [tokens] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
    if query.device.type == "cpu" or not plain:
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


def sdpa_by_row(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> "tuple[torch.Tensor, None]":
    """As `sdpa_varlen`, one call a row, on any device and in any data type."""
    return sdpa_varlen(module, query, key, value, mask, by_row=True, **options)


def runs_varlen(query: "torch.Tensor", dropout: float) -> bool:
    """Whether torch's `varlen_attn` computes this: on CUDA GPUs from Ampere on, in 16 bits, without attention dropout."""
    import torch

    return (
        query.device.type == "cuda"
        and query.dtype in (torch.bfloat16, torch.float16)
        and not dropout
        and query.size(-1) <= LARGEST_HEAD
        and query.size(-1) % 8 == 0
        and _gpu_has_varlen(query.device.index)
    )


@cache
def _gpu_has_varlen(device: int | None) -> bool:
    import torch

    return bool(torch.version.cuda and torch.cuda.get_device_capability(device) >= (8, 0) and "window_size" in varlen_options())


@cache
def varlen_options() -> frozenset[str]:
    """Parameters of this torch's `varlen_attn`: none before 2.10, and only from 2.11 on a scale and a window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def attend_by_varlen(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    boundaries: "torch.Tensor",
    longest: int,
    scale: float | None,
    window: int | None,
) -> "torch.Tensor":
    """Causal attention of all rows in one call: (1, heads, tokens, size) -> (1, tokens, heads, size)."""
    from torch.nn.attention.varlen import varlen_attn

    asked, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    # Tokens seen before the query's own and after it; (-1, 0) is all before, which the kernel knows as causal.
    seen = (-1, 0) if window is None or window >= longest else (window - 1, 0)
    options: Any = {"scale": scale, "window_size": seen}
    if "enable_gqa" in varlen_options():  # older versions take fewer heads of keys without being told
        options["enable_gqa"] = key.size(1) != query.size(1)
    attended: Any = varlen_attn(asked, keys, values, boundaries, boundaries, longest, longest, **options)
    one_sequence: torch.Tensor = attended[None]
    return one_sequence


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
    if asked != known or (window is not None and window < known):
        seen = torch.ones(asked, known, dtype=torch.bool, device=query.device).tril(known - asked)
        if window is not None:
            seen = seen.triu(known - asked - window + 1)
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
    """Registers `attn_implementation: varlen` and `varlen_by_row` with transformers.

    torch no longer takes cuDNN's kernel for scaled dot-product attention: it makes a plan for every new shape, and here nearly
    every row is one.
    """
    import torch
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, sdpa_varlen)
    AttentionInterface.register(BY_ROW, sdpa_by_row)
    torch.backends.cuda.enable_cudnn_sdp(False)
