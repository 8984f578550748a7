"""Batches by tokens and not by rows: rows of any length behind one another, without padding, up to a budget.

A row costs what it is long, so a budget of tokens bounds the memory of a step and keeps matrices of the same size on all
processes, whereas a number of rows must be set for the longest ones and leaves a device idle on the usual ones.

What all prompts of a batch begin with, at the least what a chat template writes before the first message, is computed once
a batch and not once a row: with causal attention its states are the same in each of them, and its gradient is the sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset as TorchDataset

from training.mixture import draw

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100
"""The label of a token that is not supervised."""

LEAST_SHARED = 16
"""A shorter prefix is not worth the copies of it that each row's attention makes."""

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

    Which rows share a batch is drawn once; their order is drawn anew in every epoch, by the trainer. With `share`, a prefix
    that several rows have in common comes first, as if it were a row, and then what each of them goes on with. Behind the
    last batch (their number is the length) come the same ones of `easier` rows, for curriculum.py.
    """

    def __init__(self, rows: "Dataset", budget: int, seed: int, share: bool = False, easier: "Dataset | None" = None) -> None:
        self.rows, self.easier, self.share = rows, easier, share
        self.batches = cut([len(ids) for ids in rows["input_ids"]], budget, seed)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> dict[str, Any]:
        rows = self.rows
        if self.easier is not None and number >= len(self):
            rows, number = self.easier, number - len(self)
        columns = rows[self.batches[number]]
        ids, labels = columns["input_ids"], columns["labels"]
        shared = shared_prefix(ids, labels) if self.share else 0
        if shared:
            ids, labels = ([column[0][:shared], *(row[shared:] for row in column)] for column in (ids, labels))
        joined = {name: [token for row in column for token in row] for name, column in (("input_ids", ids), ("labels", labels))}
        return joined | {"seq_lengths": [len(row) for row in ids], "shared_prefix": shared}


def shared_prefix(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> int:
    """How many tokens several rows begin with in common, such that the next one of each is not supervised either.

    The collator supervises no row's first token, as nothing comes before it. 0 for less than LEAST_SHARED.
    """
    if len(ids) < 2:
        return 0
    prompts = [next((place for place, label in enumerate(row) if label != IGNORED), len(row)) for row in labels]
    parted = next((place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1), min(map(len, ids)))
    shared = min(parted, min(prompts) - 1)
    return shared if shared >= LEAST_SHARED else 0


@dataclass(frozen=True)
class PrefixCollator:
    """TRL's padding-free `collate`, after which the rows of a batch go on at the position where its shared prefix ends.

    `shared_prefix` goes to the attention with what else the model is given, as `cu_seq_lens_q` does.
    """

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collate(examples)
        shared = examples[0].get("shared_prefix", 0) if len(examples) == 1 else 0
        if shared:
            batch["position_ids"][:, shared:] += shared
            batch["shared_prefix"] = shared
        return batch
