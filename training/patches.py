"""Patches that skip redundant work in TRL, PEFT and bitsandbytes; results are unchanged."""

from typing import Any


def score_supervised_positions_only() -> None:
    """TRL projects only supervised positions through the LM head on a CPU too, as it does on a GPU with Triton.

    Prompts are long and completions short, so that projecting every position to the vocabulary costs a third of the
    whole training. TRL 1.16 has no public switch; the loss is the same either way.
    """
    import trl.trainer.utils as trl_utils

    on_gpu = trl_utils._use_triton
    trl_utils._use_triton = lambda device: device.type == "cpu" or on_gpu(device)


def compute_adapters_in_half(model: Any) -> None:
    """PEFT no longer casts each input to the adapter's float32, which autocast would undo at once."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[attr-defined]  # of its layers


def keep_gradients_of_4bit_weights(model: Any) -> None:
    """bitsandbytes 0.50 no longer converts weights to its CPU inference layout in an evaluation: gradients cannot pass it."""
    from bitsandbytes.nn import Linear4bit  # type: ignore[attr-defined]  # re-exported without __all__

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
