"""The machine that benchmarks/gpu.py runs on: its cards and versions, and packages that are missing, from wheels."""

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from common.errors import UserError

NEEDED = (
    *("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors"),
    *("rich", "matplotlib", "pyarrow", "nltk", "rapidfuzz"),
)
"""Packages that the steps import."""

SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "deepspeed", "vllm")


def environment(work: Path, wheels: Path | None) -> dict[str, str]:
    """The steps' environment: without a network, and with the wheels that are not installed. Raises UserError."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf"), "TOKENIZERS_PARALLELISM": "false"}
    env |= {"TRACKIO_DIR": str(work / "trackio"), "PYTHONUNBUFFERED": "1"}
    path = [str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    if wheels and (new := [str(wheel) for wheel in sorted(wheels.glob("*.whl")) if not installed(wheel)]):
        packages = work / "packages"
        options = ("--quiet", "--no-index", "--no-deps", "--target", str(packages))
        command = [sys.executable, "-m", "pip", "install", *options, *new]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"the wheels of {wheels} cannot be installed: {reason(done.stderr, done.returncode)}")
        path.append(str(packages))
        sys.path.append(str(packages))
        importlib.invalidate_caches()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(f"{', '.join(missing)} are not installed here; run make setup, or give --wheels DIR with them")
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def installed(wheel: Path) -> bool:
    try:
        metadata.version(wheel.name.partition("-")[0])
    except metadata.PackageNotFoundError:
        return False
    return True


def describe(env: dict[str, str]) -> dict[str, Any]:
    """Cards, driver and versions. In another process, since a GPU that is looked at here would keep memory for it."""
    code = """
import json, torch
cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
print(json.dumps({"cards": len(cards), "name": cards[0].name if cards else "CPU", "cuda": torch.version.cuda,
    "memory_bytes": cards[0].total_memory if cards else None,
    "capability": [cards[0].major, cards[0].minor] if cards else None}))
"""
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"torch does not start here: {reason(done.stderr, done.returncode)}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    versions = {name: metadata.version(name) for name in SHOWN if importlib.util.find_spec(name) is not None}
    return found | {"versions": versions | {"python": platform.python_version()}}


def commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def reason(said: str, code: int) -> str:
    """Why a process failed: the last line of its output that is an error, without this machine's folders."""
    lines = [line.strip() for line in said.splitlines() if re.match(r"\s*(error: |[\w.]*(Error|Exception)\b)", line)]
    last = lines[-1] if lines else f"exit code {code}"
    return "out of memory" if "OutOfMemory" in last or "out of memory" in last else re.sub(r"/[\w./-]*/", "", last)[:300]
