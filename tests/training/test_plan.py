"""training/plan.py: the rows and tokens of a step on any number of processes, and the notes where an option changes."""

from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from tests.training.conftest import make_row
from training import attention
from training.arguments import DataArguments, parse_arguments
from training.batches import mean_rows_per_batch, sample_tokens
from training.plan import TrainingPlan, apply_plan, check_vocabulary, make_plan, print_plan, without_packing

LENGTHS = [100] * 400
EPOCH = 100_000


def plan(
    lengths: list[int] = LENGTHS,
    rows: int = EPOCH,
    processes: int = 1,
    batch: int = 8,
    accumulation: int = 7,
    attn: str | None = "sdpa",
    packing: bool = False,
    max_length: int | None = 1024,
    **data: Any,
) -> TrainingPlan:
    args: Any = SimpleNamespace(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        world_size=processes,
        packing=packing,
        padding_free=False,
        packing_strategy="bfd",
        max_length=max_length,
        bf16=True,
        fp16=False,
    )
    model: Any = SimpleNamespace(attn_implementation=attn)
    return make_plan(args, model, DataArguments(**data), lengths, rows)


def step(rows_per_step: int, batch: int, processes: int = 1) -> tuple[int, int]:
    """Rows of a micro-batch and micro-batches of a step, padded."""
    made = plan(processes=processes, batch=batch, rows_per_step=rows_per_step)
    return made.rows_per_batch, made.gradient_accumulation_steps


def test_a_plan_is_frozen_and_can_be_written_as_json() -> None:
    made = plan(tokens_per_batch=1024, rows_per_step=128)
    with pytest.raises(FrozenInstanceError):
        made.tokens_per_batch = 1  # type: ignore[misc]
    assert asdict(made)["asked"] == {
        "tokens_per_batch": 1024,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 7,
        "rows_per_step": 128,
    }


def test_a_tokenizer_whose_tokens_the_model_has_no_weights_for_is_refused(tiny_llama: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    base = SimpleNamespace(config=AutoConfig.from_pretrained(tiny_llama))
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    check_vocabulary(base, tokenizer, [[1, 2], [399]])
    with pytest.raises(UserError, match=r"has number 400, and the model has weights for 400; take a base whose tokenizer fits"):
        check_vocabulary(base, tokenizer, [[1, 2], [400]])


def test_planning_changes_no_argument() -> None:
    script, args, model, data = parse_arguments(["--tokens_per_batch", "8192", "--rows_per_step", "8"])
    before = [str(part) for part in (script, args, model, data)]
    assert make_plan(args, model, data, LENGTHS, EPOCH).tokens_per_batch < 8192
    assert [str(part) for part in (script, args, model, data)] == before


# Batches by rows


def test_without_rows_per_step_both_numbers_are_as_asked_for() -> None:
    assert step(0, 8) == (8, 7)
    assert plan(rows_per_step=0).notes == ()


def test_rows_of_a_step_are_shared_out_evenly_to_micro_batches_and_processes() -> None:
    assert step(16, 8) == (8, 2)
    assert step(16, 8, processes=2) == (8, 1)
    assert step(16, 8, processes=4) == (4, 1)
    assert step(10, 8) == (5, 2)
    assert step(3, 8) == (3, 1)
    assert step(2, 8, processes=4) == (1, 1), "a process has one row at least"


@given(rows=st.integers(1, 500), batch=st.integers(1, 64), processes=st.integers(1, 16))
def test_a_step_has_about_the_rows_asked_for_and_no_micro_batch_more_than_fit(rows: int, batch: int, processes: int) -> None:
    made = plan(processes=processes, batch=batch, rows_per_step=rows)
    size, steps = made.rows_per_batch, made.gradient_accumulation_steps
    assert 1 <= size <= batch
    assert steps >= 1
    shared = steps * processes
    assert abs(size * shared - rows) <= shared / 2 or size == 1
    assert made.rows_per_step == size * shared == made.batches_per_step
    assert made.tokens_per_step == 100 * made.rows_per_step
    assert (made.packing, made.attn_implementation) == ("none", "sdpa")


# Batches by tokens


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (None, attention.NAME),
        ("sdpa", attention.NAME),
        (attention.NAME, attention.NAME),
        ("flash_attention_2", "flash_attention_2"),
    ],
)
def test_batches_by_tokens_lie_without_padding_and_are_one_to_a_micro_batch(asked: str | None, used: str) -> None:
    words = [] if asked is None else ["--attn_implementation", asked]
    _, args, model, data = parse_arguments(["--tokens_per_batch", "512", "--per_device_train_batch_size", "8", *words])
    made = make_plan(args, model, data, LENGTHS, EPOCH)
    assert (made.tokens_per_batch, made.packing, made.notes) == (512, "whole rows", ())
    apply_plan(made, args, model)
    assert args.padding_free
    assert args.per_device_train_batch_size == 1
    assert model.attn_implementation == used


