"""Adapters with random weights, so that a merge changes a lot and no training is needed."""

from pathlib import Path
from typing import Any


def random_adapter(base: Path, folder: Path, seed: int, quantization_config: Any = None, **lora: Any) -> Path:
    """An adapter for the base; `lora` are fields of PEFT's LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=quantization_config)
    tuned = get_peft_model(model, LoraConfig(**options))
    draw = torch.Generator().manual_seed(seed)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
    tuned.save_pretrained(folder)
    return folder
