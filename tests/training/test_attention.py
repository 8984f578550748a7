"""training/attention.py: packed rows attend as each would alone, in the function and in a whole model.

Each way is tried: row by row as on a CPU, row by row as on a GPU, and torch's `varlen_attn` over stand-ins of CUDA's kernels.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from tests.training.conftest import RECIPE
from tests.training.flash_kernels import kernels_on_cpu
from training import attention
from training.attention import (
    BY_ROW,
    NAME,
    QUERIES_AT_A_TIME,
    attend_on_cpu,
    attend_on_gpu,
    register,
    runs_varlen,
    sdpa_varlen,
    shares_prefixes,
)
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
WAYS = ("rows on a CPU", "rows on a GPU", "varlen_attn")
Choose = Callable[[str], None]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Choose]:
    """Has `sdpa_varlen` compute in one of WAYS, on the CPU."""

    def chosen(way: str) -> None:
        monkeypatch.setattr(attention, "runs_varlen", lambda query, dropout: way == "varlen_attn")
        if way == "rows on a GPU":
            monkeypatch.setattr(attention, "attend_on_cpu", lambda *row, **more: attend_on_gpu(*row, dropout=0.0, **more))

    with kernels_on_cpu():
        yield chosen


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


def row_by_row(
    query: Any, key: Any, value: Any, lengths: Sequence[int], scale: float | None = None, window: int | None = None
) -> Any:
    """The same by torch's own attention, one call a row, each key's head repeated for its queries' heads."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    groups = query.size(1) // key.size(1)
    rows, start = [], 0
    for length in lengths:
        asked, keys, values = (tensor[:, :, start : start + length] for tensor in (query, key, value))
        keys, values = (tensor.repeat_interleave(groups, dim=1) for tensor in (keys, values))
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        seen = seen if window is None else seen.triu(1 - window)
        rows.append(scaled_dot_product_attention(asked, keys, values, attn_mask=seen, scale=scale))
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("window", [None, 1, 5, QUERIES_AT_A_TIME + 9])
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("lengths", ROWS, ids=str)
def test_rows_attend_as_torch_lets_each_of_them_attend_alone(
    lengths: list[int], heads: tuple[int, int], window: int | None, way: str, choose: Choose
) -> None:
    import torch

    choose(way)
    tensors = drawn(lengths, heads)
    expected = row_by_row(*tensors, lengths, window=window)
    known = {"cu_seq_lens_q": ends(lengths), "max_length_q": max(lengths), "sliding_window": window}
    attended, weights = sdpa_varlen(torch.nn.Module(), *tensors, None, **known)
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
    on_gpu = attend_on_gpu(query, key, value, scale=None, dropout=0.0)
    assert on_gpu.shape == (1, heads[0], asked, 8)
    torch.testing.assert_close(on_gpu, attend_on_cpu(query, key, value, scale=None), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_scaling_is_the_one_asked_for(way: str, choose: Choose) -> None:
    import torch

    choose(way)
    tensors = drawn([5, 3], (4, 2))
    attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, scaling=0.7, cu_seq_lens_q=ends([5, 3]))
    torch.testing.assert_close(attended, row_by_row(*tensors, [5, 3], scale=0.7), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_without_boundaries_there_is_one_row(way: str, choose: Choose) -> None:
    import torch

    choose(way)
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


@pytest.mark.parametrize("window", [3, 7, 300])
def test_a_sliding_window_reaches_back_into_a_shared_prefix(window: int) -> None:
    import torch

    tensors = drawn([6, 9], (4, 2))
    one_row = row_by_row(*tensors, [15], window=window)
    attended, _ = sdpa_varlen(
        torch.nn.Module(), *tensors, None, cu_seq_lens_q=ends([6, 9]), shared_prefix=6, sliding_window=window
    )
    torch.testing.assert_close(attended, one_row, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("term", "what"), [("softcap", "soft caps"), ("s_aux", "attention sinks")])
def test_terms_that_are_not_computed_are_refused(term: str, what: str) -> None:
    """Gemma 2 has the one and gpt-oss the other; left out, the model would learn to be another one."""
    import torch

    tensors = drawn([6], (2, 2))
    with pytest.raises(UserError, match=f"this model has {what}.*which sdpa_varlen does not compute; give "):
        sdpa_varlen(torch.nn.Module(), *tensors, None, **{term: torch.ones(2)})
    sdpa_varlen(torch.nn.Module(), *tensors, None, **{term: None})


def test_varlen_runs_only_where_its_kernel_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(attention, "_gpu_has_varlen", lambda device: device == 0)

    def runs(kind: str = "cuda", dtype: Any = torch.bfloat16, size: int = 64, dropout: float = 0.0, index: int = 0) -> bool:
        device = SimpleNamespace(type=kind, index=index)
        return runs_varlen(SimpleNamespace(device=device, dtype=dtype, size=lambda place: size), dropout)  # type: ignore[arg-type]

    assert runs()
    assert runs(dtype=torch.float16, size=256)
    assert not any((runs("cpu"), runs("mps"), runs(dtype=torch.float32), runs(dropout=0.1), runs(index=1)))
    assert not any((runs(size=260), runs(size=60)))


def test_this_torch_has_the_parameters_that_are_given() -> None:
    assert {"scale", "window_size", "enable_gqa"} <= attention.varlen_options()


def test_cudnn_is_not_taken_for_rows_of_every_length(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.backends.cuda.enable_cudnn_sdp(True)
    register()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


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


@pytest.mark.parametrize("way", WAYS)
def test_a_model_learns_from_rows_without_padding_what_it_learns_from_padded_ones(
    tiny_llama: Path, examples: list[dict[str, list[int]]], way: str, choose: Choose
) -> None:
    import torch

    choose(way)
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


@pytest.mark.parametrize(
    ("name", "kinds", "device", "shares"),
    [
        (NAME, None, "cpu", True),
        (BY_ROW, None, "cpu", True),
        (NAME, None, "cuda", False),
        (NAME, ["full_attention", "full_attention"], "cpu", True),
        (NAME, ["full_attention", "linear_attention"], "cpu", False),
        (NAME, ["sliding_attention", "full_attention"], "cpu", False),
        ("flash_attention_2", None, "cpu", False),
        ("sdpa", None, "cpu", False),
    ],
)
def test_a_prefix_is_shared_only_on_a_cpu_and_where_all_layers_attend_to_it(
    name: str, kinds: list[str] | None, device: str, shares: bool
) -> None:
    config = SimpleNamespace(_attn_implementation=name, **({"layer_types": kinds} if kinds else {}))
    assert shares_prefixes(SimpleNamespace(config=config, device=SimpleNamespace(type=device))) is shares


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


@pytest.mark.parametrize("way", WAYS)
def test_a_model_with_a_sliding_window_learns_from_longer_rows_what_it_learns_from_padded_ones(
    way: str, choose: Choose, tmp_path: Path
) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    choose(way)
    register()
    sizes = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=8)).save_pretrained(tmp_path)
    rows = [{"input_ids": [place % 31 + 1 for place in range(length)]} for length in (8, 4, 23)]
    found = {}
    for name, free in ((NAME, True), ("sdpa", False)):
        model = MistralForCausalLM.from_pretrained(tmp_path, attn_implementation=name)
        found[free] = loss_and_gradients(model, collated(rows, padding_free=free))
    (loss, gradients), (padded_loss, padded) = found[True], found[False]
    torch.testing.assert_close(loss, padded_loss, atol=1e-6, rtol=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, padded[name], atol=1e-5, rtol=1e-4)
    model.config.sliding_window = 30
    wider = model(**collated(rows, padding_free=False)).loss
    assert not torch.isclose(wider, padded_loss, rtol=1e-6), "the window is shorter than a row"