def test_batches_by_rows_stay_as_they_are_asked_for() -> None:
    _, args, model, data = parse_arguments(["--per_device_train_batch_size", "8", "--attn_implementation", "sdpa"])
    apply_plan(make_plan(args, model, data, LENGTHS, EPOCH), args, model)
    assert not args.padding_free
    assert args.per_device_train_batch_size == 8
    assert model.attn_implementation == "sdpa"


def test_trl_s_own_packing_stays_with_its_attention_and_fills_sequences() -> None:
    _, args, model, data = parse_arguments(["--packing", "true", "--attn_implementation", "eager", "--max_length", "1000"])
    made = make_plan(args, model, data, LENGTHS, EPOCH)
    apply_plan(made, args, model)
    assert args.packing
    assert (made.packing, model.attn_implementation) == ("bfd", "eager")
    assert made.rows_per_step == 10 * args.per_device_train_batch_size


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    tokens=st.integers(1, 10_000),
    rows=st.integers(0, 300),
    processes=st.integers(1, 16),
)
def test_a_budget_of_tokens_shrinks_only_where_one_batch_on_each_process_is_too_much(
    lengths: list[int], tokens: int, rows: int, processes: int
) -> None:
    made = plan(lengths, processes=processes, tokens_per_batch=tokens, rows_per_step=rows)
    full = mean_rows_per_batch(lengths, tokens)
    assert made.rows_per_batch == 1
    assert made.batches_per_step == made.gradient_accumulation_steps * processes
    if rows == 0 or full * processes <= rows:
        assert made.tokens_per_batch == tokens
    else:
        assert 1 <= made.tokens_per_batch <= tokens
    assert any(note.startswith("tokens_per_batch") for note in made.notes) == (full * processes > rows > 0)
    assert made.gradient_accumulation_steps >= 1
    per_batch = mean_rows_per_batch(lengths, made.tokens_per_batch)
    assert made.rows_per_step == round(per_batch * made.batches_per_step, 1)
    off = abs(per_batch * made.batches_per_step - rows)
    if rows and made.gradient_accumulation_steps > 1:
        assert off <= per_batch * processes / 2 + 1e-6, "one micro-batch more or fewer would not come nearer"
    assert any(note.startswith("rows_per_step") for note in made.notes) == (rows > 0 and off > 0.1 * rows)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_with_batches_by_tokens_accumulation_follows_from_the_rows_that_go_into_one(processes: int, tiny_llama: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    lengths = [len(row) for row in sample_tokens(Dataset.from_list([make_row("also_buy", 3)] * 40), tokenizer, seed=0)]
    (length,) = set(lengths)
    made = plan(lengths, 40, processes, tokens_per_batch=4 * length + 1, rows_per_step=32)
    assert mean_rows_per_batch(lengths, made.tokens_per_batch) == 4
    assert (made.rows_per_batch, made.gradient_accumulation_steps) == (1, 8 // processes)
    assert (made.rows_per_step, made.tokens_per_step) == (32, 32 * length)
    made = plan(lengths, 40, processes, tokens_per_batch=4 * length + 1, rows_per_step=1)
    assert made.gradient_accumulation_steps == 1, "a step has one batch at least"


# What is said


def test_on_many_processes_the_plan_says_what_the_budget_of_tokens_became_and_why() -> None:
    made = {processes: plan(processes=processes, tokens_per_batch=8192, rows_per_step=128) for processes in (1, 8, 16)}
    assert made[1].notes == (
        "rows_per_step 128 becomes about 160: 1 x 2 micro-batches of about 80 rows come nearest to it in an epoch of 100,000 "
        "rows",
    )
    assert made[8].tokens_per_batch == 1638
    assert made[8].notes == (
        "tokens_per_batch 8,192 becomes 1,638: rows_per_step 128 on 8 processes is 16 rows each, and 8,192 tokens hold 80",
    )
    assert made[16].tokens_per_batch == 819
    assert {processes: one.rows_per_step for processes, one in made.items()} == {1: 160, 8: 128, 16: 128}


def test_a_smaller_batch_of_rows_is_said_too() -> None:
    assert plan(processes=4, rows_per_step=16).notes == (
        "per_device_train_batch_size 8 becomes 4: rows_per_step 16 on 4 processes is 4 rows each, shared out evenly to 1 "
        "micro-batches",
    )


def test_an_epoch_bounds_the_rows_of_a_step() -> None:
    made = plan([10] * 20, 20, batch=8, accumulation=7)
    assert (made.rows_per_step, made.tokens_per_step) == (20, 200)


def test_the_plan_is_printed_with_what_was_asked_and_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(plan(processes=8, tokens_per_batch=8192, rows_per_step=128))
    printed = capsys.readouterr().out
    assert "Training plan" in printed
    rows = [line.split() for line in printed.splitlines()]
    (tokens,) = [row for row in rows if "tokens_per_batch" in row and "8,192" in row and "1,638" in row and "│" in row]
    assert tokens
    assert attention.NAME in printed
    assert "bfloat16" in printed
    assert "rows_per_step 128 on 8 processes is 16 rows each" in " ".join(printed.split())


def test_rows_per_step_counts_rows_where_trl_packs_them_into_sequences() -> None:
    made = plan(packing=True, max_length=1000, rows_per_step=160, batch=8)
    assert (made.rows_per_batch, made.gradient_accumulation_steps) == (8, 2), "ten rows to a sequence"
    assert (made.rows_per_step, made.notes) == (160, ())
    made = plan(packing=True, max_length=1000, rows_per_step=40, batch=8)
    assert (made.rows_per_batch, made.gradient_accumulation_steps, made.rows_per_step) == (4, 1, 40)
    assert "of packed sequences of about 10 rows" in made.notes[0]
    made = plan(packing=True, max_length=1000, rows_per_step=4, batch=8)
    assert made.rows_per_step == 10
    assert any(note.startswith("rows_per_step 4 becomes about 10") for note in made.notes)


@pytest.mark.parametrize("processes", [1, 4])
def test_without_packing_a_step_keeps_its_rows_and_a_micro_batch_its_memory(processes: int) -> None:
    args: Any = SimpleNamespace(
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        world_size=processes,
        packing=False,
        padding_free=False,
        max_length=400,
    )
    lengths = [100] * 300 + [200]
    data, note = without_packing(args, DataArguments(tokens_per_batch=1000), lengths, "packed rows would see each other")
    assert data.tokens_per_batch == 0
    assert args.per_device_train_batch_size == 5, "of the longest rows in a thousand tokens"
    assert data.rows_per_step == pytest.approx(10 * 2 * processes, abs=processes)
    assert note.startswith("tokens_per_batch is off: with this model packed rows would see each other; rows are padded instead")
    data, _ = without_packing(args, DataArguments(tokens_per_batch=1000, rows_per_step=64), lengths, "")
    assert data.rows_per_step == 64
    args.packing, args.per_device_train_batch_size = True, 3
    data, note = without_packing(args, DataArguments(), lengths, "")
    assert (args.packing, args.per_device_train_batch_size) == (False, 6)
    assert data.rows_per_step == pytest.approx(3 * 4 * 2 * processes, rel=0.1)
    assert note.startswith("packing is off")
    with pytest.raises(UserError, match="give --curriculum 0"):
        without_packing(args, DataArguments(tokens_per_batch=1000, curriculum=0.3), lengths, "")
