"""Reads ECInstruct's test rows from its files, in any of their three layouts.

- The file of https://huggingface.co/datasets/NingLab/ECInstruct: all rows, with the columns `instruction, input, output,
  options, few_shot_example, task, split, setting`.
- The folders of the authors' drive: `TASK/SETTING/test.json`, where the path stands for the columns `task`, `setting` and
  `split`, and for rankings `label.json` beside it.
- A file for each task, named after it, of rows with `instruction, input, output` whose options are folded into the input.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.records import json_document
from eval_tasks.suites.ecinstruct_scoring import GAINS, LETTERS, TASKS, EcinstructRow, parse_answer
from eval_tasks.suites.files import files_below, kind, read_records

LABELS = "label.json"
"""ESCI labels of the products A, B, ... of each ranking, in the order of the test rows."""

Tell = Callable[[str, str], None]
"""Called with what is left out, and why."""

_MISSPELT = {
    "query_product_ranking": "query_product_rank",
    "product_substitue_identification": "product_substitute_identification",
    "product_relation_predicition": "product_relation_prediction",
}
"""What evaluate.py or a folder calls a task -> what the rows do."""

_SETTING = re.compile(r"(?:IND|OOD)_[A-Za-z]+_Instruction(?:_1-shot)?")


def read_rows(path: Path, instructions: str, tell: Tell) -> dict[str, list[EcinstructRow]]:
    """Task, with `_ood` behind it where it is out of domain -> its test rows, at least one.

    `instructions` is the middle of the settings to take: Diverse, as in IND_Diverse_Instruction, Single or Unseen. Raises
    UserError naming the row that is wrong.
    """
    rows: dict[str, list[EcinstructRow]] = {}
    sources: dict[str, Path] = {}
    for file in files_below(path):
        found = {} if file.name == LABELS else _rows_of(file, f"_{instructions}_Instruction", tell)
        for name, own in found.items():
            if name in sources:
                tell(f"ecinstruct:{name} of {file}", f"its rows are read from {sources[name]}")
            else:
                rows[name], sources[name] = _labelled(own, file.with_name(LABELS)), file
    places = list(TASKS)
    return dict(sorted(rows.items(), key=lambda item: (item[1][0].out_of_domain, places.index(item[1][0].task))))


def _rows_of(file: Path, setting: str, tell: Tell) -> dict[str, list[EcinstructRow]]:
    by_path = _said_by(file)
    if by_path["split"] not in (None, "test"):
        return {}
    try:
        records = read_records(file)
    except UserError as error:
        if by_path["task"]:
            raise
        tell(f"{file}", str(error))
        return {}
    rows: dict[str, list[EcinstructRow]] = {}
    strange: dict[Any, None] = {}
    for where, record in records:
        said = {column: record.get(column) or value for column, value in by_path.items()}
        own_setting = str(said["setting"] or f"IND{setting}")
        if said["split"] not in (None, "test") or own_setting not in (f"IND{setting}", f"OOD{setting}", "OOD"):
            continue
        task, out_of_domain = _task(said["task"]), own_setting.startswith("OOD")
        if task:
            row = _row(record, task, out_of_domain, f"{file}, {where}")
            rows.setdefault(task + "_ood" * out_of_domain, []).append(row)
        else:
            strange[said["task"]] = None
    for name in strange:
        tell(f"{file}", f"{name!r} is no task of ECInstruct" if name else "neither its rows nor its name tell their task")
    return rows


def _said_by(file: Path) -> dict[str, str | None]:
    """What the file's name and those of the two folders above it stand for."""
    parts = [file.stem, *reversed(file.parts[-3:-1])]
    ood = "OOD" if any(re.search(r"(?<![A-Za-z])ood(?![A-Za-z])", part, re.IGNORECASE) for part in parts) else None
    return {
        "task": next(filter(_task, parts), None),
        "setting": next(filter(_SETTING.fullmatch, parts), ood),
        "split": file.stem if file.stem in ("train", "val", "test") else None,
    }


def _task(name: Any) -> str | None:
    """The task that a column or a file's name means."""
    plain = re.sub(r"[_-](?:ind|ood|test)$", "", str(name).lower())
    plain = _MISSPELT.get(plain, plain)
    return plain if plain in TASKS else None


def _row(record: Mapping[str, Any], task: str, out_of_domain: bool, where: str) -> EcinstructRow:
    for key in ("instruction", "input", "output"):
        if not isinstance(record.get(key), str):
            raise UserError(f'{where}: "{key}" is {kind(record.get(key))}; it must be a string')
    form, output, options = TASKS[task].form, record["output"].strip(), str(record.get("options") or "")
    letters = LETTERS.get(form, "")
    if form == "order":
        letters = LETTERS["letter"][: min(len(output.split(",")), len(GAINS))]
    elif letters:
        letters = _on_offer(options or record["input"].partition("\noptions:")[2], letters)
    row = EcinstructRow(task, _prompt(record, options), output, out_of_domain, letters)
    truth = parse_answer(row, output)
    if form == "order" and truth and sorted(truth) == list(letters) and ",".join(truth) == output:
        row = replace(row, gains=tuple(list(GAINS.values())[truth.index(letter)] for letter in letters))
    elif form == "order" or truth is None or (form == "attributes" and not all(map(_is_item, truth))):
        raise UserError(f'{where}: "output" {output[:60]!r} is not an answer to {TASKS[task].column}')
    return row


def _prompt(record: Mapping[str, Any], options: str) -> str:
    """As https://github.com/ninglab/eCeLLM/blob/main/templates/mistral.json asks; chat markup is the model's own affair."""
    parts = {"Instruction": record["instruction"], "Input": record["input"], "Options": options}
    asked = "".join(f"### {title}:\n{text}\n\n" for title, text in parts.items() if text)
    return (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        f"Write a response that appropriately completes the request.\n\n{asked}### Response:\n"
    )


def _on_offer(options: str, letters: str) -> str:
    """The letters that stand before an option's text; all where none does."""
    found = re.findall(r"""["']([A-T]): """, options)
    return "".join(letter for letter in letters if letter in found) or letters


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and {"attribute", "value", "source"} <= value.keys()


def _labelled(rows: Sequence[EcinstructRow], file: Path) -> list[EcinstructRow]:
    """Rankings with the gains of their labels, where there is a file of them; other rows as they are."""
    if TASKS[rows[0].task].form != "order" or rows[0].out_of_domain or not file.is_file():
        return list(rows)
    labels = json_document(file)
    if not isinstance(labels, list) or len(labels) != len(rows):
        raise UserError(f"{file}: is not a JSON list with an entry for each of the {len(rows)} rankings beside it")
    labelled = []
    for number, (row, own) in enumerate(zip(rows, labels, strict=True), start=1):
        known = isinstance(own, list) and len(own) == len(row.letters) and all(label in list(GAINS) for label in own)
        gains = tuple(GAINS[label] for label in own) if known else ()
        in_order = [gains[row.letters.index(letter)] for letter in row.output.split(",")] if gains else []
        if not gains or in_order != sorted(gains, reverse=True):
            raise UserError(f"{file}, item {number}: {own} are not the labels of a ranking whose true order is {row.output}")
        labelled.append(replace(row, gains=gains, labelled=True))
    return labelled
