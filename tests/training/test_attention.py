"""training/attention.py: packed rows attend as each would alone, in the function and in a whole model."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from training.attention import NAME, QUERIES_AT_A_TIME, attend_by_torch, attend_in_blocks, register, sdpa_varlen
from training.batches import PrefixCollator, TokenBatches

ROWS = [
    [1],
    [7],
    [1, 5, 2, 1],
    [QUERIES_AT_A_TIME - 1, 3, QUERIES_AT_A_TIME],
    [QUERIES_AT_A_TIME + 1, 1, 40],
    [2 * QUERIES_AT_A_TIME + 17],
]
HEADS = [(4, 4), (6, 2), (5, 1)]
"""Of queries, and of keys and values."""


def drawn(lengths: Sequence[int], heads: tuple[int, int], size: int = 8) -> "tuple[Any, Any, Any]":
    """Query, key and value of rows of these lengths, laid out as the model does it."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = (heads[0], heads[1], heads[1])
    query, key, value = (
        torch.randn(1, sum(lengths), heads, size, generator=generator).transpose(1, 2).requires_grad_() for heads in shapes
    )
    return query, key, value


def ends(lengths: Sequence[int]) -> Any:
    import torch

    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def row_by_row(query: Any, key: Any, value: Any, lengths: Sequence[int], scale: float | None = None) -> Any:
    """The same by torch's own attention, one call a row, each key's head repeated for its queries' heads."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    groups = query.size(1) // key.size(1)
    rows, start = [], 0
    for length in lengths:
        asked, keys, values = (tensor[:, :, start : start + length] for tensor in (query, key, value))
        keys, values = (tensor.repeat_interleave(groups, dim=1) for tensor in (keys, values))
        rows.append(scaled_dot_product_attention(asked, keys, values, is_causal=True, scale=scale))
        start += length
    return torch.cat(rows, dim=2).transpose(1, 2)


def assert_same_with_gradients(attended: Any, expected: Any, tensors: "tuple[Any, Any, Any]") -> None:
    """Values, and what both pass back into query, key and value."""
    import torch

    torch.testing.assert_close(attended, expected, atol=1e-5, rtol=1e-5)
    into = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad(attended, tensors, into), torch.autograd.grad(expected, tensors, into), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("lengths", ROWS, ids=str)
def test_rows_attend_as_torch_lets_each_of_them_attend_alone(lengths: list[int], heads: tuple[int, int]) -> None:
    import torch

    tensors = drawn(lengths, heads)
    expected = row_by_row(*tensors, lengths)
    attended, weights = sdpa_varlen(torch.nn.Module(), *tensors, None, cu_seq_lens_q=ends(lengths))
    assert weights is None
    assert attended.shape == (1, sum(lengths), heads[0], 8)
    assert_same_with_gradients(attended, expected, tensors)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("prefix", [1, 24, QUERIES_AT_A_TIME + 3])
def test_rows_go_on_from_a_shared_prefix_as_if_each_had_it(prefix: int, heads: tuple[int, int]) -> None:
    import torch

    rest = [1, QUERIES_AT_A_TIME + 5, 17]
    tensors = drawn([prefix, *rest], heads)
    begun, *rows = zip(*(torch.split(tensor, [prefix, *rest], dim=2) for tensor in tensors), strict=True)
    whole = [torch.cat(pair, dim=2) for row in rows for pair in zip(begun, row, strict=True)]
    joined = [torch.cat(whole[kind::3], dim=2) for kind in range(3)]
    alone = row_by_row(*joined, [prefix + length for length in rest]).split([prefix + length for length in rest], dim=1)
    expected = torch.cat([alone[0][:, :prefix], *(row[:, prefix:] for row in alone)], dim=1)
    boundaries = ends([prefix, *rest])
    attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, cu_seq_lens_q=boundaries, shared_prefix=prefix)
    assert_same_with_gradients(attended, expected, tensors)


@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize(("asked", "known"), [(1, 1), (30, 30), (1, 9), (40, 300)])
def test_a_gpu_attends_as_a_cpu_does(asked: int, known: int, heads: tuple[int, int]) -> None:
    import torch

    query, key, value = drawn([known], heads)
    query = query[:, :, -asked:]
    for window in (None, 1, 7, 30, 400):
        on_gpu = attend_by_torch(query, key, value, window=window)
        assert on_gpu.shape == (1, heads[0], asked, 8)
        torch.testing.assert_close(on_gpu, attend_in_blocks(query, key, value, window=window), atol=1e-5, rtol=1e-5)


def test_the_scaling_is_the_one_asked_for() -> None:
    import torch

    tensors = drawn([5, 3], (4, 2))
    attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, scaling=0.7, cu_seq_lens_q=ends([5, 3]))
    torch.testing.assert_close(attended, row_by_row(*tensors, [5, 3], scale=0.7), atol=1e-5, rtol=1e-5)


def test_without_boundaries_there_is_one_row() -> None:
    import torch

    tensors = drawn([300], (4, 2))
    attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None)
    torch.testing.assert_close(attended, row_by_row(*tensors, [300]), atol=1e-5, rtol=1e-5)


def test_in_bfloat16_the_result_is_in_bfloat16_and_as_near_as_it_can_be() -> None:
    import torch

    lengths = [QUERIES_AT_A_TIME + 10, 30]
    tensors = tuple(tensor.detach().bfloat16() for tensor in drawn(lengths, (4, 2)))
    attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, cu_seq_lens_q=ends(lengths))
    assert attended.dtype == torch.bfloat16
    exact = row_by_row(*(tensor.float() for tensor in tensors), lengths)
    torch.testing.assert_close(attended.float(), exact, atol=2e-2, rtol=2e-2)


def test_several_rows_that_do_not_lie_behind_one_another_are_refused() -> None:
    import torch

    query = torch.zeros(2, 1, 3, 8)
    with pytest.raises(ValueError, match=rf"^attn_implementation {NAME} needs padding_free: true$"):
        sdpa_varlen(torch.nn.Module(), query, query, query, None)


@pytest.mark.parametrize("window", [1, 5, QUERIES_AT_A_TIME - 3, 600])
def test_a_token_sees_as_many_tokens_as_the_window_holds_itself_included(window: int) -> None:
    import torch

    lengths = [6, QUERIES_AT_A_TIME + 40, 3]
    query, key, value = drawn(lengths, (4, 2))
    expected = []
    for row in zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True):
        length = row[0].size(2)
        seen = torch.ones(length, length, dtype=torch.bool).tril().triu(1 - window)
        keys, values = (tensor.repeat_interleave(2, dim=1) for tensor in row[1:])
        expected.append(torch.nn.functional.scaled_dot_product_attention(row[0], keys, values, attn_mask=seen))
    attended, _ = sdpa_varlen(torch.nn.Module(), query, key, value, None, cu_seq_lens_q=ends(lengths), sliding_window=window)
    assert_same_with_gradients(attended, torch.cat(expected, dim=2).transpose(1, 2), (query, key, value))


@pytest.mark.parametrize(("family", "option"), [("gemma2", {"softcap": 0.05}), ("gpt_oss", {"s_aux": [1.0, -2.0, 0.5, 3.0]})])
def test_soft_caps_and_sinks_are_those_of_the_family_that_has_them(family: str, option: dict[str, Any]) -> None:
    import torch

    length = QUERIES_AT_A_TIME + 9
    query, key, value = drawn([length], (4, 2))
    eager = importlib.import_module(f"transformers.models.{family}.modeling_{family}").eager_attention_forward
    module: Any = SimpleNamespace(num_key_value_groups=2, training=False, sinks=torch.tensor(option.get("s_aux", [0.0])))
    options = {name: torch.tensor(value) if name == "s_aux" else value for name, value in option.items()}
    mask = torch.full((1, 1, length, length), float("-inf")).triu(1)
    expected, _ = eager(module, query, key, value, mask, scaling=0.7, **options)
    attended, _ = sdpa_varlen(torch.nn.Module(), query, key, value, None, scaling=0.7, **options)
    assert_same_with_gradients(attended, expected, (query, key, value))


def test_values_may_have_another_size_than_keys() -> None:
    import torch

    query, key, _ = drawn([7, 5], (4, 2))
    value = drawn([7, 5], (4, 2), size=3)[2]
    attended, _ = sdpa_varlen(torch.nn.Module(), query, key, value, None, cu_seq_lens_q=ends([7, 5]))
    torch.testing.assert_close(attended, row_by_row(query, key, value, [7, 5]), atol=1e-5, rtol=1e-5)


def test_dropout_of_a_model_s_attention_is_kept() -> None:
    import torch

    tensors = drawn([40], (4, 2))
    torch.manual_seed(0)
    dropped, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, dropout=0.5)
    whole, _ = sdpa_varlen(torch.nn.Module(), *tensors, None)
    assert not torch.allclose(dropped, whole)


# In a whole model


LENGTHS = [3, 41, 1, QUERIES_AT_A_TIME + 30, 17]


@pytest.fixture(scope="module")
def examples() -> list[dict[str, list[int]]]:
    """Rows of which the last two thirds are supervised."""
    import torch

    torch.manual_seed(1)
    rows = [torch.randint(3, 390, (length,)).tolist() for length in LENGTHS]
    return [{"input_ids": row, "labels": [-100] * (len(row) // 3) + row[len(row) // 3 :]} for row in rows]


def load(folder: Path, attention: str, **changes: Any) -> Any:
    """The tiny model in float32 with an adapter whose weights are none of them zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    register()
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32, **changes)
    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))


