"""What guessing scores on a dataset's test rows, exactly: the floor that a model's scores are read against.

    python -m eval_tasks.chance --data outputs/demo/dataset

A guess is the most frequent label (multiple choice), any order (ranking: the mean NDCG of all 120), or as many numbers of the
list as there are true ones (retrieval). Generation has no such floor.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from dataset_builders.card import data_pattern
from dataset_builders.errors import UserError, plain_errors
from dataset_builders.tasks import TASKS, Task, decode_answer
from eval_tasks.metrics import expected_ndcg


def chance(task: Task, rows: list[dict[str, Any]]) -> float | None:
    """Expected score of a guess on these rows (at least one), or None where there is no floor."""
    answers = [decode_answer(row) for row in rows]
    if task.family == "multiple_choice":
        return Counter(answers).most_common(1)[0][1] / len(rows)
    if task.family == "ranking":
        return sum(map(expected_ndcg, answers)) / len(rows)
    if task.family == "retrieval":
        lengths = [len(re.findall(r"^\d+\. ", row["prompt"][0]["content"], re.MULTILINE)) for row in rows]
        return sum(len(answer) / length for answer, length in zip(answers, lengths, strict=True)) / len(rows)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.chance", description=(__doc__ or "").split("\n")[0])
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
