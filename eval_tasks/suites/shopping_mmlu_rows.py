"""Reads Shopping MMLU's rows from the files of its data.zip (https://github.com/KL4805/ShoppingMMLU).

- `skills/skill1_concept.json` and so on: JSON lines with `input_field, output_field, task_name, task_type, metric`, all tasks
  of a skill in one file. Where there are such files, they hold everything, and the others are not read.
- `multiple_choice/TASK_dataset.csv` with `question, choices, answer`, and `retrieval/`, `ranking/`,
  `named_entity_recognition/` and `generation/TASK_dataset.json` with `input_field, target_field`.

Any folders may lie around these; one whose name holds a skill, such as `skill1_concept` or `behavior`, gives it to the tasks
in it. JSON lines, JSON arrays, CSV and Parquet are read alike.
"""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.metrics.shopbench import TASK_TYPES
from eval_tasks.suites.files import Records, files_below, read_records
from eval_tasks.suites.shopbench_rows import ShopBenchRow, parse_rows
from eval_tasks.suites.shopbench_scoring import why_unscored
from eval_tasks.suites.shopping_mmlu_scoring import SKILLS
from eval_tasks.suites.suite import OTHER

Tell = Callable[[str, str], None]
"""Called with what is left out, and why."""

INSTRUCTION = (
    "You are a helpful online shopping assistant. "
    "Please answer the following question about online shopping and follow the given instructions.\n\n"
)
"""What the benchmark's scripts put before every question."""

_SKILL_WORDS = {"concept": "concept", "reason": "reasoning", "behav": "behavior", "lingual": "multilingual"}
"""Part of a folder's name -> skill."""

_METRICS = {
    "multiple_choice": "accuracy",
    "retrieval": "hit rate@3",
    "ranking": "ndcg",
    "named_entity_recognition": "micro f1",
    "generation": "sent-transformer",
}
"""Folder -> metric of the tasks in it, but for some of generation."""

_GENERATION_METRICS = {"extraction": "rougel", "translation": "bleu", "multilingual": "multilingual-sent-transformer"}
"""Part of the name of a generation task -> metric, as in hf_generation.py of the benchmark; the first that fits."""

RATINGS = "review_rating_prediction"
"""The multiple choice without choices: its answers are 1 to 5."""


def read_rows(path: Path, tell: Tell) -> dict[str, list[ShopBenchRow]]:
    """`SKILL:TASK` -> its rows, at least one, all of which can be scored here.

    A task with a row that is wrong is left out, since without that row its score would be another one. `tell(what, reason)` is
    called for what is left out.
    """
    files = files_below(path)
    whole = [file for file in files if _numbered(file.stem) or file.parent.name == "skills"]
    if whole and len(whole) < len(files):
        tell(f"what else is in {path}", f"{whole[0]} and its like hold all tasks")
    tasks: dict[str, list[ShopBenchRow]] = {}
    for file in whole or files:
        for name, records in _records_by_task(file, path, tell).items():
            if name in tasks:
                tell(f"shopping_mmlu:{name} of {file}", "its rows are read from another file")
            elif rows := _rows(name, records, file, tell):
                tasks[name] = rows
    places = [*SKILLS, OTHER]
    return dict(sorted(tasks.items(), key=lambda item: places.index(item[0].partition(":")[0])))


def _records_by_task(file: Path, root: Path, tell: Tell) -> dict[str, Records]:
    try:
        records = read_records(file)
    except UserError as error:
        tell(f"{file}", str(error))
        return {}
    skill = _skill(file, root)
    by_task: dict[str, Records] = {}
    for where, record in records:
        task = str(record.get("task_name") or re.sub(r"_dataset$", "", file.stem))
        by_task.setdefault(f"{skill}:{re.sub(r'[^A-Za-z0-9_.-]+', '_', task)}", []).append((where, record))
    return by_task


def _rows(name: str, records: Records, file: Path, tell: Tell) -> list[ShopBenchRow]:
    try:
        rows = parse_rows([(where, _shopbench_record(record, name, file, where)) for where, record in records], str(file))
        reason = why_unscored(rows)
    except UserError as error:
        rows, reason = [], str(error)
    if reason:
        tell(f"shopping_mmlu:{name}", reason)
    return [] if reason else rows


def _shopbench_record(record: Mapping[str, Any], name: str, file: Path, where: str) -> dict[str, Any]:
    """The record in the form that ShopBench's rows have, which is that of the files of whole skills."""
    metric = record.get("metric") or ("accuracy" if "question" in record else _metric(file))
    if not metric:
        raise UserError(f"{file}: no folder above it is called {', '.join(_METRICS)}, and its rows name no metric")
    prompt: Any
    truth: Any
    if "question" in record:
        prompt, truth = _choice(record, RATINGS in name, f"{file}, {where}")
    else:
        prompt, truth = record.get("input_field"), record.get("output_field", record.get("target_field"))
    if not isinstance(prompt, str) or not prompt:
        raise UserError(f'{file}, {where}: no "input_field", so there is nothing to ask')
    # The metric alone decides how an answer is read; an unknown one keeps the row's own type.
    task_type = TASK_TYPES.get(metric) if isinstance(metric, str) else None
    return {
        "input_field": INSTRUCTION + prompt,
        "output_field": truth,
        "task_name": name,
        "task_type": task_type or record.get("task_type", "generation"),
        "metric": metric,
    }


def _choice(record: Mapping[str, Any], is_rating: bool, where: str) -> tuple[str, int]:
    """Question with its numbered choices, and the number of the right one."""
    try:
        question, answer = str(record["question"] or ""), float(record["answer"])
        choices = [] if is_rating else ast.literal_eval(str(record["choices"]))
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        raise UserError(f'{where}: "answer" must be a number and "choices" a list') from None
    numbers = range(1, 6) if is_rating else range(len(choices)) if isinstance(choices, list | tuple) else range(0)
    if not question:
        raise UserError(f'{where}: no "question", so there is nothing to ask')
    if answer not in numbers or len(numbers) > 10:
        raise UserError(f"{where}: the answer {record['answer']} is none of the choices {record.get('choices')!r}")
    lines = (f"\n{number}. {choice}" for number, choice in enumerate(choices))
    return f"{question}{''.join(lines)}\nAnswer: ", int(answer)


def _metric(file: Path) -> str | None:
    folder = next((part for part in reversed(file.parent.parts) if part in _METRICS), "")
    if folder != "generation":
        return _METRICS.get(folder)
    metric = next((metric for word, metric in _GENERATION_METRICS.items() if word in file.stem), _METRICS[folder])
    return "jp-bleu" if metric == "bleu" and "JP" in file.stem else metric


def _skill(file: Path, root: Path) -> str:
    """The skill by the number in the file's or a folder's name, or by a word in a folder's name."""
    folders = [*reversed(file.relative_to(root).parts[:-1]), root.name] if file != root else []
    if number := next(filter(None, map(_numbered, (file.stem, *folders))), None):
        return number
    for name in (*folders, *([file.stem] if file.parent.name == "skills" else [])):
        if word := next((word for word in _SKILL_WORDS if word in name.lower()), None):
            return _SKILL_WORDS[word]
    return "multilingual" if "multilingual" in file.stem.lower() else OTHER


def _numbered(name: str) -> str | None:
    """concept for skill1_concept, and so on."""
    found = re.match(r"skill_?([1-4])(?![0-9])", name.lower())
    return list(SKILLS)[int(found[1]) - 1] if found else None
