"""One step of QLoRA before and after accelerate shards the model with FSDP2; run by torchrun on CPUs, over gloo.

accelerate turns FSDP on for GPUs only, so its own function is called, with what it reads of an Accelerator. Prints JSON.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import LoraConfig, get_peft_model
from peft.utils.other import fsdp_auto_wrap_policy
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def step(model: Any) -> dict[str, torch.Tensor]:
    """The gradient of every trained weight."""
    ids = torch.arange(64).reshape(2, 32) + 3
    model(input_ids=ids, labels=ids).loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad(set_to_none=True)
    return {name: grad.full_tensor() if hasattr(grad, "full_tensor") else grad for name, grad in gradients.items()}


def frozen_bytes(model: Any) -> int:
    frozen = [p.to_local() if hasattr(p, "to_local") else p for p in model.parameters() if not p.requires_grad]
    return sum(tensor.nbytes for tensor in frozen)


def main(folder: str, storage: torch.dtype) -> None:
    dist.init_process_group("gloo")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=storage,
    )
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=quantization)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", init_lora_weights=False))
    model.train()  # else bitsandbytes lays weights out anew for the CPU's kernels
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()  # as TRL does on a quantised base
    whole, before = step(model), frozen_bytes(model)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=True,
        cpu_ram_efficient_loading=True,
    )
    plugin.auto_wrap_policy = fsdp_auto_wrap_policy(model)  # these two as transformers does
    plugin.set_mixed_precision("bf16", override=True)
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        mixed_precision="bf16",
        is_main_process=dist.get_rank() == 0,
        device=torch.device("cpu"),
        torch_device_mesh=init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("dp_shard",)),
        parallelism_config=SimpleNamespace(fsdp_dim_names=["dp_shard"]),
    )
    model = fsdp2_prepare_model(accelerator, model)
    sharded, after = step(model), frozen_bytes(model)
    if dist.get_rank() == 0:
        equal = whole.keys() == sharded.keys() and all(torch.allclose(whole[name], sharded[name]) for name in whole)
        print(json.dumps({"gradients": len(whole), "equal": equal, "before": before, "after": after}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], getattr(torch, sys.argv[2]))
