"""A curriculum (https://dl.acm.org/doi/10.1145/1553374.1553380): rows are easier in the first part of training.

Where numbers answer, a model must learn two things at once: which item is right, and to look its number up. Neither shows in
the loss without the other, and a small model keeps guessing for thousands of rows. So each is taught alone at first. Of the
options of a choice, which the dataset shuffles, the order is fixed: a number has one meaning, learned as in a classifier. The
query of a ranking is the title of its best product: nothing but the number is to be found.
"""

import re
from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler

from common.answers import numbered_items
from common.prompts import refilled
from common.tasks import TASKS
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


def ask_for_best(prompt: str, completion: str, task: str | None) -> str:
    """The prompt of a ranking with the title of the product that is first in the completion as its query.

    Unchanged where the task is another one, or none of its templates fits.
    """
    known = TASKS.get(task or "")
    if known is None or known.family != "ranking":
        return prompt
    first = completion.partition(",")[0].strip()
    best = numbered_items(prompt).get(int(first)) if first.isdecimal() else None
    return refilled(known, prompt, query=best) if best else prompt


def easier(row: dict[str, Any]) -> dict[str, Any]:
    """A prompt-completion row with the options of its question sorted, or with the query of its ranking made plain. `task`, if
    the row has it, says what it asks."""
    *before, question = row["prompt"]
    answer, *after = row["completion"]
    prompt, completion = sort_options(question["content"], answer["content"])
    prompt = ask_for_best(prompt, completion, row.get("task"))
    return {
        "prompt": [*before, question | {"content": prompt}],
        "completion": [answer | {"content": completion}, *after],
    }


class CurriculumSampler(Sampler[int]):
    """Numbers of `count` batches in an order drawn anew for every epoch; in the first epoch's first `share` of batches those of
    their easier versions.

    The order depends on seed and epoch alone, so that a resumed run continues in it.
    """

    def __init__(self, count: int, share: float, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.easier_batches = round(share * count)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        order = sorted(range(self.count), key=lambda number: draw(self.seed, f"{self.epoch}|{number}"))
        first = 0 if self.epoch else self.easier_batches
        yield from (number + self.count for number in order[:first])
        yield from order[first:]