def collated(examples: list[dict[str, list[int]]], padding_free: bool) -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    batch: dict[str, Any] = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=padding_free)(examples)
    return batch


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> "tuple[Any, dict[str, Any]]":
    loss = model(**batch).loss
    loss.backward()
    return loss, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def test_a_model_learns_from_rows_without_padding_what_it_learns_from_padded_ones(
    tiny_llama: Path, examples: list[dict[str, list[int]]]
) -> None:
    import torch

    padded_loss, padded = loss_and_gradients(load(tiny_llama, "sdpa"), collated(examples, padding_free=False))
    loss, gradients = loss_and_gradients(load(tiny_llama, NAME), collated(examples, padding_free=True))
    torch.testing.assert_close(loss, padded_loss, atol=1e-6, rtol=1e-6)
    assert len(gradients) == 2 * 2 * 7, "two layers, two matrices for each of seven projections"
    assert gradients.keys() == padded.keys()
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, padded[name], atol=1e-5, rtol=1e-4)


def test_a_model_learns_from_a_shared_prefix_what_it_learns_from_rows_that_each_have_it(tiny_llama: Path) -> None:
    import torch
    from datasets import Dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    torch.manual_seed(1)
    begin = torch.randint(3, 390, (20,)).tolist()
    prompts = [begin + torch.randint(3, 390, (length,)).tolist() for length in (9, 60, 3)]
    ids = [[*prompt, 5, 2] for prompt in prompts]
    labels = [[-100] * len(prompt) + [5, 2] for prompt in prompts]
    batch = TokenBatches(Dataset.from_dict({"input_ids": ids, "labels": labels}), budget=1000, seed=0, share=True)[0]
    assert batch["shared_prefix"] == len(begin)
    once = PrefixCollator(DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True))([batch])
    each = collated([{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)], padding_free=True)
    assert once["input_ids"].size(1) == each["input_ids"].size(1) - 2 * len(begin)
    expected_loss, expected = loss_and_gradients(load(tiny_llama, NAME), each)
    loss, gradients = loss_and_gradients(load(tiny_llama, NAME), once)
    torch.testing.assert_close(loss, expected_loss, atol=1e-6, rtol=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)


