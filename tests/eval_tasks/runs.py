"""Runs of lighteval as it leaves them, written for tests: a results file and, of --save-details, a Parquet file a task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_tasks.metrics.task_scores import task_score
from eval_tasks.reporting.comparison import make_report
from eval_tasks.reporting.details import by_row, read_details
from eval_tasks.reporting.report import EvaluatedModel, Report
from eval_tasks.reporting.results import read_run
from eval_tasks.suites.suite import metric_key

BY_TEXT = {
    "tasks": {"query_generation": 9, "next_title_amazon": 9, "query_product_ranking": 9},
    "rows_in_words": {"query_product_ranking": 0},
    "adapter": None,
}
"""A training's summary, as far as it says how lists were learnt: by text."""

TIME = "2026-01-02T10-00-00.000001"


@dataclass(frozen=True)
class Said:
    """A row and what a model said to it. `raw` is the text before lighteval takes thoughts off it."""

    prompt: str
    text: str
    value: Any
    gold: str = "1"
    unparsable: bool = False
    specific: Mapping[str, str] = field(default_factory=lambda: {"answer": "1"})
    raw: str | None = None


def said(*values: Any, **about: Any) -> list[Said]:
    """A row for each value, with prompts that tell them apart."""
    return [Said(f"question {number}", f"answer {value}", value, **about) for number, value in enumerate(values)]


def write_run(
    folder: Path,
    tasks: Mapping[str, Sequence[Said]],
    *,
    time: str = TIME,
    model: str = "org/model",
    details: bool = True,
    metric: str = "accuracy",
    **config: Any,
) -> Path:
    """The folder, as --output-dir is left. `metric`: the official one of tasks that call theirs `score`.

    `config` goes over `config_general`; foreign metrics and averages are there as in a real file.
    """
    results, configs = {}, {}
    for task, rows in tasks.items():
        key, name = f"{task}|0", metric_key(task)
        values = [row.value for row in rows]
        score = float(task_score(metric if name == "score" else name, values))
        results[key] = {name: score, "unparsable": sum(row.unparsable for row in rows) / len(rows), "other": 0.0}
        if name != "score":
            results[key][f"{name}_stderr"] = 0.01
        metrics = [{"metric_name": name, "official_name": metric if name == "score" else name}]
        configs[key] = {"original_num_docs": len(rows), "version": 1, "metrics": metrics}
        if details:
            write_details(folder / "details" / model / time / f"details_{key}_{time}.parquet", rows, name)
    content = {
        "config_general": {"max_samples": None, "model_name": model, "model_config": {"model_name": model}} | config,
        "results": results | {"all": {"accuracy": 9.0}, "shop:_average|0": {"hit_rate": 9.0}},
        "config_tasks": configs,
    }
    path = folder / "results" / model / f"results_{time}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return folder


def write_details(path: Path, rows: Sequence[Said], name: str) -> None:
    """Rows from the last to the first: lighteval orders them by their length."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "doc": {
                "id": str(number),
                "query": row.prompt,
                "choices": ["not this", row.gold],
                "gold_index": 1,
                "specific": dict(row.specific) or None,
                "task_name": "task",
            },
            "metric": {name: row.value, "unparsable": float(row.unparsable)},
            "model_response": {
                "input_tokens": [1, 2],
                "text": [row.text if row.raw is None else row.raw],
                "text_post_processed": [row.text],
            },
        }
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records[::-1]), path)


BASELINE = {"model_config": {"model_name": "random", "model_definition_file_path": "eval_tasks/baseline_model.py"}}
"""What the general config of a baseline's run has."""


def model_of(folder: Path, name: str | None = None) -> EvaluatedModel:
    answers = {task: by_row(found) for task, found in read_details(folder).items()}
    return EvaluatedModel(name or folder.name, read_run(folder), answers)


def report_of(*folders: Path) -> Report:
    return make_report([model_of(folder) for folder in folders])
