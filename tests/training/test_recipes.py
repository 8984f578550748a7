"""training/recipes and training/accelerate: parsed by the classes that read them, and no setting changed without a reason."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.conftest import ROOT
from training import arguments

RECIPES = sorted((ROOT / "training" / "recipes").glob("*.yaml"))
TWO_STAGES = sorted((ROOT / "training" / "recipes" / "two_stages").glob("*.yaml"))
FILES = sorted((ROOT / "training" / "accelerate").glob("*.yaml"))
LARGE = [path for path in RECIPES if path.stem != "smollm2-135m-lora"]
KNOWN = {
    "lora_r": 16,
    "lora_alpha": 16,
    "lora_dropout": 0.10,
    "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "learning_rate": 1.0e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,
    "num_train_epochs": 3,
    "rows_per_step": 128,
    "max_length": 2048,
    "validation_samples": "10k",
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "completion_only_loss": False,
}
"""Settings of the earlier system that are known to be good."""


def stems(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def settings(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", RECIPES + TWO_STAGES, ids=stems(RECIPES + TWO_STAGES))
def test_a_recipe_is_parsed_and_every_key_reaches_its_field(path: Path) -> None:
    parsed = arguments.parse_arguments(["--config", str(path)])
    for key, value in settings(path).items():
        homes = [part for part in parsed if hasattr(part, key)]
        assert homes, f"{key} is a field of no class"
        if isinstance(value, bool | int | float) and not isinstance(getattr(homes[0], key), str):
            assert getattr(homes[0], key) == value


def test_the_two_stages_train_one_adapter_of_one_base() -> None:
    first, second = map(settings, TWO_STAGES)
    own = {"num_train_epochs", "learning_rate", "output_dir"}
    assert {key: value for key, value in first.items() if key not in own} == {
        key: value for key, value in second.items() if key not in own
    }
    assert first["output_dir"] != second["output_dir"]


@pytest.mark.parametrize("path", LARGE, ids=stems(LARGE))
def test_a_recipe_differs_from_the_known_settings_only_with_a_reason(path: Path) -> None:
    found = settings(path)
    assert set(KNOWN) <= set(found)
    changed = {key for key, value in KNOWN.items() if found[key] != value}
    explained = set(re.findall(r"^(\w+): .* # instead of [^:]+: \w+", path.read_text(), re.MULTILINE))
    assert changed <= explained, "a difference needs its reason in a comment"
    assert explained - changed <= {"lora_alpha"}, "a reason needs a difference"


@pytest.mark.parametrize("path", LARGE, ids=stems(LARGE))
def test_a_recipe_keeps_the_best_checkpoint_and_resumes_from_what_it_saved(path: Path) -> None:
    _, args, model, _ = arguments.parse_arguments(["--config", str(path)])
    assert args.eval_strategy == args.save_strategy == "steps"
    assert args.eval_steps == args.save_steps < 1
    assert args.greater_is_better is False
    assert args.save_total_limit >= 2, "the best and the last"
    assert args.report_to == ["trackio"]
    assert args.hub_strategy == "every_save"
    assert model.dtype == "bfloat16"
    assert args.bf16


@pytest.mark.parametrize("path", LARGE, ids=stems(LARGE))
def test_padding_is_not_the_end_of_a_turn(path: Path) -> None:
    found = settings(path)
    assert found["pad_token"] != found["eos_token"]


@pytest.mark.parametrize("path", RECIPES, ids=stems(RECIPES))
def test_a_recipe_says_how_it_is_launched_and_writes_to_its_own_folder(path: Path) -> None:
    head, _, _ = path.read_text().partition("\n\n")
    assert f"--config training/recipes/{path.name}" in head
    assert settings(path)["output_dir"] == f"outputs/{path.stem}"


@pytest.mark.parametrize("name", ["llama-3-8b", "mistral-7b-instruct"])
def test_a_4_bit_recipe_differs_from_its_16_bit_one_in_the_base_only(name: str) -> None:
    lora, qlora = (settings(ROOT / "training" / "recipes" / f"{name}-{method}.yaml") for method in ("lora", "qlora"))
    more = {key: value for key, value in qlora.items() if key not in lora}
    assert more == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "use_bnb_nested_quant": True,
        "bnb_4bit_quant_storage": "bfloat16",
    }
    assert {key for key in lora if lora[key] != qlora[key]} == {"output_dir"}


LARGE_GPU = [path for path in LARGE if path.stem.endswith("-80gb")]


@pytest.mark.parametrize("path", LARGE_GPU, ids=stems(LARGE_GPU))
def test_a_recipe_for_80_gb_differs_from_the_one_for_24_gb_in_what_memory_allows_only(path: Path) -> None:
    small, large = settings(path.with_name(path.name.replace("-80gb", ""))), settings(path)
    assert small.keys() == large.keys()
    assert {key for key in small if small[key] != large[key]} == {"output_dir", "gradient_checkpointing", "tokens_per_batch"}
    assert (large["gradient_checkpointing"], large["tokens_per_batch"]) == (False, 4096)


@pytest.mark.parametrize("path", RECIPES, ids=stems(RECIPES))
def test_ddp_does_not_look_for_unused_parameters(path: Path) -> None:
    assert settings(path)["ddp_find_unused_parameters"] is False


def test_a_4_bit_base_is_stored_and_computed_in_bfloat16() -> None:
    import torch
    from trl import get_quantization_config

    _, _, model, _ = arguments.parse_arguments(["--config", str(ROOT / "training" / "recipes" / "llama-3-8b-qlora.yaml")])
    config = get_quantization_config(model)
    assert config.bnb_4bit_quant_storage == torch.bfloat16, "FSDP shards float types only"
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert config.bnb_4bit_use_double_quant


@pytest.mark.parametrize("path", FILES, ids=stems(FILES))
def test_an_accelerate_file_is_parsed_without_unknown_keys(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(path))
    known = vars(launch_command_parser().parse_args(["sft.py"]))
    inner = {**config.fsdp_config, **config.deepspeed_config}
    assert set(inner) <= set(known), "accelerate launch takes each key for an option of its own, and ignores others"
    assert f"training/accelerate/{path.name}" in path.read_text().partition("\ncompute_environment")[0]


def launched(path: Path, *more: str) -> argparse.Namespace:
    """What `accelerate launch --config_file` makes of a file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", str(path), *more, "sft.py"]))
    return args


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts back what the plugins and this test write into the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("_own_environment")
def test_the_fsdp2_file_becomes_the_plugin_that_is_meant() -> None:
    from accelerate import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    args = launched(ROOT / "training" / "accelerate" / "fsdp2.yaml", "--main_process_port", "0")
    assert args.use_fsdp
    os.environ.update(prepare_multi_gpu_env(args))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.cpu_ram_efficient_loading
    assert not plugin.activation_checkpointing, "the recipes ask for it; both at once are an error"
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type)