# A user's own FlashAttention


@pytest.mark.parametrize("name", ["flash_attention_2", "kernels-community/flash-attn2", BY_ROW])
def test_an_attention_that_is_named_is_taken_for_packed_rows(name: str) -> None:
    from training.arguments import parse_arguments
    from training.plan import make_plan

    _, args, model, data = parse_arguments(["--config", str(RECIPE), "--output_dir", "out", "--attn_implementation", name])
    assert data.tokens_per_batch
    assert make_plan(args, model, data, [10, 20], 2).attn_implementation == name


@pytest.mark.parametrize("name", ["flex_attention", "paged|sdpa"])
def test_an_attention_that_would_let_rows_see_each_other_is_refused(name: str) -> None:
    from training.arguments import parse_arguments

    with pytest.raises(UserError, match="needs attn_implementation sdpa, flash_attention_2 or kernels-community/flash-attn2"):
        parse_arguments(["--config", str(RECIPE), "--output_dir", "out", "--attn_implementation", name])


def test_flash_attention_without_its_package_is_one_sentence(tiny_llama: Path, shop_rows: Path, tmp_path: Path) -> None:
    from tests.training.runs import words
    from tests.training.trainers import prepare_trainer

    if importlib.util.find_spec("flash_attn") or importlib.util.find_spec("kernels"):
        pytest.skip("a FlashAttention is installed here")
    options = {"model_name_or_path": tiny_llama, "dataset_name": shop_rows, "output_dir": tmp_path, "report_to": "none"}
    more = {"attn_implementation": "flash_attention_2", "bf16": "false", "dtype": "bfloat16"}
    with pytest.raises(UserError, match=r"cannot start the training: .*[Ff]lash"):
        prepare_trainer(["--config", str(RECIPE), *words(options | more)])
