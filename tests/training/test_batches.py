"""training/batches.py: packing of rows by tokens, shared prefixes, and what TRL's collator makes of a batch."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import make_row
from training.batches import (
    LENGTH_SAMPLE,
    MIN_SHARED_PREFIX,
    PrefixCollator,
    TokenBatches,
    mean_rows_per_batch,
    pack_rows,
    sample_tokens,
    shared_prefix,
)

LENGTHS = st.lists(st.integers(1, 400), max_size=80)
TOKENISED = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=12)


def dataset(rows: list[list[int]]) -> Any:
    """Rows whose labels are their tokens plus 100, all supervised."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": rows, "labels": [[token + 100 for token in row] for row in rows]})


@given(lengths=LENGTHS, budget=st.integers(1, 1000), seed=st.integers(0, 3))
def test_every_row_is_in_one_batch_and_no_batch_of_several_is_over_budget(lengths: list[int], budget: int, seed: int) -> None:
    batches = pack_rows(lengths, budget, seed)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(batches)
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[row] for row in batch) <= budget


@given(lengths=LENGTHS, budget=st.integers(1, 1000), seed=st.integers(0, 3))
def test_a_batch_is_closed_only_when_the_next_row_does_not_fit(lengths: list[int], budget: int, seed: int) -> None:
    batches = pack_rows(lengths, budget, seed)
    for batch, following in pairwise(batches):
        assert sum(lengths[row] for row in batch) + lengths[following[0]] > budget


@given(lengths=LENGTHS, budget=st.integers(1, 1000), seed=st.integers(0, 3))
def test_the_same_seed_cuts_the_same(lengths: list[int], budget: int, seed: int) -> None:
    assert pack_rows(lengths, budget, seed) == pack_rows(tuple(lengths), budget, seed)


def test_another_seed_cuts_otherwise() -> None:
    assert pack_rows([10] * 50, 100, seed=0) != pack_rows([10] * 50, 100, seed=1)


def test_rows_of_all_lengths_share_batches() -> None:
    lengths = [10] * 100 + [50] * 100
    batches = pack_rows(lengths, 300, seed=0)
    mixed = [batch for batch in batches if len({lengths[row] for row in batch}) == 2]
    assert len(mixed) > 0.9 * len(batches)


def test_rows_of_one_wording_share_batches_that_begin_with_their_instruction() -> None:
    from datasets import Dataset

    chat, wordings = list(range(20)), ([30] * 12, [40] * 12)
    rows = [[*chat, *wordings[number % 2], 50 + number, 99] for number in range(40)]
    table = Dataset.from_dict({"input_ids": rows, "labels": [[-100] * 33 + [99]] * 40})
    batches = TokenBatches(table, 34 * 5, seed=0, share=True, group=True)
    kinds = [{number % 2 for number in batch} for batch in batches.batches]
    assert all(len(kind) == 1 for kind in kinds)
    assert all(batches[number]["shared_prefix"] == 32 for number in range(len(batches)))
    assert sorted(number for batch in batches.batches for number in batch) == list(range(40))


def test_rows_in_a_batch_are_told_on_average() -> None:
    assert mean_rows_per_batch([10] * 100, 100) == 10
    assert mean_rows_per_batch([10] * 100, 109) == 10
    assert mean_rows_per_batch([200] * 7, 100) == 1


def test_sampled_rows_are_as_long_as_they_are_when_tokenised(tiny_llama: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    rows = [make_row(task, number) for task in ("also_buy", "answer_generation") for number in range(5)]
    expected = [len(tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]) for row in rows]
    assert sorted(map(len, sample_tokens(Dataset.from_list(rows), tokenizer, seed=0))) == sorted(expected)


def test_of_many_rows_only_some_are_measured_and_those_are_drawn_by_the_seed() -> None:
    from datasets import Dataset

    class Words:
        """Takes every chat for the number in its prompt."""

        def apply_chat_template(self, chats: list[str], **options: Any) -> dict[str, list[list[int]]]:
            return {"input_ids": [[int(chat)] for chat in chats]}

    count = LENGTH_SAMPLE + 200
    rows = Dataset.from_dict({"prompt": [str(number) for number in range(count)], "completion": [""] * count})
    measured = sample_tokens(rows, Words(), seed=0)
    assert len({number for (number,) in measured}) == LENGTH_SAMPLE
    assert measured == sample_tokens(rows, Words(), seed=0)
    assert measured != sample_tokens(rows, Words(), seed=1)


@settings(deadline=None)  # the first example waits for imports
@given(rows=TOKENISED, budget=st.integers(1, 40), seed=st.integers(0, 3))
def test_a_batch_holds_its_rows_behind_one_another(rows: list[list[int]], budget: int, seed: int) -> None:
    batches = TokenBatches(dataset(rows), budget, seed)
    assert len(batches) == len(batches.batches)
    for number, members in enumerate(batches.batches):
        batch = batches[number]
        assert batch["input_ids"] == [token for row in members for token in rows[row]]
        assert batch["labels"] == [token + 100 for row in members for token in rows[row]]
        assert batch["seq_lengths"] == [len(rows[row]) for row in members]
        assert batch["shared_prefix"] == 0


