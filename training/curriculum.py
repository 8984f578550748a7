"""What options mean first, their numbers later: in the first part of training, numbered options come in one fixed order.

In a row of the dataset the statements to choose from are shuffled, so that a model must learn two things at once: which one
is true, and to look its number up. Neither shows in the loss without the other, and a small model stays at a guess for
thousands of rows. With the statements in one order a number has one meaning, which is learned as in a classifier; then
looking it up is learned on top. Easier examples first is a curriculum (https://dl.acm.org/doi/10.1145/1553374.1553380).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from training.mixture import draw

if TYPE_CHECKING:
    from training.batches import Batches

OPTION = re.compile(r"([0-9]{1,3})\. (.*)\n")
OPTIONS = re.compile(rf"^(?:{OPTION.pattern})+", re.MULTILINE)


def in_fixed_order(prompt: str, completion: str) -> tuple[str, str]:
    """The prompt with the options of its last numbered list sorted, each on a line, and the number of the right one then.

    Unchanged where there is no such list, or where the completion is not one of its numbers.
    """
    lists = list(OPTIONS.finditer(prompt))
    if not lists:
        return prompt, completion
    numbers, options = zip(*OPTION.findall(lists[-1][0]), strict=True)
    if completion not in numbers or len(set(numbers)) < len(numbers):
        return prompt, completion
    ordered = sorted(options)
    lines = "".join(f"{number}. {option}\n" for number, option in zip(numbers, ordered, strict=True))
    right = options[numbers.index(completion)]
    return prompt[: lists[-1].start()] + lines + prompt[lists[-1].end() :], numbers[ordered.index(right)]


def easier(row: dict[str, Any]) -> dict[str, Any]:
    """A row of messages with the options of its question in a fixed order."""
    *before, question = row["prompt"]
    answer, *after = row["completion"]
    prompt, completion = in_fixed_order(question["content"], answer["content"])
    return {
        "prompt": [*before, question | {"content": prompt}],
        "completion": [answer | {"content": completion}, *after],
    }


class EasierFirst(Sampler[int]):
    """Batches in an order drawn anew for every epoch; those of the first epoch's first part as their easier versions.

    The order depends on seed and epoch alone, so that a run that goes on from a checkpoint goes on in it.
    """

    def __init__(self, batches: "Batches", share: float, seed: int) -> None:
        self.count, self.seed, self.epoch = len(batches), seed, 0
        self.easier = round(share * self.count)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        order = sorted(range(self.count), key=lambda number: draw(self.seed, f"{self.epoch}|{number}"))
        first = 0 if self.epoch else self.easier
        yield from (number + self.count for number in order[:first])
        yield from order[first:]
