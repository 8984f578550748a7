"""Real runs of training/sft.py by the dozen: one process imports torch and TRL once, and each run is a fork of it.

A fork runs training/sft.py as __main__ with its own command line and environment, and output in files. What is saved is the
seven seconds of imports, and the second and a half that Python takes to tear all of them down.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "training" / "recipes" / "smollm2-135m-lora.yaml"
Fault = tuple[Any, ...]
IMPORTED = ("accelerate", "datasets", "matplotlib.figure", "rich.table", "trl.trainer.sft_trainer", "training.trainer")


# In the process that forks


def serve() -> None:
    """Answers orders on standard input, one JSON line each; returns in a fork only, ready to be the run."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # else each fork copies the pages of all objects as it collects
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(json.dumps(wait_for(order["wait"], order["seconds"])), flush=True)
        elif pid := os.fork():
            print(json.dumps(pid), flush=True)
        else:
            become(order)
            return


def wait_for(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def become(order: dict[str, Any]) -> None:
    from tests.training import faults

    os.setsid()
    for number, path in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(order["env"])
    sys.argv = ["training/sft.py", *order["words"]]
    for name, *arguments in order["faults"]:
        getattr(faults, name)(*arguments)


def run_to_the_end() -> None:
    """Runs training/sft.py and ends the process as Python does, but for the tearing down."""
    code = 0
    try:
        runpy.run_path(str(ROOT / "training" / "sft.py"), run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads, such as one that pushes
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


# In the process of the tests


def words(options: dict[str, object]) -> list[str]:
    """The options as on a command line."""
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


SHORT = {
    "cpu_threads": 1,
    "bf16": "false",
    "dtype": "float32",
    "lora_dropout": 0.2,
    "validation_samples": 0,
    "max_rows_per_task": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.01,
    "logging_steps": 1,
    "save_steps": 2,
}
"""A run of 16 rows. Dropout is on, so that a generator that is not restored shows; one thread, so that sums are exact."""
PADDED = words({"tokens_per_batch": 0, "per_device_train_batch_size": 2, "num_train_epochs": 2})
"""Eight steps of two batches of two rows; the second of the four checkpoints is at the epoch's end."""


@dataclass
class FinishedRun:
    """A run that is through: its exit code (negative: the signal that killed it), folder and output."""

    code: int
    folder: Path
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one sentence that it ended with; the test fails if there was more than one, or a traceback."""
        lines = [line for line in self.stderr.replace("\r", "\n").splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr, self.stderr
        return lines[0]

    @property
    def log(self) -> dict[int, dict[str, float]]:
        """Step -> what was logged of it that must not change when a run is resumed."""
        return read_log((self.folder / "training_log.jsonl").read_text())

    @property
    def adapter(self) -> bytes:
        return (self.folder / "adapter_model.safetensors").read_bytes()

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.folder / "training_summary.json").read_text())
        return summary


def read_log(text: str) -> dict[int, dict[str, float]]:
    logs = [json.loads(line) for line in text.splitlines()]
    kept = ("loss", "grad_norm", "learning_rate", "epoch", "eval_loss")
    steps: dict[int, dict[str, float]] = {}
    for log in logs:
        if "loss" in log or "eval_loss" in log:
            steps.setdefault(log["step"], {}).update({name: log[name] for name in kept if name in log})
    return steps


def steps_on_disk(folder: Path) -> list[int]:
    """Steps of the checkpoints in a run's folder, whole or not."""
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*"))


@dataclass
class StartedRun:
    """A run under way."""

    runs: "Runs"
    pid: int
    folder: Path
    printed: tuple[Path, Path]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_for(self, path: Path, seconds: float = 300) -> None:
        """Returns when there is such a file; fails the test if the run ends before."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            assert time.monotonic() < deadline, path
            assert Path(f"/proc/{self.pid}").exists() or not Path("/proc").exists(), self.printed[1].read_text()
            time.sleep(0.01)

    def wait_for_words(self, words: str, seconds: float = 300) -> None:
        """Returns when the run has said so on standard error; fails the test if it does not."""
        deadline = time.monotonic() + seconds
        while words not in self.printed[1].read_text(errors="replace"):
            assert time.monotonic() < deadline, self.printed[1].read_text(errors="replace")
            time.sleep(0.01)

    def wait(self, seconds: float = 300) -> FinishedRun:
        code = self.runs.ask({"wait": self.pid, "seconds": seconds})
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
        stdout, stderr = (path.read_text(errors="replace") for path in self.printed)
        assert code is not None, f"still running after {seconds} s\n{stdout}{stderr}"
        return FinishedRun(code, self.folder, stdout, stderr)


class Runs:
    """Starts runs with the recipe that comes along and the options `more` and SHORT; a run's own words win over them."""

    def __init__(self, env: dict[str, str], home: Path, more: dict[str, object]) -> None:
        self.home, self.recipe = home, ["--config", str(RECIPE), *words(more)]
        self.common = [*self.recipe, *words(SHORT)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.runs"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started = 0
        assert self.answer() == "ready"

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, order: dict[str, Any]) -> Any:
        stdin: IO[str] | None = self.process.stdin
        assert stdin is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        return self.answer()

    def start(
        self,
        folder: Path,
        *words: object,
        faults: Sequence[Fault] = (),
        env: dict[str, str] | None = None,
        short: bool = True,
    ) -> StartedRun:
        self.started += 1
        stdout, stderr = self.home / f"{self.started}.out", self.home / f"{self.started}.err"
        common = self.common if short else self.recipe
        pid = self.ask(
            {
                "words": [*common, "--output_dir", str(folder), *(str(word) for word in words)],
                "faults": list(faults),
                "env": env or {},
                "stdout": str(stdout),
                "stderr": str(stderr),
            }
        )
        return StartedRun(self, pid, folder, (stdout, stderr))

    def __call__(self, folder: Path, *words: object, faults: Sequence[Fault] = ()) -> FinishedRun:
        """A run from its start to its end."""
        return self.start(folder, *words, faults=faults).wait()

    def done(self, folder: Path, *words: object, faults: Sequence[Fault] = ()) -> FinishedRun:
        """The same for a run that must not fail."""
        ended = self(folder, *words, faults=faults)
        assert ended.code == 0, ended.stderr
        return ended

    def pair(
        self, folder: Path, *words: object, faults: Sequence[Fault] = (), nodes: int = 1, env: dict[str, str] | None = None
    ) -> tuple[FinishedRun, FinishedRun]:
        """Two processes as a launcher starts them, over gloo, on one machine or as on two; the first one writes and prints."""
        with socket.socket() as kept:
            # Bound until both have ended, so that meanwhile the port is given to nobody else; torch, which sets this too, may
            # listen at it.
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
            port = kept.getsockname()[1]
            shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": str(2 // nodes)} | (env or {})
            shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank if nodes == 1 else 0)} for rank in range(2)]
            first, second = (self.start(folder, *words, faults=faults, env=shared | rank) for rank in ranks)
            return first.wait(), second.wait()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


if __name__ == "__main__":
    serve()
    if sys.argv[0] == "training/sft.py":
        run_to_the_end()
