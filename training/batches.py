"""Batches by tokens and not by rows: rows of any length behind one another, without padding, up to a budget.

A row costs what it is long, so a budget of tokens bounds the memory of a step and keeps matrices of the same size on all
processes, whereas a number of rows must be set for the longest ones and leaves a device idle on the usual ones.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset as TorchDataset

from training.rows import draw

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLED = 1000
"""Rows whose length is measured to tell how many go into a batch."""


def cut(lengths: Sequence[int], budget: int, seed: int) -> list[list[int]]:
    """Rows in a seeded random order, cut into batches of at most `budget` tokens; a longer row is a batch of its own."""
    batches: list[list[int]] = []
    used = budget
    for row in sorted(range(len(lengths)), key=lambda row: draw(seed, row)):
        if used + lengths[row] > budget:
            batches.append([])
            used = 0
        batches[-1].append(row)
        used += lengths[row]
    return batches


def rows_in_a_batch(lengths: Sequence[int], budget: int) -> float:
    """How many rows of these lengths go into a batch on average."""
    return len(lengths) / len(cut(lengths, budget, seed=0))


def sampled_lengths(rows: "Dataset", tokenizer: Any, seed: int) -> list[int]:
    """Tokens of some rows, by the seeded draw."""
    chosen = sorted(range(len(rows)), key=lambda row: draw(seed, row))[:SAMPLED]
    sample = rows[chosen]
    chats = [prompt + completion for prompt, completion in zip(sample["prompt"], sample["completion"], strict=True)]
    return [len(tokens) for tokens in tokenizer.apply_chat_template(chats, tokenize=True, return_dict=True)["input_ids"]]


class Batches(TorchDataset[dict[str, Any]]):
    """Tokenised rows by batches: `input_ids` and `labels` of all rows of one, and `seq_lengths`, as TRL's packing has them.

    Which rows share a batch is drawn once; their order is drawn anew in every epoch, by the trainer.
    """

    def __init__(self, rows: "Dataset", budget: int, seed: int) -> None:
        self.rows = rows
        self.batches = cut([len(ids) for ids in rows["input_ids"]], budget, seed)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> dict[str, Any]:
        rows = self.rows[self.batches[number]]
        joined = {name: [token for row in rows[name] for token in row] for name in ("input_ids", "labels")}
        return joined | {"seq_lengths": [len(row) for row in rows["input_ids"]]}
