"""ShopBench's rows, the answers that they allow, and files of model outputs. Shopping MMLU's rows have the same form."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.answers import listed_numbers, selection_pattern, whole_characters
from common.dataset import load_dataset
from common.errors import UserError
from eval_tasks.metrics.shopbench import PARSERS, TASK_TYPES, is_truth, wanted_truth
from eval_tasks.suites.files import kind, read_records

GENERATION_SIZES = {
    "multiple-choice": 8,  # only the first character is read
    "ranking": 24,
    "retrieval": 24,
    "named_entity_recognition": 64,
    "generation": 100,
}
"""task_type -> tokens to generate. There are no stop sequences: the official scorer reads all that a model says."""

PICKS = 3
"""Numbers that a retrieval prompt asks for, and that its metric reads."""


@dataclass(frozen=True)
class ShopBenchRow:
    """One row of ShopBench. `truth` is a number, a list or a text, as its metric needs it."""

    prompt: str
    truth: Any
    task: str
    task_type: str
    metric: str


@lru_cache(2**14)
def row_of(text: str) -> ShopBenchRow:
    """The row whose fields the text holds as JSON."""
    return ShopBenchRow(**json.loads(text))


def read_rows(path: Path) -> list[ShopBenchRow]:
    """Rows of a ShopBench file, JSON lines or one JSON array. Raises UserError naming the row that is wrong."""
    return parse_rows(read_records(path), str(path))


def load_tasks(source: str) -> dict[str, list[ShopBenchRow]]:
    """Task -> rows, at least one, of a ShopBench file, or of a dataset folder or Hub dataset with its columns."""
    rows = read_rows(Path(source)) if Path(source).is_file() else parse_rows(_dataset_records(source), source)
    if not all(row.prompt for row in rows):
        raise UserError(f'SHOPBENCH_DATA={source}: a row has no "input_field", so there is nothing to ask')
    tasks: dict[str, list[ShopBenchRow]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    return tasks


def _dataset_records(source: str) -> list[tuple[str, dict[str, Any]]]:
    splits = load_dataset(source, option="SHOPBENCH_DATA")
    if len(splits) > 1 and "test" not in splits:
        raise UserError(f"SHOPBENCH_DATA={source} has the splits {', '.join(splits)}; it needs one, or one called test")
    split = splits["test"] if "test" in splits else next(iter(splits.values()))
    return [(f"row {number}", row) for number, row in enumerate(split, start=1)]


def read_outputs(path: Path) -> list[str]:
    """Texts of a file with one `{"output": "..."}` a line, in the order of the rows."""
    outputs = []
    for where, record in read_records(path):
        if "output" not in record:
            raise UserError(f'{path}, {where}: no "output"; write one {{"output": "..."}} for each row')
        if not isinstance(record["output"], str):
            raise UserError(f'{path}, {where}: "output" is {kind(record["output"])}; it must be a string')
        outputs.append(record["output"])
    return outputs


def parse_rows(records: Sequence[tuple[str, dict[str, Any]]], source: str) -> list[ShopBenchRow]:
    """Rows of raw records, each with its place in `source` in words."""
    as_json = _texts_are_json([record for _, record in records])
    rows = [_parse_row(record, as_json, f"{source}, {where}") for where, record in records]
    metrics: dict[str, set[str]] = {}
    for row in rows:
        if not unknown(row):
            metrics.setdefault(row.task, set()).add(row.metric)
    for task, names in metrics.items():
        if len(names) > 1 and "micro f1" in names:
            raise UserError(f"{source}: {task} has rows of {' and '.join(sorted(names))}, which have no common mean")
    return rows


def _texts_are_json(records: Sequence[dict[str, Any]]) -> bool:
    """True where a column of one type has forced every `output_field` into JSON text, texts in quotes among them."""

    def is_json_text(record: dict[str, Any]) -> bool:
        value = record.get("output_field")
        try:
            decoded = json.loads(value) if isinstance(value, str) else None
        except (ValueError, RecursionError):
            return False
        return isinstance(decoded, str | list if record.get("task_type") == "generation" else str | list | int | float)

    return all(is_json_text(record) for record in records if record.get("task_type") in list(PARSERS))


def _parse_row(record: dict[str, Any], as_json: bool, where: str) -> ShopBenchRow:
    for key in ("output_field", "task_name", "task_type", "metric"):
        if key not in record:
            raise UserError(f'{where}: no "{key}"; is this a ShopBench file?')
    task, task_type, metric, truth = (record[key] for key in ("task_name", "task_type", "metric", "output_field"))
    for key in ("task_name", "task_type", "metric"):
        if not isinstance(record[key], str) or not record[key]:
            raise UserError(f'{where}: "{key}" must be a string')
    row = ShopBenchRow(str(record.get("input_field", "")), truth, task, task_type, metric)
    if unknown(row):
        return row
    if TASK_TYPES[metric] != task_type:
        raise UserError(
            f"{where}: the metric {metric!r} scores {TASK_TYPES[metric]} rows, and this row's task_type is {task_type}"
        )
    if isinstance(truth, str) and (as_json or task_type != "generation"):
        try:
            truth = json.loads(truth)
        except (ValueError, RecursionError):
            raise UserError(f'{where}: "output_field" {truth!r} is no JSON; {task_type} needs {wanted_truth(metric)}') from None
    if not is_truth(truth, metric):
        raise UserError(f'{where}: "output_field" is {kind(truth)}; {metric} needs {wanted_truth(metric)}')
    return replace(row, truth=_whole(truth))


def unknown(row: ShopBenchRow) -> str | None:
    """Why a row cannot be scored whatever its answer is: a task_type or metric that is not ShopBench's. None: it can."""
    if row.task_type not in PARSERS:
        return f"its task_type {row.task_type!r} is unknown; known are {', '.join(PARSERS)}"
    if row.metric not in TASK_TYPES:
        return f"its metric {row.metric!r} is unknown; known are {', '.join(TASK_TYPES)}"
    return None


