"""A dataset folder whose rows have true answers in the shapes that the tasks' metrics take."""

import json
from pathlib import Path
from typing import Any

from tests.small_dataset import write_small_dataset

ANSWERS: dict[str, tuple[str, str, Any, str]] = {
    "review_rating": ("multiple_choice", "Rate this review from 1 to 5. It broke after {} days.\nAnswer: ", "2", "2"),
    "query_product_ranking": (
        "ranking",
        "Rank these 5 products for the query 'hose, {} m'.\nOutput: ",
        [0.0, 0.1, 1.0, 0.01, 0.0],
        "3,2,4,1,5",
    ),
    "answer_generation": ("generation", "Does the lamp {} come with a bulb?\nAnswer: ", "Yes, in the box.", "Yes, in the box."),
}
"""Task -> family, prompt, decoded answer, completion."""


def reward_row(task: str, number: int) -> dict[str, Any]:
    family, prompt, answer, completion = ANSWERS[task]
    return {
        "prompt": [{"role": "user", "content": prompt.format(number)}],
        "completion": [{"role": "assistant", "content": completion}],
        "task": task,
        "family": family,
        "answer": json.dumps(answer),
        "group": f"{task}-{number}",
        "sample_id": f"{task}-{number}",
    }


def write_reward_rows(folder: Path, rows: int) -> Path:
    splits = {task: [reward_row(task, number) for number in range(rows + 1)] for task in ANSWERS}
    return write_small_dataset(folder, {task: {"train": found[:-1], "test": found[-1:]} for task, found in splits.items()})
