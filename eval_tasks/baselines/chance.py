"""What guessing scores on a dataset's test rows, exactly: the floor that a model's scores are read against.

    python -m eval_tasks.baselines.chance --data outputs/demo/dataset

A guess is the most frequent label, or the statement that it stands for (multiple choice), any order (ranking: the mean NDCG of
all 120), or as many numbers of the list as there are true ones (retrieval). Generation has no such floor. The baselines of
baseline_model.py are measured as models are, and learn from the train rows; this needs no run, and no train rows.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from common.errors import UserError, plain_errors
from common.tasks import TASKS, Task
from dataset_builders.card import data_pattern
from eval_tasks.baselines.shop import guess_scores
from eval_tasks.baselines.template_rows import question


def chance(task: Task, rows: list[dict[str, Any]]) -> float | None:
    """Expected score of a guess on these rows (at least one), or None where there is no floor."""
    if task.family == "generation":
        return None
    questions = [question(row) for row in rows]
    if task.family == "multiple_choice":
        return Counter(row.meant() for row in questions).most_common(1)[0][1] / len(rows)
    return sum(guess_scores([], questions, seed=0)) / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.baselines.chance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of a built dataset")
    folder = parser.parse_args().data
    files = {name: paths for name in TASKS if (paths := sorted(folder.glob(data_pattern(name, "test"))))}
    if not files:
        raise UserError(f"{folder} holds no test rows. Give the --out of python -m dataset_builders.build.")

    import pyarrow.parquet as pq

    scores = {
        name: chance(TASKS[name], [row for path in paths for row in pq.read_table(path).to_pylist()])
        for name, paths in files.items()
    }
    for name, score in scores.items():
        print(f"{name:24} {TASKS[name].metric:9} {'no floor' if score is None else f'{score:.3f}'}")
    print(json.dumps(scores))


if __name__ == "__main__":
    with plain_errors():
        main()
