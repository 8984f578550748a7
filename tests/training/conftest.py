"""A small dataset folder in the shape that the builder writes, and one real training run that several tests look at."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.training.runs import Runs

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "training" / "recipes" / "smollm2-135m-lora.yaml"
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    card = ["---", "configs:"]
    for config, pattern in {"default": "*", **{task: task for task in COMPLETIONS}}.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split in ("train", "test"):
            card += [f"  - split: {split}", f"    path: data/{pattern}/{split}-*.parquet"]
    for task in COMPLETIONS:
        place = folder / "data" / task
        place.mkdir(parents=True)
        rows = [make_row(task, number) for number in range(ROWS + 2)]
        pq.write_table(pa.Table.from_pylist(rows[:ROWS]), place / "train-00000-of-00001.parquet")
        pq.write_table(pa.Table.from_pylist(rows[ROWS:]), place / "test-00000-of-00001.parquet")
    (folder / "README.md").write_text("\n".join([*card, "---", "# Rows for tests", ""]))
    configs = {name: {"train": ROWS, "test": 2, "fingerprint": name} for name in COMPLETIONS}
    configs["default"] = {"train": ROWS * len(COMPLETIONS), "test": 2 * len(COMPLETIONS), "fingerprint": "all of them"}
    (folder / "manifest.json").write_text(json.dumps({"configs": configs}))
    return folder


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
def run(tiny_llama: Path, shop_rows: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Two steps with the recipe that comes along, on the tiny model, pushed to the loopback Hub."""
    home = tmp_path_factory.mktemp("training_run")
    folder, repo_id = home / "adapter", "org/trained-adapter"
    options = {"model_name_or_path": tiny_llama, "dataset_name": shop_rows, "output_dir": folder, "hub_model_id": repo_id}
    options |= {"max_steps": 2, "validation_samples": 5, "logging_steps": 1, "save_steps": 1, "cpu_threads": 1}
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "training/sft.py"]
    done = subprocess.run(
        [*launch, "--config", str(RECIPE), "--push_to_hub", *words],
        cwd=ROOT,
        env=hub.env(home=home / "hf", COLUMNS="120"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return TrainingRun(folder, done.stdout + done.stderr, repo_id)


@pytest.fixture(scope="module")
def runs(tiny_llama: Path, shop_rows: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """What starts runs on the tiny model, with the loopback Hub."""
    home = tmp_path_factory.mktemp("runs")
    runs = Runs(hub.env(home=home / "hf"), home, {"model_name_or_path": tiny_llama, "dataset_name": shop_rows})
    yield runs
    runs.close()


@pytest.fixture(autouse=True)
def _gradients() -> None:
    """lighteval, once imported by another test of this process, has switched them off for good."""
    import torch

    torch.set_grad_enabled(True)
