"""What a run's folder must hold to be published, and what must belong together in it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from release.run_folder import RunFolder, measured_weights, read_run_folder
from tests.run_folder import BASE, write_adapter, write_results


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    edit(document)
    file.write_text(json.dumps(document), encoding="utf-8")


def change_results(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    (file,) = folder.rglob("results_*.json")
    change(file, edit)


def refused(run: Path, **options: Any) -> str:
    with pytest.raises(UserError) as told:
        read_run_folder(run, **options)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_run_of_one_piece_is_taken_with_the_base_that_its_adapter_tells(run_folder: Path) -> None:
    results = run_folder / "results"
    found = read_run_folder(run_folder)
    assert found == RunFolder(
        run_folder / "dataset", run_folder / "adapter", results / "tuned", results / "base", BASE, base_given=False
    )
    assert found.baselines == [results / "majority"]
    assert found.report == results / "report" / "scores.json"
    assert run_folder / "base" in found.places
    given = read_run_folder(run_folder, base_model="org/other")
    assert given == replace(found, base_model="org/other", base_given=True)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("dataset", "dataset is not a folder; make it with python -m dataset_builders.build"),
        ("dataset/manifest.json", "is not a built dataset, it has no manifest.json"),
        ("dataset/data/also_buy/test-00000-of-00001.parquet", "also_buy"),
        ("adapter", "adapter is not a folder; give the output folder of training/sft.py"),
        ("adapter/adapter_model.safetensors", "is not a finished adapter, it has no adapter_model.safetensors"),
        ("adapter/tokenizer_config.json", "is not a finished adapter, it has no tokenizer_config.json"),
        ("adapter/training_summary.json", "is not a finished adapter, it has no training_summary.json"),
        ("results", "there is no "),
        ("results/tuned", "results/tuned; evaluate with eval_tasks.run --names base,tuned, or say where the tuned results are"),
        ("results/base", "results/base; evaluate with eval_tasks.run --names base,tuned, or say where the base results are"),
        ("results/tuned/results", "holds no results_*.json"),
    ],
)
def test_what_is_missing_is_named(run: Path, missing: str, said: str) -> None:
    place = run / missing
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    assert said in refused(run)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'} is not a folder; give the OUT of make demo"


@pytest.mark.parametrize("name", ["tuned", "base"])
def test_results_of_another_build_of_the_dataset_are_refused(run: Path, name: str) -> None:
    def other(document: dict[str, Any]) -> None:
        document["config_tasks"]["shop:also_buy|0"]["version"] += 1

    change_results(run / "results" / name, other)
    assert refused(run).startswith(f"also_buy: measured on other rows than {run / 'dataset'} holds; publish the dataset that")


def test_results_of_other_weights_are_refused(run: Path) -> None:
    change_results(
        run / "results" / "tuned",
        lambda document: document["config_general"]["model_config"].update(adapter_sha256="0" * 64),
    )
    said = refused(run)
    assert said == (f"{run}/results/tuned was measured with other weights than {run}/adapter has; evaluate this adapter again")


def test_results_that_tell_no_weights_are_taken(run: Path) -> None:
    change_results(run / "results" / "tuned", lambda document: document["config_general"]["model_config"].pop("adapter_sha256"))
    assert measured_weights(run / "results" / "tuned") == set()
    assert read_run_folder(run).tuned == run / "results" / "tuned"


@pytest.mark.parametrize(("weight", "fits"), [(1.0, True), (0.7, False)])
def test_results_of_a_merged_folder_are_those_of_what_was_merged_in_whole(run: Path, weight: float, fits: bool) -> None:
    merged = run / "merged"
    merged.mkdir()
    sha256 = hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    (merged / "merge.json").write_text(json.dumps({"adapters": [{"sha256": sha256, "weight": weight}]}))
    results = write_results(run / "results" / "merged", run / "dataset", 1.0, model_name=str(merged))
    if fits:
        assert read_run_folder(run, tuned=results).tuned == results
    else:
        assert "was measured with other weights than" in refused(run, tuned=results)


def test_results_of_a_part_of_the_rows_a_baseline_or_an_adapter_as_the_base_are_refused(run: Path) -> None:
    results = run / "results"
    assert "results/tuned was measured with an adapter; evaluate the base alone" in refused(run, base=results / "tuned")
    assert "majority holds the results of a baseline and not of a model" in refused(run, tuned=results / "majority")
    change_results(results / "tuned", lambda document: document["config_general"].update(max_samples=3))
    assert "tuned asked at most 3 rows of a task, which is no score of the dataset" in refused(run)


@pytest.mark.parametrize("broken", [lambda report: report["tasks"][0]["scores"].update(tuned=0.123), dict.clear])
def test_a_report_on_other_results_is_refused(run: Path, broken: Callable[[dict[str, Any]], Any]) -> None:
    report = run / "results" / "report"
    change(report / "scores.json", broken)
    assert refused(run) == (
        f"{report} is not a report on {run}/results/tuned; make it again with eval_tasks.report, or remove it"
    )
    shutil.rmtree(report)
    assert read_run_folder(run).report is None


def test_an_adapter_that_was_trained_on_other_rows_is_refused(run: Path) -> None:
    change(run / "adapter" / "training_summary.json", lambda summary: summary.update(dataset_fingerprint="f" * 64))
    assert f"{run / 'adapter'} was trained on other rows than {run / 'dataset'} holds" in refused(run)
    change(run / "adapter" / "training_summary.json", lambda summary: summary.update(dataset_fingerprint=None))
    assert read_run_folder(run).adapter == run / "adapter"


def test_a_base_that_names_no_model_of_the_hub_is_refused_until_it_is_given(run: Path, tiny_llama: Path) -> None:
    shutil.rmtree(run / "adapter")
    write_adapter(run / "adapter", tiny_llama, run / "dataset")
    change_results(
        run / "results" / "tuned",
        lambda document: document["config_general"]["model_config"].pop("adapter_sha256"),
    )
    assert "is a folder that names no model of the Hub; publish that model and give its name with --base-model" in refused(run)
    assert read_run_folder(run, base_model="org/base").base_model == "org/base"
    for wrong in (str(tiny_llama), "base-alone", "a b/c"):
        assert f"the base model {wrong!r} is not an id on the Hub" in refused(run, base_model=wrong)
