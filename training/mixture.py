"""The rows to train on: selected tasks in a weighted mixture, and a validation split.

Every draw is by the md5 of seed and row, so that it depends neither on the order of rows nor on their number.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.console import print_table
from common.dataset import load_dataset, read_manifest
from common.errors import UserError
from common.tasks import TASKS
from training.rows import as_chats

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import ScriptArguments

    from training.arguments import DataArguments

MAX_VALIDATION_SHARE = 0.2
"""Of the rows, whatever number is asked for."""


def choose_rows(
    script: "ScriptArguments", data: "DataArguments", seed: int
) -> "tuple[Dataset, Dataset | None, dict[str, int]]":
    """Rows to train on in their mixture, rows for validation, and how many of each task there were before the mixture."""
    if not script.dataset_name:
        raise UserError("no dataset; give --dataset_name with a dataset folder or a Hub id")
    if script.dataset_streaming:
        raise UserError("dataset_streaming is not supported; leave it out")
    rows = load_rows(script.dataset_name, script.dataset_config, script.dataset_train_split, data.dataset_revision, data.tasks)
    rows = cap_tasks(rows, data.max_rows_per_task, seed)
    train, validation = split_validation(rows, parse_count(data.validation_samples), seed)
    available = task_counts(train)
    return take(train, mixture(available, data.task_weights), seed), validation, available


def load_rows(name: str, config: str | None, split: str, revision: str | None, tasks: str | None) -> "Dataset":
    """The split's rows of the comma-separated tasks (None: all), with all their columns. Raises UserError."""
    rows = as_chats(load_dataset(name, config, split, revision), name)
    if tasks:
        rows = select_tasks(rows, [task.strip() for task in tasks.split(",") if task.strip()])
    if not len(rows):
        raise UserError(f"the dataset {name} has no rows to train on; check --tasks and --dataset_config")
    return rows


def select_tasks(rows: "Dataset", tasks: Sequence[str]) -> "Dataset":
    if "task" not in rows.column_names:
        raise UserError("--tasks needs a dataset with a column task")
    column = rows["task"][:]
    if unknown := sorted(set(tasks) - set(column)):
        raise UserError(f"the dataset has no task {', '.join(unknown)}; it has {', '.join(sorted(set(column)))}")
    return rows.select([index for index, task in enumerate(column) if task in tasks])


def draw(seed: int, key: object) -> str:
    """The place of a key in the seeded order."""
    return hashlib.md5(f"{seed}|{key}".encode()).hexdigest()


