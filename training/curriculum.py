"""A curriculum (https://dl.acm.org/doi/10.1145/1553374.1553380): numbered options are sorted in the first part of training.

The dataset shuffles the statements to choose from, so that a model must learn two things at once: which one is true, and to
look its number up. Neither shows in the loss without the other, and a small model keeps guessing for thousands of rows. Where
statements are sorted a number has one meaning, which is learned as in a classifier; then looking it up is learned on top.
"""

import re
from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler

from training.mixture import draw

OPTION = re.compile(r"([0-9]{1,3})\. (.*)\n")
OPTIONS = re.compile(rf"^(?:{OPTION.pattern})+", re.MULTILINE)


def sort_options(prompt: str, completion: str) -> tuple[str, str]:
    """The prompt with the options of its last numbered list sorted, one a line, and the number that the right one then has.

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


def with_sorted_options(row: dict[str, Any]) -> dict[str, Any]:
    """A prompt-completion row with the options of its question sorted."""
    *before, question = row["prompt"]
    answer, *after = row["completion"]
    prompt, completion = sort_options(question["content"], answer["content"])
    return {
        "prompt": [*before, question | {"content": prompt}],
        "completion": [answer | {"content": completion}, *after],
    }


class CurriculumSampler(Sampler[int]):
    """Numbers of `count` batches in an order drawn anew for every epoch; in the first epoch's first `share` of batches those of
    their versions with sorted options.

    The order depends on seed and epoch alone, so that a resumed run continues in it.
    """

    def __init__(self, count: int, share: float, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.sorted_batches = round(share * count)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        order = sorted(range(self.count), key=lambda number: draw(self.seed, f"{self.epoch}|{number}"))
        first = 0 if self.epoch else self.sorted_batches
        yield from (number + self.count for number in order[:first])
        yield from order[first:]
