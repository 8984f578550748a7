"""The fixtures of rows.py, and real lighteval runs that several tests look at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.eval_tasks.rows import shop_dataset, shopbench_file, write_dataset

__all__ = ["shop_dataset", "shopbench_file"]

REPOSITORY = Path(__file__).parents[2]
Lighteval = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def lighteval(tmp_path_factory: pytest.TempPathFactory) -> Lighteval:
    """Runs the real console script from the repository's root, without a network."""
    home = tmp_path_factory.mktemp("hf_home")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHOP", "ECINSTRUCT", "SENTENCE_MODEL"))}
        script = Path(sys.executable).parent / "lighteval"
        return subprocess.run(
            [script, *arguments], cwd=REPOSITORY, env=kept | offline | environment, capture_output=True, text=True, check=False
        )

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
