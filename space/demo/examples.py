"""Sample rows for the page: the ones that lie beside this file, or test rows of a built dataset."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset_pages import Dataset

SHIPPED = Path(__file__).parents[1] / "examples.json"
WRITTEN_HERE = "written for this page"

Examples = dict[str, tuple["Example", ...]]


@dataclass(frozen=True)
class Example:
    """A prompt with its right answer, in the shapes of a dataset row with `answer` decoded."""

    task: str
    prompt: str
    answer: Any
    origin: str = WRITTEN_HERE

    @property
    def key(self) -> str:
        """What a typed prompt is compared by: line ends and outer blanks differ between browsers."""
        return normal(self.prompt)


def normal(prompt: str) -> str:
    return prompt.replace("\r\n", "\n").strip()


def read_examples(path: Path = SHIPPED) -> Examples:
    """Rows of a JSON file by task."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return by_task(Example(row["task"], row["prompt"], row["answer"], row.get("origin", WRITTEN_HERE)) for row in rows)


def write_examples(path: Path, examples: Examples) -> None:
    """One row a line, so that a change of one row is a change of one line."""
    rows = [
        json.dumps({"task": row.task, "prompt": row.prompt, "answer": row.answer, "origin": row.origin}, ensure_ascii=False)
        for group in examples.values()
        for row in group
    ]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def by_task(rows: Iterable[Example]) -> Examples:
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.task, []).append(row)
    return {name: tuple(group) for name, group in groups.items()}


def dataset_examples(dataset: "Dataset", tasks: Iterable[str], per_task: int, max_chars: int) -> Examples:
    """Up to `per_task` short enough test rows of every one of the tasks that a dataset has.

    The rows are drawn by `sample_id`, a hash, so the same dataset gives the same ones. Raises DataError.
    """
    query = (
        "select prompt[1].content, answer from read_parquet($files) "
        "where length(prompt[1].content) <= $most order by sample_id limit $count"
    )
    there = dataset.contents()
    rows: list[Example] = []
    for task in tasks:
        if "test" not in there.get(task, ()):
            continue
        given = {"files": dataset.fetch(task, "test"), "most": max_chars, "count": per_task}
        found = dataset.query(query, given)
        rows += [Example(task, prompt, json.loads(answer), f"test split of {dataset.name}") for prompt, answer in found]
    return by_task(rows)
