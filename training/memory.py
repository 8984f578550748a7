"""How much memory a recipe takes on a GPU, before one is rented.

    python -m training.memory                                          # every recipe with every accelerate file
    python -m training.memory --recipe training/recipes/qwen3-4b-lora.yaml --accelerate training/accelerate/fsdp2.yaml

Parameters are counted on the meta device, on the real model with the recipe's real LoRA configuration; activations are
traced (see activations.py); what sharding and the libraries add is estimated, and each function says from what. Validated
against allocations on a CPU, not executed on a GPU.
"""

import argparse
import json
import logging
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, plain_errors
from training.architectures import load_config
from training.compatibility import ON_GPUS, not_meant, read_accelerate

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from trl import ModelConfig

FOLDER = Path(__file__).parent
GIB = 2**30
PARTS = ("weights", "adapter", "activations", "sharding", "libraries")
USABLE = 0.9
"""The share of a GPU's memory that is counted on; the rest is for the allocator's fragments and this estimate's own error."""


@dataclass(frozen=True)
class Parameters:
    """Counts of the model with its adapter. `linear` are those that a 4-bit base quantises, `largest` the largest of them."""

    base: int
    adapter: int
    linear: int
    largest: int
    layer: int
    layer_linear: int
    head: int


@dataclass(frozen=True)
class Estimate:
    """Bytes on each GPU at the worst moment."""

    weights: int
    adapter: int
    activations: int
    sharding: int
    libraries: int

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations + self.sharding + self.libraries


def count_parameters(config: "PretrainedConfig", model_args: "ModelConfig") -> Parameters:
    """Exact counts, from the model on the meta device with the recipe's LoRA configuration."""
    import torch
    from trl import get_peft_config

    from training.activations import build

    model: Any = build(config, get_peft_config(model_args))
    sizes = {True: 0, False: 0}
    for parameter in model.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    base = model.get_base_model() if model_args.use_peft else model
    head = base.get_output_embeddings()

    def linears(module: Any) -> list[int]:
        return [
            weight.numel()
            for part in module.modules()
            if isinstance(part, torch.nn.Linear) and part is not head and not (weight := part.weight).requires_grad
        ]

    first = base.model.layers[0]
    all_linears = linears(base)
    return Parameters(
        base=sizes[False],
        adapter=sizes[True],
        linear=sum(all_linears),
        largest=max(all_linears, default=0),
        layer=sum(parameter.numel() for parameter in first.parameters() if not parameter.requires_grad),
        layer_linear=sum(linears(first)),
        head=head.weight.numel(),
    )


def frozen_bytes(linear: int, other: int, model_args: "ModelConfig") -> int:
    """Bytes of frozen weights: bfloat16, or 4 bits for the linear ones and their constants.

    One constant of 32 bits for every 64 weights, or with nested quantisation one of 8 bits and one of 32 for every 256 of
    those: QLoRA, https://huggingface.co/papers/2305.14314, section 3. The LM head and the embedding stay in 16 bits.
    """
    if not model_args.load_in_4bit:
        return 2 * (linear + other)
    constants = linear / 64 * (1 + 4 / 256 if model_args.use_bnb_nested_quant else 4)
    return int(linear / 2 + constants) + 2 * other


def adapter_bytes(parameters: Parameters, quantised: bool, sharding: str, processes: int) -> int:
    """Trainable weights, their gradients, and AdamW's two states: https://arxiv.org/abs/1910.02054, section 3.1.

    PEFT keeps an adapter in float32 (4 + 4 + 8 bytes a parameter), TRL in bfloat16 on a quantised base (2 + 2 + 4). ZeRO-3
    has 2 + 2 and float32 weights and states (12). DDP reduces gradients in buckets that are as large as they are.
    """
    each = {"zero3": 16, "ddp": 20 if not quantised else 10}.get(sharding, 8 if quantised else 16)
    shared = processes if sharding in ("fsdp2", "zero3") else 1
    return each * parameters.adapter // shared


def sharding_bytes(parameters: Parameters, model_args: "ModelConfig", sharding: str) -> int:
    """What is gathered from the other GPUs at one time.

    FSDP2: the layer at work and the next one, the LM head, which stays gathered, and TRL's copy of it.
    ZeRO-3 at DeepSpeed's defaults: stage3_max_live_parameters 1e9 and reduce_bucket_size 5e8, in 16 bits:
    https://www.deepspeed.ai/docs/config-json/
    """
    if sharding == "fsdp2":
        layer = frozen_bytes(parameters.layer_linear, parameters.layer - parameters.layer_linear, model_args)
        return 2 * layer + 2 * 2 * parameters.head
    if sharding == "zero3":
        return 2 * (min(10**9, parameters.base) + 5 * 10**8)
    return 0


def head_bytes(tokens: int, config: "PretrainedConfig") -> int:
    """The LM head and the loss, with every position supervised, which is the most that can be.

    TRL projects 4,096 positions onto 32,768 words of the vocabulary at a time, in bfloat16, and never holds all logits; it
    copies the hidden states of supervised positions and sums up their gradient in float32 (trl.kernels.chunked_logprob).
    """
    tile = min(tokens, 4096) * min(int(config.vocab_size), 32768) * 2
    return tile + tokens * int(config.hidden_size) * (2 + 4)


