"""training/merge.py: the merged model is base plus weighted adapters, and a failed merge leaves nothing behind."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from tests.hub import Hub, run_main
from tests.training.conftest import ROOT, TrainingRun
from tests.training.random_adapters import random_adapter
from training.adapters import METHODS, Combination, read_adapter, read_training
from training.merge import card, load_merged, main, merge, merge_adapters, provenance

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 1e-5
"""Of float32 sums of weights up to about 1."""


@pytest.fixture(scope="module")
def merged(run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "model"
    merge(str(run.folder), out)
    return out


def test_the_merged_model_computes_what_base_and_adapter_do(merged: Path, run: TrainingRun, tiny_llama: Path) -> None:
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


def test_a_merge_keeps_the_dtype_of_its_base(run: TrainingRun, tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    merge(str(run.folder), tmp_path / "out", base=str(tmp_path / "half"))
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_an_adapter_on_the_hub_is_merged_by_the_command_line(run: TrainingRun, hub: Hub, merged: Path, tmp_path: Path) -> None:
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


def copy_adapter(run: TrainingRun, place: Path, **changes: object) -> Path:
    folder = place / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(run.folder / name, folder / name)
    config = json.loads((folder / "adapter_config.json").read_text()) | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def truncated(run: TrainingRun, place: Path) -> Path:
    folder = copy_adapter(run, place)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def not_json(run: TrainingRun, place: Path) -> Path:
    folder = copy_adapter(run, place)
    (folder / "adapter_config.json").write_text("{")
    return folder


MISTAKES: dict[str, tuple[Callable[[TrainingRun, Path], Path], str]] = {
    "a folder without an adapter": (lambda run, place: place, "holds no adapter_config.json"),
    "no folder": (lambda run, place: place / "none", "is no file or folder here"),
    "a configuration that is no JSON": (not_json, "cannot be read as JSON"),
    "a base that is gone": (
        lambda run, place: copy_adapter(run, place, base_model_name_or_path=str(place / "gone")),
        "cannot load the base model",
    ),
    "no base named": (lambda run, place: copy_adapter(run, place, base_model_name_or_path=None), "give --base"),
    "truncated weights": (truncated, "does not fit the base"),
    "modules that the base lacks": (
        lambda run, place: copy_adapter(run, place, target_modules=["c_attn"]),
        "does not fit the base",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_and_leaves_nothing_behind(
    case: tuple[Callable[[TrainingRun, Path], Path], str], run: TrainingRun, tmp_path: Path
) -> None:
    make_adapter, sentence = case
    (place := tmp_path / "input").mkdir()
    with pytest.raises(UserError, match=sentence) as caught:
        merge(str(make_adapter(run, place)), tmp_path / "out" / "model")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*"))
    assert not list(tmp_path.glob("out/.*"))


def test_a_folder_that_is_taken_is_left_alone(run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and holds something else"):
        merge(str(run.folder), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_earlier_merge_is_replaced(run: TrainingRun, tmp_path: Path) -> None:
    out = tmp_path / "model"
    merge(str(run.folder), out)
    (out / "stale").touch()
    merge(str(run.folder), out)
    assert not (out / "stale").exists()
    assert (out / "model.safetensors").is_file()


# --- Weights ---


@pytest.fixture(scope="module")
def adapters(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters that change the tiny model a lot: two alike in kind, and others that differ in one thing."""
    place = tmp_path_factory.mktemp("adapters")
    kinds: dict[str, dict[str, Any]] = {
        "first": {},
        "second": {},
        "wide": {"r": 8, "target_modules": ["q_proj", "down_proj"]},
        "rslora": {"use_rslora": True},
        "patterns": {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {"v_proj": 3}},
        "dora": {"use_dora": True},
        "whole head": {"modules_to_save": ["lm_head"]},
        "bias": {"bias": "lora_only"},
    }
    return {
        name: random_adapter(tiny_llama, place / name, seed, **options) for seed, (name, options) in enumerate(kinds.items())
    }