@pytest.mark.usefixtures("_own_environment")
def test_the_zero3_file_becomes_the_plugin_that_is_meant() -> None:
    from accelerate import DeepSpeedPlugin
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    args = launched(ROOT / "training" / "accelerate" / "zero3.yaml", "--main_process_port", "0")
    assert args.use_deepspeed
    args.deepspeed_fields_from_accelerate_config = ""
    os.environ.update(prepare_deepspeed_cmd_env(args)[1])
    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == 3
    assert plugin.zero3_init_flag
    assert plugin.zero3_save_16bit_model
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto", "it follows from the recipe"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"


def test_processes_and_sharding_are_as_the_names_say() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    configs = {path.stem: load_config_from_file(str(path)) for path in FILES}
    assert {name: (config.distributed_type.value, int(config.num_processes)) for name, config in configs.items()} == {
        "cpu": ("NO", 1),
        "cpu_ddp": ("MULTI_GPU", 2),
        "one_gpu": ("NO", 1),
        "ddp": ("MULTI_GPU", 8),
        "fsdp2": ("FSDP", 8),
        "zero3": ("DEEPSPEED", 8),
        "two_nodes": ("MULTI_GPU", 16),
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_the_second_of_two_nodes_is_told_from_the_first_on_the_command_line(rank: int) -> None:
    more = ["--machine_rank", str(rank), "--main_process_ip", "10.0.0.1"]
    args = launched(ROOT / "training" / "accelerate" / "two_nodes.yaml", *more)
    assert (args.num_machines, args.num_processes, args.machine_rank) == (2, 16, rank)
    assert (args.main_process_ip, args.main_process_port) == ("10.0.0.1", 29500)
