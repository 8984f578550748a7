"""Which recipe goes with which accelerate file."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError

ON_GPUS = ("one_gpu", "ddp", "fsdp2", "zero3", "two_nodes")
"""The files in training/accelerate that are for GPUs."""


@dataclass(frozen=True)
class NotMeant:
    """A combination that is left out, and why."""

    recipe: str
    accelerate: str
    reason: str


ON_A_CPU = "so large a model takes days on a CPU; it is there for the small model"
TOO_SMALL = "the model takes a quarter of a GiB, so sharding costs time and saves nothing; take ddp"
QUANTISED = "zero.Init does not know 4-bit weights, so every GPU loads the whole base first; take fsdp2 or ddp"
LARGE = (
    "llama-3-8b-lora",
    "llama-3-8b-qlora",
    "mistral-7b-instruct-lora",
    "mistral-7b-instruct-qlora",
    "qwen3-4b-lora",
)
NOT_MEANT = (
    *(NotMeant(recipe, file, ON_A_CPU) for recipe in LARGE for file in ("cpu", "cpu_ddp")),
    *(NotMeant("smollm2-135m-lora", file, TOO_SMALL) for file in ("fsdp2", "zero3")),
    # https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1249
    *(NotMeant(recipe, "zero3", QUANTISED) for recipe in LARGE if recipe.endswith("qlora")),
)


def not_meant(recipe: str, accelerate: str) -> str | None:
    """Why these two are not meant to be used together, or None if they are. Names are those of the files, without .yaml."""
    return next((one.reason for one in NOT_MEANT if (one.recipe, one.accelerate) == (recipe, accelerate)), None)


def read_accelerate(path: Path) -> tuple[str, int]:
    """How an accelerate file shards the model, and over how many processes."""
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    if not path.is_file():
        raise UserError(f"there is no accelerate file {path}; those that come along are in training/accelerate")
    try:
        config = load_config_from_file(str(path))
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{path} is not an accelerate configuration: {line}; accelerate config makes one") from None
    kinds = {"MULTI_GPU": "ddp", "FSDP": "fsdp2", "DEEPSPEED": "zero3"}
    return kinds.get(config.distributed_type.value, "none"), int(config.num_processes)
