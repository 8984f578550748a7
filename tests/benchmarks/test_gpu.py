"""The check of the GPU path, run on CPUs with tiny shapes: every step, what is compared, and the tables that are made of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_machine
from benchmarks.gpu import Check, compare, difference, main
from benchmarks.gpu_machine import environment, reason
from benchmarks.gpu_models import MIX, invented_row, write_rows
from benchmarks.gpu_table import MARKS, replaced_between, tables
from benchmarks.gpu_table import main as table
from common.answers import decode_answer
from common.errors import UserError
from common.scoring import score_completion
from common.tasks import TASKS
from tests.benchmarks.conftest import Benchmark

ROOT = Path(__file__).parents[2]


def test_an_invented_row_s_own_completion_scores_one() -> None:
    import random

    for task in MIX:
        for number in range(20):
            row = invented_row(task, number, random.Random(number))
            assert score_completion(TASKS[task], row["completion"][0]["content"], decode_answer(row)) == pytest.approx(1.0)


def test_invented_rows_are_read_like_a_dataset_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    from training.mixture import load_rows, task_counts

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = write_rows(tmp_path / "rows", 40, 20)
    train = load_rows(str(folder), "default", "train", None, None)
    assert task_counts(train) == {name: round(40 * share) for name, share in sorted(MIX.items())}
    test = load_rows(str(folder), "default", "test", None, None)
    assert not set(train["group"]) & set(test["group"])


@pytest.fixture(scope="module")
def found(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The whole check in two processes on CPUs."""
    out = tmp_path_factory.mktemp("gpu") / "gpu_check.json"
    done = benchmark("gpu", "--shape", "tiny", "--steps", 3, "--rows", 8, "--out", out)
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert last == json.loads(out.read_text())
    assert "no card has run any of it yet" in done.stdout, "tiny shapes say nothing about a recipe's hours"
    return last


def test_every_step_runs_to_its_end(found: dict[str, Any]) -> None:
    assert found["failed"] == {}
    ways = ["rows, cuDNN", "rows", "varlen", "varlen, no checkpointing", "TRL's packing", "QLoRA"]
    assert list(found["training"]) == ways
    assert all(entry["tokens_per_second"] > 0 and entry["host_memory_bytes"] > 0 for entry in found["training"].values())
    assert [len(found["training"][name]["losses"]) for name in ways] == [3, 3, 3, 3, 3, 5]
    assert found["training"]["rows"]["attention"] == "varlen_by_row"
    assert found["training"]["varlen"]["attention"] == "varlen"
    assert found["device"]["versions"].keys() >= {"torch", "transformers", "trl", "python"}


def test_ways_with_the_same_batches_have_the_same_losses(found: dict[str, Any]) -> None:
    assert found["equal"]["losses"] is True
    assert found["equal"]["largest_loss_difference"] < 1e-4, "in float32"


def test_two_processes_make_the_adapter_that_one_makes(found: dict[str, Any]) -> None:
    assert [one["processes"] for one in found["launched"].values()] == [1, 2]
    assert found["launched"]["DDP"]["adapter_difference"] < 0.01
    assert found["launched"]["DDP"]["train_loss"] == pytest.approx(found["launched"]["one process"]["train_loss"], rel=1e-4)


def test_answers_are_scored(found: dict[str, Any]) -> None:
    entry = found["answers"]["transformers"]
    assert entry["rows"] == 8
    assert 0 <= entry["score"] <= 1
    assert entry["rows_per_second"] > 0


def test_the_tables_hold_what_was_found(found: dict[str, Any]) -> None:
    text = tables(found)
    for name in (*found["training"], *found["launched"]):
        assert f"| {name} |" in text
    assert "with random weights of the shape tiny" in text


# --- Without a model ---


def example() -> dict[str, Any]:
    """A check as it is on a card; every number is invented."""
    entry = {
        "tokens_per_second": 5000.0,
        "flop_per_token": 3.0e10,
        "peak_memory_bytes": 40 * 2**30,
        "host_memory_bytes": 8 * 2**30,
        "losses": [12.0, 11.5],
    }
    answers = {"rows": 2, "rows_per_second": 9.0, "score": 0.5, "model": "SmolLM2", "tasks": ["review_rating"] * 2}
    return {
        "shape": "8b",
        "device": {"cards": 1, "name": "Card", "memory_bytes": 80 * 2**30, "versions": {"torch": "2.13.0"}},
        "peak": {"flops": 3.0e14},
        "training": {
            "rows": entry,
            "varlen": entry | {"losses": [12.1, 11.5]},
            "varlen, no checkpointing": entry | {"tokens_per_second": 10000.0, "losses": [3.0]},
            "QLoRA": entry,
        },
        "launched": {},
        "answers": {
            "transformers": answers | {"answers": ["1", "2\nsince"]},
            "vllm": answers | {"answers": ["1", "2"]},
        },
        "failed": {"ZeRO-3": "deepspeed is not installed"},
        "equal": {},
    }


