"""The base model, loaded as TRL loads it, but before the training plan: whether rows can be packed depends on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from common.errors import UserError
from common.model_files import loading, reason_of
from training.rows import say

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig


def load_base(args: "SFTConfig", model: "ModelConfig") -> Any:
    """The base model with the attention that was asked for, else its own. Raises UserError.

    Random numbers are those that TRL's trainer would have drawn: it seeds them before an adapter is initialised.
    """
    from trl import get_quantization_config
    from trl.trainer.utils import create_model_from_path

    from training import attention, patches

    attention.register()
    options: dict[str, Any] = {
        "revision": model.model_revision,
        "attn_implementation": None if model.attn_implementation in attention.NAMES else model.attn_implementation,
        "dtype": model.dtype,
        **cast("dict[str, Any]", args.model_init_kwargs or {}),
    }
    if quantization := get_quantization_config(model):
        options["quantization_config"] = quantization
    if args.distributed_state is not None and args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        options["device_map"] = None  # as TRL does: each process has the whole model, or DeepSpeed shards it
    args.model_init_kwargs = None  # TRL warns that it does not load the model itself
    with loading(model.model_name_or_path or "", "the model", "check --model_name_or_path"):
        try:
            base = create_model_from_path(model.model_name_or_path or "", **options)
        except ValueError as error:
            if "does not support an attention implementation" not in str(error):
                raise
            say(f"{model.model_name_or_path} has no attention {model.attn_implementation}; its own is taken")
            model.attn_implementation = None
            base = create_model_from_path(model.model_name_or_path or "", **options | {"attn_implementation": None})
    if model.load_in_4bit:
        patches.keep_gradients_of_4bit_weights(base)
    return base


def with_adapter(base: Any, adapter: Path) -> Any:
    """The base with the weights of the LoRA adapter in a folder, which are to be trained. Raises UserError."""
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        tuned: Any = PeftModel.from_pretrained(base, str(adapter), is_trainable=True)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot go on from the adapter {adapter}: {reason_of(error)}; give one of this base model") from None
    if (kind := tuned.active_peft_config.peft_type) != "LORA":
        raise UserError(f"{adapter} is no LoRA adapter but {kind}; give --adapter the output folder of a LoRA training")
    return tuned