def test_rows_do_not_see_each_other(tiny_llama: Path, examples: list[dict[str, list[int]]]) -> None:
    import torch

    model = load(tiny_llama, NAME)
    with torch.no_grad():
        before = model(**collated(examples, padding_free=True)).logits[0].split(LENGTHS)
        for changed in range(len(examples)):
            other = [dict(row) for row in examples]
            other[changed]["input_ids"] = [(token + 1) % 390 for token in other[changed]["input_ids"]]
            after = model(**collated(other, padding_free=True)).logits[0].split(LENGTHS)
            for row, (one, two) in enumerate(zip(before, after, strict=True)):
                assert torch.equal(one, two) == (row != changed)


def test_a_row_has_the_logits_that_it_has_alone_wherever_it_lies(
    tiny_llama: Path, examples: list[dict[str, list[int]]]
) -> None:
    import torch

    model = load(tiny_llama, NAME)
    with torch.no_grad():
        alone = [model(**collated([row], padding_free=True)).logits[0] for row in examples]
        together = model(**collated(examples[::-1], padding_free=True)).logits[0].split(LENGTHS[::-1])
    for one, two in zip(alone, together[::-1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_a_model_is_refused_padded_rows(tiny_llama: Path, examples: list[dict[str, list[int]]]) -> None:
    with pytest.raises(ValueError, match="needs padding_free: true"):
        load(tiny_llama, NAME)(**collated(examples, padding_free=False))
