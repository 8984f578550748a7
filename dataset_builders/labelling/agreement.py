"""Agreement of a model with the constructed labels: share, confusion matrix and kappa, by task and label."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.prompts import read_fields
from common.tasks import TASKS
from common.words import row_task
from dataset_builders.labelling.votes import Vote, chance_agreement
from dataset_builders.rows import DatasetRow

UNREADABLE = "unreadable"
"""Column of a confusion matrix for answers that could not be parsed or were refused."""


@dataclass
class Agreement:
    """Agreement of one model's answers to one task. An answer is one sample of one row.

    `confusion`: (constructed label, the model's or UNREADABLE) -> answers, of a multiple choice. `scores`: of the other
    families, of every readable answer. `by_chance`: sum over answers of the probability that a random one would agree.
    """

    answers: int = 0
    unreadable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    agreed: int = 0
    by_chance: float = 0.0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the answers that agree; one that could not be parsed does not."""
        return self.agreed / self.answers if self.answers else 0.0

    @property
    def chance(self) -> float:
        """Expected share by chance: for labels, with the model's own frequencies of them."""
        if not self.confusion:
            return self.by_chance / self.answers if self.answers else 0.0
        constructed, answered = self._margins()
        return sum(constructed[label] * answered[label] for label in constructed) / self.answers**2

    @property
    def kappa(self) -> float | None:
        """Agreement beyond chance, 1 at most: (share - chance) / (1 - chance). For labels it is Cohen's
        (https://doi.org/10.1177/001316446002000104). None where chance alone would always agree."""
        return (self.share - self.chance) / (1 - self.chance) if self.answers and self.chance < 1 else None

    def labels(self) -> dict[str, tuple[int, int]]:
        """Constructed label -> (answers to its rows, those that agree)."""
        constructed, _ = self._margins()
        return {label: (count, self.confusion[label, label]) for label, count in sorted(constructed.items())}

    def _margins(self) -> tuple[Counter[str], Counter[str]]:
        constructed, answered = Counter[str](), Counter[str]()
        for (label, answer), count in self.confusion.items():
            constructed[label] += count
            answered[answer] += count
        return constructed, answered

    def as_json(self) -> dict[str, Any]:
        confusion: dict[str, dict[str, int]] = {}
        for (label, answer), count in sorted(self.confusion.items()):
            confusion.setdefault(label, {})[answer] = count
        return {
            "answers": self.answers,
            "unreadable": self.unreadable,
            "refused": dict(sorted(self.refused.items())),
            "agreed": self.agreed,
            "share": self.share,
            "chance": self.chance,
            "kappa": self.kappa,
            "labels": {label: {"answers": count, "agreed": agreed} for label, (count, agreed) in self.labels().items()},
            "confusion": confusion,
        }


def measure_agreement(
    voted: Iterable[tuple[DatasetRow, Sequence[Vote]]], bounds: Mapping[str, float]
) -> dict[tuple[str, str], Agreement]:
    """(task, model) -> agreement, in order of appearance."""
    agreements: dict[tuple[str, str], Agreement] = {}
    for row, votes in voted:
        by_chance = chance_agreement(row, bounds)
        names = label_names(row)
        for vote in votes:
            counts = agreements.setdefault((row.task, vote.model), Agreement())
            counts.answers += 1
            counts.agreed += vote.agrees
            counts.by_chance += by_chance
            if vote.refused:
                counts.refused[vote.refused] += 1
            elif vote.text is None:
                counts.unreadable += 1
            if names:
                answer = UNREADABLE if vote.text is None else names.get(vote.text, vote.text)
                counts.confusion[names[json.loads(row.answer)], answer] += 1
            elif vote.text is not None:
                counts.scores.append(vote.score)
    return agreements


def label_names(row: DatasetRow) -> dict[str, str]:
    """Label -> name, of a multiple choice, else empty. A number is named for its option in the row's prompt."""
    from dataset_builders.recipes.multiple_choice import RELATION_OF_PRODUCTS, RELEVANCE

    task = row_task(TASKS[row.task], json.loads(row.answer))
    if task.family != "multiple_choice":
        return {}
    short = {statement: name for statements in (RELATION_OF_PRODUCTS, RELEVANCE) for name, statement in statements.items()}
    options = read_fields(task, row.prompt).get("options", ())
    named = [short.get(option, option) for option in options]
    return {label: named[place] if place < len(named) else label for place, label in enumerate(task.labels)}