def test_what_must_be_equal_is_compared() -> None:
    check = example()
    equal = compare(check)
    assert equal["largest_loss_difference"] == pytest.approx(0.1 / 12, abs=1e-6)
    assert equal["losses"] is True
    assert (equal["answers_with_the_same_text"], equal["answers_read_the_same"]) == (0.5, 1.0)
    assert "answers" not in check["answers"]["vllm"]
    check = example()
    check["training"]["varlen"]["losses"][0] = 13.0
    assert compare(check)["losses"] is False


def test_hours_come_from_what_was_measured_and_the_rest_is_an_estimate() -> None:
    text = tables(example())
    assert "Measured on 1 x Card, 80 GiB (torch 2.13.0)" in text
    assert "| rows | 5,000 | 50% | 40.0 | 8.0 | 11.500 |" in text
    assert "| llama-3-8b-lora-80gb | Card | 10,000 | 1.3 | measured |" in text
    assert "Not run to the end: ZeRO-3 (deepspeed is not installed)." in text
    assert "measured |" not in tables(None)


def test_the_readme_s_tables_are_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    check = ROOT / "benchmarks" / "gpu_check.json"
    table([str(check)] if check.exists() else [])
    assert replaced_between(readme, capsys.readouterr().out.strip()) == readme
    (tmp_path / "other.md").write_text(f"a\n{MARKS[0]}\nold\n{MARKS[1]}\nb\n")
    table(["--readme", str(tmp_path / "other.md")])
    assert (tmp_path / "other.md").read_text() == f"a\n{MARKS[0]}\n{tables(None)}\n{MARKS[1]}\nb\n"


def test_a_step_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    check = Check(tmp_path, deadline=1e12, env={}, only=frozenset())
    assert check.run("bad", [sys.executable, "-c", "raise ValueError('no /secret/place/card')"]) is None
    assert check.run("good", [sys.executable, "-c", "print(1)"]) == "1\n"
    assert check.found["failed"] == {"bad": "ValueError: no card"}
    late = Check(tmp_path, deadline=0.0, env={}, only=frozenset())
    assert late.run("late", [sys.executable, "-c", ""]) is None
    assert late.found["failed"] == {"late": "not started: no time left"}


def test_a_step_without_time_left_is_ended_with_all_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(gpu, "LEAST_SECONDS", 0)
    check = Check(tmp_path, deadline=time.monotonic() + 1, env={}, only=frozenset())
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    assert check.run("endless", [sys.executable, "-c", child]) is None
    assert "no time left" in check.found["failed"]["endless"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Traceback\ntorch.OutOfMemoryError: CUDA out of memory. Tried\n", "out of memory"),
        ("x\nerror: out of memory; lower --tokens_per_batch\n", "out of memory"),
        ("ImportError: no module\nmore\n", "ImportError: no module"),
        ("", "exit code 1"),
    ],
)
def test_a_reason_is_the_last_error(said: str, why: str) -> None:
    assert reason(said, 1) == why


def test_adapters_that_differ_are_measured(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for name, value in (("one", 3.0), ("same", 3.0), ("other", 4.0)):
        (tmp_path / name).mkdir()
        save_file(
            {"x.lora_A": torch.full((9,), 7.0), "x.lora_B": torch.full((4,), value)},
            tmp_path / name / "adapter_model.safetensors",
        )
    assert difference(tmp_path / "one", tmp_path / "same") == 0
    assert difference(tmp_path / "one", tmp_path / "other") == pytest.approx(1 / 3)


def test_missing_packages_come_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that is not installed here is, into the check's own folder; one that is installed is left alone."""
    source = tmp_path / "source"
    (source / "shop_gpu_example").mkdir(parents=True)
    (source / "shop_gpu_example" / "__init__.py").write_text("VALUE = 7\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "shop-gpu-example"\nversion = "1.0"\n'
    )
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheels, source]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no setuptools here to build a wheel with")
    (wheels / "torch-9.9.9-py3-none-any.whl").write_bytes(b"not a wheel, and not looked into, since torch is installed")
    monkeypatch.setattr(sys, "path", list(sys.path))
    env = environment(tmp_path, wheels)
    code = "import shop_gpu_example; print(shop_gpu_example.VALUE)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
    monkeypatch.setattr(gpu_machine, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(UserError, match="no_such_package are not installed here; run make setup, or give --wheels DIR"):
        environment(tmp_path, None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--steps", "2"), "--steps must be 3 or more, not 2"),
        (("--rows", "0"), "--rows must be 1 or more, not 0"),
        (("--wheels", "no/such"), "--wheels no/such is not there"),
        (("--vllm-python", "no/such"), "--vllm-python no/such is not there"),
    ],
)
def test_a_mistake_is_one_sentence(options: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        main(options)


def test_tables_of_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not of python -m benchmarks.gpu; run make gpu-check"):
        table([str(tmp_path / "other.json")])
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(UserError, match="the file has no line <!-- gpu-check"):
        table(["--readme", str(tmp_path / "README.md")])
