"""What training can be spared of TRL's, PEFT's and bitsandbytes' work, where the outcome is the same without it."""

from typing import Any


def score_supervised_positions_only() -> None:
    """Has TRL send only supervised positions through the LM head on a CPU too, as it does on a GPU with Triton.

    Prompts are long and completions short, so that projecting every position to the vocabulary costs a third of the
    whole training. TRL 1.16 has no public switch; the loss is the same either way.
    """
    import trl.trainer.utils as trl_utils

    on_gpu = trl_utils._use_triton
    trl_utils._use_triton = lambda device: device.type == "cpu" or on_gpu(device)


def compute_adapters_in_half(model: Any) -> None:
    """Spares PEFT's cast of each input to the adapter's float32, which autocast undoes at once; the result is the same."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def keep_gradients_of_4bit_weights(model: Any) -> None:
    """Keeps bitsandbytes 0.50 from its CPU layout for inference, which an evaluation leaves behind and no gradient passes."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
