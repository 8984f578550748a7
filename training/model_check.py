"""Self-check of a model before the first step: TRL's loss is the model's own, and packed rows are as each of them is alone.

Packing works where a model hands the rows' boundaries to its attention, and where no other layer mixes tokens, as recurrent
and convolutional ones do. That is measured on the model itself, by a forward pass of a few tokens each way; no list of
architectures decides.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from common.errors import UserError, first_line
from training.attention import NAMES
from training.batches import IGNORED, MIN_SHARED_PREFIX, PrefixCollator, TokenBatches

if TYPE_CHECKING:
    import torch
    from trl import SFTConfig

PREFIX = MIN_SHARED_PREFIX + 4
LENGTHS = (12, 23, 17)
"""Tokens of the rows that are compared, after the prefix that they share."""
FLOAT32_TOLERANCE = 1e-3
"""Standard deviations, at every token; measured on 60 architectures: at most 1e-5, and above 0.7 where rows see each other."""
HALF_TOLERANCE = 0.3
"""The same for 16-bit weights, at nine in ten tokens: a rounding error may send a token to other experts. Measured: at most
0.1 of packed rows (0.3 with a shared prefix, on random experts), and above 0.5 where rows see each other."""


@dataclass(frozen=True)
class PackingOutcome:
    """Whether rows can be packed, whether they can also share a prefix, and a reason where they cannot be packed."""

    packs: bool
    shares_prefix: bool = False
    reason: str = ""


def check_model(
    model: Any, args: "SFTConfig", packing: bool, asked: str | None, sample: Sequence[Sequence[int]], longest: int
) -> PackingOutcome:
    """Measures both before the model is wrapped, and switches it to the attention of packed rows if that is right.

    `packing` is whether rows are to be packed, `asked` with which attention, None for the model's own; `sample` are token ids
    of real rows, and `longest` is the length of the longest one. All processes return the outcome of the first. Raises
    UserError where the loss is wrong.
    """
    import torch

    first, sharded = args.process_index == 0, is_sharded(model)
    loss, outcome = "", PackingOutcome(packs=False)
    if first or sharded:  # with FSDP only the first process may hold the weights, with ZeRO-3 each holds a part
        state = args.distributed_state
        if state is not None and state.distributed_type == "MULTI_GPU" and model.device != args.device:
            model.to(args.device)  # where the trainer moves it next
        rows = row_tokens(model, sample, longest)
        with gathered(model), as_it_was(model):
            loss = check_loss(model, rows[: len(LENGTHS)])
            if packing and not loss:
                outcome = check_packing(model, asked, rows)
    if args.world_size > 1:
        agreed = [(loss, outcome)]
        torch.distributed.broadcast_object_list(agreed, src=0)
        loss, outcome = agreed[0]
    if loss:
        raise UserError(f"this model cannot be trained: TRL's loss is not the model's own ({loss}); take another base model")
    if outcome.packs and asked:
        model.set_attn_implementation(asked)
    return outcome


@contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Runs the model without gradients and dropout, and puts back its mode, attention and forward."""
    import torch

    training, attention, forward = model.training, model.config._attn_implementation, model.__dict__.get("forward")
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)
        model.__dict__.pop("forward", None)
        if forward is not None:
            model.forward = forward


def row_tokens(model: Any, sample: Sequence[Sequence[int]], longest: int) -> list[list[int]]:
    """Rows of different tokens after a shared prefix; the last one is longer than each window that a real row exceeds."""
    config = model.config.get_text_config().to_dict()
    windows = [size for name, size in config.items() if re.search("window|chunk", name) and isinstance(size, int)]
    exceeded = max((size for size in windows if size < longest), default=0)
    lengths = [*LENGTHS, *([exceeded + 8 - PREFIX] if exceeded > PREFIX else [])]
    tokens = cycle(token for row in sample for token in row)
    prefix = list(islice(tokens, PREFIX))
    return [prefix + list(islice(tokens, length)) for length in lengths]


def check_loss(model: Any, rows: Sequence[Sequence[int]]) -> str:
    """How the log-probabilities that TRL computes without logits differ from those of the model's logits; empty if they do not.

    TRL knows of scales and soft-caps by their names in a model's configuration.
    """
    import torch
    from trl.trainer.utils import add_fused_lm_head

    batch = padded(model, rows)
    logits = model(**batch, use_cache=False).logits
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    try:
        add_fused_lm_head(model)
        found = model(**batch, labels=labels, fused_lm_head=True).log_probs
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of any library: whatever a model says to a way of computing that it does not know
        return first_line(error)
    expected = logits[:, :-1].float().log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    off = (found.float() - expected)[labels[:, 1:] != IGNORED].abs() / logits.float().std(-1).mean()
    worst = share_of(off, model)
    return f"log-probabilities are {worst:.2g} standard deviations off" if worst > tolerance(model) else ""


