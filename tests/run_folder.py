"""The `run_folder` fixture: what `make demo` leaves, small and in seconds: a real dataset, a random adapter, answers."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.made_once import made_once
from tests.real_dataset import run_build

TASKS = ("review_rating", "also_buy")
BASE = "org/run-folder-base"
"""What the folder of the base says that it is a copy of."""

MODELS = {"base": 0.0, "tuned": 1.0, "majority": 0.5}
"""Results in the folder, and the score of each of their answers."""


def write_adapter(folder: Path, base: Path, dataset: Path, seed: int = 1) -> Path:
    """As a training leaves it, with what it keeps for itself."""
    from tests.training.random_adapters import random_adapter

    random_adapter(base, folder, seed)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / name, folder / name)
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    summary = {
        "base_model": str(base),
        "dataset_name": str(dataset),
        "dataset_config": "default",
        "dataset_fingerprint": manifest["configs"]["default"]["fingerprint"],
        "train_rows": 60,
        "steps": 4,
        "seed": seed,
        "lora": {"r": 4},
    }
    (folder / "training_summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    (folder / "training_log.jsonl").write_text('{"loss": 2.5, "step": 1}\n')
    (folder / "loss.png").write_bytes(b"\x89PNG a picture")
    for kept in (
        "checkpoint-4/optimizer.pt",
        "checkpoint-4/adapter_model.safetensors",
        "trackio/huggingface.db",
        "rng_state.pth",
    ):
        (folder / kept).parent.mkdir(exist_ok=True)
        (folder / kept).write_bytes(b"of no use to others")
    return folder


def write_results(folder: Path, dataset: Path, score: float, **model: Any) -> Path:
    """As eval_tasks.run leaves the results of one model on the dataset's test rows; `model` goes into the model's config."""
    import pyarrow.parquet as pq

    from eval_tasks.backends.cache_key import data_version
    from tests.eval_tasks.runs import Said, write_run

    configs = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))["configs"]
    said: Mapping[str, list[Said]] = {
        f"shop:{task}": [
            Said(row["prompt"][0]["content"], row["completion"][0]["content"], score, specific={"answer": row["answer"]})
            for file in sorted((dataset / "data" / task).glob("test-*.parquet"))
            for row in pq.read_table(file).to_pylist()
        ]
        for task in TASKS
    }
    config = {"model_name": folder.name, "generation_parameters": {"temperature": 0}, **model}
    write_run(folder, said, model=folder.name, model_config=config)
    (file,) = folder.rglob("results_*.json")
    document = json.loads(file.read_text())
    for task in TASKS:
        about = {"version": data_version(configs[task]["fingerprint"]), "hf_repo": str(dataset), "hf_subset": task}
        document["config_tasks"][f"shop:{task}|0"] |= about
    file.write_text(json.dumps(document))
    return folder


def write_all_results(run: Path) -> None:
    """Results of base, tuned model and a baseline, and the report over them; former ones go."""
    from eval_tasks.report import main as report

    shutil.rmtree(run / "results", ignore_errors=True)
    sha256 = hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    configs: dict[str, dict[str, Any]] = {
        "base": {"adapter_sha256": None},
        "tuned": {"model_name": "adapter", "adapter_sha256": sha256},
        "majority": {"model_definition_file_path": "eval_tasks/baseline_model.py"},
    }
    folders = [
        write_results(run / "results" / name, run / "dataset", MODELS[name], **config) for name, config in configs.items()
    ]
    words = [word for folder in folders for word in ("--results", str(folder))]
    report([*words, "--names", ",".join(MODELS), "--out", str(run / "results" / "report")])


@pytest.fixture(scope="session")
def run_folder(tiny_llama: Path, corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to: copy it before changing anything in it (its base stays where it is)."""
    return made_once(tmp_path_factory, "run_folder", lambda folder: make(folder / "run", tiny_llama, corpora)) / "run"


def make(folder: Path, model: Path, corpora: Path) -> None:
    assert run_build("--raw", corpora, "--out", folder / "dataset", "--tasks", ",".join(TASKS)) == 0
    base = Path(shutil.copytree(model, folder / "base"))
    (base / "README.md").write_text(f"---\nlicense: apache-2.0\nbase_model: {BASE}\n---\n# Tiny, unpacked\n")
    write_adapter(folder / "adapter", base, folder / "dataset")
    write_all_results(folder)
