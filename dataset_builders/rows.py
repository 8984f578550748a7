"""Renders the fields that a recipe yields as a row of the dataset: cleaned, in a template, with completion and answer.

A row is what the dataset holds; the raw records that it is made of are read by records.py.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from common.answers import gold, parse_completion, render_completion
from common.prompts import render_prompt
from common.tasks import Task
from common.words import in_words, labelled_items, row_task, word_of_label
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
WORDING, UNSEEN = "wording", "unseen"
"""Columns that datasets of earlier versions lack: see DatasetRow."""

NOT_FIELDS = ("answer", "key", "group", "source", "records", "queries_by", "hard", "hard_records")

MOST_ITEMS = 4
"""Rows in words that are made of one list: more would be of few products, and the same ones again."""


@dataclass(frozen=True)
class DatasetRow:
    """One row. `answer` is JSON text in the shape that the task's metric needs; `records` are its raw records' numbers.

    `content` holds the texts that tell what the row is about, by field; `masked` how many of each kind were masked in it.
    `queries_by` says of a row with queries whether they were made by "rule" or written by a "model". `checked` has the columns
    that tell how its label was checked (LABEL_COLUMNS), where that was done.

    `wording` is the number, from 1, of the template among those of the row's form; 0 where it is not known, as of rows built by
    an earlier version. `unseen` is the prompt of a row to test on once more, in the wording that is never trained on; "" of a
    row to train on, and where the task has no such wording.
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
    wording: int = 0
    unseen: str = ""

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
            "prompt": _user_turn(self.prompt),
            "completion": [{"role": "assistant", "content": self.completion}],
            "task": self.task,
            "family": self.family,
            "answer": self.answer,
            "source": self.source,
            "licence": self.licence,
            "group": self.group,
            "sample_id": self.sample_id,
            **({WORDING: self.wording, UNSEEN: _user_turn(self.unseen) if self.unseen else None} if self.wording else {}),
            **self.checked,
        }


