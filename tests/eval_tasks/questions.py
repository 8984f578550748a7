"""Rows of every task as a dataset holds them, from its own templates."""

import hashlib
import json
from typing import Any

from common.answers import gold, render_completion
from common.prompts import render_prompt, template_fields
from common.tasks import TASKS

TITLES = ("steel kettle", "garden hose", "wool blanket", "desk lamp", "bread knife", "yoga mat")
FIELDS: dict[str, Any] = {
    "review": "Broke {at} once.\nNever again: 1. lid, 2. handle.",
    "category": "lamps",
    "query": "desk lamp",
    "other_query": "desk lamp with clamp",
    "product": "Brass desk lamp, 1. choice",
    "other_product": "Warm white bulb",
    "options": ["first statement", "second statement", "third statement", "fourth statement"],
    "question": "Is a bulb in the box?",
    "snippets": ["The bulb was in the box.", "- Bright enough to read by."],
    "products": ["Brass lamp", "Green lamp", "Bulb", "Teapot", "Clamp lamp"],
    "candidates": [f"item {number}" for number in range(15)],
    "number": "2 products",
    "actions": ["Searched for 'lamp'", "Looked at 'Brass desk lamp'"],
    "queries": ["brass lamp", "bulb", "teapot", "clamp"],
}


def make_row(name: str, answer: Any, template: int = 0, group: str = "", **fields: Any) -> dict[str, Any]:
    """A row of a task whose prompt holds FIELDS, but for those that are given."""
    task = TASKS[name]
    text = task.templates[template]
    known = {**FIELDS, **fields}
    prompt = render_prompt(text, {field: known[field] for field in template_fields(text)})
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": render_completion(task, gold(task, answer))}],
        "task": name,
        "family": task.family,
        "answer": json.dumps(answer),
        "source": "synthetic",
        "licence": "Apache-2.0",
        "group": group or f"{name}:{prompt}",
        "sample_id": hashlib.md5(f"{name}{prompt}".encode()).hexdigest(),
    }


ANSWERS = {"multiple_choice": None, "ranking": [0.0, 1.0, 0.1, 0.01, 0.1], "retrieval": [1, 4], "generation": "brass lamp"}


def answer_of(name: str) -> Any:
    return ANSWERS[TASKS[name].family] or TASKS[name].labels[0]
