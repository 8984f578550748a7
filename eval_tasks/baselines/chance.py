"""The exact chance level of each task: the expected score of a guess on a dataset's test rows.

    python -m eval_tasks.baselines.chance --data outputs/demo/dataset

A guess is the most frequent label, or the statement that it stands for (multiple choice), any order (ranking: the mean NDCG of
all 120), or as many numbers of the list as there are true ones (retrieval). Generation has no such floor. The baselines of
baseline_model.py are measured as models are, and learn from the train rows; this needs no run, and no train rows.
"""

import argparse
import json
from collections import Counter
from typing import Any

from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.tasks import TASKS, Task
from eval_tasks.baselines.shop import expected_scores
from eval_tasks.baselines.template_rows import template_row


def chance(task: Task, rows: list[dict[str, Any]]) -> float | None:
    """Expected score of a guess on these rows (at least one), or None where there is no floor."""
    if task.family == "generation":
        return None
    test_rows = [template_row(row) for row in rows]
    if task.family == "multiple_choice":
        return Counter(row.meaning() for row in test_rows).most_common(1)[0][1] / len(rows)
    return sum(expected_scores([], test_rows, seed=0)) / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.baselines.chance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of a built dataset, or its Hub id")
    data = parser.parse_args().data
    rows = read_split(data, "test")
    if not rows:
        raise UserError(f"--data {data} holds no test rows; give the --out of python -m dataset_builders.build")
    scores = {name: chance(TASKS[name], table.to_pylist()) for name, table in rows.items()}
    for name, score in scores.items():
        print(f"{name:24} {TASKS[name].metric:9} {'no floor' if score is None else f'{score:.3f}'}")
    print(json.dumps(scores))


if __name__ == "__main__":
    with plain_errors():
        main()
