"""training/arguments.py: recipe and command line together, and options that contradict each other."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.training.conftest import RECIPE, ROOT
from training.arguments import DataArguments, parse_arguments


def parse(*words: object) -> Any:
    return parse_arguments([str(word) for word in words])


def refused(*words: object) -> str:
    with pytest.raises(UserError) as refused:
        parse(*words)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


# Recipe and command line


def test_keys_of_a_recipe_reach_the_class_that_has_the_field(tmp_path: Path) -> None:
    path = recipe(tmp_path, "dataset_name: org/rows\nlearning_rate: 1.0e-3\nlora_r: 4\ntask_weights: uniform\ntasks: a,b\n")
    script, args, model, data = parse("--config", path)
    assert (script.dataset_name, args.learning_rate, model.lora_r) == ("org/rows", 1e-3, 4)
    assert (data.task_weights, data.tasks) == ("uniform", "a,b")


def test_the_command_line_wins_over_the_recipe(tmp_path: Path) -> None:
    path = recipe(tmp_path, "learning_rate: 1.0e-3\nseed: 1\ntokens_per_batch: 100\n")
    _, args, _, data = parse("--config", path, "--seed", 2, "--tokens_per_batch", 0)
    assert (args.learning_rate, args.seed, data.tokens_per_batch) == (1e-3, 2, 0)


@pytest.mark.parametrize(("written", "parsed"), [("32", 32), ("10k", "10k"), ('"500"', "500")])
def test_a_number_of_rows_may_be_a_number_or_a_text_in_a_recipe(written: str, parsed: object, tmp_path: Path) -> None:
    assert parse("--config", recipe(tmp_path, f"validation_samples: {written}\n"))[3].validation_samples == parsed
    assert parse("--validation_samples", written.strip('"'))[3].validation_samples == written.strip('"')


def test_unless_asked_for_all_rows_are_trained_on_as_they_are() -> None:
    assert parse()[3] == DataArguments()
    assert DataArguments() == DataArguments(None, None, "proportional", 0, "0", 0, 0, 0.0, None, 0, False)


def test_training_is_in_bfloat16_where_the_device_computes_in_it_and_else_in_float32(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    _, args, model, _ = parse("--config", RECIPE)
    if torch.accelerator.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert (args.bf16, model.dtype) == (True, "bfloat16")
        assert capsys.readouterr().err == ""
    else:
        assert (args.bf16, model.dtype) == (False, "float32")
        assert capsys.readouterr().err == "this CPU has no bfloat16 instructions; training in float32\n"


def test_float32_is_asked_of_accelerate_too_where_bfloat16_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    _, args, model, _ = parse("--config", RECIPE, "--use_cpu", "true")
    assert (args.bf16, args.mixed_precision, model.dtype) == (False, "no", "float32")


def test_all_options_are_listed_on_demand() -> None:
    done = subprocess.run(
        [sys.executable, "training/sft.py", "--help-all"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert {"--learning_rate", "--lora_r", "--dataset_name", "--tokens_per_batch"} <= set(done.stdout.split())


# What is refused


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lerning_rate", "1"], "unknown field lerning_rate; did you mean learning_rate?"),
        (["--task_weight", "uniform"], "unknown field task_weight; did you mean task_weights?"),
        (["--batch_by_length", "true"], "unknown field batch_by_length"),
        (["--zzzzqqqq"], "unknown field zzzzqqqq"),
        (["adapters"], "unknown field adapters"),
        (["--learning_rate", "fast"], "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        (["--config"], "--config needs the path of a recipe; those that come along are in training/recipes"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(words: list[str], sentence: str) -> None:
    assert refused(*words).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lora_rank: 8\n", "unknown field lora_rank"),
        ("learning_rat: 1\nlora_r: 4\n", "unknown field learning_rat; did you mean learning_rate?"),
        ("- 1\n", "the recipe or an option is wrong: "),
        ("a: [1\n", "the recipe is not YAML: "),
    ],
)
def test_a_wrong_recipe_is_told_in_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    assert refused("--config", recipe(tmp_path, text)).startswith(sentence)


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refused("--config", tmp_path / "none.yaml") == (
        f"cannot read the recipe {tmp_path / 'none.yaml'}: No such file or directory"
    )
    assert refused("--config", tmp_path) == f"cannot read the recipe {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--packing", "true"], "tokens_per_batch and packing are two ways to pack rows; leave packing out"),
        (["--tokens_per_batch", "-1"], "tokens_per_batch must be 0 or more, not -1"),
        (["--curriculum", "2"], "curriculum must be between 0 and 1, not 2.0"),
    ],
)
def test_options_that_contradict_packing_by_tokens_are_refused(words: list[str], sentence: str) -> None:
    assert refused("--tokens_per_batch", 512, *words) == sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--learning_rate", "-1"], "learning_rate must be 0 or more, not -1.0"),
        (["--seed", "-1"], "seed must be 0 or more, not -1"),
        (["--cpu_threads", "-1"], "cpu_threads must be 0 or more, not -1"),
        (["--max_rows_per_task", "-5"], "max_rows_per_task must be 0 or more, not -5"),
        (["--num_train_epochs", "0"], "num_train_epochs must be above 0, not 0.0"),
        (["--gradient_accumulation_steps", "-1"], "gradient_accumulation_steps must be above 0, not -1"),
    ],
)
def test_numbers_that_are_too_small_are_refused_before_anything_is_loaded(words: list[str], sentence: str) -> None:
    assert refused(*words) == sentence


def test_of_a_recipe_that_is_not_yaml_the_line_is_named(tmp_path: Path) -> None:
    path = recipe(tmp_path, "learning_rate: [1\n")
    assert f'"{path}", line 2' in refused("--config", path)


@pytest.mark.parametrize("words", [["--fp16", "true", "--bf16", "false"], ["--dtype", "float16"]])
def test_float16_on_a_cpu_is_refused_with_what_to_give(words: list[str]) -> None:
    assert refused("--use_cpu", "true", *words) == (
        "a CPU does not train in float16; give --fp16 false --dtype float32, or --bf16 true --dtype bfloat16"
    )
