"""Packing: whole rows in one sequence without padding, up to a number of tokens per micro-batch.

A row costs what it is long, so a budget of tokens bounds the memory of a step and keeps matrices of the same size on all
processes, whereas a number of rows must be set for the longest ones and leaves a device idle on the usual ones.

The prefix that all prompts of a batch share, at least what a chat template writes before the first message, is computed once
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

MIN_SHARED_PREFIX = 16
"""Tokens; a shorter prefix is not worth the copies of it that each row's attention makes."""

INSTRUCTION = 8
"""Tokens by which rows of one wording are told from those of another, behind what a chat template writes."""

LENGTH_SAMPLE = 1000
"""Rows whose tokens are looked at for the training plan."""


def pack_rows(
    lengths: Sequence[int], budget: int, seed: int, beginnings: Sequence[Sequence[int]] | None = None
) -> list[list[int]]:
    """Numbers of rows in a seeded random order, in batches of at most `budget` tokens; a longer row is a batch of its own.

    Rows of the same beginning are next to each other, where `beginnings` are given.
    """
    batches: list[list[int]] = []
    used = budget
    for row in sorted(range(len(lengths)), key=lambda row: (beginnings[row] if beginnings else (), draw(seed, row))):
        if used + lengths[row] > budget:
            batches.append([])
            used = 0
        batches[-1].append(row)
        used += lengths[row]
    return batches


def instruction_beginnings(ids: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The first tokens of each row in which rows differ: what tells one task's wording from another's."""
    parted = next((place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1), 0)
    return [tuple(row[parted : parted + INSTRUCTION]) for row in ids]


def mean_rows_per_batch(lengths: Sequence[int], budget: int) -> float:
    """How many rows of these lengths a batch holds on average."""
    return len(lengths) / len(pack_rows(lengths, budget, seed=0))


def sample_tokens(rows: "Dataset", tokenizer: Any, seed: int) -> list[list[int]]:
    """Token ids of at most LENGTH_SAMPLE rows, chosen by a seeded draw."""
    chosen = sorted(range(len(rows)), key=lambda row: draw(seed, row))[:LENGTH_SAMPLE]
    sample = rows[chosen]
    chats = [prompt + completion for prompt, completion in zip(sample["prompt"], sample["completion"], strict=True)]
    tokens: list[list[int]] = tokenizer.apply_chat_template(chats, tokenize=True, return_dict=True)["input_ids"]
    return tokens


class TokenBatches(TorchDataset[dict[str, Any]]):
    """Micro-batches of tokenised rows: `input_ids` and `labels` of all their rows, and `seq_lengths`, as TRL's packing has it.

    Which rows share a batch is drawn once; the batches' order is drawn anew in every epoch, by the trainer. With `group`, rows
    of one wording share a batch. With `share`, a prefix that all rows of a batch have in common comes first, as if it were a
    row, and then the rest of each row. Item
    `len(self) + n` is batch n made of `easier_rows`, the same rows in their easier versions (curriculum.py).
    """

    def __init__(
        self,
        rows: "Dataset",
        budget: int,
        seed: int,
        share: bool = False,
        easier_rows: "Dataset | None" = None,
        group: bool = False,
    ) -> None:
        self.rows, self.easier_rows, self.share = rows, easier_rows, share
        tokens = rows["input_ids"][:]
        lengths = list(map(len, tokens))
        if easier_rows is not None:
            lengths = list(map(max, lengths, map(len, easier_rows["input_ids"][:])))
        self.batches = pack_rows(lengths, budget, seed, instruction_beginnings(tokens) if group else None)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> dict[str, Any]:
        rows = self.rows
        if self.easier_rows is not None and number >= len(self):
            rows, number = self.easier_rows, number - len(self)
        columns = rows[self.batches[number]]
        ids, labels = columns["input_ids"], columns["labels"]
        shared = shared_prefix(ids, labels) if self.share else 0
        if shared:
            ids, labels = ([column[0][:shared], *(row[shared:] for row in column)] for column in (ids, labels))
        joined = {name: [token for row in column for token in row] for name, column in (("input_ids", ids), ("labels", labels))}
        return joined | {"seq_lengths": [len(row) for row in ids], "shared_prefix": shared}


def shared_prefix(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> int:
    """Length of the prefix that all rows share, such that the next token of each is not supervised either.

    The collator supervises no row's first token, as nothing comes before it. 0 for less than MIN_SHARED_PREFIX.
    """
    if len(ids) < 2:
        return 0
    prompts = [next((place for place, label in enumerate(row) if label != IGNORED), len(row)) for row in labels]
    parted = next((place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1), min(map(len, ids)))
    shared = min(parted, min(prompts) - 1)
    return shared if shared >= MIN_SHARED_PREFIX else 0


@dataclass(frozen=True)
class PrefixCollator:
    """TRL's padding-free `collate`, with positions of the rows that continue where their shared prefix ends.

    The model passes `shared_prefix` on to the attention, as it does `cu_seq_lens_q`.
    """

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collate(examples)
        shared = examples[0].get("shared_prefix", 0) if len(examples) == 1 else 0
        if shared:
            batch["position_ids"][:, shared:] += shared
            batch["shared_prefix"] = shared
        return batch
