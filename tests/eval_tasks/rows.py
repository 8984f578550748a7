"""Small rows written for these tests: a dataset folder of all twelve tasks in the layout of a build, and a ShopBench file."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.answers import gold, render_completion
from common.prompts import render_prompt, template_fields
from common.tasks import TASKS, Task
from tests.small_dataset import write_small_dataset

GENERIC_FIELDS = {
    "review": "Broke after a week.",
    "category": "lamps",
    "query": "desk lamp",
    "other_query": "desk lamp with clamp",
    "product": "Brass desk lamp",
    "other_product": "Warm white bulb",
    "options": ["first statement", "second statement", "third statement", "fourth statement"],
    "question": "Is a bulb in the box?",
    "snippets": ["The bulb was in the box.", "Bright enough to read by."],
    "products": ["Brass lamp", "Green lamp", "Bulb", "Teapot", "Clamp lamp"],
    "candidates": ["Brass lamp", "Green lamp", "Bulb", "Teapot", "Clamp lamp"],
    "number": "2",
    "actions": ["searched for lamp", "viewed Brass desk lamp"],
    "queries": ["brass lamp", "bulb", "teapot", "clamp"],
}


def answer_of(task: Task, index: int) -> Any:
    """A true answer in the shape that the task's metric needs."""
    if task.family == "multiple_choice":
        return task.labels[index % len(task.labels)]
    if task.family == "ranking":
        gains = [0.0, 1.0, 0.1, 0.01, 0.1]
        return gains[index % 5 :] + gains[: index % 5]
    if task.family == "retrieval":
        return [1 + index % 4, 5]
    return f"brass lamp number {index}"


def dataset_row(task: Task, index: int, answer: Any = None) -> dict[str, Any]:
    answer = answer_of(task, index) if answer is None else answer
    template = task.templates[index % len(task.templates)]
    prompt = render_prompt(template, {name: GENERIC_FIELDS[name] for name in template_fields(template)})
    return {
        "prompt": [{"role": "user", "content": f"{index}: {prompt}"}],
        "completion": [{"role": "assistant", "content": render_completion(task, gold(task, answer))}],
        "task": task.name,
        "family": task.family,
        "answer": json.dumps(answer),
        "sample_id": f"{task.name}-{index}",
    }


def write_dataset(folder: Path, names: list[str], rows: int = 3) -> Path:
    """A dataset folder with `rows` rows in each split of each task."""
    found = {name: [dataset_row(TASKS[name], index) for index in range(rows)] for name in names}
    return write_small_dataset(folder, {name: {"train": rows, "test": rows} for name, rows in found.items()})


SHOPBENCH_ROWS = [
    ("task2", "multiple-choice", "accuracy", 1, "Which colour is brass?\n0. green\n1. yellow\nAnswer: "),
    ("task2", "multiple-choice", "accuracy", 0, "Which of these gives light?\n0. lamp\n1. teapot\nAnswer: "),
    ("task3", "retrieval", "hit rate@3", [1, 4, 6], "Pick three numbers.\n1. a\n2. b\n3. c\n4. d\n5. e\n6. f\nOutput: "),
    ("task4", "named_entity_recognition", "micro f1", ["brass", "lamp"], "Which entities has: brass lamp\nOutput: "),
    ("task4", "named_entity_recognition", "micro f1", ["bulb"], "Which entities has: warm bulb\nOutput: "),
    ("task6", "generation", "rougel", "a warm white bulb", "Name the product that gives warm light.\nOutput: "),
    ("task12", "ranking", "ndcg", [0.1, 1, 0, 0.01, 0.1], "Rank products 1 to 5 for: lamp\nOutput: "),
    ("task17", "generation", "bleu", "Schreibtischlampe aus Messing", "Title in German: brass desk lamp\nOutput: "),
    ("task17", "generation", "jp-bleu", "真鍮のデスクランプ 黄色", "Title in Japanese: brass desk lamp\nOutput: "),
]


def shopbench_records() -> list[dict[str, Any]]:
    return [
        {
            "input_field": prompt,
            "output_field": truth,
            "task_name": task,
            "task_type": task_type,
            "metric": metric,
            "is_multiple_choice": task_type == "multiple-choice",
            "track": "amazon-kdd-cup-24-understanding-shopping-concepts",
        }
        for task, task_type, metric, truth, prompt in SHOPBENCH_ROWS
    ]


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shop_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with three rows of every task. Copy it before changing anything in it."""
    return write_dataset(tmp_path_factory.mktemp("shop") / "dataset", list(TASKS))


@pytest.fixture(scope="session")
def shopbench_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ShopBench rows of all seven task types and metrics but the embedding ones."""
    return write_lines(tmp_path_factory.mktemp("shopbench") / "development.json", shopbench_records())