def state(folder: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def change(base: Path, *folders: Path, weight: float = 1.0, combination: Combination | None = None) -> "dict[str, Tensor]":
    """What the merged model has on its base, by the name of the weights."""
    model, _ = load_merged([read_adapter(str(folder)) for folder in folders], str(base), weight, combination)
    return {name: tensor - state(base)[name] for name, tensor in model.state_dict().items()}


def weighted_sum(*parts: "tuple[float, dict[str, Tensor]]") -> "dict[str, Tensor]":
    return {name: sum(weight * tensors[name] for weight, tensors in parts) for name in parts[0][1]}  # type: ignore[misc]


def distance(one: "dict[str, Tensor]", other: "dict[str, Tensor]") -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_weight_0_gives_the_base_exactly(adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    merge(str(adapters["first"]), tmp_path / "model", weight=0)

    base, merged = state(tiny_llama), state(tmp_path / "model")
    assert base.keys() == merged.keys()
    assert all(torch.equal(base[name], merged[name]) for name in base)
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        one, other = (AutoModelForCausalLM.from_pretrained(folder)(ids).logits for folder in (tiny_llama, tmp_path / "model"))
    assert torch.equal(one, other)


def test_weight_1_is_what_a_merge_without_a_weight_gives(merged: Path, run: TrainingRun, tmp_path: Path) -> None:
    main(["--adapter", str(run.folder), "--weight", "1", "--out", str(tmp_path / "model")])

    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (merged / "model.safetensors").read_bytes()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weight=st.floats(0, 2))
def test_the_merged_weights_are_the_base_and_a_share_of_the_change(
    weight: float, adapters: dict[str, Path], tiny_llama: Path
) -> None:
    whole = change(tiny_llama, adapters["first"])
    assert distance(change(tiny_llama, adapters["first"], weight=weight), weighted_sum((weight, whole))) < NOISE


@pytest.mark.parametrize("kind", ["rslora", "patterns", "dora", "whole head", "bias"])
def test_a_weight_holds_for_every_kind_of_adapter(kind: str, adapters: dict[str, Path], tiny_llama: Path) -> None:
    whole = change(tiny_llama, adapters[kind])
    assert max(float(tensor.abs().max()) for tensor in whole.values()) > 0.01
    assert distance(change(tiny_llama, adapters[kind], weight=0.5), weighted_sum((0.5, whole))) < NOISE
    assert distance(change(tiny_llama, adapters[kind], weight=0), weighted_sum((0, whole))) == 0


def test_a_weight_keeps_the_dtype_of_the_base(adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_llama, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    merge(str(adapters["first"]), tmp_path / "out", base=str(tmp_path / "half"), weight=0.5)

    merged, half, whole = state(tmp_path / "out"), state(tmp_path / "half"), change(tiny_llama, adapters["first"])
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}
    for name, tensor in merged.items():
        assert torch.allclose(tensor.float(), half[name].float() + 0.5 * whole[name], atol=5e-3)


@pytest.mark.parametrize("weight", ["nan", "inf", "-0.5", "1e39", "1e300"])
def test_a_weight_that_is_none_is_told(weight: str, adapters: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--weight .*; (give|0 is the base)"):
        main(["--adapter", str(adapters["first"]), f"--weight={weight}", "--out", str(tmp_path / "model")])
    assert not list(tmp_path.iterdir())


# --- Several adapters ---


def test_the_methods_are_those_of_peft() -> None:
    from peft import LoraModel

    assert set(METHODS) == set(get_args(get_type_hints(LoraModel.add_weighted_adapter)["combination_type"]))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_model(method: str, adapters: dict[str, Path], tiny_llama: Path) -> None:
    density = None if method in ("cat", "svd", "linear") else 0.5
    made = change(tiny_llama, adapters["first"], adapters["second"], combination=Combination((0.7, 0.3), method, density))
    assert all(bool(tensor.isfinite().all()) for tensor in made.values())
    assert max(float(tensor.abs().max()) for tensor in made.values()) > 0.01


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.permutations(["first", "wide", "rslora", "patterns"]),
    weights=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
)
def test_cat_is_the_weighted_sum_of_the_changes(
    names: list[str], weights: tuple[float, ...], adapters: dict[str, Path], tiny_llama: Path
) -> None:
    """Whatever their ranks, target modules and scales, and in any order."""
    folders = [adapters[name] for name in names[:3]]
    apart = [(weight, change(tiny_llama, folder)) for weight, folder in zip(weights, folders, strict=True)]
    assert distance(change(tiny_llama, *folders, combination=Combination(weights)), weighted_sum(*apart)) < NOISE


@pytest.mark.parametrize("method", ["cat", "svd"])
@pytest.mark.parametrize("name", ["first", "rslora"])
def test_two_equal_adapters_at_a_half_each_are_one(name: str, method: str, adapters: dict[str, Path], tiny_llama: Path) -> None:
    both = change(tiny_llama, adapters[name], adapters[name], combination=Combination((0.5, 0.5), method))
    assert distance(both, change(tiny_llama, adapters[name])) < NOISE


def test_svd_is_the_nearest_change_of_the_largest_rank(adapters: dict[str, Path], tiny_llama: Path) -> None:
    import torch

    parts = [(weight, change(tiny_llama, adapters[name])) for weight, name in ((0.7, "first"), (0.3, "second"))]
    made = change(tiny_llama, adapters["first"], adapters["second"], combination=Combination((0.7, 0.3), "svd"))
    name = "model.layers.0.self_attn.q_proj.weight"
    left, values, right = torch.linalg.svd(weighted_sum(*parts)[name])
    assert torch.allclose(made[name], left[:, :4] @ values[:4].diag() @ right[:4], atol=NOISE)
    assert values[4] > 0.01  # so something was cut


def test_linear_sums_the_two_matrices_apart(adapters: dict[str, Path], tiny_llama: Path) -> None:
    """As --help says: the products of one adapter's A with another's B make it no weighted sum of the changes."""
    from safetensors.torch import load_file

    made = change(tiny_llama, adapters["first"], adapters["second"], combination=Combination((0.7, 0.3), "linear"))
    layer = "model.layers.1.mlp.up_proj"
    sums = []
    for side in ("A", "B"):
        parts = [
            load_file(adapters[name] / "adapter_model.safetensors")[f"base_model.model.{layer}.lora_{side}.weight"]
            for name in ("first", "second")
        ]
        scale = 2.0  # alpha 8, rank 4
        sums.append((0.7 * scale) ** 0.5 * parts[0] + (0.3 * scale) ** 0.5 * parts[1])
    assert float((made[f"{layer}.weight"] - sums[1] @ sums[0]).abs().max()) < NOISE

    twice = change(tiny_llama, adapters["first"], adapters["first"], combination=Combination((0.5, 0.5), "linear"))
    assert distance(twice, weighted_sum((2, change(tiny_llama, adapters["first"])))) < NOISE


def test_ties_averages_so_that_equal_adapters_take_weights_of_1(adapters: dict[str, Path], tiny_llama: Path) -> None:
    made = change(tiny_llama, adapters["first"], adapters["first"], combination=Combination((1, 1), "ties", density=1))
    assert distance(made, change(tiny_llama, adapters["first"])) < NOISE


def test_dare_draws_by_the_seed_and_leaves_others_draws_alone(adapters: dict[str, Path], tiny_llama: Path) -> None:
    import torch

    def made(seed: int) -> "dict[str, Tensor]":
        combination = Combination((0.5, 0.5), "dare_linear", 0.5, seed)
        return change(tiny_llama, adapters["first"], adapters["second"], combination=combination)

    torch.manual_seed(7)
    first = made(1)
    torch.manual_seed(8)
    assert distance(first, made(1)) == 0
    assert distance(first, made(2)) > 0.01


def test_a_weight_scales_a_combination_too(adapters: dict[str, Path], tiny_llama: Path) -> None:
    both = [adapters["first"], adapters["wide"]]
    whole = change(tiny_llama, *both, combination=Combination((0.7, 0.3)))
    assert (
        distance(change(tiny_llama, *both, weight=0.5, combination=Combination((0.7, 0.3))), weighted_sum((0.5, whole))) < NOISE
    )


def test_weights_are_equal_ones_by_default(adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    names = [word for name in ("first", "second") for word in ("--adapter", str(adapters[name]))]
    main([*names, "--out", str(tmp_path / "default")])
    main([*names, "--weights", "0.5,0.5", "--method", "cat", "--out", str(tmp_path / "told")])
    assert (tmp_path / "default/model.safetensors").read_bytes() == (tmp_path / "told/model.safetensors").read_bytes()


def test_adapters_on_the_hub_are_combined_at_their_revisions(run: TrainingRun, hub: Hub, tmp_path: Path) -> None:
    head = hub.head(run.repo_id)
    words = ["--adapter", f"{run.repo_id}@main", "--adapter", f"{run.repo_id}@{head}", "--out", str(tmp_path / "model")]
    done = subprocess.run(
        [sys.executable, "-m", "training.merge", *words], cwd=ROOT, env=hub.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "model" / "merge.json").read_text())
    assert [adapter["revision"] for adapter in told["adapters"]] == [head, head]


# --- Quantised bases ---


def test_an_adapter_of_a_quantised_base_is_merged_into_the_unquantised_one(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import BitsAndBytesConfig

    options = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    adapter = random_adapter(tiny_llama, tmp_path / "qlora", 0, quantization_config=options)

    made = change(tiny_llama, adapter)

    layer = "model.layers.0.self_attn.q_proj"
    tensors = load_file(adapter / "adapter_model.safetensors")
    first, second = (tensors[f"base_model.model.{layer}.lora_{side}.weight"] for side in ("A", "B"))
    assert float((made[f"{layer}.weight"] - 2 * second @ first).abs().max()) < NOISE


def test_a_quantised_base_is_refused(adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is quantised; give the one that it was made from as --base"):
        merge(str(adapters["first"]), tmp_path / "out", base=str(base))
    assert not (tmp_path / "out").exists()


# --- What was merged ---


def test_the_folder_says_what_a_single_adapter_was_trained_on(adapters: dict[str, Path], tmp_path: Path) -> None:
    trained = {"tasks": {"query_generation": 3}, "rows_in_words": {"also_buy": 0}, "adapter": None}
    adapter = tmp_path / "adapter"
    shutil.copytree(adapters["first"], adapter)
    merge(str(adapter), tmp_path / "unknown")
    assert json.loads((tmp_path / "unknown" / "merge.json").read_text())["training"] is None
    (adapter / "training_summary.json").write_text(json.dumps(trained | {"dataset_name": "/home/me/rows"}))
    merge(str(adapter), tmp_path / "model")
    assert json.loads((tmp_path / "model" / "merge.json").read_text())["training"] == trained
    assert read_training(tmp_path / "model") == read_training(adapter)
    merge_adapters([read_adapter(str(adapter))] * 2, tmp_path / "both", combination=Combination((0.5, 0.5)))
    assert json.loads((tmp_path / "both" / "merge.json").read_text())["training"] is None


def test_the_folder_says_what_was_merged_and_no_path(adapters: dict[str, Path], tmp_path: Path) -> None:
    import hashlib

    both = [read_adapter(str(adapters[name])) for name in ("first", "wide")]
    merge_adapters(both, tmp_path / "model", weight=0.9, combination=Combination((0.7, 0.3), "dare_linear_svd", 0.5, seed=3))

    told = json.loads((tmp_path / "model" / "merge.json").read_text())
    sums = [
        hashlib.sha256((adapters[name] / "adapter_model.safetensors").read_bytes()).hexdigest() for name in ("first", "wide")
    ]
    assert told["adapters"] == [
        {"name": "first", "revision": None, "sha256": sums[0], "weight": 0.7},
        {"name": "wide", "revision": None, "sha256": sums[1], "weight": 0.3},
    ]
    assert (told["weight"], told["method"], told["density"], told["seed"]) == (0.9, "dare_linear_svd", 0.5, 3)
    assert (tmp_path / "model" / ".merged").exists()
    for name in ("merge.json", "README.md"):
        assert str(adapters["first"].parent) not in (tmp_path / "model" / name).read_text()


def test_the_card_names_a_base_on_the_hub_only(adapters: dict[str, Path], tiny_llama: Path) -> None:
    from huggingface_hub import ModelCard

    adapter = read_adapter(str(adapters["first"]))
    for base, named in (("org/base", "org/base"), (str(tiny_llama), None)):
        text = card(provenance([adapter], base, 0.5, None), base)
        assert ModelCard(text).data.base_model == named
        assert "0.5 x first" in text


def test_a_base_in_a_folder_is_the_model_that_its_readme_names(adapters: dict[str, Path], tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    (tmp_path / "README.md").write_text("---\nbase_model: org/original\n---\n", encoding="utf-8")
    text = card(provenance([read_adapter(str(adapters["first"]))], str(tmp_path), 1, None), str(tmp_path))
    assert ModelCard(text).data.base_model == "org/original"
    assert str(tmp_path) not in text


# --- On the Hub ---


def test_a_merged_model_is_pushed_in_one_commit_and_can_be_loaded(
    hub_client: Hub, run: TrainingRun, merged: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    out = tmp_path / "model"
    done = run_main(main, "--adapter", run.folder, "--out", out, "--push", "--repo-id", "org/merged", "--private")
    assert done.returncode == 0, done.stderr
    assert hub_client.commits("org/merged") == ["Merged model"]
    files = hub_client.files("org/merged")
    assert files["model.safetensors"] == (merged / "model.safetensors").read_bytes()
    assert {"README.md", "merge.json", "config.json", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert ".merged" not in files
    assert AutoModelForCausalLM.from_pretrained("org/merged") is not None


def test_a_dry_run_lists_the_files_and_a_push_to_nowhere_is_told(run: TrainingRun, tmp_path: Path) -> None:
    out = ("--adapter", run.folder, "--out", tmp_path / "model")
    listed = run_main(main, *out, "--push", "--repo-id", "org/none", "--dry-run")
    assert "model.safetensors" in listed.stdout
    with pytest.raises(UserError, match="say where to push"):
        run_main(main, *out, "--push")
    with pytest.raises(UserError, match="are for --push"):
        run_main(main, *out, "--repo-id", "org/none")


# --- Mistakes with several ---

SEVERAL: dict[str, tuple[list[str], list[str], str]] = {
    "ranks": (["first", "wide"], ["--method", "linear"], "not of 4 and 8; give svd or cat"),
    "ranks under ties": (["first", "wide"], ["--method", "ties", "--density", "0.5"], "give ties_svd"),
    "too few weights": (["first", "second"], ["--weights", "0.5"], "has 1 for 2 adapters"),
    "no numbers": (["first", "second"], ["--weights", "a,b"], "is not a list of numbers"),
    "weights that are not finite": (["first", "second"], ["--weights", "nan,1"], "is not a list of numbers"),
    "no density": (["first", "second"], ["--method", "dare_ties"], "needs --density"),
    "density for nothing": (["first", "second"], ["--density", "0.5"], "--method cat takes no --density"),
    "a density of nothing": (
        ["first", "second"],
        ["--method", "ties", "--density", "0"],
        "--density must be above 0 and at most 1, not 0.0",
    ),
    "one revision for two": (["first", "second"], ["--revision", "main"], "write org/name@revision for each"),
    "DoRA": (["first", "dora"], [], "trained with use_dora, which PEFT cannot combine"),
    "a whole layer": (["whole head", "first"], [], "trained with modules_to_save, which PEFT cannot combine"),
    "biases": (["first", "bias"], [], "trained with bias, which PEFT cannot combine"),
    "a method for one": (["first"], ["--method", "svd"], "are for several adapters"),
    "weights for one": (["first"], ["--weights", "0.5"], "are for several adapters"),
}


@pytest.mark.parametrize("case", SEVERAL.values(), ids=SEVERAL.keys())
def test_a_mistake_with_several_is_told(
    case: tuple[list[str], list[str], str], adapters: dict[str, Path], tmp_path: Path
) -> None:
    names, options, sentence = case
    words = [word for name in names for word in ("--adapter", str(adapters[name]))]
    with pytest.raises(UserError, match=sentence) as caught:
        main([*words, *options, "--out", str(tmp_path / "model")])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_adapters_of_two_bases_are_refused_unless_one_is_given(
    adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapters["second"], tmp_path / "other"))
    config = json.loads((other / "adapter_config.json").read_text()) | {"base_model_name_or_path": "org/another"}
    (other / "adapter_config.json").write_text(json.dumps(config))
    words = ["--adapter", str(adapters["first"]), "--adapter", str(other), "--out", str(tmp_path / "model")]

    with pytest.raises(UserError, match=r"were trained on different bases, .* and .*; if these are one, give it as --base"):
        main(words)
    main([*words, "--base", str(tiny_llama)])
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_learnt_prompt_is_told_to_be_none(tiny_llama: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    options = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), options).save_pretrained(tmp_path / "prompt")
    with pytest.raises(UserError, match="is a learned prompt, which has no weights to merge"):
        merge(str(tmp_path / "prompt"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_adapters_with_different_templates_make_no_model(adapters: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    first = adapters[min(adapters)]
    own = Path(shutil.copytree(first, tmp_path / "own"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(own)
    with pytest.raises(UserError, match="different chat templates, end tokens or vocabularies"):
        load_merged([read_adapter(str(own)), read_adapter(str(first))], str(tiny_llama), 1.0,
                    Combination((0.5, 0.5)))  # fmt: skip
