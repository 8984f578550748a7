"""Evaluation sets: what must not be trained on, as texts of items, and the parts of a prompt that a row's text may equal."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.other_formats import not_a_table
from dataset_builders.raw_files import FOR_PEOPLE, format_of, open_text, stem_and_ending, text_format
from dataset_builders.records import Rejected, csv_rows, json_values, parquet_rows
from dataset_builders.text import clean

ENDINGS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet")
"""Endings, of which some may be left out, of files that are read, compressed or not; more are in raw_files.FORMATS."""

_LINE_START = re.compile(r"(?:[-*•]|\(?\w{1,2}[.):])\s+")
_LABEL = re.compile(r"[^:：]{1,40}(?::\s+|：\s*)")
_QUOTED = re.compile(r"""(?<!\w)(["'])(.{1,400}?)\1(?!\w)|“(.{1,400}?)”""")
_TRAIN = re.compile(r"(?<![a-z])train(?:ing)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class EvaluationSet:
    """What must not be trained on. An item holds the texts of one question; `skipped` records could not be read."""

    name: str
    items: Sequence[tuple[str, ...]]
    skipped: int = 0


def read_evaluation_sets(folder: Path) -> list[EvaluationSet]:
    """A set for every file or folder straight below `folder`, in order of their names.

    JSON lists, JSON lines, CSV and Parquet are read, and texts, a line each; an item is a record, and its texts are all strings
    in it. That is enough for ShopBench, ECInstruct, Shopping MMLU and this project's datasets. Where records say `split: test`,
    only those of the file count; where a name says "train", none. In a folder with Parquet files, `.json` and `.txt` are taken
    for metadata.
    Raises UserError where there is nothing to read, or a set of which nothing can be read, such as a workbook.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give one that holds evaluation sets, each in a file or folder of its own.")
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
        sets = [_read_set(entry, files) for entry in entries if (files := _files(entry))]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}. Make it readable, or remove it.") from None
    if not sets:
        raise UserError(
            f"{folder} holds no evaluation set. Put each into a file or folder of its own there: {', '.join(ENDINGS)}; "
            'files with "train" in their names are not read.'
        )
    for evaluation in sets:
        if not evaluation.items:
            raise UserError(
                f"No record of the evaluation set {evaluation.name} in {folder} can be read. "
                "Mend it, or take it out of the folder."
            )
    return sets


def _files(entry: Path) -> list[Path]:
    paths = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
    paths = [
        path
        for path in paths
        if path.is_file()
        and not FOR_PEOPLE.fullmatch(path.name)
        and not any(part.startswith((".", "_")) or _TRAIN.search(part) for part in path.relative_to(entry.parent).parts)
    ]
    files = [path for path in paths if format_of(path)]
    for path in [] if files else paths:
        if told := not_a_table(path):
            raise UserError(f"The evaluation set {path.relative_to(entry.parent)} {told}.")
    if any(format_of(path) == "parquet" for path in files):
        return [path for path in files if format_of(path) != "json" and not is_text(path)]
    return files


def _read_set(entry: Path, files: list[Path]) -> EvaluationSet:
    items: list[tuple[str, ...]] = []
    skipped = 0
    for path in files:
        texts, is_test = [], []
        for record in _records(path):
            found = () if isinstance(record, Rejected) else tuple(_strings(record))
            if found:
                texts.append(found)
                is_test.append(isinstance(record, dict) and record.get("split") == "test")
            else:
                skipped += 1
        items += compress(texts, is_test) if any(is_test) else texts
    return EvaluationSet(stem_and_ending(entry)[0] if entry.is_file() else entry.name, items, skipped)


def is_text(path: Path) -> bool:
    return stem_and_ending(path)[1] == ".txt"


def _records(path: Path) -> Iterator[Any]:
    if is_text(path):
        with open_text(path, text_format(path)) as file:
            yield from (line.split("\t") for line in file if line.strip())
        return
    readers: dict[str | None, Callable[[Path], Iterator[tuple[int, Any]]]] = {"parquet": parquet_rows, "csv": csv_rows}
    yield from (record for _, record in readers.get(format_of(path), json_values)(path))


def segments(text: str) -> Iterator[str]:
    """The parts of a prompt that a row's text may equal; one may come more than once.

    They are the whole, every line, a line without its list mark, field label and quotes, and what is quoted in it. Of JSON,
    which ECInstruct puts into its prompts, they are those of the strings in it.
    """
    for part in _without_json(text):
        lines = [line for line in (clean(line, len(line) + 1) for line in part.splitlines()) if line]
        yield " ".join(lines)
        for line in lines:
            item = line[mark.end() :] if (mark := _LINE_START.match(line)) else line
            value = item[label.end() :] if (label := _LABEL.match(item)) else item
            yield from (line, item, value)
            yield from _without_json(value)
            yield from (quoted[2] or quoted[3] for quoted in _QUOTED.finditer(line))


def _without_json(text: str) -> list[str]:
    """The strings of the JSON value that the text begins with, then the rest; the text itself where it begins with none."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return [text]
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return [text]
    return [*_strings(value), text[end:].strip()]


def _strings(value: Any) -> list[str]:
    """Every string in a record in order, at any depth, without the names of its fields."""
    found, left = [], [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict | list | tuple):
            left.extend(reversed(list(part.values() if isinstance(part, dict) else part)))
    return found
