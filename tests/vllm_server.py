"""vLLM in an environment of its own (`make setup-vllm`), and its server of chat completions on the loopback interface."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BIN = REPOSITORY / ".venv-vllm" / "bin"

needs_vllm = pytest.mark.usefixtures("vllm")


@pytest.fixture(scope="session")
def vllm() -> None:
    """For tests that run vLLM: skips them where its environment is missing."""
    if not (BIN.parent / ".ready").exists():
        pytest.skip("no .venv-vllm: run make setup-vllm")


def environment(home: Path) -> dict[str, str]:
    """Without a network and without what the caller's shell says about threads and data."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHOP", "OMP_"))}
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "VLLM_CPU_KVCACHE_SPACE": "1"}
    return kept | own | {"VLLM_NO_USAGE_STATS": "1"}


@contextmanager
def vllm_server(model: Path, name: str, folder: Path, *options: str) -> Iterator[str]:
    """The address of a server that calls the model `name`; its log and its caches are in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # `vllm serve` of vllm-cpu asks for the version of a package vllm, which is not there.
    serve = [str(BIN / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    light = ["--dtype", "float32", "--enforce-eager", "--gpu-memory-utilization", "0.1", "--generation-config", "vllm"]
    limits = ["--structured-outputs-config", json.dumps({"backend": "guidance"})]
    command = [*serve, "--served-model-name", name, "--port", str(port), *light, *limits, *options]
    log = folder / "server.log"
    with running(command, environment(folder / "home"), log) as process:
        wait_for(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def running(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with all that it has started."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(log.read_text()[-5000:])
