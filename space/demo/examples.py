"""Example rows of the page: those in examples.json, or test rows of a built dataset."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.answers import gold, render_completion
from common.tasks import TASKS

from . import ROOT
from .dataset_pages import Contents, DatasetReader, RowPage, ShownRow

SHIPPED = ROOT / "examples.json"
WRITTEN_HERE = "written for this page"


@dataclass(frozen=True)
class PageExample:
    """A prompt with its right answer: a dataset row with `answer` decoded."""

    task: str
    prompt: str
    answer: Any
    origin: str = WRITTEN_HERE

    @property
    def key(self) -> str:
        return prompt_key(self.prompt)


Examples = dict[str, tuple[PageExample, ...]]
"""By task."""


def prompt_key(prompt: str) -> str:
    """Equal for prompts that differ only in line ends and outer white space, as browsers change them."""
    return prompt.replace("\r\n", "\n").strip()


def read_examples(path: Path = SHIPPED) -> Examples:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return by_task(PageExample(row["task"], row["prompt"], row["answer"], row.get("origin", WRITTEN_HERE)) for row in rows)


def write_examples(path: Path, examples: Examples) -> None:
    """One row a line, so that a diff shows single rows."""
    rows = [json.dumps(vars(row), ensure_ascii=False) for group in examples.values() for row in group]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def by_task(rows: Iterable[PageExample]) -> Examples:
    groups: dict[str, list[PageExample]] = {}
    for row in rows:
        groups.setdefault(row.task, []).append(row)
    return {name: tuple(group) for name, group in groups.items()}


def dataset_examples(dataset: DatasetReader, tasks: Iterable[str], per_task: int, max_chars: int) -> Examples:
    """Up to `per_task` test rows of each task that the dataset has, none longer than `max_chars`. Raises DatasetError.

    They are the first ones by `sample_id`, a hash: a reproducible draw.
    """
    query = (
        "select prompt[1].content, answer from read_parquet($files) "
        "where length(prompt[1].content) <= $max_chars order by sample_id limit $count"
    )
    contents = dataset.contents()
    rows: list[PageExample] = []
    for task in tasks:
        if "test" not in contents.get(task, ()):
            continue
        parameters = {"files": dataset.fetch(task, "test"), "max_chars": max_chars, "count": per_task}
        found = dataset.query(query, parameters)
        rows += [PageExample(task, prompt, json.loads(answer), f"test split of {dataset.name}") for prompt, answer in found]
    return by_task(rows)


class ExampleRows:
    """The page's own examples as rows for the Data tab, where no dataset is set; the methods are those of DatasetReader."""

    name = "the examples of this page"

    def __init__(self, examples: Examples) -> None:
        self._examples = {task: rows for task, rows in examples.items() if task in TASKS}

    def contents(self) -> Contents:
        return dict.fromkeys(self._examples, ("examples",))

    def page(self, task: str, split: str, words: str, start: int, count: int) -> RowPage:
        rows = [
            ShownRow(row.prompt, render_completion(TASKS[task], gold(TASKS[task], row.answer)), row.origin, "")
            for row in self._examples.get(task, ())
        ]
        found = [row for row in rows if words.lower() in row.prompt.lower() or words.lower() in row.completion.lower()]
        return RowPage(tuple(found[start : start + count]), start, len(found))
