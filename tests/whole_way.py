"""The `whole_way` fixture: every stage once, each a command as a user runs it, on tiny corpora and the tiny model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_command
from tests.made_once import made_once

ROOT = Path(__file__).parents[1]
TASKS = ("review_rating", "query_product_ranking", "also_buy", "answer_generation")
"""One of each family."""
BASE = "org/whole-way-base"
"""What the folder of the base says that it is a copy of."""
NAMES = ("base", "tuned", "majority")


@dataclass(frozen=True)
class WholeWay:
    """Folders in the layout of `make demo`; `printed` is what training and evaluation wrote to both outputs."""

    folder: Path

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def space(self) -> Path:
        return self.folder / "space"

    def read(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def test_rows(self, task: str) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        files = sorted((self.dataset / "data" / task).glob("test-*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHOP", "HF_", "ECINSTRUCT"))}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def train(folder: Path, home: Path) -> None:
    """Two steps, of which the second is killed and done again from the first one's checkpoint."""
    from tests.training.runs import PADDED, Runs, steps_on_disk

    runs = Runs(environment(home), home, {"model_name_or_path": folder / "base", "dataset_name": folder / "dataset"})
    options = [*PADDED, "--tasks", ",".join(TASKS), "--max_rows_per_task", 12, "--max_steps", 2, "--save_steps", 1]
    killed = runs(folder / "adapter", *options, faults=[("kill_in_micro_batch", 4)])
    assert killed.code == -signal.SIGKILL, killed.stderr
    assert steps_on_disk(folder / "adapter") == [1]
    runs.done(folder / "adapter", *options, "--resume_from_checkpoint", "last")
    runs.close()


def evaluate(folder: Path, home: Path) -> None:
    models = ("--model", folder / "base", "--adapter", folder / "adapter", "--names", "base,tuned", "--baseline", "majority")
    command = [sys.executable, "-m", "eval_tasks.run", "--data", folder / "dataset", *models, "--out", folder / "results"]
    env = environment(home) | {"SHOP_TASKS": ",".join(TASKS)}
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "evaluation.txt").write_text(done.stdout, encoding="utf-8")


@pytest.fixture(scope="session")
def whole_way(tiny_llama: Path, built_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> WholeWay:
    """From the built dataset to the assembled Space. Not to be written to."""

    def make(folder: Path) -> None:
        shutil.copytree(built_dataset, folder / "dataset")
        shutil.copytree(tiny_llama, folder / "base")
        card = f"---\nlicense: apache-2.0\nbase_model: {BASE}\n---\n# Tiny, unpacked\n"
        (folder / "base" / "README.md").write_text(card, encoding="utf-8")
        home = tmp_path_factory.mktemp("whole_way")
        train(folder, home)
        evaluate(folder, home)
        data, results = ("--data", folder / "dataset"), folder / "results"
        scores = ("--results", results / "tuned", "--base-results", results / "base", "--baseline-results", results)
        adapter = folder / "adapter"
        assert run_command("model_card.build", "--adapter", adapter, *data, *scores, "--out", adapter / "README.md") == 0
        assert run_command("space.publish", *data, "--results", results, "--out", folder / "space", "--dry-run") == 0

    return WholeWay(made_once(tmp_path_factory, "whole_way", make))
