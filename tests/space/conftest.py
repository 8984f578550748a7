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
from urllib.parse import urlsplit

import pytest

from tests.training.random_adapters import random_adapter

REPO = Path(__file__).parents[2]

NASTY_TITLES = (
    "<img src=x onerror=\"document.title='owned'\">",
    "${document.title='owned'} {{value}}",
    "<script>document.title='owned'</script>",
    "**bold** [link](javascript:alert(1))",
    "plain garden hose",
)
GAINS = [1.0, 0.1, 0.01, 0.0, 0.0]
REVIEWS = 23
"""Train rows of the dataset that the page shows: three pages of them, the last one not full."""


@dataclass(frozen=True)
class Served:
    """A running Space: its address and what it wrote to standard output and error."""

    url: str
    log: Path


def run_publish(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "space.publish", *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)


def write_rows(folder: Path, task: str, rows: list[tuple[str, Any]], split: str = "test") -> Path:
    """A dataset folder's file of one task and split, with the columns that the Space reads. A row is prompt and answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from common.answers import gold, render_completion
    from common.tasks import TASKS

    path = folder / "data" / task / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    completions = [render_completion(TASKS[task], gold(TASKS[task], answer)) if task in TASKS else answer for _, answer in rows]
    columns = {
        "prompt": [[{"role": "user", "content": prompt}] for prompt, _ in rows],
        "completion": [[{"role": "assistant", "content": completion}] for completion in completions],
        "answer": [json.dumps(answer) for _, answer in rows],
        "source": ["a <b>source</b>"] * len(rows),
        "licence": ["Apache-2.0"] * len(rows),
        "sample_id": [f"{number:032x}" for number in range(len(rows))],
    }
    pq.write_table(pa.table(columns), path)
    return folder


@contextmanager
def serve(tree: Path, log: Path, python: Path | str = sys.executable, **settings: str) -> Iterator[Served]:
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
        process = subprocess.Popen([python, "app.py"], cwd=tree, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for(url, process, log)
            yield Served(url, log)
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer at {url}: {log.read_text()}")


def process_of(page: Served) -> Any:
    """The psutil.Process of a running Space."""
    import psutil

    port = urlsplit(page.url).port
    for child in psutil.Process().children():
        if any(connection.laddr.port == port for connection in child.net_connections() if connection.status == "LISTEN"):
            return child
    raise AssertionError(f"no process listens on {port}")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built dataset's folder: product titles that try to be more than text, and reviews on several pages."""
    from common.prompts import render_prompt
    from common.tasks import TASKS

    folder = tmp_path_factory.mktemp("dataset")
    ranking, rating = TASKS["query_product_ranking"], TASKS["review_rating"]
    prompt = render_prompt(ranking.templates[0], {"query": "<b>hose</b>", "products": NASTY_TITLES})
    write_rows(folder, ranking.name, [(prompt, GAINS)])
    reviews = [
        {"category": "Garden <i>", "review": f"Hose number {number} {'leaks' if number % 2 else 'holds'}"}
        for number in range(REVIEWS)
    ]
    write_rows(folder, rating.name, [(render_prompt(rating.templates[0], review), "4") for review in reviews], "train")
    return write_rows(folder, rating.name, [(render_prompt(rating.templates[1], review), "4") for review in reviews[:3]])


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m eval_tasks.report --out` writes of two runs."""
    from eval_tasks.report import main
    from tests.eval_tasks.runs import said, write_run

    folder = tmp_path_factory.mktemp("results")
    runs = {"base": (0.0, 0.0, 1.0), "tuned": (1.0, 1.0, 1.0)}
    for name, values in runs.items():
        write_run(folder / name, {"shop:review_rating": said(*values), "shop:also_buy": said(*values)})
    results = [word for name in runs for word in ("--results", str(folder / name))]
    main([*results, "--names", "base,<b>tuned</b>", "--out", str(folder / "report")])
    return folder / "report"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, dataset: Path, report: Path) -> Path:
    """The assembled Space, with examples of the dataset and the report's scores."""
    folder = tmp_path_factory.mktemp("space")
    done = run_publish("--out", folder / "tree", "--data", dataset, "--results", report.parent, "--dry-run")
    assert done.returncode == 0, done.stderr
    return folder / "tree"


@pytest.fixture(scope="session")
def tiny_adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter, far enough from nothing that the tuned model answers differently."""
    return random_adapter(tiny_llama, tmp_path_factory.mktemp("tiny_adapter") / "adapter", seed=1, lora_alpha=64)


@pytest.fixture(scope="session")
def served(
    tree: Path, dataset: Path, tiny_llama: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("served") / "log"
    with serve(tree, log, BASE_MODEL=str(tiny_llama), ADAPTER=str(tiny_adapter), DATASET=str(dataset)) as running:
        yield running
