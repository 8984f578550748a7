"""What is counted of a dataset's rows for manifest, card and pictures, in one pass over them, in a pool of processes."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.dataset import SPLITS
from common.tasks import TASKS, Task
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split
from dataset_builders.workers import Run

AT_ONCE = 5000
"""Rows that a process counts at a time."""
LONGEST_EXAMPLE = 1500
"""Characters of a prompt on the card, if the task has one so short."""
_NO_EXAMPLE = (True, "~", "", "", 0)
"""Sorts behind every row."""
_MANY = 2**20
"""Record numbers that are held before those that came several times are left out."""

Shape = tuple[bool, Any]
"""Whether an answer is in words, and the answer: a label, the gains, the numbers, or how many words a text has."""


@dataclass
class RowFacts:
    """Counts of a task's rows.

    `digests`: S32 (rows,), parts of the sha256 of every row as JSON with its split. `example` is the row that the card shows:
    whether it is too long, its id, prompt, completion and wording. `words` are those of prompts, `answers` their shapes.
    `in_words` counts rows asked in words, `queries_by` who made their queries, `masked` what was masked, by source and kind.
    `records`: int64, parts of the numbers of the raw records that the rows were made of.
    """

    rows: Counter[str] = field(default_factory=Counter)
    digests: list[Any] = field(default_factory=list)
    licences: Counter[str] = field(default_factory=Counter)
    example: tuple[bool, str, str, str, int] = _NO_EXAMPLE
    words: Counter[int] = field(default_factory=Counter)
    answers: Counter[Shape] = field(default_factory=Counter)
    in_words: int = 0
    queries_by: Counter[str] = field(default_factory=Counter)
    masked: Counter[tuple[str, str]] = field(default_factory=Counter)
    records: list[Any] = field(default_factory=list)

    def add(self, other: "RowFacts") -> None:
        self.digests += other.digests
        self.example = min(self.example, other.example)
        self.in_words += other.in_words
        for name in ("rows", "licences", "words", "answers", "queries_by", "masked"):
            getattr(self, name).update(getattr(other, name))
        self.records += other.records
        if len(self.records) > 1 and sum(map(len, self.records[1:])) > _MANY:
            self.records = [distinct_numbers(self.records)]


def read_facts(built: Mapping[str, Split], run: Run = map) -> dict[str, RowFacts]:
    """The facts of every task."""
    facts = {name: RowFacts() for name in built}
    for name, found in run(_count, _parts(built)):
        facts[name].add(found)
    return facts


@dataclass(frozen=True)
class _Part:
    task: str
    split: str
    rows: Sequence[DatasetRow]

    def __len__(self) -> int:
        return len(self.rows)


def _parts(built: Mapping[str, Split]) -> Iterator[_Part]:
    for name, part in built.items():
        for split in SPLITS:
            rows = getattr(part, split)
            for start in range(0, len(rows), AT_ONCE):
                yield _Part(name, split, rows[start : start + AT_ONCE])


def _count(part: _Part) -> tuple[str, RowFacts]:
    import numpy as np

    task, facts, digests = TASKS[part.task], RowFacts(), bytearray()
    records: set[int] = set()
    for row in part.rows:
        line = json.dumps({"split": part.split, **row.as_columns()}, sort_keys=True, ensure_ascii=False)
        digests += hashlib.sha256(line.encode()).digest()
        shown = (len(row.prompt) > LONGEST_EXAMPLE, row.sample_id, row.prompt, row.completion, row.wording)
        facts.example = min(facts.example, shown)
        shape = answer_shape(task, json.loads(row.answer))
        facts.licences[row.licence] += 1
        facts.words[len(row.prompt.split())] += 1
        facts.answers[shape] += 1
        facts.in_words += shape[0]
        facts.queries_by[row.queries_by] += 1
        for kind, number in row.masked:
            facts.masked[row.source, kind] += number
        records.update(row.records)
    facts.rows[part.split] = len(part)
    facts.digests = [np.frombuffer(bytes(digests), "S32")]
    facts.records = [np.array(sorted(records), np.int64)]
    return part.task, facts


def answer_shape(task: Task, answer: Any) -> Shape:
    """Of a decoded answer."""
    if task.words and isinstance(answer, str) and answer in task.words.labels:
        return True, answer
    if isinstance(answer, list):
        return False, tuple(answer)
    return False, len(answer.split()) if task.family == "generation" else answer


def distinct_numbers(parts: Sequence[Any]) -> Any:
    """int64, sorted: every number in the arrays, once."""
    import numpy as np

    return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))


def fingerprint(facts: Sequence[RowFacts]) -> str:
    """sha256 over the sorted sha256 of the rows, each as JSON with its split: the same for the same rows in any order."""
    import numpy as np

    parts = [part for found in facts for part in found.digests]
    firsts = [part.view(np.uint8).reshape(-1, 32)[:, 0] >> 4 for part in parts]
    joined = hashlib.sha256()
    for first in range(16):  # a sixteenth at a time, in order, so that there are never two copies of all
        some = [part[of == first] for part, of in zip(parts, firsts, strict=True)]
        joined.update(np.sort(np.concatenate([np.empty(0, "S32"), *some])).tobytes())
    return joined.hexdigest()
