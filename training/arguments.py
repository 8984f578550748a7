"""Recipe and command line: TRL's own argument classes, and DataArguments for rows and batches."""

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from common.errors import UserError, first_line

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import ModelConfig, ScriptArguments, SFTConfig


@dataclass
class DataArguments:
    """The adapter to go on from, the rows to train on, and the size of batches."""

    adapter: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of the LoRA adapter to go on from, with its own rank; default a new adapter."},
    )
    tasks: str | None = field(default=None, metadata={"help": "Comma-separated tasks to train on; default all."})
    task_weights: str = field(
        default="proportional",
        metadata={"help": "An epoch's mixture: proportional, uniform, temperature=T, or task=weight,task=weight."},
    )
    max_rows_per_task: int = field(
        default=0, metadata={"help": "Maximum number of rows per task, by a seeded draw, validation included; 0 = all."}
    )
    validation_samples: str = field(
        default="0",
        metadata={"help": "Maximum number of rows to hold out for validation, such as 500 or 10k; whole groups only."},
    )
    tokens_per_batch: int = field(
        default=0,
        metadata={
            "help": "Pack whole rows up to this many tokens per micro-batch, without padding, in place of "
            "per_device_train_batch_size rows. 0 disables packing by tokens."
        },
    )
    rows_per_step: int = field(
        default=0,
        metadata={
            "help": "Mean number of rows per optimiser step, over all processes; sets gradient_accumulation_steps. "
            "0 keeps that option's value."
        },
    )
    curriculum: float = field(
        default=0.0,
        metadata={
            "help": "Easier rows in this first share of the first epoch, so that a small model learns one thing at a time: "
            "numbered options come sorted, and a ranking's query is the title of its best product. 0 disables it."
        },
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a Hub dataset."})
    cpu_threads: int = field(
        default=0, metadata={"help": "Compute threads on a CPU; 0 = all cores (accelerate's own default is often one)."}
    )
    group_wordings: bool = field(
        default=False,
        metadata={
            "help": "Packing: rows of one wording share a micro-batch, so that on a CPU the instruction is computed once for "
            "all of them; each micro-batch is then of one task."
        },
    )


Arguments = tuple["ScriptArguments", "SFTConfig", "ModelConfig", DataArguments]

ABOVE_0 = (
    *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "lora_r", "lora_alpha"),
    "temperature",  # of GRPO
)
AT_LEAST_0 = (
    *("learning_rate", "weight_decay", "max_grad_norm", "seed"),
    *("tokens_per_batch", "rows_per_step", "max_rows_per_task", "cpu_threads"),
)
"""Fields whose negative numbers the libraries take for something else, or end over in a traceback."""


def parse_arguments(argv: list[str]) -> Arguments:
    """Recipe and command line of training/sft.py together. Raises UserError."""
    from trl import ModelConfig, ScriptArguments, SFTConfig

    script, args, model, data = parse(argv, (ScriptArguments, SFTConfig, ModelConfig, DataArguments))
    use_float32_where_bfloat16_is_emulated(args, model)
    check_batches(args, data)
    check_precision(args, model)
    return script, args, model, data


def parse(argv: list[str], classes: tuple[Any, ...]) -> list[Any]:
    """Recipe and command line together, an object of each class. Raises UserError."""
    import torch
    import yaml
    from trl import TrlParser

    def refuse(message: str) -> NoReturn:
        raise UserError(message)

    parser = TrlParser(classes, allow_abbrev=False)
    parser.set_defaults(use_cpu=not torch.accelerator.is_available())  # else bf16 is refused where there is no GPU
    if "--help-all" in argv:
        parser.print_help()
        sys.exit()
    parser.error = refuse  # type: ignore[method-assign]  # argparse would print the usage of some 200 options first
    try:
        *parsed, rest = parser.parse_args_and_config(argv, return_remaining_strings=True)
    except OSError as error:
        raise UserError(f"cannot read the recipe {error.filename}: {error.strerror}") from None
    except IndexError:
        raise UserError("--config needs the path of a recipe; those that come along are in training/recipes") from None
    except yaml.YAMLError as error:
        raise UserError(f"the recipe is not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, TypeError) as error:
        if "support bf16" in str(error):
            raise UserError("this device has no bfloat16; give --bf16 false --fp16 true --dtype float16") from None
        raise UserError(f"the recipe or an option is wrong: {first_line(error)}") from None
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        unknown = next((word for word in rest if word.startswith("--")), rest[0])
        close = difflib.get_close_matches(unknown, known, n=1)
        raise UserError(f"unknown field {unknown.lstrip('-')}" + (f"; did you mean {close[0].lstrip('-')}?" if close else ""))
    check_numbers(parsed)
    return list(parsed)


def check_numbers(parsed: Iterable[Any]) -> None:
    """Raises UserError for a number that is too small, of a field of any of the classes."""
    for name, value in (item for each in parsed for item in vars(each).items()):
        if name in ABOVE_0 and value is not None and value <= 0:
            raise UserError(f"{name} must be above 0, not {value}")
        if name in AT_LEAST_0 and value is not None and value < 0:
            raise UserError(f"{name} must be 0 or more, not {value}")


def check_batches(args: "SFTConfig", data: DataArguments) -> None:
    """Raises UserError for options of batches that contradict each other."""
    if not 0 <= data.curriculum <= 1:
        raise UserError(f"curriculum must be between 0 and 1, not {data.curriculum}")
    if data.curriculum and not data.tokens_per_batch:
        raise UserError("curriculum needs packing by tokens; give --tokens_per_batch, or --curriculum 0")
    if data.tokens_per_batch and args.packing:
        raise UserError("tokens_per_batch and packing are two ways to pack rows; leave packing out")


def check_precision(args: "SFTConfig", model: "ModelConfig") -> None:
    """Raises UserError for float16 on a CPU, which has no training in it: neither autocast nor a gradient scaler."""
    if args.use_cpu and (args.fp16 or model.dtype == "float16"):
        raise UserError("a CPU does not train in float16; give --fp16 false --dtype float32, or --bf16 true --dtype bfloat16")


def output_folder(args: "TrainingArguments") -> Path:
    """--output_dir, which transformers types as optional although it always sets one."""
    assert args.output_dir is not None
    return Path(args.output_dir)


def use_float32_where_bfloat16_is_emulated(args: "SFTConfig", model: "ModelConfig") -> None:
    """A CPU without bfloat16 instructions computes it many times more slowly than float32."""
    import torch

    if args.use_cpu and args.bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        print("this CPU has no bfloat16 instructions; training in float32", file=sys.stderr)
        args.bf16, args.mixed_precision, model.dtype = False, "no", "float32"
