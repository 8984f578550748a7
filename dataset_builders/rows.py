"""Renders the fields that a recipe yields as a row of the dataset: cleaned, in a template, with completion and answer.

A row is what the dataset holds; the raw records that it is made of are read by records.py.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.answers import gold, parse_completion, render_completion
from common.tasks import Task, render_prompt
from dataset_builders.privacy import mask
from dataset_builders.records import Rejected
from dataset_builders.text import clean

MAX_WORDS = {"review": 150, "snippets": 50, "answer": 60}
"""Longest text of a field in words; 30 for every other, which is more than most titles have."""

CHOICES = ("products", "candidates", "queries", "options")
"""Lists to choose from: the same text twice would have two right numbers, or a right and a wrong one."""

NOT_CONTENT = ("candidates", "queries", "options", "number", "category")
"""Fields that do not tell what a row is about: what may be chosen was drawn at random, the rest stands in many rows."""

TEXT_COLUMNS = ("task", "family", "answer", "source", "licence", "group", "sample_id")
"""The columns behind `prompt` and `completion`, which are lists of turns."""
LABEL_COLUMNS = {"label_source": "string", "label_votes": "string", "label_agreement": "float64"}
"""Columns of a dataset whose labels were checked by a language model, and their types as `datasets` and Arrow name them."""

NOT_FIELDS = ("answer", "key", "group", "source", "records", "queries_by")


@dataclass(frozen=True)
class DatasetRow:
    """One row. `answer` is JSON text in the shape that the task's metric needs; `records` are its raw records' numbers.

    `content` holds the texts that tell what the row is about, by field; `masked` how many of each kind were masked in it.
    `queries_by` says of a row with queries whether they were made by "rule" or written by a "model". `checked` has the columns
    that tell how its label was checked (LABEL_COLUMNS), where that was done.
    """

    prompt: str
    completion: str
    task: str
    family: str
    answer: str
    source: str
    licence: str
    group: str
    records: tuple[int, ...]
    content: dict[str, tuple[str, ...]] = field(default_factory=dict)
    masked: tuple[tuple[str, int], ...] = ()
    queries_by: str = ""
    checked: Mapping[str, Any] = field(default_factory=dict)

    def texts(self) -> tuple[str, ...]:
        """What an evaluation on this row asks about, and its answer where that is a text."""
        answer = (self.completion,) if self.family == "generation" else ()
        return (*(text for texts in self.content.values() for text in texts), *answer)

    @property
    def sample_id(self) -> str:
        return hashlib.md5(f"{self.task}\0{self.prompt}\0{self.completion}".encode()).hexdigest()

    def as_columns(self) -> dict[str, Any]:
        """The row as it is published."""
        return {
            "prompt": [{"role": "user", "content": self.prompt}],
            "completion": [{"role": "assistant", "content": self.completion}],
            "task": self.task,
            "family": self.family,
            "answer": self.answer,
            "source": self.source,
            "licence": self.licence,
            "group": self.group,
            "sample_id": self.sample_id,
            **self.checked,
        }


def row_of_columns(columns: Mapping[str, Any]) -> DatasetRow:
    """The row that a dataset's files hold, as far as they do: the inverse of `as_columns`."""
    return DatasetRow(
        prompt=columns["prompt"][0]["content"],
        completion=columns["completion"][0]["content"],
        **{name: columns[name] for name in TEXT_COLUMNS if name != "sample_id"},
        records=(),
        checked={name: columns[name] for name in LABEL_COLUMNS if name in columns},
    )


def make_row(task: Task, recipe_row: dict[str, Any], licences: Mapping[str, str], seed: int) -> DatasetRow | Rejected:
    """The row of what a recipe yields for it, or the reason why there is none.

    The template is chosen by draw, so that a model learns the task and not one wording of it.
    """
    masked: Counter[str] = Counter()
    fields = {name: _clean_field(name, value, masked) for name, value in recipe_row.items() if name not in NOT_FIELDS}
    reason = next((reason for name, value in fields.items() if (reason := _unfit(name, value))), None)
    if reason:
        return Rejected(reason)
    answer = recipe_row["answer"]
    if isinstance(answer, str):
        answer = _clean_text(answer, MAX_WORDS["answer"], masked)
    value = gold(task, answer)
    completion = render_completion(task, value)
    if parse_completion(task, completion) != value:
        return Rejected("answer cannot be read back")
    draw = hashlib.md5(f"{seed}|{task.name}|template|{recipe_row['key']}".encode()).hexdigest()
    template = task.templates[int(draw[:8], 16) % len(task.templates)]
    return DatasetRow(
        prompt=render_prompt(template, fields),
        completion=completion,
        task=task.name,
        family=task.family,
        answer=json.dumps(answer, ensure_ascii=False),
        source=recipe_row["source"],
        licence=licences[recipe_row["source"]],
        group=recipe_row["group"],
        records=tuple(record for record in recipe_row["records"] if record is not None),
        content={
            name: tuple(value) if isinstance(value, list) else (value,)
            for name, value in fields.items()
            if name not in NOT_CONTENT
        },
        masked=tuple(sorted(masked.items())),
        queries_by=recipe_row.get("queries_by", ""),
    )


def _clean_field(name: str, value: Any, masked: Counter[str]) -> Any:
    most = MAX_WORDS.get(name, 30)
    if isinstance(value, list):
        return [_clean_text(item, most, masked) for item in value]
    return _clean_text(value, most, masked)


def _clean_text(text: str, max_words: int, masked: Counter[str]) -> str:
    """Cleaned first, so that no markup or invisible character inside an address hides it."""
    plain, found = mask(clean(text, max_words))
    if found:
        masked += found
    return plain


def _unfit(name: str, value: Any) -> str | None:
    items = value if isinstance(value, list) else [value]
    if not all(items):
        return f"{name} holds nothing to read"
    if name in CHOICES and len({item.lower() for item in items}) < len(items):
        return f"{name} holds the same text twice"
    return None
