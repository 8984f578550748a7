"""The files that a card is made from, written by hand in the shapes that training, lighteval 0.13 and a build give them."""

import json
from pathlib import Path
from typing import Any

from common.tasks import TASKS

BASE = {"review_rating": 0.2, "query_product_ranking": 0.7, "also_buy": 0.1, "answer_generation": 0.15}
TUNED = {"review_rating": 0.6, "query_product_ranking": 0.65, "also_buy": 0.5, "answer_generation": 0.35}
FINGERPRINT = "0123456789abcdef" * 4


def write_json(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def results_document(
    scores: dict[str, float], prompts: str = "same", model: str = "adapter", version: int = 0, **general: Any
) -> dict[str, Any]:
    """A results file's content: 40 rows a task, a standard error of 0.03, and a share of 0.25 unreadable."""
    keys = {f"shop:{name}|0": TASKS[name].metric for name in scores}
    results: dict[str, Any] = {
        key: {metric: score, f"{metric}_stderr": 0.03, "unparsable": 0.25, "unparsable_stderr": 0.01}
        for (key, metric), score in zip(keys.items(), scores.values(), strict=True)
    }
    results["shop:_average|0"] = results["all"] = {"accuracy": 0.999, "unparsable": 0.999}
    return {
        "config_general": {
            "max_samples": None,
            "total_evaluation_time_secondes": "95.3",
            "model_name": model,
            "model_config": {"model_name": model, "generation_parameters": {"temperature": 0.0}},
            **general,
        },
        "results": results,
        "config_tasks": {key: {"effective_num_docs": -1, "original_num_docs": 40, "version": version} for key in keys},
        "summary_tasks": {key: {"hashes": {"hash_examples": prompts}} for key in keys},
    }


def write_results(
    folder: Path, scores: dict[str, float], time: str = "2026-01-02T03-04-05.678901", model: str = "adapter", **more: Any
) -> Path:
    """A results folder as lighteval lays it out; returns the folder."""
    document = results_document(scores, model=model, **more)
    write_json(folder / "results" / Path(model).name / f"results_{time}.json", document)
    return folder


def write_baseline(folder: Path, name: str, scores: dict[str, float]) -> Path:
    config = {"model_name": name, "model_definition_file_path": "eval_tasks/baseline_model.py"}
    return write_results(folder, scores, model=name, model_config=config)


def write_base_model(folder: Path, **config: Any) -> Path:
    """A local copy of a model on the Hub, without weights."""
    folder.mkdir(parents=True)
    card = "---\nlicense: apache-2.0\nbase_model: some-lab/Tiny-1M\n---\n# Tiny-1M, unpacked\n\nSome text.\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_json(folder / "config.json", {"dtype": "float32", **config})
    return folder


def write_adapter(folder: Path, base_model: str, **summary: Any) -> Path:
    write_json(
        folder / "adapter_config.json",
        {
            "base_model_name_or_path": base_model,
            "peft_type": "LORA",
            "r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.05,
            "target_modules": ["model.layers.0.self_attn.v_proj", "q_proj", "model.layers.1.self_attn.v_proj"],
        },
    )
    default = {
        "base_model": base_model,
        "dataset_name": str(folder.parent / "data"),
        "dataset_config": "default",
        "dataset_fingerprint": FINGERPRINT,
        "train_rows": 1234,
        "validation_rows": 56,
        "epochs": 1.0,
        "steps": 155,
        "tokens": 98765,
        "seconds": 75.2,
        "tokens_per_second": 1313.4,
        "peak_memory_bytes": 1_500_000_000,
        "train_loss": 1.5,
        "validation_loss": None,
        "seed": 3,
        "hardware": {"device": "cpu", "cores": 2, "memory_bytes": 8_000_000_000},
        "lora": {"r": 16},
        "versions": {"peft": "0.21.2"},
    }
    write_json(folder / "training_summary.json", {**default, **summary})
    return folder


def write_data(folder: Path, **manifest: Any) -> Path:
    default = {
        "configs": {
            "default": {"train": 1290, "test": 160, "fingerprint": FINGERPRINT},
            **{name: {"train": 300, "test": 40, "fingerprint": name[0] * 64} for name in TUNED},
        },
        "rejects": {"esci": {"no title": 7, "no query": 3}},
        "sources": {
            "esci": {"licence": "Apache-2.0", "read": 500, "used": 490},
            "amazonqa": {"licence": "none stated", "read": 20, "used": 20},
        },
        "locales": ["us"],
        "synthetic": False,
        "seed": 0,
    }
    write_json(folder / "manifest.json", {**default, **manifest})
    return folder


def table_cells(text: str, first: str) -> list[str]:
    """Cells of the first table row of a card whose first cell begins with `first`, small print behind a stroke."""
    line = next(line for line in text.splitlines() if line.startswith((f"| {first} |", f"| {first}<br>")))
    small = line.replace("<br><sub>", " / ").replace("</sub>", "").replace("\u00a0", " ")
    return [cell.strip() for cell in small.strip("|").split("|")]
