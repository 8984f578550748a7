"""training/arguments.py: recipe and command line together, how many rows a step has, and what does not go together."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from tests.training.conftest import RECIPE, ROOT, make_row
from training import attention
from training.arguments import DataArguments, parse_arguments
from training.batches import rows_in_a_batch, sampled_lengths
from training.sft import set_rows_per_step


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
    assert DataArguments() == DataArguments(None, "proportional", 0, "0", 0, 0, 0.0, None, 0)


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
        (["adapter"], "unknown field adapter"),
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
        ("a: [1\n", "the recipe or an option is wrong: "),
    ],
)
def test_a_wrong_recipe_is_told_in_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    assert refused("--config", recipe(tmp_path, text)).startswith(sentence)


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refused("--config", tmp_path / "none.yaml") == (
        f"cannot read the recipe {tmp_path / 'none.yaml'}: No such file or directory"
    )
    assert refused("--config", tmp_path) == f"cannot read the recipe {tmp_path}: Is a directory"


# Rows behind one another


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ([], attention.NAME),
        (["--attn_implementation", "sdpa"], attention.NAME),
        (["--attn_implementation", attention.NAME], attention.NAME),
        (["--attn_implementation", "flash_attention_2"], "flash_attention_2"),
    ],
)
def test_batches_by_tokens_lie_without_padding_and_are_one_to_a_micro_batch(asked: list[str], used: str) -> None:
    _, args, model, data = parse("--tokens_per_batch", 512, "--per_device_train_batch_size", 8, *asked)
    assert data.tokens_per_batch == 512
    assert args.padding_free
    assert args.per_device_train_batch_size == 1
    assert model.attn_implementation == used


def test_batches_by_rows_stay_as_they_are_asked_for() -> None:
    _, args, model, _ = parse("--per_device_train_batch_size", 8, "--attn_implementation", "sdpa")
    assert not args.padding_free
    assert args.per_device_train_batch_size == 8
    assert model.attn_implementation == "sdpa"
    assert parse("--packing", "true", "--attn_implementation", "eager")[1].packing


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--packing", "true"], "tokens_per_batch and packing are two ways to the same end; leave packing out"),
        (
            ["--attn_implementation", "eager"],
            "tokens_per_batch needs attn_implementation sdpa or flash_attention_2, not eager",
        ),
        (["--tokens_per_batch", "-1"], "tokens_per_batch takes a number of tokens, or 0 for none, not -1"),
    ],
)
def test_what_does_not_go_with_batches_by_tokens_is_refused(words: list[str], sentence: str) -> None:
    assert refused("--tokens_per_batch", 512, *words) == sentence


# Rows of a step


def step(rows_per_step: int, batch: int, processes: int = 1) -> tuple[int, int]:
    """Rows of a micro-batch and micro-batches of a step, padded."""
    args: Any = SimpleNamespace(per_device_train_batch_size=batch, gradient_accumulation_steps=7, world_size=processes, seed=0)
    rows: Any = None
    set_rows_per_step(args, DataArguments(rows_per_step=rows_per_step), rows, None)
    return args.per_device_train_batch_size, args.gradient_accumulation_steps


def test_without_rows_per_step_both_numbers_are_as_asked_for() -> None:
    assert step(0, 8) == (8, 7)


def test_rows_of_a_step_are_shared_out_evenly_to_micro_batches_and_processes() -> None:
    assert step(16, 8) == (8, 2)
    assert step(16, 8, processes=2) == (8, 1)
    assert step(16, 8, processes=4) == (4, 1)
    assert step(10, 8) == (5, 2)
    assert step(3, 8) == (3, 1)
    assert step(2, 8, processes=4) == (1, 1), "a process has one row at least"


@given(rows=st.integers(1, 500), batch=st.integers(1, 64), processes=st.integers(1, 16))
def test_a_step_has_about_the_rows_asked_for_and_no_micro_batch_more_than_fit(rows: int, batch: int, processes: int) -> None:
    size, steps = step(rows, batch, processes)
    assert 1 <= size <= batch
    assert steps >= 1
    shared = steps * processes
    assert abs(size * shared - rows) <= shared / 2 or size == 1


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_with_batches_by_tokens_accumulation_follows_from_the_rows_that_go_into_one(processes: int, tiny_llama: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    rows = Dataset.from_list([make_row("also_buy", 3)] * 40)
    (length,) = set(sampled_lengths(rows, tokenizer, seed=0))
    data = DataArguments(tokens_per_batch=4 * length + 1, rows_per_step=32)
    args: Any = SimpleNamespace(per_device_train_batch_size=1, gradient_accumulation_steps=1, world_size=processes, seed=0)
    set_rows_per_step(args, data, rows, tokenizer)
    assert rows_in_a_batch([length] * 40, data.tokens_per_batch) == 4
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (1, 8 // processes)
    data.rows_per_step = 1
    set_rows_per_step(args, data, rows, tokenizer)
    assert args.gradient_accumulation_steps == 1, "a step has one batch at least"
