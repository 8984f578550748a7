"""The fixtures of rows.py, and real lighteval runs that several tests look at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.eval_tasks.rows import shop_dataset, shopbench_file, write_dataset

__all__ = ["shop_dataset", "shopbench_file"]

REPOSITORY = Path(__file__).parents[2]
Lighteval = Callable[..., subprocess.CompletedProcess[str]]


def environment(home: Path) -> dict[str, str]:
    """Without a network and without what the caller's shell says about data."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHOP", "ECINSTRUCT", "SENTENCE_MODEL"))}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def load_tasks(suite: str, monkeypatch: pytest.MonkeyPatch, home: Path, **variables: str) -> ModuleType:
    """A suite's task file as lighteval loads it, without a network, with these of the suite's environment variables."""
    from lighteval.tasks.registry import Registry

    for name in list(os.environ):
        if name.startswith(f"{suite.upper()}_"):
            monkeypatch.delenv(name)
    for name, setting in variables.items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    module = Registry.create_custom_tasks_module(REPOSITORY / "eval_tasks" / f"{suite}.py")
    assert module is not None
    return module


@pytest.fixture(scope="session")
def lighteval(tmp_path_factory: pytest.TempPathFactory) -> Lighteval:
    """Runs the real console script from the repository's root, without a network."""
    home = tmp_path_factory.mktemp("hf_home")

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        line = [Path(sys.executable).parent / "lighteval", *arguments]
        env = environment(home) | settings
        return subprocess.run(line, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Lighteval:
    """Runs one of this project's commands over lighteval, in a process of its own and without a network."""
    home = tmp_path_factory.mktemp("hf_home")

    def run(module: str, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", module, *map(str, arguments)]
        env = environment(home) | settings
        return subprocess.run(line, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def model(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model, since lighteval keeps its generations in a local model's folder."""
    return Path(shutil.copytree(tiny_llama, tmp_path_factory.mktemp("lighteval") / "model"))


@pytest.fixture(scope="session")
def shop_run(lighteval: Lighteval, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lighteval's output folder after a run over four tasks, one of each family."""
    folder = tmp_path_factory.mktemp("shop_run")
    dataset = write_dataset(folder / "dataset", ["answerability", "query_product_ranking", "also_buy", "query_generation"])
    done = lighteval(
        "accelerate",
        f"model_name={model},batch_size=4",
        "shop|0",
        "--custom-tasks",
        "eval_tasks/shop.py",
        "--output-dir",
        str(folder / "out"),
        "--save-details",
        SHOP_DATASET=str(dataset),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"
