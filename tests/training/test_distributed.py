"""Two processes on a CPU, over gloo, against one process with the same global batch.

The order of the sums differs, so losses and weights agree to float32's precision and not to the bit.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.hub import Hub
from tests.training.runs import RECIPE, ROOT, SHORT, read_log, words
from training.checkpoints import last_whole

TWO = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "training/accelerate/cpu_ddp.yaml"]
FEW = {**SHORT, "lora_dropout": 0.0, "save_strategy": "no", "gradient_accumulation_steps": 1}
MODES: dict[str, dict[str, object]] = {
    "padded": {"tokens_per_batch": 0, "per_device_train_batch_size": 2, "rows_per_step": 8, "num_train_epochs": 2},
    # An even number of batches: of an odd one, accelerate gives the last step of an epoch one batch twice.
    "tokens": {"tokens_per_batch": 270, "rows_per_step": 8, "num_train_epochs": 2},
}
RELATIVE = 1e-3
"""Of the loss of a step."""
ABSOLUTE = 2e-3
"""Of a weight of the adapter, where a learning rate of 0.01 moves the largest by more than five times as much."""


def start(launcher: list[str], env: dict[str, str], folder: Path, options: dict[str, object]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*launcher, "training/sft.py", "--config", str(RECIPE), *words(options | {"output_dir": folder})],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(launcher: list[str], env: dict[str, str], folder: Path, options: dict[str, object]) -> str:
    process = start(launcher, env, folder, options)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    return printed


@pytest.fixture
def common(tiny_llama: Path, shop_rows: Path) -> dict[str, object]:
    return {**FEW, "model_name_or_path": tiny_llama, "dataset_name": shop_rows}


def losses(folder: Path) -> list[float]:
    return [log["loss"] for _, log in sorted(read_log((folder / "training_log.jsonl").read_text()).items())]


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_learn_what_one_does_with_the_same_global_batch(
    mode: str, common: dict[str, object], hub: Hub, tmp_path: Path
) -> None:
    env = hub.env()
    run([sys.executable], env, tmp_path / "one", common | MODES[mode])
    printed = run(TWO, env, tmp_path / "two", common | MODES[mode])
    one, two = (json.loads((tmp_path / name / "training_summary.json").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["rows_per_step"] == pytest.approx(two["rows_per_step"]), "rows_per_step is that of all processes together"
    assert printed.count("An epoch") == 1, "only the first process prints"
    assert len(losses(tmp_path / "one")) > 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=RELATIVE)
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(first[name], second[name], atol=ABSOLUTE) for name in first)
    moved = max(weight.abs().max().item() for name, weight in first.items() if "lora_B" in name)
    assert moved > 5 * ABSOLUTE, "else the tolerance would hide any difference"


def test_sigterm_to_the_launcher_of_two_processes_saves_and_a_resumed_run_goes_on_from_there(
    common: dict[str, object], hub: Hub, tmp_path: Path
) -> None:
    env = hub.env()
    options = common | MODES["padded"] | {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 30}
    process = start(TWO, env, tmp_path / "stopped", options)
    deadline = time.monotonic() + 300
    while not (tmp_path / "stopped" / "checkpoint-2").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "--resume_from_checkpoint last goes on from there" in printed
    saved = last_whole(tmp_path / "stopped")
    assert saved is not None
    step = int(saved.name.removeprefix("checkpoint-"))
    run(TWO, env, tmp_path / "stopped", options | {"max_steps": step + 2, "resume_from_checkpoint": "last"})
    summary = json.loads((tmp_path / "stopped" / "training_summary.json").read_text())
    assert (summary["steps"], summary["resumed_from_step"]) == (step + 2, step)
    assert len(losses(tmp_path / "stopped")) == step + 2
