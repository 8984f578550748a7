"""The assembled Space, running on the tiny model in a process that knows nothing of the repository."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / "space"))  # its modules import each other as on the Hub, where their folder is on the path

NASTY_TITLES = (
    "<img src=x onerror=\"document.title='owned'\">",
    "${document.title='owned'} {{value}}",
    "<script>document.title='owned'</script>",
    "**bold** [link](javascript:alert(1))",
    "plain garden hose",
)


@dataclass(frozen=True)
class Served:
    """A running Space: its address and what it wrote to standard output and error."""

    url: str
    log: Path


def run_publish(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "space.publish", *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)


def write_rows(folder: Path, task: str, rows: list[tuple[str, Any]]) -> Path:
    """A dataset folder's test file of one task, with the columns that the Space reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "data" / task / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "prompt": [[{"role": "user", "content": prompt}] for prompt, _ in rows],
        "answer": [json.dumps(answer) for _, answer in rows],
        "sample_id": [f"{number:032x}" for number in range(len(rows))],
    }
    pq.write_table(pa.table(columns), path)
    return folder


@contextmanager
def serve(tree: Path, log: Path, **settings: str) -> Iterator[Served]:
    """Starts app.py in its own folder, with nothing else on the path, and stops it again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    env = kept | {
        "HOME": str(log.parent),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # the tree stays as it was assembled
        "GRADIO_SERVER_PORT": str(port),
        **settings,
    }
    url = f"http://127.0.0.1:{port}/"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=tree, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for(url, process, log)
            yield Served(url, log)
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer at {url}: {log.read_text()}")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembled Space with one task's examples from a dataset: product titles that try to be more than text."""
    from tasks import TASKS, render_prompt

    folder = tmp_path_factory.mktemp("space")
    prompt = render_prompt(TASKS["query_product_ranking"].templates[0], {"query": "<b>hose</b>", "products": NASTY_TITLES})
    data = write_rows(folder / "data", "query_product_ranking", [(prompt, [1.0, 0.1, 0.01, 0.0, 0.0])])
    done = run_publish("--out", folder / "tree", "--data", data, "--dry-run")
    assert done.returncode == 0, done.stderr
    return folder / "tree"


@pytest.fixture(scope="session")
def tiny_adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter, far enough from nothing that the tuned model answers differently."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    folder = tmp_path_factory.mktemp("tiny_adapter") / "adapter"
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tree: Path, tiny_llama: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("served") / "log"
    with serve(tree, log, BASE_MODEL=str(tiny_llama), ADAPTER=str(tiny_adapter)) as running:
        yield running
