"""What does not fit together in a card's inputs is said, and nothing is said where all fits."""

import hashlib
import json
from pathlib import Path

import pytest

from common.dataset import read_manifest
from common.prompts import render_prompt
from common.tasks import TASKS
from eval_tasks.backends.cache_key import data_version
from model_card.consistency import inconsistencies
from model_card.evaluations import read_comparisons
from model_card.inputs import CardInputs, read_adapter, read_base
from tests.eval_tasks.runs import Said, said, write_run
from tests.model_card.files import (
    BASE,
    FINGERPRINT,
    TUNED,
    write_adapter,
    write_base_model,
    write_baseline,
    write_data,
    write_json,
    write_results,
)

WEIGHTS = b"weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def inputs(tmp_path):
    """Folders that fit together."""
    adapter = write_adapter(tmp_path / "adapter", str(write_base_model(tmp_path / "model")))
    (adapter / "adapter_model.safetensors").write_bytes(WEIGHTS)
    return {
        "adapter": adapter,
        "tuned": write_results(tmp_path / "tuned", TUNED),
        "base": write_results(tmp_path / "base", BASE, model="model"),
        "baselines": write_baseline(tmp_path / "random", "random", BASE),
        "data": write_data(tmp_path / "data"),
    }


def told(inputs, repo_id=None):
    adapter = read_adapter(inputs["adapter"])
    suites = read_comparisons([inputs["tuned"]], [inputs["base"]], [inputs["baselines"]])
    return inconsistencies(CardInputs(adapter, read_base(adapter), read_manifest(str(inputs["data"])), suites[0], (), repo_id))


def test_of_files_that_fit_nothing_is_said(inputs):
    assert told(inputs) == []


@pytest.mark.parametrize("called", ["adapter", "org/shop-lora", "org/shop-lora_at_v2", "somewhere/else/adapter"])
def test_a_name_of_the_adapter_is_enough_where_there_is_no_checksum(inputs, tmp_path, called):
    tuned = write_results(tmp_path / "other", TUNED, model=called)
    assert told(inputs | {"tuned": tuned}, "org/shop-lora") == []


def test_results_that_call_the_model_otherwise_are_told(inputs, tmp_path):
    (sentence,) = told(inputs | {"tuned": write_results(tmp_path / "other", TUNED, model="org/quite_else")})
    assert sentence.startswith("The results call the model that was measured quite_else;")


def test_a_checksum_decides_whatever_the_name(inputs, tmp_path):
    config = {"model_name": "quite_else", "adapter_sha256": SHA256, "generation_parameters": {"temperature": 0}}
    same = write_results(tmp_path / "same", TUNED, model="quite_else", model_config=config)
    assert told(inputs | {"tuned": same}) == []
    other = write_results(tmp_path / "other", TUNED, model_config=config | {"adapter_sha256": "f" * 64})
    assert told(inputs | {"tuned": other}) == [
        f"The scores are of other weights than this adapter's: `ffffffffffff` was measured, and this is `{SHA256[:12]}`."
    ]


def test_a_merged_model_is_known_by_what_it_holds(inputs, tmp_path):
    merged = tmp_path / "merged"
    tuned = inputs | {"tuned": write_results(tmp_path / "other", TUNED, model=str(merged))}
    write_json(merged / "merge.json", {"adapters": [{"name": "adapter", "sha256": SHA256, "weight": 1.0}]})
    assert told(tuned) == []
    write_json(merged / "merge.json", {"adapters": [{"name": "adapter", "sha256": SHA256, "weight": 0.5}]})
    (sentence,) = told(tuned)
    assert f"of a merged model, merged, that holds 0.5 of adapter (`{SHA256[:12]}`)" in sentence


def test_scores_of_another_base_are_told(inputs, tmp_path):
    (sentence,) = told(inputs | {"base": write_results(tmp_path / "other", BASE, model="org/large")})
    assert sentence == "The base's scores are of a model that its results call large, and the adapter's base is model."


def test_a_record_of_another_training_is_told(inputs):
    summary = inputs["adapter"] / "training_summary.json"
    write_json(summary, json.loads(summary.read_text()) | {"base_model": "org/large"})
    assert told(inputs) == ["The adapter names model as its base, and the record of its training large."]


def test_rows_built_again_after_training_are_told(inputs):
    write_adapter(inputs["adapter"], str(inputs["adapter"].parent / "model"), dataset_fingerprint="f" * 64)
    (sentence,) = told(inputs)
    assert "The dataset below is not the one that was trained on" in sentence


def test_scores_on_other_rows_are_told_once_for_all_models_that_have_them(inputs):
    rows = json.loads((inputs["data"] / "manifest.json").read_text())["configs"]
    for folder, changed in (("tuned", ["also_buy", "review_rating"]), ("base", ["also_buy", "review_rating"])):
        (file,) = inputs[folder].rglob("results_*.json")
        document = json.loads(file.read_text())
        for key, config in document["config_tasks"].items():
            name = key.removeprefix("shop:").removesuffix("|0")
            config["version"] = data_version("another" if name in changed else rows[name]["fingerprint"])
        file.write_text(json.dumps(document))
    assert told(inputs) == [
        "base and tuned were measured on other rows than the dataset below holds, in `review_rating` and `also_buy`."
    ]


def test_a_base_that_was_asked_otherwise_has_no_score_and_that_is_said(inputs, tmp_path):
    base = write_results(tmp_path / "other", {"also_buy": 0.1}, model="model", prompts="other")
    assert told(inputs | {"base": base}) == [
        "base was asked with other prompts than the tuned model in `also_buy`, so it has no score there."
    ]


def asked(folder: Path, prompt: str, model: str) -> Path:
    return write_run(folder, {"shop:review_rating": [Said(prompt, "1", 1.0)]}, model=model)


def test_prompts_of_another_version_are_told(inputs, tmp_path):
    fields = {"category": "Lamps", "review": "It shines."}
    fitting = render_prompt(TASKS["review_rating"].templates[1], fields)
    data = write_data(tmp_path / "other_data", configs={"default": {"fingerprint": FINGERPRINT}})
    for prompt, wanted in ((fitting, []), ("How many stars?", ["`review_rating`"])):
        folder = tmp_path / str(len(wanted))
        changed = {"tuned": asked(folder / "tuned", prompt, "adapter"), "base": asked(folder / "base", prompt, "model")}
        found = told(inputs | changed | {"data": data})
        assert [sentence for sentence in found if "in wording" in sentence] == [
            f"The prompts of the evaluation differ in wording from the quick start's templates, in {name}." for name in wanted
        ]


def test_other_decoding_is_told(inputs, tmp_path):
    limited = write_results(tmp_path / "other", TUNED, model="adapter_constrained")
    (sentence,) = told(inputs | {"tuned": limited})
    assert "with greedy decoding and the tuned model with greedy decoding, constrained to readable answers" in sentence
    config = {"generation_parameters": {"temperature": 0.7}, "model_name": "model"}
    (sentence,) = told(inputs | {"base": write_results(tmp_path / "warm", BASE, model="model", model_config=config)})
    assert "The base was measured with sampling at temperature 0.7" in sentence


def test_names_from_files_stay_text(inputs, tmp_path):
    evil = "a|b `c` <img src=x> [f]("
    (sentence,) = told(inputs | {"tuned": write_run(tmp_path / "other", {"shop:also_buy": said(1.0)}, model=evil)})[:1]
    assert "a\\|b \\`c\\` \\<img src=x\\> \\[f\\](" in sentence
