"""training/memory.py: counts against what is published, and activations against what a CPU really allocates."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.training.conftest import ROOT
from training import activations, arguments, memory
from training.activations import Batch
from training.architectures import load_config

RECIPES = ROOT / "training" / "recipes"
ACCELERATE = ROOT / "training" / "accelerate"
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 400,
    "max_position_embeddings": 2048,
}
LLAMA = SHAPE | {"model_type": "llama", "num_hidden_layers": 5}
QWEN = SHAPE | {"model_type": "qwen3", "num_hidden_layers": 4, "head_dim": 32, "tie_word_embeddings": True}


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=8, lora_dropout=0.1, target_modules="all-linear")


def model_args(recipe: str) -> Any:
    return arguments.parse_arguments(["--config", str(RECIPES / f"{recipe}.yaml")])[2]


def run_for_real(config: Any, batch: Batch) -> tuple[int, int]:
    """Bytes that a real pass saves for the backward pass, and the most that the CPU's allocator had given out during it."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    def forward() -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return activations.backbone(model)(**activations.inputs_of(batch), use_cache=False).last_hidden_state

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
            held.append(tensor)  # else a later tensor could take its place
        return tensor

    torch.manual_seed(0)
    model = activations.build(config, lora())
    activations.materialise(model, batch.bf16_adapter)
    activations.prepare(model, batch)
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    held: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    held.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        hidden = forward()
        hidden.backward(torch.ones_like(hidden))
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    now = peak = 0
    for _, size in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        now += size
        peak = max(peak, now)
    return sum(sizes.values()), peak


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Two threads on so small tensors wait for each other most of the time, all the more where cores are shared."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    ("shape", "batch"),
    [
        (LLAMA, Batch(4, 128, checkpointing=False, padding=True, bf16_adapter=False)),
        (LLAMA, Batch(8, 64, checkpointing=True, padding=True, bf16_adapter=True)),
        (LLAMA, Batch(4, 128, checkpointing=False, padding=False, bf16_adapter=True)),
        (LLAMA, Batch(4, 128, checkpointing=True, padding=False, bf16_adapter=False)),
        (QWEN, Batch(2, 256, checkpointing=False, padding=True, bf16_adapter=False)),
        (QWEN, Batch(2, 256, checkpointing=True, padding=False, bf16_adapter=False)),
    ],
)
def test_activations_are_what_a_cpu_allocates(shape: dict[str, Any], batch: Batch) -> None:
    """Within 8 %: kernels have room of their own, which no trace sees and which counts for more in so small a model."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(**shape)
    estimated = activations.trace(config, lora(), batch)
    saved, peak = run_for_real(config, batch)
    assert estimated.peak == pytest.approx(peak, rel=0.08)
    if not batch.checkpointing:  # where activations are recomputed, hooks of checkpointing stand before those of the test
        assert estimated.saved == pytest.approx(saved, rel=0.04)


def test_activations_grow_with_tokens_and_shrink_when_they_are_recomputed() -> None:
    config = load_config("HuggingFaceTB/SmolLM2-135M-Instruct")

    def peak(rows: int, checkpointing: bool) -> int:
        return activations.trace(config, lora(), Batch(rows, 256, checkpointing, False, False)).peak

    assert peak(8, False) == pytest.approx(2 * peak(4, False), rel=0.05)
    assert peak(8, True) < peak(8, False) / 8


@pytest.mark.parametrize(
    ("recipe", "base", "adapter"),
    [
        ("llama-3-8b-lora", 8_030_261_248, 41_943_040),
        ("llama-3-8b-qlora", 8_030_261_248, 41_943_040),
        ("mistral-7b-instruct-lora", 7_241_732_096, 41_943_040),
        ("qwen3-4b-lora", 4_022_468_096, 33_030_144),
        ("smollm2-135m-lora", 134_515_008, 4_884_480),
    ],
)
def test_parameters_are_counted_exactly(recipe: str, base: int, adapter: int) -> None:
    args = model_args(recipe)
    config = load_config(args.model_name_or_path)
    counted = memory.count_parameters(config, args)
    assert counted.base == base, "the number that the model's page states"
    assert counted.adapter == adapter
    heads = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    query, pair = heads * config.num_attention_heads, heads * config.num_key_value_heads
    hidden, inner = config.hidden_size, config.intermediate_size
    sides = (hidden + query) + 2 * (hidden + pair) + (query + hidden) + 3 * (hidden + inner)
    assert counted.adapter == args.lora_r * sides * config.num_hidden_layers, "r times both sides of every projection"


def test_bytes_of_4_bit_weights_are_those_that_bitsandbytes_keeps() -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    for nested in (False, True):
        layer = Linear4bit(512, 2048, bias=False, compress_statistics=nested, quant_type="nf4", quant_storage=torch.bfloat16)
        layer.load_state_dict({"weight": torch.randn(2048, 512)})
        weight = layer.to("cpu").weight
        state = weight.quant_state
        kept = [weight.data, state.absmax] + ([state.state2.absmax] if nested else [])
        args = model_args("llama-3-8b-qlora")
        args.use_bnb_nested_quant = nested
        estimated = memory.frozen_bytes(512 * 2048, 0, args)
        assert estimated == pytest.approx(sum(tensor.nbytes for tensor in kept), rel=0.001)
    args.load_in_4bit = False
    assert memory.frozen_bytes(10, 5, args) == 30


def test_sharding_divides_what_it_shards_and_adds_what_it_gathers() -> None:
    recipe = RECIPES / "llama-3-8b-lora.yaml"
    sums = {name: memory.estimate(recipe, ACCELERATE / f"{name}.yaml")[1] for name in ("one_gpu", "ddp", "fsdp2", "zero3")}
    two = memory.estimate(recipe, ACCELERATE / "fsdp2.yaml", processes=2)[1]
    assert sums["fsdp2"].weights == sums["ddp"].weights // 8
    assert two.weights == sums["ddp"].weights // 2
    assert sums["fsdp2"].total < two.total < sums["ddp"].total
    assert sums["ddp"].total > sums["one_gpu"].total, "buckets and NCCL"
    assert sums["ddp"].sharding == 0 < sums["fsdp2"].sharding
    assert len({estimate.activations for estimate in sums.values()}) == 1


def test_4_bits_take_less_than_16() -> None:
    accelerate = ACCELERATE / "one_gpu.yaml"
    lora_, qlora = (memory.estimate(RECIPES / f"llama-3-8b-{kind}.yaml", accelerate)[1] for kind in ("lora", "qlora"))
    assert qlora.weights < lora_.weights / 2.5, "the LM head and the embedding stay in 16 bits"
    assert qlora.adapter == lora_.adapter // 2


def test_a_gpu_fits_if_a_tenth_of_it_stays_free() -> None:
    assert memory.smallest(20 * memory.GIB, [80, 24, 40]) == "24"
    assert memory.smallest(22 * memory.GIB, [80, 24, 40]) == "40"
    assert memory.smallest(100 * memory.GIB, [80, 24]) == "none"


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "training.memory", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_prints_tables_and_json() -> None:
    done = command("--recipe", RECIPES / "smollm2-135m-lora.yaml", "--markdown", "--json", "--gpus", "16,80")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *table, last = done.stdout.splitlines()
    assert table[0].split(" | ")[2:] == ["one_gpu", "ddp", "fsdp2", "zero3", "two_nodes |"]
    assert table[2].startswith("| `smollm2-135m-lora` | 4.9 M |")
    assert "→ 16 | – | – |" in table[2]
    rows = json.loads(last)
    assert [row["accelerate"] for row in rows] == ["one_gpu", "ddp", "fsdp2", "zero3", "two_nodes"]
    assert all(sum(row["bytes"].values()) == row["total"] for row in rows if not row["reason"])


def test_a_model_folder_is_read_like_a_published_one(tiny_llama: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"model_name_or_path: {tiny_llama}\nuse_peft: true\nlora_target_modules: all-linear\nmax_length: 64\n")
    done = command("--recipe", recipe, "--accelerate", ACCELERATE / "ddp.yaml")
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--recipe", "none.yaml"], "there is no recipe none.yaml"),
        (["--accelerate", "none.yaml"], "there is no accelerate file none.yaml"),
        (["--accelerate", "README.md"], "README.md is not an accelerate configuration"),
        (["--gpus", "large"], "--gpus takes sizes in GiB such as 24,80, not 'large'"),
        (["--processes", "0"], "--processes takes a number of 1 or more"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["memory", *words])
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence) as raised:
        memory.main()
    assert len(str(raised.value).splitlines()) == 1


def test_an_unknown_model_ends_the_command_with_one_sentence(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model_name_or_path: {tmp_path / 'none'}\n")
    done = command("--recipe", recipe, "--accelerate", ACCELERATE / "one_gpu.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read the configuration of the model")
    assert len(done.stderr.splitlines()) == 1


def test_help_is_instant() -> None:
    code = "import sys, training.memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
