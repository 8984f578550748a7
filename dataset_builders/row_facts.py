"""What is counted of a dataset's rows for manifest, card and pictures, in one pass over them, in a pool of processes."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from common.dataset import SPLITS
from common.tasks import TASKS, Task
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split
from dataset_builders.stored_numbers import StoredNumbers
from dataset_builders.workers import Run

AT_ONCE = 5000
"""Rows that a process counts at a time."""
LONGEST_EXAMPLE = 1500
"""Characters of a prompt on the card, if the task has one so short."""
_NO_EXAMPLE = (True, "~", "", "", 0)
"""Sorts behind every row."""
_SECTIONS = 16
"""Parts of a fingerprint that are sorted one after another, so that all rows' digests are never in memory at once."""

Shape = tuple[bool, Any]
"""Whether an answer is in words, and the answer: a label, the gains, the numbers, or how many words a text has."""


@dataclass
class RowCounts:
    """Counts of a task's rows.

    `example` is the row that the card shows: whether it is too long, its id, prompt, completion and wording. `words` are those
    of prompts, `answers` their shapes. `in_words` counts rows asked in words, `queries_by` who made their queries, `masked`
    what was masked, by source and kind.
    """

    rows: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    example: tuple[bool, str, str, str, int] = _NO_EXAMPLE
    words: Counter[int] = field(default_factory=Counter)
    answers: Counter[Shape] = field(default_factory=Counter)
    in_words: int = 0
    queries_by: Counter[str] = field(default_factory=Counter)
    masked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: "RowCounts") -> None:
        self.example = min(self.example, other.example)
        self.in_words += other.in_words
        for name in ("rows", "licences", "words", "answers", "queries_by", "masked"):
            getattr(self, name).update(getattr(other, name))


@dataclass
class RowFacts(RowCounts):
    """Counts of a task's rows and, on disk, what there is of every row.

    `digests`: S32 (rows,), the sha256 of every row as JSON with its split, in any order. `records`: int64, the numbers of the
    raw records that the rows were made of, in any order; a number may come several times.
    """

    digests: StoredNumbers = field(default_factory=partial(StoredNumbers, "S32"))
    records: StoredNumbers = field(default_factory=partial(StoredNumbers, "i8"))


def read_facts(built: Mapping[str, Split], run: Run = map, folder: Path | None = None) -> dict[str, RowFacts]:
    """The facts of every task; what there is of every row is in nameless files in `folder`."""
    facts = {name: RowFacts(digests=StoredNumbers("S32", folder), records=StoredNumbers("i8", folder)) for name in built}
    for name, counts, digests, records in run(_count, _parts(built)):
        facts[name].add(counts)
        facts[name].digests.add(digests)
        facts[name].records.add(records)
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


def _count(part: _Part) -> tuple[str, RowCounts, Any, Any]:
    """The task, counts of the rows, their digests, S32 (rows,), and the numbers of their records, int64, each once."""
    import numpy as np

    task, facts, digests = TASKS[part.task], RowCounts(), bytearray()
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
    return part.task, facts, np.frombuffer(bytes(digests), "S32"), np.array(sorted(records), np.int64)


def answer_shape(task: Task, answer: Any) -> Shape:
    """Of a decoded answer."""
    if task.words and isinstance(answer, str) and answer in task.words.labels:
        return True, answer
    if isinstance(answer, list):
        return False, tuple(answer)
    return False, len(answer.split()) if task.family == "generation" else answer


def fingerprint(facts: Sequence[RowFacts]) -> str:
    """sha256 over the sorted sha256 of the rows, each as JSON with its split: the same for the same rows in any order."""
    import numpy as np

    joined = hashlib.sha256()
    for section in range(_SECTIONS):  # by the first half of the first byte: in the order of all
        some = [part[_sections(part) == section] for found in facts for part in found.digests.parts()]
        joined.update(np.sort(np.concatenate([np.empty(0, "S32"), *some])).tobytes())
    return joined.hexdigest()


def _sections(digests: Any) -> Any:
    import numpy as np

    return digests.view(np.uint8).reshape(-1, 32)[:, 0] // (256 // _SECTIONS)
