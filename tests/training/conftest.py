"""A small dataset folder in the shape that the builder writes, training runs, and one run that several tests look at."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.small_dataset import write_small_dataset
from tests.training.runs import RECIPE, ROOT, FinishedRun, Runs, words

__all__ = ["RECIPE", "ROOT"]

COMPLETIONS = {
    "review_rating": ("multiple_choice", "Rate this review on a scale of 1 to 5. The lid broke after {} days.\nAnswer: ", "2"),
    "query_product_ranking": ("ranking", "Rank these 5 products for the query 'hose, {} m'.\nOutput: ", "3,1,2,5,4"),
    "also_buy": ("retrieval", "A user has just purchased the tent {}. What else may the user buy?\nOutput: ", "2,7,9"),
    "answer_generation": (
        "generation",
        "Does the lamp {} come with a bulb? The bulb is in the box.\nAnswer: ",
        "Yes, in the box.",
    ),
}
ROWS = 12
"""Rows of a task in the train split; two rows share a group."""


def make_row(task: str, number: int) -> dict[str, object]:
    family, prompt, completion = COMPLETIONS[task]
    return {
        "prompt": [{"role": "user", "content": prompt.format(number)}],
        "completion": [{"role": "assistant", "content": completion}],
        "task": task,
        "family": family,
        "answer": json.dumps(completion),
        "source": "synthetic",
        "licence": "Apache-2.0",
        "group": f"{task}-{number // 2}",
        "sample_id": f"{task}-{number}",
    }


def write_dataset(folder: Path) -> Path:
    splits = {task: [make_row(task, number) for number in range(ROWS + 2)] for task in COMPLETIONS}
    return write_small_dataset(folder, {task: {"train": rows[:ROWS], "test": rows[ROWS:]} for task, rows in splits.items()})


@pytest.fixture(scope="session")
def shop_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a dataset with one task of every family."""
    return write_dataset(tmp_path_factory.mktemp("shop_rows") / "data")


@dataclass(frozen=True)
class TrainingRun:
    """A finished training run: its output folder, what it printed, and where it was pushed."""

    folder: Path
    printed: str
    repo_id: str


@pytest.fixture(scope="session")
def runs(tiny_llama: Path, shop_rows: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """What starts runs on the tiny model, with the loopback Hub."""
    home = tmp_path_factory.mktemp("runs")
    runs = Runs(hub.env(home=home / "hf", COLUMNS="120"), home, {"model_name_or_path": tiny_llama, "dataset_name": shop_rows})
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def pair(runs: Runs) -> Callable[..., tuple[FinishedRun, FinishedRun]]:
    """Starts runs of two processes."""
    return runs.pair


@pytest.fixture(scope="session")
def deepspeed_pair(
    tiny_llama: Path, shop_rows: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., tuple[FinishedRun, FinishedRun]]]:
    """Starts runs of two processes that have DeepSpeed, which is installed into a folder that no other run sees."""
    home = tmp_path_factory.mktemp("deepspeed_runs")
    wanted = ["--no-deps", "--target", str(home / "packages"), "-r", str(ROOT / "tests" / "requirements-deepspeed.txt")]
    command = [sys.executable, "-m", "pip", "--quiet", "install", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"DeepSpeed cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    env = hub.env(home=home / "hf", COLUMNS="120", PYTHONPATH=str(home / "packages"))
    runs = Runs(env, home, {"model_name_or_path": tiny_llama, "dataset_name": shop_rows})
    yield runs.pair
    runs.close()


@pytest.fixture(scope="session")
def run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Two steps with the recipe that comes along, on the tiny model, pushed to the loopback Hub."""
    folder, repo_id = tmp_path_factory.mktemp("training_run") / "adapter", "org/trained-adapter"
    options = words({"hub_model_id": repo_id, "max_steps": 2, "validation_samples": 5, "logging_steps": 1, "save_steps": 1})
    ended = runs.start(folder, "--push_to_hub", *options, "--cpu_threads", 1, short=False).wait()
    assert ended.code == 0, ended.stderr
    return TrainingRun(folder, ended.stdout + ended.stderr, repo_id)


@pytest.fixture(scope="session")
def launch() -> list[str]:
    """The launcher's command line, for the tests of what it does beside starting a process."""
    return [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]


@pytest.fixture(scope="session")
def torchrun() -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(autouse=True)
def _gradients() -> None:
    """lighteval, once imported by another test of this process, has switched them off for good."""
    import torch

    torch.set_grad_enabled(True)