def _user_turn(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def row_of_columns(columns: Mapping[str, Any]) -> DatasetRow:
    """The row that a dataset's files hold, as far as they do: the inverse of `as_columns`."""
    return DatasetRow(
        prompt=columns["prompt"][0]["content"],
        completion=columns["completion"][0]["content"],
        **{name: columns[name] for name in TEXT_COLUMNS if name != "sample_id"},
        records=(),
        checked={name: columns[name] for name in LABEL_COLUMNS if name in columns},
        wording=columns.get(WORDING) or 0,
        unseen=columns[UNSEEN][0]["content"] if columns.get(UNSEEN) else "",
    )


def make_row(
    task: Task, recipe_row: dict[str, Any], licences: Mapping[str, str], seed: int, tested: bool = False
) -> DatasetRow | Rejected:
    """The row of what a recipe yields for it, or the reason why there is none.

    The template is chosen by draw, so that a model learns the task and not one wording of it. A row to test on (`tested`) is
    asked as a row to train on would be, and has its prompt in the unseen wording beside it.
    """
    cleaned = _cleaned(task, recipe_row)
    if isinstance(cleaned, Rejected):
        return cleaned
    wording = _drawn_wording(task.templates, seed, task.name, recipe_row["key"])
    prompt = render_prompt(task.templates[wording - 1], cleaned.fields)
    row = _row(task, recipe_row, licences, cleaned, prompt, cleaned.answer, wording)
    return replace(row, unseen=render_prompt(task.unseen, cleaned.fields)) if tested and task.unseen else row


def make_word_rows(
    task: Task, recipe_row: dict[str, Any], licences: Mapping[str, str], seed: int
) -> list[DatasetRow] | Rejected:
    """The same in words: one row of a choice; of a list one for each of up to MOST_ITEMS items, with the labels by turns.

    Where the recipe has harder items to turn down (`hard`) than those listed, they come first.
    """
    cleaned = _cleaned(task, recipe_row)
    if isinstance(cleaned, Rejected):
        return cleaned
    form = in_words(task)
    items = task.words.item if task.words else ""
    if not items:
        asked = [(cleaned.fields, word_of_label(task, cleaned.fields, str(cleaned.answer)))]
    else:
        drawn = _drawn_items(task, cleaned, recipe_row.get("hard") or [], f"{seed}|{task.name}|item|{recipe_row['key']}")
        asked = [({**cleaned.fields, items: item}, label) for item, label in drawn]
    rows = []
    for number, (fields, label) in enumerate(asked):
        wording = _drawn_wording(form.templates, seed, task.name, f"{recipe_row['key']}|{number}")
        prompt = render_prompt(form.templates[wording - 1], fields)
        rows.append(_row(task, recipe_row, licences, cleaned, prompt, label, wording, first=number == 0))
    return rows


def is_drawn_in_words(task: Task, key: str, seed: int, share: float) -> bool:
    """Whether a row that is trained on is asked in words, as `share` of them are where the task has that form."""
    draw = hashlib.md5(f"{seed}|{task.name}|form|{key}".encode()).hexdigest()
    return task.words is not None and int(draw[:8], 16) < share * 2**32


@dataclass(frozen=True)
class CleanedFields:
    """What a template is filled with, and the answer."""

    fields: dict[str, Any]
    answer: Any
    masked: tuple[tuple[str, int], ...]


def _cleaned(task: Task, recipe_row: dict[str, Any]) -> CleanedFields | Rejected:
    masked: Counter[str] = Counter()
    fields = {name: _clean_field(name, value, masked) for name, value in recipe_row.items() if name not in NOT_FIELDS}
    reason = next((reason for name, value in fields.items() if (reason := _unfit(name, value))), None)
    if reason:
        return Rejected(reason)
    answer = recipe_row["answer"]
    if isinstance(answer, str):
        answer = _clean_text(answer, MAX_WORDS["answer"], masked)
    value = gold(task, answer)
    if parse_completion(task, render_completion(task, value)) != value:
        return Rejected("answer cannot be read back")
    return CleanedFields(fields, answer, tuple(sorted(masked.items())))


def _drawn_wording(templates: Sequence[str], seed: int, name: str, key: str) -> int:
    """The number of one of the templates, from 1."""
    draw = hashlib.md5(f"{seed}|{name}|template|{key}".encode()).hexdigest()
    return int(draw[:8], 16) % len(templates) + 1


def _drawn_items(task: Task, cleaned: CleanedFields, hard: Sequence[str], draw: str) -> list[tuple[str, str]]:
    """Items of a row's list and their labels, the labels by turns from a drawn one on."""
    labelled = labelled_items(task, cleaned.fields, cleaned.answer)
    right = {item.lower() for item, label in labelled if task.words and label != task.words.labels[-1]}
    cleaned_hard = [_clean_text(item, 30, Counter()) for item in hard]
    harder = [text for text in dict.fromkeys(cleaned_hard) if text and text.lower() not in right]
    own = sorted(labelled, key=lambda pair: hashlib.md5(f"{draw}|{pair[0]}".encode()).hexdigest())
    by_label: dict[str, list[str]] = {}
    for item, label in own:
        by_label.setdefault(label, []).append(item)
    if harder and task.words:
        worst = task.words.labels[-1]
        by_label[worst] = list(dict.fromkeys([*harder, *by_label.get(worst, [])]))
    labels = list(by_label)  # in the order of the draw
    turns = [(item, label) for turn in range(MOST_ITEMS) for label in labels for item in by_label[label][turn : turn + 1]]
    return turns[:MOST_ITEMS]


def _row(
    task: Task,
    recipe_row: dict[str, Any],
    licences: Mapping[str, str],
    cleaned: CleanedFields,
    prompt: str,
    answer: Any,
    wording: int,
    first: bool = True,
) -> DatasetRow:
    """`first`: of the rows that are made of one, that which counts what was masked."""
    asked = row_task(task, answer)
    records = [*recipe_row["records"], *((recipe_row.get("hard_records") or []) if asked is not task else [])]
    return DatasetRow(
        prompt=prompt,
        completion=render_completion(asked, gold(asked, answer)),
        task=task.name,
        family=task.family,
        answer=json.dumps(answer, ensure_ascii=False),
        source=recipe_row["source"],
        licence=licences[recipe_row["source"]],
        group=recipe_row["group"],
        records=tuple(record for record in records if record is not None),
        content={
            name: tuple(value) if isinstance(value, list) else (value,)
            for name, value in cleaned.fields.items()
            if name not in NOT_CONTENT
        },
        masked=cleaned.masked if first else (),
        queries_by=recipe_row.get("queries_by", ""),
        wording=wording,
    )


def _clean_field(name: str, value: Any, masked: Counter[str]) -> Any:
    most = MAX_WORDS.get(name, 30)
    if isinstance(value, list):
        return [_clean_text(item, most, masked) for item in value]
    return _clean_text(value, most, masked)


def _clean_text(text: str, max_words: int, masked: Counter[str]) -> str:
    plain, found = _masked_text(text, max_words)
    if found:
        masked += found
    return plain


@lru_cache(maxsize=2**14)  # options stand in every row of a task, a product's title in many
def _masked_text(text: str, max_words: int) -> tuple[str, Counter[str]]:
    """Cleaned first, so that no markup or invisible character inside an address hides it."""
    return mask(clean(text, max_words))


def _unfit(name: str, value: Any) -> str | None:
    items = value if isinstance(value, list) else [value]
    if not all(items):
        return f"{name} holds nothing to read"
    if name in CHOICES and len({item.lower() for item in items}) < len(items):
        return f"{name} holds the same text twice"
    return None
