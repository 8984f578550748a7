"""The training plan: how a run forms its steps, decided once after parsing and fixed from then on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from common.console import print_table
from common.errors import UserError
from training import attention
from training.arguments import DataArguments
from training.base_model import load_base
from training.batches import mean_rows_per_batch, sample_tokens
from training.model_check import check_model

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import ModelConfig, SFTConfig


@dataclass(frozen=True)
class TrainingPlan:
    """What a step is made of, on all processes together. `asked` holds the options as given, `notes` a sentence for each that
    became another number."""

    world_size: int
    precision: str
    attn_implementation: str | None
    packing: str
    """`whole rows` into micro-batches of `tokens_per_batch` tokens, TRL's `packing_strategy`, or `none`: rows are padded."""
    tokens_per_batch: int
    """Of a micro-batch at most; 0 where its size is a number of rows."""
    rows_per_batch: int
    """TRL's per_device_train_batch_size; 1 with tokens_per_batch, as the rows of a micro-batch are one sequence."""
    gradient_accumulation_steps: int
    rows_per_step: float
    """Expected from the rows' lengths, as is `tokens_per_step`."""
    tokens_per_step: int
    asked: Mapping[str, int]
    shares_prefix: bool = False
    """Whether a prefix that all rows of a micro-batch share is in it once."""
    notes: tuple[str, ...] = ()

    @property
    def batches_per_step(self) -> int:
        """Rows or packed sequences that an optimiser step takes from the data loader, on all processes."""
        return self.rows_per_batch * self.gradient_accumulation_steps * self.world_size


def plan_run(
    args: "SFTConfig", model: "ModelConfig", data: DataArguments, tokenizer: Any, train: "Dataset"
) -> tuple[Any, DataArguments, TrainingPlan]:
    """The base model, what became of the options of packing on it, and the plan. Raises UserError."""
    base = load_base(args, model)
    sample = sample_tokens(train, tokenizer, args.seed)
    check_vocabulary(base, tokenizer, sample)
    lengths = [len(tokens) for tokens in sample]
    packing = bool(data.tokens_per_batch or args.padding_free or (args.packing and args.packing_strategy != "wrapped"))
    attn = _attention(model, data.tokens_per_batch)
    outcome = check_model(
        base, args, packing, attn if attn in attention.NAMES else None, sample, args.max_length or max(lengths)
    )
    notes = []
    if packing and not outcome.packs:
        data, note = without_packing(args, data, lengths, outcome.reason)
        notes.append(note)
    return base, data, make_plan(args, model, data, lengths, len(train), outcome.shares_prefix, notes)


def check_vocabulary(base: Any, tokenizer: Any, sample: Sequence[Sequence[int]]) -> None:
    """Raises UserError for a tokenizer that writes tokens which the model has no weights for."""
    size, highest = base.config.get_text_config().vocab_size, max(max(tokens) for tokens in sample)
    if highest >= size:
        raise UserError(
            f"the tokenizer's token {tokenizer.decode([highest])!r} has number {highest:,}, and the model has weights for "
            f"{size:,}; take a base whose tokenizer fits it"
        )