def parse_count(text: str | int) -> int:
    """`10k` is 10,000 and `1m` a million; a recipe may also hold a number. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", str(text).strip().lower().replace(",", "").replace("_", ""))
    if not match:
        raise UserError(f"--validation_samples takes a number of rows such as 500 or 10k, not {text!r}")
    return round(float(match[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[match[2]])


def split_validation(rows: "Dataset", samples: int, seed: int) -> "tuple[Dataset, Dataset | None]":
    """Holds out whole groups, in the order of a seeded draw, as long as they make at most `samples` rows.

    Never more than a fifth of the rows, so that a recipe for a large dataset leaves rows of a small one to train on.
    """
    groups = rows["group"][:] if "group" in rows.column_names else [str(index) for index in range(len(rows))]
    sizes = Counter(groups)
    held: set[str] = set()
    free = min(samples, math.floor(MAX_VALIDATION_SHARE * len(rows)))
    for group in sorted(sizes, key=lambda group: draw(seed, group)):
        if sizes[group] <= free:
            held.add(group)
            free -= sizes[group]
    if not held:
        return rows, None
    sides: tuple[list[int], list[int]] = ([], [])
    for index, group in enumerate(groups):
        sides[group in held].append(index)
    return rows.select(sides[0]), rows.select(sides[1])


def mixture(counts: Mapping[str, int], weights: str) -> dict[str, int]:
    """How many rows of each task an epoch has, from how many there are.

    `proportional`: all of them. `uniform`: as many of each task. `temperature=T`: in proportion to count^(1/T), between
    the two (T of 1 and of infinity; https://arxiv.org/abs/1910.10683, section 3.5.2). Both keep the epoch's size.
    `task=2,other=0.5`: each row of the one twice, half of the other's rows; tasks not named as they are.
    Raises UserError.
    """
    total = sum(counts.values())
    if weights == "proportional":
        return dict(counts)
    if weights == "uniform":
        return apportion(dict.fromkeys(counts, 1.0), total)
    pairs = [part.partition("=") for part in weights.split(",")]
    try:
        factors = {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        factors = {}
    if len(factors) != len(pairs) or not all(0 <= factor < math.inf for factor in factors.values()):
        raise UserError(
            "--task_weights takes proportional, uniform, temperature=2 or task=weight,task=weight with weights of 0 or more, "
            f"not {weights!r}"
        )
    if set(factors) == {"temperature"}:
        if factors["temperature"] < 1:
            raise UserError("--task_weights temperature=T needs a T of 1 or more; 1 is proportional, a large T is uniform")
        return apportion({task: count ** (1 / factors["temperature"]) for task, count in counts.items()}, total)
    if unknown := sorted(set(factors) - set(counts)):
        raise UserError(f"--task_weights names {', '.join(unknown)}; the rows have the tasks {', '.join(sorted(counts))}")
    wanted = {task: round(count * factors.get(task, 1.0)) for task, count in counts.items()}
    if not any(wanted.values()):
        raise UserError("--task_weights leaves no row to train on; give some task a larger weight")
    return wanted


def apportion(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """`total` in whole numbers by the shares: rounded down, what is left to the largest remainders."""
    whole = sum(shares.values())
    exact = {name: total * share / whole for name, share in shares.items()}
    seats = {name: math.floor(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: (seats[name] - exact[name], name))[: total - sum(seats.values())]:
        seats[name] += 1
    return seats


def task_counts(rows: "Dataset") -> dict[str, int]:
    return dict(sorted(Counter(tasks_of(rows)).items()))


def word_row_counts(rows: "Dataset") -> dict[str, int]:
    """Task -> how many of its rows are answered by a word, of the tasks that have a form in words."""
    counts: Counter[str] = Counter()
    for name, completion in zip(tasks_of(rows), rows["completion"], strict=True):
        if name in TASKS and (form := TASKS[name].words):
            counts[name] += str(completion[-1]["content"]).strip() in form.labels
    return dict(sorted(counts.items()))


def tasks_of(rows: "Dataset") -> list[str]:
    return list(rows["task"]) if "task" in rows.column_names else ["(no task column)"] * len(rows)


def take(rows: "Dataset", wanted: Mapping[str, int], seed: int) -> "Dataset":
    """`wanted` rows of each task: whole passes over its rows, and what is left over by the seeded draw; in the old order."""
    keys = rows["sample_id"][:] if "sample_id" in rows.column_names else list(range(len(rows)))
    members: dict[str, list[int]] = {}
    for index, task in enumerate(tasks_of(rows)):
        members.setdefault(task, []).append(index)
    chosen: list[int] = []
    for task, indices in members.items():
        passes, rest = divmod(wanted[task], len(indices))
        chosen += indices * passes
        if rest:
            chosen += sorted(indices, key=lambda index: draw(seed, keys[index]))[:rest]
    return rows if chosen == list(range(len(rows))) else rows.select(sorted(chosen))


def cap_tasks(rows: "Dataset", limit: int, seed: int) -> "Dataset":
    """At most `limit` rows of each task (0: all), the first ones of the draw, in the order that they had."""
    if limit <= 0:
        return rows
    return take(rows, {task: min(count, limit) for task, count in task_counts(rows).items()}, seed)


def content_key(rows: "Dataset") -> str:
    """A hash of the rows in their order, which a checkpoint must share with the run that resumes from it."""
    digest = hashlib.sha256()
    for prompt, completion in zip(rows["prompt"], rows["completion"], strict=True):
        digest.update(json.dumps([prompt, completion], ensure_ascii=False).encode())
    return digest.hexdigest()


def dataset_fingerprint(name: str, config: str | None, revision: str | None) -> str | None:
    """The fingerprint that the dataset's manifest.json gives the config, or None where there is no manifest."""
    try:
        found = read_manifest(name, revision, "--dataset_name").configs.get(config or "default")
    except UserError:
        return None
    return found.fingerprint if found else None


def print_composition(train: "Dataset", available: Mapping[str, int], held_out: int) -> None:
    """Prints the rows of an epoch by task. `available` counts the rows before the mixture."""
    counts, size, lines = task_counts(train), len(train), []
    for task, count in available.items():
        rows = counts.get(task, 0)
        lines.append((task, f"{rows:,}", f"{rows / size:.1%}", f"{rows / count:.2f}"))
    lines.append(("all", f"{size:,}", "", f"{size / sum(available.values()):.2f}"))
    if held_out:
        lines.append(("held out for validation", f"{held_out:,}", "", ""))
    print_table(("task", "rows", "share", "passes"), lines, "An epoch")
