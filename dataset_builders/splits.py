"""Train and test splits by group: rows that belong together are in one split, in every task alike."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.tasks import TASKS, Task
from dataset_builders.rows import DatasetRow

TEST_SHARE = 0.11
"""Share of all groups whose rows may only be tested on. A little over the 0.097 that the full sizes ask for, so that a task
whose corpus is barely large enough still fills its test split."""

TEST_BOUND = f"{int(TEST_SHARE * 2**32):08x}"
"""The same share as the first eight hexadecimal digits of a draw: a group whose draw sorts below it is tested on."""

SPARE = 1.15
"""How many more rows than fill both splits a recipe makes, for those that cleaning and duplicates take away."""


UNLIMITED = 2**40
"""A size that no corpus reaches."""


@dataclass(frozen=True)
class Size:
    """The most rows of a task."""

    train: int
    test: int

    def candidates(self) -> int:
        """Rows that a recipe should make for this size."""
        return int(max(self.train / (1 - TEST_SHARE), self.test / TEST_SHARE) * SPARE) + 100


def parse_sizes(text: str) -> dict[str, Size]:
    """`0.1,also_buy=110+40` -> the size of every task: one for all, and others for some. Raises UserError."""
    default, *rest = [part.strip() for part in text.split(",")]
    if "=" in default:
        default, rest = "full", [default, *rest]
    sizes = {task.name: _parse_size(default, task) for task in TASKS.values()}
    for part in rest:
        name, size = (word.strip() for word in (part + "=").split("=")[:2])
        if name not in TASKS:
            raise UserError(f"--size knows no task {name}. The tasks are {', '.join(TASKS)}.")
        sizes[name] = _parse_size(size, TASKS[name])
    return sizes


def _parse_size(text: str, task: Task) -> Size:
    if text == "unlimited":
        return Size(UNLIMITED, UNLIMITED)
    train, plus, test = text.partition("+")
    if plus and train.isdecimal() and test.isdecimal() and len(train) < 12 and len(test) < 12:
        return Size(int(train), int(test))
    try:
        share = 1.0 if text == "full" else float(text if not plus else "nan")
    except ValueError:
        share = -1.0
    if not 0 < share <= 1000:
        raise UserError(
            f"--size {text} is not a size. Give full, unlimited, a share above 0 such as 0.1, or rows to train and test on "
            "such as 900+100."
        )
    return Size(round(task.train_size * share), max(1, round(task.test_size * share)))


def is_test(group: str, seed: int) -> bool:
    """Whether a group is tested on. It depends on the group alone, so no product is trained on in one task and tested on
    in another."""
    return hashlib.md5(f"{seed}|split|{group}".encode()).hexdigest()[:8] < TEST_BOUND


@dataclass(frozen=True)
class Split:
    """A task's rows. `surplus` holds those beyond the sizes asked for."""

    train: Sequence[DatasetRow]
    test: Sequence[DatasetRow]
    surplus: Sequence[DatasetRow] = ()