def check_packing(model: Any, asked: str | None, rows: Sequence[Sequence[int]]) -> PackingOutcome:
    """The outcome on this process; leaves the attention of packed rows on."""
    import torch

    try:
        alone = alone_states(model, rows)
        if asked and asked != model.config._attn_implementation:
            model.set_attn_implementation(asked)
            if model.config._attn_implementation != asked:
                return PackingOutcome(packs=False, reason="attention is not one that can be replaced")
        difference = compare(packed_states(model, rows, share=False), alone, model)
        if difference > tolerance(model):
            seen = f"packed rows would see each other (states {difference:.2g} standard deviations off)"
            return PackingOutcome(packs=False, reason=seen)
        # On a GPU it would need a mask, with which grouped heads fall back to the slowest of torch's kernels.
        may_share = asked in NAMES and model.device.type == "cpu"
        shares = may_share and compare(packed_states(model, rows, share=True), alone, model) <= tolerance(model)
        return PackingOutcome(packs=True, shares_prefix=shares)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of any library: whatever a model says to rows in one sequence
        return PackingOutcome(packs=False, reason=f"rows cannot be packed ({first_line(error)})")


def tolerance(model: Any) -> float:
    import torch

    return FLOAT32_TOLERANCE if model.dtype == torch.float32 else HALF_TOLERANCE


def share_of(differences: "torch.Tensor", model: Any) -> float:
    """The largest difference of a token, of 16-bit weights that of nine in ten tokens; infinite where one is NaN."""
    import torch

    quantile = 1.0 if model.dtype == torch.float32 else 0.9
    return float(differences.nan_to_num(torch.inf).quantile(quantile))


def compare(rows: "Sequence[torch.Tensor]", others: "Sequence[torch.Tensor]", model: Any) -> float:
    """Root mean square difference of a token's last hidden states, in standard deviations of such states."""
    import torch

    one, other = torch.cat([*rows]).float(), torch.cat([*others]).float()
    return share_of((one - other).pow(2).mean(-1).sqrt() / other.std(-1).mean(), model)


def padded(model: Any, rows: Sequence[Sequence[int]]) -> "dict[str, torch.Tensor]":
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[row[0]] * (width - len(row))] for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    return {"input_ids": ids, "attention_mask": mask}


def alone_states(model: Any, rows: Sequence[Sequence[int]]) -> "list[torch.Tensor]":
    """Each row's last hidden states (tokens, size) as a row of a padded batch, in which no row can see another."""
    states: list[torch.Tensor] = []
    for batch in (rows[: len(LENGTHS)], rows[len(LENGTHS) :]):  # a long row would make padding of the others
        if batch:
            found = model.base_model(**padded(model, batch), use_cache=False).last_hidden_state
            states += [row[: len(tokens)] for row, tokens in zip(found, batch, strict=True)]
    return states


def packed_states(model: Any, rows: Sequence[Sequence[int]], share: bool) -> "list[torch.Tensor]":
    """The same from one sequence, as a training step has it; with `share` their prefix is in it once."""
    import torch
    from datasets import Dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    labels = [[IGNORED] * (len(row) - 1) + [row[-1]] for row in rows]
    batches = TokenBatches(Dataset.from_dict({"input_ids": rows, "labels": labels}), sum(map(len, rows)), seed=0, share=share)
    batch = PrefixCollator(DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True))([batches[0]])
    del batch["labels"]
    batch = {name: value.to(model.device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    states = model.base_model(**batch, use_cache=False).last_hidden_state[0]
    parts = states.split(batch["cu_seq_lens_q"].diff().tolist())
    if share:
        parts = tuple(torch.cat([parts[0], part]) for part in parts[1:])
    order = batches.batches[0]
    return [parts[order.index(number)] for number in range(len(rows))]


def is_sharded(model: Any) -> bool:
    """Whether DeepSpeed ZeRO-3 has sharded the weights while they were loaded."""
    return any(hasattr(weight, "ds_id") for weight in model.parameters())


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Lets a model whose weights ZeRO-3 has sharded run before it is wrapped: each module's weights are there while it runs."""
    with ExitStack() as hooks:
        for module in model.modules() if is_sharded(model) else ():
            if own := [weight for weight in module.parameters(recurse=False) if hasattr(weight, "ds_id")]:
                gather_while_running(module, own, hooks)
        yield


def gather_while_running(module: Any, weights: "list[Any]", hooks: ExitStack) -> None:
    import deepspeed

    held: list[Any] = []

    def gather(*_: Any) -> None:
        held.append(deepspeed.zero.GatheredParameters(weights))
        held[-1].__enter__()

    def release(*_: Any) -> None:
        held.pop().__exit__(None, None, None)

    hooks.callback(module.register_forward_pre_hook(gather).remove)
    hooks.callback(module.register_forward_hook(release).remove)
