"""CONTRIBUTING.md's own example of a thirteenth task, in a copy of the repository: nothing but its three blocks is added."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from tests.space.conftest import serve

ROOT = Path(__file__).parents[1]
TASK = "review_sentiment"


def blocks() -> tuple[str, str, str]:
    """The literal, the recipe and the test, as CONTRIBUTING.md shows them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    literal, recipe, test = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return literal, recipe, test


def append(path: Path, block: str) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8').rstrip()}\n\n\n{block}", encoding="utf-8")


def run(copy: Path, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **env}
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def repository_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files with the three blocks in place."""
    folder = tmp_path_factory.mktemp("contributing") / "repository"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, place, follow_symlinks=False)
    literal, recipe, test = blocks()
    tasks = folder / "common" / "tasks.py"
    before, end, after = tasks.read_text(encoding="utf-8").partition("\n    )\n}\n")
    assert end, "TASKS in common/tasks.py no longer ends as this test thinks"
    entry = indent(f"{literal.rstrip()},", " " * 8)
    tasks.write_text(f"{before}\n{entry}{end}{after}", encoding="utf-8")
    append(folder / "dataset_builders" / "recipes" / "multiple_choice.py", recipe)
    append(folder / "tests" / "dataset_builders" / "test_recipes_multiple_choice.py", test)
    return folder


@pytest.fixture(scope="module")
def dataset(repository_copy: Path) -> Path:
    out = repository_copy / "outputs"
    run(repository_copy, "-m", "dataset_builders.sample_corpora", "--out", out / "raw", "--scale", "0.004")
    run(
        repository_copy,
        "-m",
        "dataset_builders.build",
        "--raw",
        out / "raw",
        "--out",
        out / "dataset",
        "--tasks",
        TASK,
        "--size",
        "40+8",
    )
    return out / "dataset"


@pytest.fixture(scope="module")
def adapter(repository_copy: Path, dataset: Path, tiny_llama: Path) -> Path:
    out = repository_copy / "outputs" / "adapter"
    recipe = ("--config", "training/recipes/smollm2-135m-lora.yaml", "--max_steps", "2", "--report_to", "none")
    run(
        repository_copy,
        "training/sft.py",
        *recipe,
        "--model_name_or_path",
        tiny_llama,
        "--dataset_name",
        dataset,
        "--output_dir",
        out,
    )
    return out


@pytest.fixture(scope="module")
def results(repository_copy: Path, dataset: Path, adapter: Path, tiny_llama: Path) -> Path:
    out = repository_copy / "outputs" / "results"
    models = (
        "--model",
        tiny_llama,
        "--adapter",
        adapter,
        "--names",
        "base,tuned",
        "--baseline",
        "majority",
        "--baseline",
        "tfidf",
    )
    run(repository_copy, "-m", "eval_tasks.run", "--data", dataset, *models, "--out", out)
    return out


@pytest.fixture(scope="module")
def space(repository_copy: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Iterator[Any]:
    from gradio_client import Client

    tree = repository_copy / "outputs" / "space"
    run(repository_copy, "-m", "space.publish", "--data", dataset, "--out", tree, "--dry-run")
    with serve(tree, tmp_path_factory.mktemp("log") / "log", BASE_MODEL=str(tiny_llama)) as running:
        yield Client(running.url, verbose=False)


def test_its_own_test_and_those_of_all_tasks_pass(repository_copy: Path) -> None:
    files = (
        "common/test_tasks.py",
        "common/test_prompts.py",
        "dataset_builders/test_recipes.py",
        "dataset_builders/test_recipes_multiple_choice.py",
    )
    chosen = f"{TASK} or three_stars or recipe or sizes"
    run(repository_copy, "-m", "pytest", "-q", "-m", "not slow", "-k", chosen, *(f"tests/{name}" for name in files))


def test_it_is_built(dataset: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(dataset), TASK, split="train")
    assert len(rows) == 40
    assert {row[0]["content"] for row in rows["completion"]} == {"negative", "positive"}
    assert "Is this review positive?" in (dataset / "README.md").read_text(encoding="utf-8")


def test_it_is_trained_on(adapter: Path) -> None:
    summary = json.loads((adapter / "training_summary.json").read_text(encoding="utf-8"))
    assert list(summary["tasks"]) == [TASK]
    assert (adapter / "adapter_model.safetensors").is_file()


def test_it_is_evaluated_beside_the_baselines(results: Path) -> None:
    scores = json.loads((results / "report" / "scores.json").read_text(encoding="utf-8"))
    assert scores["names"] == ["base", "tuned", "majority", "tfidf"]
    assert f"shop:{TASK}" in json.dumps(scores)


def test_it_stands_in_the_model_card(repository_copy: Path, dataset: Path, adapter: Path, results: Path) -> None:
    card = repository_copy / "outputs" / "card.md"
    scores = ("--results", results / "tuned", "--base-results", results / "base")
    run(repository_copy, "-m", "model_card.build", "--adapter", adapter, "--data", dataset, *scores, "--out", card)
    assert "Is this review positive?" in card.read_text(encoding="utf-8")


def test_it_has_a_view_and_an_endpoint_in_the_space(space: Any) -> None:
    assert f"/{TASK}" in space.view_api(return_format="dict", print_info=False)["named_endpoints"]
    told = space.predict(review="It broke on the first day.", api_name=f"/{TASK}")
    assert "It broke on the first day." in json.dumps(told)
    assert told["base"]["text"] is not None
