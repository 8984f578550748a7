"""Group-wise train and test: what belongs together is in one split, in every task alike."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from dataset_builders.rows import Row
from dataset_builders.tasks import Task

TEST_SHARE = 0.11
"""Share of all groups whose rows may only be tested on. A little over the 0.097 that the full sizes ask for, so that a task
whose corpus is barely large enough still fills its test split."""

TEST_BOUND = f"{int(TEST_SHARE * 2**32):08x}"
"""The same share as the first eight hexadecimal digits of a draw: a group whose draw sorts below it is tested on."""

SPARE = 1.25
"""How many more rows than a task's size its recipe makes, for those that cleaning, duplicates and the split take away."""


@dataclass(frozen=True)
class Size:
    """The most rows of a task."""

    train: int
    test: int

    def candidates(self) -> int:
        """Rows that a recipe should make for this size."""
        return int((self.train + self.test) * SPARE) + 100


def size_of(task: Task, size: float | None) -> Size:
    """The task's full size times `size`; None has no bound."""
    if size is None:
        return Size(2**40, 2**40)
    return Size(round(task.train_size * size), max(1, round(task.test_size * size)))


def is_test(group: str, seed: int) -> bool:
    """Whether a group is tested on. It depends on the group alone, so no product is trained on in one task and tested on
    in another."""
    return hashlib.md5(f"{seed}|split|{group}".encode()).hexdigest()[:8] < TEST_BOUND


@dataclass(frozen=True)
class Split:
    """`over` holds the rows for which there was no room."""

    train: list[Row]
    test: list[Row]
    over: list[Row]


def split(rows: Iterable[Row], size: Size, seed: int) -> Split:
    """The first rows in the given order that fit into either split."""
    result = Split([], [], [])
    for row in rows:
        target, room = (result.test, size.test) if is_test(row.group, seed) else (result.train, size.train)
        (target if len(target) < room else result.over).append(row)
    return result
