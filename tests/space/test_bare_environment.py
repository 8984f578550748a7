"""The Space in an environment that has nothing but its own requirements, as on the Hub: what is missing there is found here."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

from tests.chat_server import chat_server
from tests.space.conftest import REPO, run_publish, serve

ASKED = {"task": "review_rating", "prompt": "Review: The bottle leaks.\nAnswer: "}


def pip(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [environment / "bin" / "python", "-m", "pip", "--quiet", "install", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def install(environment: Path, requirements: Path) -> None:
    done = pip(environment, "-r", str(requirements))
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The tree as it is published for the backend that the test names."""
    done = run_publish("--out", tmp_path / "tree", "--backend", request.param, "--dry-run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "tree"


@pytest.fixture
def bare_environment(tmp_path: Path) -> Iterator[Path]:
    """A virtual environment with nothing in it."""
    made = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    yield made
    shutil.rmtree(made)  # more than a gigabyte


@pytest.mark.parametrize("tree", ["transformers"], indirect=True)
def test_the_models_answer_in_an_environment_of_the_trees_requirements(
    tree: Path, bare_environment: Path, tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    torch = next(line for line in (REPO / "space" / "requirements.txt").read_text().splitlines() if line.startswith("torch=="))
    if (done := pip(bare_environment, torch)).returncode:
        pytest.skip(f"no packages can be installed here: {done.stderr.strip().splitlines()[-1]}")
    install(bare_environment, tree / "requirements.txt")
    settings = {"BASE_MODEL": str(tiny_llama), "ADAPTER": str(tiny_adapter), "DATASET": str(tmp_path / "none")}
    with serve(tree, tmp_path / "log", python=bare_environment / "bin" / "python", **settings) as page:
        told = Client(page.url, verbose=False).predict(**ASKED, api_name="/answer")
        assert told["base"]["text"] != told["tuned"]["text"]
        assert set(told["tuned"]["chances"]) == {"1", "2", "3", "4", "5"}
        assert "Traceback" not in page.log.read_text()
        assert "ModuleNotFoundError" not in page.log.read_text()


@pytest.mark.parametrize("tree", ["endpoint"], indirect=True)
def test_an_endpoint_answers_without_torch_and_what_needs_it_says_so(
    tree: Path, bare_environment: Path, tmp_path: Path
) -> None:
    if (done := pip(bare_environment, "openai")).returncode:
        pytest.skip(f"no packages can be installed here: {done.stderr.strip().splitlines()[-1]}")
    install(bare_environment, tree / "requirements.txt")
    python = bare_environment / "bin" / "python"
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode
    with chat_server() as server:
        models = {"ENDPOINT_URL": server.url, "ENDPOINT_BASE_MODEL": "base", "ENDPOINT_TUNED_MODEL": "shop"}
        with serve(tree, tmp_path / "log", python=python, BACKEND="endpoint", **models) as page:
            told = Client(page.url, verbose=False).predict(**ASKED, api_name="/answer")
            assert told["tuned"]["text"] in {"1", "2", "3", "4", "5"}
    done = subprocess.run([python, "app.py"], cwd=tree, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: BACKEND=transformers needs torch, transformers, peft, which is not here; publish the")
