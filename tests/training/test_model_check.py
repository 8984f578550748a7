"""training/model_check.py: on tiny models of 60 architectures, packing is right or turned off."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from tests.tiny_architectures import ARCHITECTURES, QUICK, build_architecture, tiny_model
from tests.training.runs import ROOT, Runs
from training.attention import NAME, register
from training.model_check import PackingOutcome, check_model, row_tokens

ALONE: Any = SimpleNamespace(process_index=0, world_size=1, distributed_state=None)
README = ROOT / "training" / "README.md"
ROWS = [[*range(3, 40)], [*range(60, 20, -1)], [*range(30, 90)]]
PACKED = {"llama", "qwen3", "gemma2", "gemma3_text", "mistral with a window of 8", "gpt2", "gpt_oss", "deepseek_v3"}
"""Of QUICK, those that pack rows and share prefixes."""
REFUSED = {"recurrent_gemma"}
"""TRL does not know the name of its logits' soft-cap."""


def outcome(name: str, attention: str | None = NAME, longest: int = 64, **options: Any) -> PackingOutcome:
    register()
    return check_model(tiny_model(name, **options), ALONE, True, attention, ROWS, longest)


def losses(model: Any, rows: list[list[int]], packed: bool) -> Any:
    """The sum of the rows' losses by TRL's own way to compute it, and the gradients of all weights."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
    from trl.trainer.utils import add_fused_lm_head

    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=packed)
    fused = copy.deepcopy(model)
    add_fused_lm_head(fused)
    batch = collate([{"input_ids": row, "labels": row} for row in rows])
    loss = -fused(**batch, fused_lm_head=True).log_probs.sum()
    loss.backward()
    return loss, torch.cat([weight.grad.flatten() for weight in fused.parameters() if weight.grad is not None])


def losses_alone(model: Any, rows: list[list[int]]) -> Any:
    """The same of one row after another, by the model's own logits."""
    import torch
    from torch.nn.functional import cross_entropy

    alone = copy.deepcopy(model)
    loss = sum(
        cross_entropy(alone(torch.tensor([row]), use_cache=False).logits[0, :-1], torch.tensor(row[1:]), reduction="sum")
        for row in rows
    )
    loss.backward()
    return loss, torch.cat([weight.grad.flatten() for weight in alone.parameters() if weight.grad is not None])


@pytest.fixture(params=[pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ARCHITECTURES])
def architecture(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_packed_rows_train_as_each_alone_does_or_packing_is_off_and_padded_ones_do(architecture: str) -> None:
    import torch

    register()
    model = tiny_model(architecture)
    before = model.config._attn_implementation
    if architecture in REFUSED:
        with pytest.raises(UserError, match=r"TRL's loss is not the model's own \(log-probabilities are 0.0"):
            check_model(model, ALONE, True, NAME, ROWS, 64)
        return
    found = check_model(model, ALONE, True, NAME, ROWS, 64)
    assert model.config._attn_implementation == (NAME if found.packs else before)
    assert found.packs == (not found.reason)
    expected_loss, expected = losses_alone(tiny_model(architecture), ROWS)
    loss, gradients = losses(model, ROWS, packed=found.packs)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-4, atol=1e-3)
    assert (gradients - expected).norm() < 1e-3 * expected.norm()


def test_the_outcome_is_measured_not_listed() -> None:
    found = {name: outcome(name) for name in QUICK if name not in REFUSED}
    assert {name for name, one in found.items() if one.packs and one.shares_prefix} == PACKED
    assert {name for name, one in found.items() if one.packs} == PACKED
    assert found["stablelm"].reason.startswith("packed rows would see each other (states 1.")
    assert found["falcon"].reason == "attention is not one that can be replaced"
    assert "causal_conv1d" in found["lfm2"].reason


@pytest.mark.slow
def test_the_readme_lists_each_architecture_as_it_was_measured() -> None:
    def way(name: str) -> str:
        try:
            found = outcome(name)
        except UserError:
            return "refused: TRL's loss is not the model's"
        assert found.packs == found.shares_prefix
        return "packed, a shared prefix computed once" if found.packs else "padded: right, but slower"

    measured: dict[str, list[str]] = {}
    for name in sorted(name for name in ARCHITECTURES if " " not in name):
        measured.setdefault(way(name), []).append(f"`{name}`")
    expected = {f"| {outcome} | {', '.join(names)} |" for outcome, names in measured.items()}
    missing = expected - set(README.read_text().splitlines())
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize("name", ["llama", "stablelm", "gpt_oss"])
def test_the_outcome_is_the_same_in_bfloat16(name: str) -> None:
    import torch

    register()
    found = check_model(tiny_model(name).to(torch.bfloat16), ALONE, True, NAME, ROWS, 64)
    assert found.packs == (name in PACKED)


