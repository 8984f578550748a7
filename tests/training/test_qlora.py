"""A 4-bit base, for real: bitsandbytes' nf4 on the CPU, trained by the command line and merged into the 16-bit base."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import ROOT
from tests.training.trainers import prepare_trainer

RECIPE = ROOT / "training" / "recipes" / "llama-3-8b-qlora.yaml"
STEPS = 12


def options(base: Path, rows: Path, output: Path) -> list[str]:
    """The recipe's settings on the small model, with that one's tokens."""
    values = {
        "model_name_or_path": base,
        "dataset_name": rows,
        "output_dir": output,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "report_to": "none",
        "max_steps": STEPS,
        "rows_per_step": 24,
        "tokens_per_batch": 512,
        "max_length": 512,
        "learning_rate": 0.02,
        "logging_steps": 1,
        "eval_steps": 4,  # between steps of training, for which bitsandbytes lays weights out in another way
        "save_steps": 4,
        "cpu_threads": 1,
    }
    return ["--config", str(RECIPE), *(str(word) for key, value in values.items() for word in (f"--{key}", value))]


@dataclass(frozen=True)
class Trained:
    folder: Path
    base: Path
    summary: dict[str, Any]
    losses: list[float]


@pytest.fixture(scope="module")
def trained(launch: list[str], tiny_llama: Path, shop_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("qlora")
    folder = home / "adapter"
    command = [*launch, "--config_file", "training/accelerate/cpu.yaml", "training/sft.py"]
    done = subprocess.run(
        [*command, *options(tiny_llama, shop_rows, folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    return Trained(folder, tiny_llama, json.loads((folder / "training_summary.json").read_text()), losses)


def make_trainer(base: Path, rows: Path, home: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Any:
    """The trainer that main makes, not yet trained."""
    import datasets
    import trl.trainer.utils as trl_utils

    monkeypatch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "cache")
    return prepare_trainer([*options(base, rows, home / "out"), *more])


def test_gradients_are_the_same_after_an_evaluation(
    tiny_llama: Path, shop_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    trainer = make_trainer(tiny_llama, shop_rows, tmp_path, monkeypatch, "--lora_dropout", "0")
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)

    def gradients() -> torch.Tensor:
        trainer.model.train()
        trainer.model.zero_grad()
        with trainer.accelerator.autocast():
            trainer.compute_loss(trainer.model, trainer.data_collator([trainer.train_dataset[0]])).backward()
        return torch.cat([p.grad.flatten().float() for p in trainer.model.parameters() if p.requires_grad])

    before = gradients()
    trainer.evaluate()
    after = gradients()
    assert torch.nn.functional.cosine_similarity(before, after, dim=0) > 0.999


def test_the_base_is_in_4_bits_and_only_the_adapter_is_trained(
    tiny_llama: Path, shop_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    trainer = make_trainer(tiny_llama, shop_rows, tmp_path, monkeypatch)
    base = trainer.model.get_base_model()
    layers = [module for module in base.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 2 * 7, "all projections of both layers"
    for layer in layers:
        state = layer.weight.quant_state
        assert (state.quant_type, state.nested, state.dtype) == ("nf4", True, torch.bfloat16)
        assert layer.weight.dtype == torch.bfloat16, "stored in a float type, for FSDP2"
        assert layer.weight.nbytes == layer.in_features * layer.out_features // 2
        assert not layer.weight.requires_grad
    assert type(base.get_output_embeddings()) is torch.nn.Linear, "the LM head stays in 16 bits"
    trained = {name: parameter.dtype for name, parameter in base.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 2 * 7
    assert all("lora_" in name for name in trained)
    assert set(trained.values()) == {torch.bfloat16}, "as TRL has it on a quantised base"


def test_the_loss_falls(trained: Trained) -> None:
    assert len(trained.losses) == STEPS
    assert all(0 < loss < 100 for loss in trained.losses)
    assert sum(trained.losses[-3:]) < 0.9 * sum(trained.losses[:3])
    assert trained.summary["validation_loss"] > 0


def test_the_adapter_is_safetensors_and_has_changed(trained: Trained) -> None:
    from safetensors.torch import load_file

    weights = load_file(trained.folder / "adapter_model.safetensors")
    assert len(weights) == 2 * 2 * 7
    assert all(tensor.abs().sum() > 0 for name, tensor in weights.items() if "lora_B" in name), "B starts at zero"
    assert not [path for path in trained.folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_the_adapter_merges_into_the_16_bit_base(trained: Trained, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    merged = tmp_path / "merged"
    words = ["--adapter", trained.folder, "--out", merged, "--base", trained.base]
    done = subprocess.run(
        [sys.executable, "-m", "training.merge", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = (load_file(folder / "model.safetensors") for folder in (trained.base, merged))
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    assert changed == {name for name in before if "_proj." in name}, "the projections, and nothing else"
    adapter = load_file(trained.folder / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    a, b = (adapter[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    added = after[f"{name}.weight"].float() - before[f"{name}.weight"].float()
    assert torch.allclose(added, b @ a * 16 / 16, atol=0.02 * added.abs().max().item()), "alpha / r times B A"
    assert getattr(AutoModelForCausalLM.from_pretrained(merged).config, "quantization_config", None) is None


@pytest.mark.parametrize(("storage", "shared"), [("bfloat16", True), ("uint8", False)])
def test_fsdp2_shards_a_4_bit_base_only_if_it_is_stored_in_a_float_type(
    torchrun: list[str], tiny_llama: Path, storage: str, shared: bool
) -> None:
    words = ["tests/training/sharded_step.py", str(tiny_llama), storage]
    done = subprocess.run([*torchrun, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["gradients"] == 2 * 2 * 7
    assert found["equal"], "the same gradients, sharded or not"
    assert (found["after"] <= found["before"] / 2 + 64) == shared
