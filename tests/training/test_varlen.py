"""training/attention.py on a GPU: each way to attend over packed rows is tried on a CPU.

These are: in blocks as on a CPU, row by row as on a GPU, and torch's `varlen_attn` over stand-ins of CUDA's kernels.
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
from tests.training.test_attention import (
    HEADS,
    ROWS,
    assert_same_with_gradients,
    collated,
    drawn,
    ends,
    load,
    loss_and_gradients,
)
from training import attention
from training.attention import (
    BY_ROW,
    NAME,
    QUERIES_AT_A_TIME,
    attend_by_torch,
    register,
    runs_varlen,
    sdpa_by_row,
    sdpa_varlen,
)

WAYS = ("blocks", "rows", "varlen_attn")
Choose = Callable[[str], None]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Choose]:
    """Has `sdpa_varlen` compute in one of WAYS, on the CPU."""

    def by_torch(*row: Any, softcap: Any = None, sinks: Any = None, **more: Any) -> Any:
        return attend_by_torch(*row, **more)

    def chosen(way: str) -> None:
        monkeypatch.setattr(attention, "runs_varlen", lambda query, dropout: way == "varlen_attn")
        if way == "rows":
            monkeypatch.setattr(attention, "attend_in_blocks", by_torch)

    with kernels_on_cpu():
        yield chosen


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


def test_what_the_kernel_does_not_compute_is_computed_row_by_row(choose: Choose) -> None:
    import torch

    choose("varlen_attn")
    tensors = drawn([6, 9], (4, 2))
    sinks = torch.ones(4)
    for terms in ({"softcap": 2.0}, {"s_aux": sinks}, {"shared_prefix": 6}):
        given: Any = {"cu_seq_lens_q": ends([6, 9]), **terms}
        attended, _ = sdpa_varlen(torch.nn.Module(), *tensors, None, **given)
        expected, _ = sdpa_by_row(torch.nn.Module(), *tensors, None, **given)
        torch.testing.assert_close(attended, expected)


@pytest.mark.parametrize("window", [3, 7, 300])
def test_a_sliding_window_reaches_back_into_a_shared_prefix(window: int) -> None:
    import torch

    tensors = drawn([6, 9], (4, 2))
    one_row = row_by_row(*tensors, [15], window=window)
    attended, _ = sdpa_varlen(
        torch.nn.Module(), *tensors, None, cu_seq_lens_q=ends([6, 9]), shared_prefix=6, sliding_window=window
    )
    torch.testing.assert_close(attended, one_row, atol=1e-5, rtol=1e-5)


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


LENGTHS = [3, 41, 1, QUERIES_AT_A_TIME + 30, 17]


@pytest.fixture(scope="module")
def examples() -> list[dict[str, list[int]]]:
    """Rows of which the last two thirds are supervised."""
    import torch

    torch.manual_seed(1)
    rows = [torch.randint(3, 390, (length,)).tolist() for length in LENGTHS]
    return [{"input_ids": row, "labels": [-100] * (len(row) // 3) + row[len(row) // 3 :]} for row in rows]


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


def test_flash_attention_without_its_package_is_one_sentence(tiny_llama: Path, shop_rows: Path, tmp_path: Path) -> None:
    from tests.training.runs import words
    from tests.training.trainers import prepare_trainer

    if importlib.util.find_spec("flash_attn") or importlib.util.find_spec("kernels"):
        pytest.skip("a FlashAttention is installed here")
    options = {"model_name_or_path": tiny_llama, "dataset_name": shop_rows, "output_dir": tmp_path, "report_to": "none"}
    more = {"attn_implementation": "flash_attention_2", "bf16": "false", "dtype": "bfloat16"}
    with pytest.raises(UserError, match=r"^cannot .*[Ff]lash"):
        prepare_trainer(["--config", str(RECIPE), *words(options | more)])