CHATS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=2)),
    min_size=1,
    max_size=8,
)
"""Prompts and completions of few different tokens, so that they often begin alike."""


@settings(deadline=None)  # the first example waits for imports
@given(chats=CHATS, budget=st.integers(1, 200), begin=st.sampled_from([0, MIN_SHARED_PREFIX - 2, MIN_SHARED_PREFIX]))
def test_a_shared_prefix_lies_in_a_batch_once_and_no_row_loses_a_token_a_label_or_its_positions(
    chats: list[tuple[list[int], list[int]]], budget: int, begin: int
) -> None:
    from datasets import Dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    chats = [(BEGIN[:begin] + prompt, completion) for prompt, completion in chats]
    ids = [prompt + completion for prompt, completion in chats]
    labels = [[-100] * len(prompt) + completion for prompt, completion in chats]
    batches = TokenBatches(Dataset.from_dict({"input_ids": ids, "labels": labels}), budget, seed=0, share=True)
    collate = PrefixCollator(DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True))
    for number, members in enumerate(batches.batches):
        shared = batches[number]["shared_prefix"]
        begins = [ids[row][:shared] for row in members]
        assert all(begin == begins[0] for begin in begins)
        batch = collate([batches[number]])
        bounds = batch["cu_seq_lens_q"].tolist()
        pieces = {
            name: [batch[name][0, a:b].tolist() for a, b in pairwise(bounds)]
            for name in ("input_ids", "labels", "position_ids")
        }
        if shared:
            assert batch["shared_prefix"] == shared
            pieces = {name: [rows[0] + row for row in rows[1:]] for name, rows in pieces.items()}
        assert pieces["input_ids"] == [ids[row] for row in members]
        assert pieces["labels"] == [labels[row] for row in members]
        assert pieces["position_ids"] == [list(range(len(ids[row]))) for row in members]


BEGIN = list(range(MIN_SHARED_PREFIX))


@pytest.mark.parametrize(
    ("ids", "supervised_from", "expected"),
    [
        ([[*BEGIN, 1, 2, 3]], [-1], 0),  # nobody to share with
        ([[*BEGIN, 1, 2, 3], [*BEGIN, 7, 2, 3]], [-1, -1], MIN_SHARED_PREFIX),
        ([[*BEGIN, 1, 2, 3], [*BEGIN, 1, 2, 3]], [-1, -1], MIN_SHARED_PREFIX + 1),  # the token after it is not supervised
        ([[*BEGIN, 1, 2, 3], [*BEGIN, 1, 2, 3]], [-1, -3], 0),
        ([[*BEGIN, 1, 2, 3], [*BEGIN[:-1], 7, 2, 3]], [-1, -1], 0),  # too short to be worth it
        ([[*BEGIN, 1], [7, 2]], [-1, -1], 0),
    ],
)
def test_a_prefix_is_shared_up_to_where_rows_part_or_an_answer_begins(
    ids: list[list[int]], supervised_from: list[int], expected: int
) -> None:
    labels = [[-100] * len(row[:start]) + row[start:] for row, start in zip(ids, supervised_from, strict=True)]
    assert shared_prefix(ids, labels) == expected


@settings(deadline=None)  # the first example waits for imports
@given(rows=TOKENISED, budget=st.integers(1, 40), together=st.integers(1, 3))
def test_collated_rows_have_their_own_positions_and_no_supervised_first_token(
    rows: list[list[int]], budget: int, together: int
) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    batches = TokenBatches(dataset(rows), budget, seed=0)
    numbers = range(min(together, len(batches)))
    collated = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([batches[number] for number in numbers])
    lying = [rows[row] for number in numbers for row in batches.batches[number]]
    assert "attention_mask" not in collated
    assert collated["input_ids"].tolist() == [[token for row in lying for token in row]]
    assert collated["position_ids"].tolist() == [[place for row in lying for place in range(len(row))]]
    assert collated["labels"].tolist() == [[token for row in lying for token in (-100, *(token + 100 for token in row[1:]))]]
    ends = [sum(len(row) for row in lying[:number]) for number in range(len(lying) + 1)]
    assert collated["cu_seq_lens_q"].tolist() == ends


def test_batches_are_counted_and_read_as_torch_does_it() -> None:
    from torch.utils.data import DataLoader

    batches = TokenBatches(dataset([[number] * 5 for number in range(7)]), budget=12, seed=0)
    loaded = list(DataLoader(batches, batch_size=1, collate_fn=lambda items: items[0]))
    assert len(loaded) == 4
    assert sorted({token for batch in loaded for token in batch["input_ids"]}) == list(range(7))
    with pytest.raises(IndexError):
        batches[4]
