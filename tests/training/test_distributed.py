"""Two processes on a CPU, over gloo: against one process with the same global batch, and against themselves.

Two processes sum the gradients of a step in another order than one, so that losses and weights agree to the precision of
float32; a run of two that was resumed is bit for bit one that was not interrupted.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from tests.hub import Hub
from tests.training.runs import ROOT, FinishedRun, Runs, steps_on_disk, words
from training.checkpoints import last_whole

MODES: dict[str, list[str]] = {
    "padded": words({"tokens_per_batch": 0, "per_device_train_batch_size": 2, "rows_per_step": 8, "num_train_epochs": 3}),
    # An even number of batches: of an odd one, accelerate gives the last step of an epoch one batch twice.
    "tokens": words({"tokens_per_batch": 170, "rows_per_step": 8, "num_train_epochs": 2}),
    "curriculum": words({"tokens_per_batch": 170, "rows_per_step": 8, "num_train_epochs": 2, "curriculum": 0.5}),
}
STEPS = {"padded": 6, "tokens": 4, "curriculum": 4}
NO_DROPOUT = ("--lora_dropout", 0.0)
"""Each process draws its own."""
RELATIVE = 1e-6
"""Of the loss of a step; measured 1e-7, and no difference at all where a process has one micro-batch a step."""
ABSOLUTE = 1e-5
"""Of a weight of the adapter, of which the largest are 0.1."""
LAST = ("--resume_from_checkpoint", "last")
Pair = Callable[..., tuple[FinishedRun, FinishedRun]]


def both(pair: Pair, folder: Path, *options: object) -> FinishedRun:
    """The first of two processes; the test fails if one of them does."""
    first, second = pair(folder, *options)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    return first


def same(one: FinishedRun, other: FinishedRun) -> None:
    assert one.log == other.log
    assert one.adapter == other.adapter


def close(one: FinishedRun, other: FinishedRun) -> None:
    losses = [[log["loss"] for log in ended.log.values()] for ended in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=RELATIVE)
    weights = [load(ended.adapter) for ended in (one, other)]
    assert all(torch.allclose(weights[0][name], weights[1][name], rtol=0, atol=ABSOLUTE) for name in weights[0])


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_learn_what_one_does_with_the_same_rows_a_step(runs: Runs, pair: Pair, mode: str, tmp_path: Path) -> None:
    one = runs.done(tmp_path / "one", *MODES[mode], *NO_DROPOUT)
    two, second = pair(tmp_path / "two", *MODES[mode], *NO_DROPOUT)
    assert (two.code, second.code) == (0, 0), two.stderr + second.stderr
    assert [ended.summary["processes"] for ended in (one, two)] == [1, 2]
    assert one.summary["rows_per_step"] == two.summary["rows_per_step"], "of all processes together"
    assert one.summary["tokens"] == two.summary["tokens"]
    assert "An epoch" in two.stdout
    assert "An epoch" not in second.stdout
    close(two, one)
    losses = [log["loss"] for log in one.log.values()]
    assert len(set(losses)) == len(losses) == STEPS[mode]


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_to_two_processes_ends_both_after_a_checkpoint_that_goes_on_as_if_nothing_had_happened(
    pair: Pair, mode: str, tmp_path: Path
) -> None:
    whole = both(pair, tmp_path / "whole", *MODES[mode])
    first, second = pair(tmp_path / "stopped", *MODES[mode], faults=[("signal_in_micro_batch", 5, "SIGTERM")])
    assert (first.code, second.code) == (143, 143), first.stderr + second.stderr
    assert first.stdout.count("which is saved; --resume_from_checkpoint last goes on from there") == 1
    assert "which is saved" not in second.stdout
    same(both(pair, tmp_path / "stopped", *MODES[mode], *LAST), whole)


def test_a_signal_that_reaches_one_process_only_stops_both_at_the_same_step(pair: Pair, tmp_path: Path) -> None:
    first, second = pair(tmp_path, *MODES["padded"], faults=[("signal_in_micro_batch", 7, "SIGTERM", 1, 1)])
    assert (first.code, second.code) == (143, 143), first.stderr + second.stderr
    assert last_whole(tmp_path) is not None


def test_a_checkpoint_of_two_processes_goes_on_on_one_and_back(runs: Runs, pair: Pair, tmp_path: Path) -> None:
    options = [*MODES["padded"], *NO_DROPOUT]
    whole = runs.done(tmp_path / "whole", *options)
    pair(tmp_path / "out", *options, faults=[("signal_in_micro_batch", 4, "SIGTERM")])
    runs(tmp_path / "out", *options, *LAST, faults=[("signal_in_micro_batch", 2, "SIGTERM")])
    close(both(pair, tmp_path / "out", *options, *LAST), whole)


def test_two_processes_go_on_from_the_hub(pair: Pair, hub: Hub, tmp_path: Path) -> None:
    pushing = ["--push_to_hub", "--hub_model_id", "org/two", "--hub_strategy", "checkpoint"]
    first, second = pair(tmp_path / "pushed", *MODES["padded"], *pushing, faults=[("wait_for_pushes",)])
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert hub.commits("org/two") == ["Adapter", "Step 6", "Step 4", "Step 2", "Card"], "the first process pushes alone"
    step_4 = next(commit.oid for commit in hub.repo("org/two").history("main") if commit.title == "Step 4")
    same(both(pair, tmp_path / "fresh", *MODES["padded"], "--resume_from_checkpoint", f"org/two@{step_4}"), first)


@pytest.mark.parametrize("rows", [6, 8, 12])
def test_rows_per_step_is_the_same_global_batch_on_one_and_on_two_processes(
    runs: Runs, pair: Pair, rows: int, tmp_path: Path
) -> None:
    # The recipe's own per_device_train_batch_size, eight, is more than there are rows for one of two.
    options = ["--tokens_per_batch", 0, "--rows_per_step", rows, "--max_steps", 1]
    one, two = runs.done(tmp_path / "one", *options), both(pair, tmp_path / "two", *options)
    assert one.summary["rows_per_step"] == two.summary["rows_per_step"] == rows


def test_sigterm_to_the_launcher_of_two_processes_saves_and_a_resumed_run_goes_on_from_there(
    runs: Runs, pair: Pair, launch: list[str], hub: Hub, tmp_path: Path
) -> None:
    launcher = [*launch, "--config_file", "training/accelerate/cpu_ddp.yaml"]
    options = [*runs.common, *MODES["padded"], "--save_steps", 1, "--num_train_epochs", 2000, "--output_dir", tmp_path]
    process = subprocess.Popen(
        [*launcher, "training/sft.py", *map(str, options)],
        cwd=ROOT,
        env=hub.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while max(steps_on_disk(tmp_path), default=0) < 2:  # a later one takes the place of the second at once
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "--resume_from_checkpoint last goes on from there" in printed
    saved = last_whole(tmp_path)
    assert saved is not None
    step = int(saved.name.removeprefix("checkpoint-"))
    resumed = both(pair, tmp_path, *MODES["padded"], "--max_steps", step + 2, *LAST)
    assert (resumed.summary["steps"], resumed.summary["resumed_from_step"]) == (step + 2, step)
    assert sorted(resumed.log) == [*range(1, step + 3)]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("kind", "said"), [("user", "it is the user's turn"), ("memory", "out of memory; lower ")])
def test_a_failure_of_one_process_ends_both_with_one_sentence(
    pair: Pair, kind: str, said: str, rank: int, tmp_path: Path
) -> None:
    started = time.monotonic()
    ended = pair(tmp_path, *MODES["padded"], faults=[("fail_in_micro_batch", 3, kind, rank)])
    assert [one.code for one in ended] == [2, 2]
    assert ended[rank].error.startswith(f"error: {said}")
    assert "error" not in ended[1 - rank].stderr.lower()
    assert time.monotonic() - started < 60


def test_a_mistake_that_both_processes_find_is_said_once(pair: Pair, tmp_path: Path) -> None:
    ended = pair(tmp_path, *MODES["padded"], "--resume_from_checkpoint", tmp_path / "none")
    assert [one.code for one in ended] == [2, 2]
    assert sum(one.stderr.count("there is no whole checkpoint") for one in ended) == 1


def test_two_nodes_with_one_output_folder_fetch_a_checkpoint_once(pair: Pair, hub: Hub, tmp_path: Path) -> None:
    pushing = ["--push_to_hub", "--hub_model_id", "org/nodes", "--hub_strategy", "checkpoint"]
    first, second = pair(tmp_path / "pushed", *MODES["padded"], *pushing, "--max_steps", 2, faults=[("wait_for_pushes",)])
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    resumed = pair(tmp_path / "fresh", *MODES["padded"], "--max_steps", 3, "--resume_from_checkpoint", "org/nodes", nodes=2)
    assert [one.code for one in resumed] == [0, 0], resumed[0].stderr + resumed[1].stderr
    assert resumed[0].summary["resumed_from_step"] == 2
    assert not list((tmp_path / "fresh").glob(".fetched-*"))


FSDP2 = {
    **{"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"},
    **{"FSDP_RESHARD_AFTER_FORWARD": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_OFFLOAD_PARAMS": "false"},
    **{"FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_ACTIVATION_CHECKPOINTING": "false"},
}
"""What `accelerate launch --config_file training/accelerate/fsdp2.yaml` sets; a test compares them."""
EVALUATED = ("--validation_samples", 3, "--eval_strategy", "steps", "--eval_steps", 2)


def assert_sharded(run: FinishedRun) -> None:
    """All weights were: those of the base and those of the adapter."""
    sharded = re.search(r"(\d+) of (\d+) weights are sharded", run.stdout)
    assert sharded is not None
    assert sharded[1] == sharded[2] == str(2 + 1 + 2 * (2 + 7 + 2 * 7))


def test_the_tests_shard_as_the_accelerate_file_does() -> None:
    import yaml

    options = yaml.safe_load((ROOT / "training" / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    assert {name.upper(): str(value).lower() for name, value in options.items()} == {
        name: value.lower() for name, value in FSDP2.items() if name.startswith("FSDP")
    }


def test_fsdp2_trains_saves_and_resumes_as_ddp_does(pair: Pair, tmp_path: Path) -> None:
    options = [*MODES["tokens"], *NO_DROPOUT, *EVALUATED]
    ddp = both(pair, tmp_path / "ddp", *options)
    sharding = [("shard_on_cpu",)]
    first, second = pair(tmp_path / "fsdp", *options, faults=sharding, env=FSDP2)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert_sharded(first)
    close(first, ddp)
    assert [log["eval_loss"] for log in first.log.values() if "eval_loss" in log] == pytest.approx(
        [log["eval_loss"] for log in ddp.log.values() if "eval_loss" in log], rel=RELATIVE
    )
    stopped = [*sharding, ("signal_in_micro_batch", 3, "SIGTERM")]
    first, second = pair(tmp_path / "resumed", *options, faults=stopped, env=FSDP2)
    assert (first.code, second.code) == (143, 143), first.stderr + second.stderr
    first, second = pair(tmp_path / "resumed", *options, *LAST, faults=sharding, env=FSDP2)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert first.summary["resumed_from_step"] is not None
    close(first, ddp)


def test_the_validation_loss_of_fsdp2_in_bfloat16_is_a_float32_number(pair: Pair, tmp_path: Path) -> None:
    options = [*MODES["tokens"], *NO_DROPOUT, *EVALUATED, "--bf16", "true", "--dtype", "bfloat16", "--max_steps", 2]
    ddp = both(pair, tmp_path / "ddp", *options)
    first, second = pair(tmp_path / "fsdp", *options, faults=[("shard_on_cpu",)], env=FSDP2)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    loss, expected = (one.log[2]["eval_loss"] for one in (first, ddp))
    assert loss == pytest.approx(expected, rel=1e-3)
    assert loss != float(torch.tensor(loss).bfloat16()), "rounded to three digits"


ZERO3 = {
    **{"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "DS_ACCELERATOR": "cpu"},
    **{"ACCELERATE_DEEPSPEED_ZERO3_INIT": "true", "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true"},
    **{"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none", "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none"},
    **{"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto", "ACCELERATE_GRADIENT_CLIPPING": "auto"},
}
"""What `accelerate launch --config_file training/accelerate/zero3.yaml` sets, on DeepSpeed's CPU accelerator."""


def test_zero3_trains_saves_and_resumes_as_ddp_does(pair: Pair, deepspeed_pair: Pair, tmp_path: Path) -> None:
    options = [*MODES["tokens"], *NO_DROPOUT, *EVALUATED]
    ddp = both(pair, tmp_path / "ddp", *options)
    gloo = ("gloo_alone",)
    first, second = deepspeed_pair(tmp_path / "zero", *options, faults=[gloo, ("count_sharded",)], env=ZERO3)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert_sharded(first)
    close(first, ddp)
    stopped = [gloo, ("signal_in_micro_batch", 3, "SIGTERM")]
    first, second = deepspeed_pair(tmp_path / "resumed", *options, faults=stopped, env=ZERO3)
    assert (first.code, second.code) == (143, 143), first.stderr + second.stderr
    first, second = deepspeed_pair(tmp_path / "resumed", *options, *LAST, faults=[gloo], env=ZERO3)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    close(first, ddp)