@lru_cache
def of_recipe(recipe: Path) -> "tuple[Parameters, int, ModelConfig]":
    """What does not depend on the GPUs: the counts, and the bytes of activations."""
    from trl import get_peft_config

    from training.activations import Batch, trace
    from training.arguments import parse_arguments

    if not recipe.is_file():
        raise UserError(f"there is no recipe {recipe}; those that come along are in training/recipes")
    _, args, model_args, data = parse_arguments(["--config", str(recipe)])
    config = load_config(model_args.model_name_or_path or "")
    parameters = count_parameters(config, model_args)
    quantised = bool(model_args.load_in_4bit)
    length = int(args.max_length or config.max_position_embeddings)
    unpadded = data.tokens_per_batch > 0
    rows = max(1, data.tokens_per_batch // length) if unpadded else args.per_device_train_batch_size
    batch = Batch(rows, length, bool(args.gradient_checkpointing), not unpadded, quantised)
    traced = trace(config, get_peft_config(model_args), batch)
    unpacked = 2 * parameters.largest if quantised else 0  # a 4-bit weight is unpacked to 16 bits while it is used
    return parameters, max(traced.peak + unpacked, traced.saved + head_bytes(batch.tokens, config)), model_args


def estimate(recipe: Path, accelerate: Path, processes: int | None = None) -> tuple[Parameters, Estimate]:
    """The memory of a recipe on each GPU of an accelerate file, or of as many processes as asked for."""
    sharding, listed = read_accelerate(accelerate)
    parameters, activations, model_args = of_recipe(recipe)
    count = processes or listed
    shared = count if sharding in ("fsdp2", "zero3") else 1
    return parameters, Estimate(
        weights=frozen_bytes(parameters.linear, parameters.base - parameters.linear, model_args) // shared,
        adapter=adapter_bytes(parameters, bool(model_args.load_in_4bit), sharding, count),
        activations=activations,
        sharding=sharding_bytes(parameters, model_args, sharding),
        libraries=GIB if count == 1 else GIB * 3 // 2,  # CUDA's context and cuBLAS; NCCL's buffers: round numbers
    )


def smallest(total: int, gpus: list[int]) -> str:
    return next((f"{size}" for size in sorted(gpus) if total <= USABLE * size * GIB), "none")


def print_markdown(rows: list[dict[str, Any]]) -> None:
    """One line a recipe, the accelerate files side by side; a dash where the two are not meant for each other."""
    names = sorted({row["accelerate"] for row in rows}, key=[row["accelerate"] for row in rows].index)
    print("| recipe | trained parameters |" + "".join(f" {name} |" for name in names))
    print("|---|--:|" + "--:|" * len(names))
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        mine = {row["accelerate"]: row for row in rows if row["recipe"] == recipe}
        trained = next((f"{row['trained'] / 1e6:.1f} M" for row in mine.values() if not row["reason"]), "")
        cells = ["–" if mine[name]["reason"] else f"{mine[name]['total'] / GIB:.1f} → {mine[name]['fits']}" for name in names]
        print(f"| `{recipe}` | {trained} | " + " | ".join(cells) + " |")


def print_table(rows: list[dict[str, Any]]) -> None:
    """One line an estimate, in GiB; a combination that is not meant to be used is named with its reason below."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="GiB on each GPU, estimated")
    for column in ("recipe", "accelerate", "GPUs", "weights", "adapter", "activ.", "shards", "libs", "sum", "fits"):
        table.add_column(column, justify="left" if column in ("recipe", "accelerate") else "right", no_wrap=True)
    for row in rows:
        if not row["reason"]:
            parts = [f"{row['bytes'][part] / GIB:.1f}" for part in PARTS]
            fits = row["fits"]
            table.add_row(row["recipe"], row["accelerate"], str(row["processes"]), *parts, f"{row['total'] / GIB:.1f}", fits)
    console = Console()
    console = console if console.width >= 100 else Console(width=100)
    if table.rows:
        console.print(table)
    for row in rows:
        if row["reason"]:
            console.print(f"not meant: {row['recipe']} with {row['accelerate']}: {row['reason']}", soft_wrap=True)


def measure(recipe: Path, accelerate: Path, processes: int | None, gpus: list[int]) -> dict[str, Any]:
    """One line of the table, also for the JSON."""
    row: dict[str, Any] = {"recipe": recipe.stem, "accelerate": accelerate.stem}
    row["reason"] = not_meant(recipe.stem, accelerate.stem)
    if row["reason"]:
        return row
    parameters, parts = estimate(recipe, accelerate, processes)
    return row | {
        "processes": processes or read_accelerate(accelerate)[1],
        "frozen": parameters.base,
        "trained": parameters.adapter,
        "bytes": asdict(parts),
        "total": parts.total,
        "fits": smallest(parts.total, gpus),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.memory", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--recipe", type=Path, help="one recipe (default: all in training/recipes)")
    parser.add_argument("--accelerate", type=Path, help="one accelerate file (default: all for GPUs in training/accelerate)")
    parser.add_argument("--processes", type=int, help="so many GPUs in place of the accelerate file's number")
    parser.add_argument("--gpus", default="24,40,80", help="sizes of GPUs in GiB (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--json", action="store_true", help="print JSON on the last line")
    args = parser.parse_args()
    try:
        gpus = [int(size) for size in args.gpus.split(",")]
    except ValueError:
        raise UserError(f"--gpus takes sizes in GiB such as 24,80, not {args.gpus!r}") from None
    if args.processes is not None and args.processes < 1:
        raise UserError("--processes takes a number of 1 or more")
    recipes = [args.recipe] if args.recipe else sorted((FOLDER / "recipes").glob("*.yaml"))
    files = [args.accelerate] if args.accelerate else [FOLDER / "accelerate" / f"{name}.yaml" for name in ON_GPUS]
    warnings.filterwarnings("ignore", category=FutureWarning)  # names that transformers renamed
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    rows = [measure(recipe, file, args.processes, gpus) for recipe in recipes for file in files]
    (print_markdown if args.markdown else print_table)(rows)
    if args.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    with plain_errors():
        main()
