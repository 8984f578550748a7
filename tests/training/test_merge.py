"""training/merge.py: the merged model is base plus adapter, and a failed merge leaves nothing behind."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_builders.errors import UserError
from tests.hub import Hub
from tests.training.conftest import ROOT, Run
from training.merge import merge


@pytest.fixture(scope="module")
def merged(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "model"
    merge(str(run.folder), out)
    return out


def test_the_merged_model_computes_what_base_and_adapter_do(merged: Path, run: Run, tiny_llama: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(tiny_llama)
        plain = base(ids).logits
        tuned = PeftModel.from_pretrained(base, run.folder)(ids).logits
        alone = AutoModelForCausalLM.from_pretrained(merged)(ids).logits
    assert torch.allclose(alone, tuned, atol=1e-5)
    assert not torch.allclose(alone, plain, atol=1e-5)


def test_the_merged_folder_is_an_ordinary_one(merged: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    names = {path.name for path in merged.iterdir()}
    assert "model.safetensors" in names
    assert "adapter_config.json" not in names
    assert AutoTokenizer.from_pretrained(merged).chat_template
    generation = GenerationConfig.from_pretrained(merged)
    assert (generation.eos_token_id, generation.pad_token_id) == (2, 0)
    assert str(AutoConfig.from_pretrained(merged).dtype) == "torch.float32"


def test_a_merge_keeps_the_dtype_of_its_base(run: Run, tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    merge(str(run.folder), tmp_path / "out", base=str(tmp_path / "half"))
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_an_adapter_on_the_hub_is_merged_by_the_command_line(run: Run, hub: Hub, merged: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training.merge", "--adapter", run.repo_id, "--revision", "main", "--out", tmp_path / "model"],
        cwd=ROOT,
        env=hub.env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (merged / "model.safetensors").read_bytes()


def copy_adapter(run: Run, place: Path, **changes: object) -> Path:
    folder = place / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(run.folder / name, folder / name)
    config = json.loads((folder / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def truncated(run: Run, place: Path) -> Path:
    folder = copy_adapter(run, place)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def not_json(run: Run, place: Path) -> Path:
    folder = copy_adapter(run, place)
    (folder / "adapter_config.json").write_text("{")
    return folder


MISTAKES: dict[str, tuple[Callable[[Run, Path], Path], str]] = {
    "a folder without an adapter": (lambda run, place: place, "holds no adapter_config.json"),
    "no folder": (lambda run, place: place / "none", "there is no adapter folder"),
    "a configuration that is no JSON": (not_json, "is not JSON"),
    "a base that is gone": (
        lambda run, place: copy_adapter(run, place, base_model_name_or_path=str(place / "gone")),
        "cannot load the base model",
    ),
    "no base named": (lambda run, place: copy_adapter(run, place, base_model_name_or_path=None), "give --base"),
    "truncated weights": (truncated, "does not go with the base"),
    "modules that the base lacks": (
        lambda run, place: copy_adapter(run, place, target_modules=["c_attn"]),
        "does not go with the base",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_and_leaves_nothing_behind(
    case: tuple[Callable[[Run, Path], Path], str], run: Run, tmp_path: Path
) -> None:
    make_adapter, sentence = case
    (place := tmp_path / "input").mkdir()
    with pytest.raises(UserError, match=sentence) as caught:
        merge(str(make_adapter(run, place)), tmp_path / "out" / "model")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*"))
    assert not list(tmp_path.glob("out/.*"))


def test_a_folder_that_is_taken_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and holds something else"):
        merge(str(run.folder), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_earlier_merge_is_replaced(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "model"
    merge(str(run.folder), out)
    (out / "stale").touch()
    merge(str(run.folder), out)
    assert not (out / "stale").exists()
    assert (out / "model.safetensors").is_file()