def _whole(truth: Any) -> Any:
    if isinstance(truth, list):
        return [_whole(item) for item in truth]
    return whole_characters(truth) if isinstance(truth, str) else truth


# --- Answers ---


def right_answer(row: ShopBenchRow) -> str:
    """A right answer as text: of an order the numbers by falling gain, of several references the first.

    Where fewer than three picks are true, others of the list follow, since three are asked for.
    """
    if row.task_type == "ranking":
        return ",".join(str(number + 1) for number in sorted(range(len(row.truth)), key=lambda number: -row.truth[number]))
    if row.task_type == "retrieval":
        others = [number for number in listed_numbers(row.prompt) if number not in row.truth]
        return ",".join(map(str, [*row.truth, *others][:PICKS]))
    if row.task_type == "generation" and isinstance(row.truth, list):
        return str(row.truth[0])
    return ",".join(row.truth) if isinstance(row.truth, list) else str(row.truth)


def pattern(row: ShopBenchRow) -> str:
    """A regular expression for the answers that the prompt allows, and the right one among them; "" where any text will do.

    A digit that is offered, a permutation, or three numbers of the list (see `answers.selection_pattern`).
    """
    found = _pattern(row)
    # Some text of the prompt may look like its list; what forbids the right answer was read from such a one.
    if re.fullmatch(found, right_answer(row)):
        return found
    return "[0-9]" if row.task_type == "multiple-choice" else ""


def _pattern(row: ShopBenchRow) -> str:
    listed = listed_numbers(row.prompt)
    if row.task_type == "multiple-choice":
        if not listed and (scale := re.search(r"\bscale of ([0-9]) to ([0-9])\b", row.prompt)):
            listed = range(int(scale[1]), int(scale[2]) + 1)
        return "|".join(str(number) for number in listed if number < 10)
    if row.task_type == "ranking" and len(row.truth) <= 5:
        return selection_pattern(range(1, len(row.truth) + 1), len(row.truth))
    return selection_pattern(listed, PICKS) if row.task_type == "retrieval" and len(listed) >= PICKS else ""
