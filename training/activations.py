"""What a forward and backward pass keeps in memory, found by tracing the real model without computing anything.

The model is built on the meta device, given its LoRA layers, and run on PyTorch's fake tensors, which have shapes and
lifetimes but no data (https://docs.pytorch.org/docs/stable/torch.compiler_fake_tensor.html), while every allocation is
counted. So there is no formula to go stale: what a transformers or PEFT release saves for the backward pass is what is
counted. Layers are alike, so two and three of them say what all of them take.
"""

import weakref
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Batch:
    """The shape of a micro-batch, and how the model runs on it."""

    rows: int
    length: int
    checkpointing: bool
    padding: bool
    """Rows padded to one length, or behind one another without padding (see attention.py)."""
    bf16_adapter: bool
    """TRL keeps the adapter in bfloat16 on a quantised base, in float32 otherwise."""

    @property
    def tokens(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Activations:
    """Bytes beyond weights and their gradients: alive when the forward pass ends, and at the worst moment."""

    saved: int
    peak: int


def build(config: "PretrainedConfig", peft_config: "PeftConfig | None", layers: int | None = None) -> "PeftModel":
    """The model with its LoRA layers on the meta device, in bfloat16, with `layers` layers in place of its own number."""
    import copy

    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    if layers is not None:
        config.num_hidden_layers = layers
        config.layer_types = None if getattr(config, "layer_types", None) is None else config.layer_types[:layers]
    make: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = make.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        return get_peft_model(model, copy.deepcopy(peft_config)) if peft_config else model


def unpadded_attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[Any, None]:
    """What attention.py does on a GPU, as far as memory goes: no mask, heads not repeated, rows put together again."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    grouped = query.size(1) > key.size(1)
    attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=options["scaling"], enable_gqa=grouped)
    return torch.cat([attended], dim=2).transpose(1, 2), None


def materialise(model: Any, bf16_adapter: bool) -> None:
    """Puts tensors of the current mode (fake, or real ones) in place of those on the meta device, ready for training."""
    import torch

    class ByteDropout(torch.nn.Module):
        """Dropout as on a GPU, which keeps a mask of bytes; a CPU keeps one of numbers."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.native_dropout(x, self.share, True)[0]

    for module in list(model.modules()):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                dtype = torch.bfloat16 if bf16_adapter else parameter.dtype
                data = torch.empty(parameter.shape, dtype=dtype, device="cpu").normal_(std=0.02)
                module._parameters[name] = torch.nn.Parameter(data, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.rand(buffer.shape, dtype=buffer.dtype, device="cpu")
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Dropout):
                setattr(module, name, ByteDropout(child.p))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)  # counted with the weights, so that it must not be counted here


def backbone(model: Any) -> Any:
    """The model without its LM head, which TRL runs by itself, and only on supervised positions."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).model


def prepare(model: Any, batch: Batch) -> None:
    """Training mode, with activations recomputed in the backward pass if asked for, as sft.py and the Trainer do it."""
    from transformers import AttentionInterface

    from training import patches

    model.train()
    patches.compute_adapters_in_half(model)
    if not batch.padding:
        AttentionInterface.register("unpadded", unpadded_attention)
        model.config._attn_implementation = "unpadded"
    if batch.checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()


def inputs_of(batch: Batch) -> dict[str, Any]:
    """What the collator hands over: a mask in which something is padding, or the rows as one."""
    import torch

    if not batch.padding:
        tokens = torch.zeros((1, batch.tokens), dtype=torch.long)
        return {"input_ids": tokens, "position_ids": torch.arange(batch.length).repeat(batch.rows)[None]}
    tokens = torch.zeros((batch.rows, batch.length), dtype=torch.long)
    mask = torch.ones_like(tokens)
    mask[-1, -1] = 0  # where nothing is padding, transformers leaves the mask out
    return {"input_ids": tokens, "attention_mask": mask}


def run(model: Any, batch: Batch) -> Activations:
    """One forward and backward pass under bfloat16 autocast, every allocation counted while it lives."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    alive: dict[int, int] = {}
    now = peak = 0

    def forget(key: int) -> None:
        nonlocal now
        now -= alive.pop(key)

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal now, peak
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if not isinstance(tensor, torch.Tensor):
                    continue
                storage = tensor.untyped_storage()
                if storage._cdata not in alive and storage._cdata not in kept:
                    alive[storage._cdata] = storage.nbytes()
                    now += storage.nbytes()
                    peak = max(peak, now)
                    weakref.finalize(storage, forget, storage._cdata)
            return result

    tensors = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()]
    kept = {tensor.untyped_storage()._cdata for tensor in tensors}
    inputs = inputs_of(batch)
    with Counting():  # type: ignore[no-untyped-call]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = backbone(model)(**inputs, use_cache=False).last_hidden_state
            saved = now
        hidden.backward(torch.ones_like(hidden))
    return Activations(saved, peak)


def trace(config: "PretrainedConfig", peft_config: "PeftConfig | None", batch: Batch) -> Activations:
    """What a micro-batch takes on the whole model, from fake runs of two and of three layers."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    few = []
    for layers in (2, 3):
        model = build(config, peft_config, layers)
        with ExitStack() as stack:
            stack.enter_context(FakeTensorMode())
            materialise(model, batch.bf16_adapter)
            prepare(model, batch)
            few.append(run(model, batch))
    more = int(config.num_hidden_layers) - 2
    two, three = few
    return replace(two, saved=two.saved + more * (three.saved - two.saved), peak=two.peak + more * (three.peak - two.peak))