def test_packing_with_the_model_s_own_attention_is_checked_too() -> None:
    assert outcome("llama", None) == PackingOutcome(packs=True)
    assert outcome("llama", None, attn_implementation="eager").packs
    assert not outcome("gpt_oss", None).packs, "its mask of packed rows is lost"
    assert not outcome("opt", None).packs, "its positions go on from row to row"


def test_a_model_that_cannot_share_a_prefix_may_still_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    from training import attention

    def forgetful(*args: Any, shared_prefix: int = 0, **kwargs: Any) -> Any:
        return attention.sdpa_varlen(*args, **kwargs)

    from transformers import AttentionInterface

    register()
    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, forgetful)
    assert check_model(tiny_model("llama"), ALONE, True, NAME, ROWS, 64) == PackingOutcome(packs=True, shares_prefix=False)


def test_a_window_that_real_rows_exceed_is_exceeded_by_a_row_of_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("gemma3_text")
    assert max(map(len, row_tokens(model, ROWS, longest=500))) < 64
    assert max(map(len, row_tokens(model, ROWS, longest=513))) == 512 + 8
    assert max(map(len, row_tokens(tiny_model("llama"), ROWS, longest=10_000))) < 64

    from training import attention

    def unbounded(*args: Any, sliding_window: int | None = None, **kwargs: Any) -> Any:
        return attention.sdpa_varlen(*args, **kwargs)

    from transformers import AttentionInterface

    register()
    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, unbounded)
    windowed = tiny_model("mistral with a window of 8")
    windowed.config.sliding_window = 30
    assert not check_model(windowed, ALONE, True, NAME, ROWS, longest=64).packs


def test_the_model_is_left_as_it_was() -> None:
    import torch

    register()
    model = tiny_model("stablelm")
    with torch.no_grad():
        before = model(torch.tensor(ROWS[:1]), use_cache=False).logits
        model.train()
        assert not check_model(model, ALONE, True, NAME, ROWS, 64).packs
        assert model.training
        assert "forward" not in vars(model)
        assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
        assert torch.equal(model.eval()(torch.tensor(ROWS[:1]), use_cache=False).logits, before)


@pytest.mark.parametrize(("name", "packs"), [("gemma2", True), ("stablelm", False), ("lfm2", False), ("falcon", False)])
def test_a_run_trains_packed_or_says_in_one_sentence_that_it_pads(runs: Runs, name: str, packs: bool, tmp_path: Path) -> None:
    folder = build_architecture(name, tmp_path / "base")
    targets = ["--lora_target_modules", "all-linear", "--tokens_per_batch", 400, "--rows_per_step", 8, "--max_steps", 2]
    ended = runs.done(tmp_path / "out", "--model_name_or_path", folder, *targets)
    plan = ended.summary["plan"]
    assert (plan["packing"], plan["shares_prefix"]) == (("whole rows", True) if packs else ("none", False))
    off = [note for note in plan["notes"] if note.startswith("tokens_per_batch is off: with this model ")]
    assert len(off) == (0 if packs else 1)
    assert ("tokens_per_batch is off" in " ".join(ended.stdout.split())) == (not packs)
    assert packs or ended.summary["rows_per_step"] == 8


def test_a_run_is_refused_where_the_loss_would_be_wrong(runs: Runs, tmp_path: Path) -> None:
    folder = build_architecture("recurrent_gemma", tmp_path / "base")
    ended = runs(tmp_path / "out", "--model_name_or_path", folder, "--max_steps", 1)
    assert ended.code == 2
    assert "this model cannot be trained: TRL's loss is not the model's own" in ended.error


def test_a_curriculum_is_refused_where_rows_cannot_be_packed(runs: Runs, tmp_path: Path) -> None:
    folder = build_architecture("stablelm", tmp_path / "base")
    ended = runs(tmp_path / "out", "--model_name_or_path", folder, "--curriculum", 0.5)
    assert ended.code == 2
    assert "curriculum needs packing, but with this model packed rows would see each other" in ended.error
    assert ended.error.endswith("; give --curriculum 0")