def without_packing(args: "SFTConfig", data: DataArguments, lengths: Sequence[int], reason: str) -> tuple[DataArguments, str]:
    """The same steps of padded rows, and a sentence about it. Raises UserError where a curriculum needs packing."""
    if data.curriculum:
        raise UserError(f"curriculum needs packing, but with this model {reason}; give --curriculum 0")
    size = args.per_device_train_batch_size
    held = _expected_rows(args, lengths, data.tokens_per_batch, size)
    longest = min(max(lengths), args.max_length or max(lengths))
    room = data.tokens_per_batch or size * (args.max_length if args.packing and args.max_length else longest)
    option = "tokens_per_batch" if data.tokens_per_batch else "packing" if args.packing else "padding_free"
    rows = data.rows_per_step or max(1, round(held * args.gradient_accumulation_steps * args.world_size))
    args.packing = args.padding_free = False
    args.per_device_train_batch_size = max(1, room // longest)
    note = (
        f"{option} is off: with this model {reason}; rows are padded instead, at most {args.per_device_train_batch_size} to "
        "a micro-batch, which is slower"
    )
    return replace(data, tokens_per_batch=0, rows_per_step=rows), note


def make_plan(
    args: "SFTConfig",
    model: "ModelConfig",
    data: DataArguments,
    lengths: Sequence[int],
    rows: int,
    shares_prefix: bool = False,
    notes: Sequence[str] = (),
) -> TrainingPlan:
    """The plan for an epoch of `rows` rows. `lengths` are the tokens of some of them.

    With rows_per_step, gradient accumulation follows from it: a step has about that many rows on any number of processes.
    Where one micro-batch on each process would be more, micro-batches become smaller.
    """
    world, share = args.world_size, data.rows_per_step / args.world_size
    tokens, size, steps = data.tokens_per_batch, args.per_device_train_batch_size, args.gradient_accumulation_steps
    asked = {"tokens_per_batch": tokens, "per_device_train_batch_size": size}
    asked |= {"gradient_accumulation_steps": steps, "rows_per_step": data.rows_per_step}
    why = f"rows_per_step {data.rows_per_step} on {world} process{'es' * (world > 1)} is {share:.3g} rows each"
    notes = [*notes]
    if tokens:
        size = 1
        if share > 0:
            full = mean_rows_per_batch(lengths, tokens)
            if full > share:
                tokens = max(1, round(tokens * share / full))
                notes.append(
                    f"tokens_per_batch {data.tokens_per_batch:,} becomes {tokens:,}: {why}, and {data.tokens_per_batch:,} "
                    f"tokens hold {full:.3g}"
                )
            steps = max(1, round(data.rows_per_step / (mean_rows_per_batch(lengths, tokens) * world)))
    elif share > 0:
        held = _expected_rows(args, lengths, tokens, 1)  # rows of a sequence: TRL's packing fills it with several
        steps = math.ceil(data.rows_per_step / (size * held * world))
        size = max(1, round(data.rows_per_step / (steps * held * world)))
        if size != args.per_device_train_batch_size:
            before = args.per_device_train_batch_size
            notes.append(
                f"per_device_train_batch_size {before} becomes {size}: {why}, shared out evenly to {steps} micro-batches"
                + (f" of packed sequences of about {held:.3g} rows" if held > 1 else "")
            )
    per_batch = _expected_rows(args, lengths, tokens, size)
    expected = min(float(rows), per_batch * steps * world)
    if share > 0 and abs(expected - data.rows_per_step) > 0.1 * data.rows_per_step:
        notes.append(
            f"rows_per_step {data.rows_per_step} becomes about {expected:.3g}: {world} x {steps} micro-batches of about "
            f"{per_batch:.3g} rows come nearest to it in an epoch of {rows:,} rows"
        )
    return TrainingPlan(
        world_size=world,
        precision="bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
        attn_implementation=_attention(model, tokens),
        packing="whole rows" if tokens else args.packing_strategy if args.packing else "none",
        tokens_per_batch=tokens,
        rows_per_batch=size,
        gradient_accumulation_steps=steps,
        rows_per_step=round(expected, 1),
        tokens_per_step=round(expected * fmean(lengths)),
        asked=asked,
        shares_prefix=shares_prefix,
        notes=tuple(notes),
    )


def _expected_rows(args: "SFTConfig", lengths: Sequence[int], tokens: int, size: int) -> float:
    """Rows of a micro-batch on average."""
    if tokens:
        return mean_rows_per_batch(lengths, tokens)
    if args.packing and args.max_length:
        return size * mean_rows_per_batch(lengths, args.max_length)
    return size


def _attention(model: "ModelConfig", tokens: int) -> str | None:
    """torch's own attention is the one of attention.py where rows are packed by tokens; any other stays as asked for."""
    if model.attn_implementation in (None, "sdpa", attention.NAME):
        return attention.NAME if tokens else model.attn_implementation if model.attn_implementation != attention.NAME else None
    return model.attn_implementation


def apply_plan(plan: TrainingPlan, args: "SFTConfig", model: "ModelConfig") -> None:
    """Sets what TRL reads of the plan in its own arguments; nothing else changes them."""
    args.per_device_train_batch_size = plan.rows_per_batch
    args.gradient_accumulation_steps = plan.gradient_accumulation_steps
    model.attn_implementation = plan.attn_implementation
    if plan.tokens_per_batch:
        args.padding_free = True


def print_plan(plan: TrainingPlan) -> None:
    size = "tokens_per_batch" if plan.tokens_per_batch else "per_device_train_batch_size"
    used = {
        size: f"{plan.tokens_per_batch or plan.rows_per_batch:,}",
        "gradient_accumulation_steps": f"{plan.gradient_accumulation_steps:,}",
        "rows_per_step": f"about {plan.rows_per_step:,.1f}",
        "tokens per step": f"about {plan.tokens_per_step:,}",
        "processes": f"{plan.world_size:,}",
        "packing": plan.packing,
        "attention": plan.attn_implementation or "the model's own",
        "precision": plan.precision,
    }
    asked = {name: f"{number:,}" for name, number in plan.asked.items()}
    print_table(("", "asked", "used"), [(name, asked.get(name, ""), shown) for name, shown in used.items()], "Training plan")
    for note in plan.notes:
        print(note)
