"""The `shop:` tasks inside lighteval: what is declared, what is asked, how it is scored, and one real run."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from common import scoring
from common.prompts import render_prompt, template_fields
from common.tasks import TASKS, Task
from tests.eval_tasks.conftest import REPOSITORY, Lighteval
from tests.eval_tasks.rows import GENERIC_FIELDS, dataset_row, write_dataset
from tests.hub import Hub
from tests.small_dataset import write_small_dataset


def load_tasks(
    monkeypatch: pytest.MonkeyPatch, dataset: Path | str, argv: list[str] | None = None, only: str = ""
) -> ModuleType:
    """The task file as lighteval loads it for the dataset and command line."""
    from lighteval.tasks.registry import Registry

    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    monkeypatch.setenv("SHOP_TASKS", only)
    monkeypatch.setattr("sys.argv", ["lighteval", *(argv or [])])
    module = Registry.create_custom_tasks_module(REPOSITORY / "eval_tasks" / "shop.py")
    assert module is not None
    return module


def read_results(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("results_*.json")
    return dict(json.loads(file.read_text()))


def test_a_run_of_the_console_script_scores_every_task_of_the_dataset(shop_run: Path) -> None:
    results = read_results(shop_run)["results"]

    expected = {
        "shop:answerability|0": "accuracy",
        "shop:query_product_ranking|0": "ndcg",
        "shop:also_buy|0": "hit_rate",
        "shop:query_generation|0": "rougel",
    }
    assert set(results) == {*expected, "shop:_average|0", "all"}
    for task, metric in expected.items():
        assert 0 <= results[task][metric] <= 1
        assert 0 <= results[task]["unparsable"] <= 1


def test_all_twelve_tasks_are_declared_for_a_dataset_that_has_them(shop_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = load_tasks(monkeypatch, shop_dataset).TASKS_TABLE

    assert [config.name for config in table] == [f"shop:{name}" for name in TASKS]
    assert [config.metrics[0].metric_name for config in table] == [task.metric for task in TASKS.values()]
    assert {config.original_num_docs for config in table} == {3}


def test_gold_answers_score_1_and_noise_is_counted_as_unparsable(shop_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.lighteval_task import LightevalTask

    for config in load_tasks(monkeypatch, shop_dataset).TASKS_TABLE:
        metric, unparsable, unfinished = (metric.metric_name for metric in config.metrics)
        docs = LightevalTask(config).get_docs()
        gold = [ModelResponse(text=[doc.get_golds()[0]]) for doc in docs]
        noise = [ModelResponse(text=[" \n"]) for _ in docs]
        reasoned = [ModelResponse(text=[f"Let me see</think>\n\n{doc.get_golds()[0]}"]) for doc in docs]
        spent = [ModelResponse(text=["<think>\nLet me see"]) for _ in docs]

        assert len(docs) == 3
        assert apply_metric(gold, docs, config.metrics) == [{metric: 1.0, unparsable: 0.0, unfinished: 0.0}] * 3
        assert apply_metric(reasoned, docs, config.metrics) == [{metric: 1.0, unparsable: 0.0, unfinished: 0.0}] * 3
        assert apply_metric(noise, docs, config.metrics) == [{metric: 0.0, unparsable: 1.0, unfinished: 0.0}] * 3
        assert apply_metric(spent, docs, config.metrics) == [{metric: 0.0, unparsable: 0.0, unfinished: 1.0}] * 3


def test_hostile_answers_are_scored_like_any(shop_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.lighteval_task import LightevalTask

    texts = ["", "\0\x1b[2J", "\ud83d \udc00", "1," * 50_000, "word " * 20_000, "9" * 100_000]
    for config in load_tasks(monkeypatch, shop_dataset).TASKS_TABLE:
        (doc, *_) = LightevalTask(config).get_docs()
        started = time.process_time()

        outputs = apply_metric([ModelResponse(text=[text]) for text in texts], [doc] * len(texts), config.metrics)

        assert time.process_time() - started < 2
        assert all(0 <= value <= 1 for output in outputs for value in output.values())
        assert outputs[0]["unparsable"] == 1


def test_a_task_whose_metric_lacks_a_package_is_left_out_and_told(
    shop_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for function in (scoring.rouge_l, scoring._common_subsequence):
        function.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)

    table = load_tasks(monkeypatch, shop_dataset).TASKS_TABLE

    generation = [f"shop:{name}" for name, task in TASKS.items() if task.family == "generation"]
    assert not {config.name for config in table} & set(generation)
    assert len(table) == len(TASKS) - len(generation)
    told = capsys.readouterr().err
    assert all(f"warning: {name} is left out: the package rapidfuzz is missing" in told for name in generation)


def test_only_tasks_with_test_rows_are_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["also_buy", "answerability"])
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["configs"]["answerability"]["test"] = 0
    manifest["configs"]["default"] = {"train": 6, "test": 3, "fingerprint": "0"}
    (dataset / "manifest.json").write_text(json.dumps(manifest))

    assert [config.name for config in load_tasks(monkeypatch, dataset).TASKS_TABLE] == ["shop:also_buy"]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("ranking,review_rating", ["review_rating", "query_product_ranking"]),
        (" retrieval , also_buy,", ["also_buy", "next_query"]),
        ("multiple_choice", ["review_rating", "query_relation", "query_product_relation", "product_relation", "answerability"]),
        (",", list(TASKS)),
    ],
)
def test_tasks_can_be_kept_to_some_by_name_or_family(
    only: str, names: list[str], shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_tasks(monkeypatch, shop_dataset, only=only).TASKS_TABLE

    assert [config.name for config in table] == [f"shop:{name}" for name in names]


@pytest.mark.parametrize(
    ("only", "argv", "sentence"),
    [
        ("ranks", [], "SHOP_TASKS=ranks: 'ranks' is no task and no family; families are multiple_choice, ranking, "),
        ("also_buy", [], "no task of SHOP_TASKS=also_buy has test rows"),
        ("answerability", ["shop|0"], 'write "shop:answerability|0" instead of "shop|0"'),
    ],
)
def test_tasks_that_cannot_be_run_are_told(
    only: str,
    argv: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["answerability", "next_query"])

    with pytest.raises(SystemExit) as stopped:
        load_tasks(monkeypatch, dataset, ["accelerate", *argv], only)

    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_task_that_is_named_and_has_no_rows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["answerability", "next_query"])

    table = load_tasks(monkeypatch, dataset, only="answerability,also_buy,ranking").TASKS_TABLE

    assert [config.name for config in table] == ["shop:answerability"]
    assert capsys.readouterr().err == "warning: shop:also_buy is left out: the dataset has no test rows of it\n"


def with_unseen(task: Task, index: int) -> dict[str, Any]:
    row = dataset_row(task, index)
    unseen = render_prompt(task.unseen, {name: GENERIC_FIELDS[name] for name in template_fields(task.unseen)})
    return row | {"wording": 1, "unseen": [{"role": "user", "content": f"{index}: {unseen}"}]}


def test_rows_with_an_unseen_wording_are_asked_in_it_as_well_and_paired_with_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lighteval.tasks.lighteval_task import LightevalTask

    monkeypatch.setattr("eval_tasks.suites.suite.UNSEEN_SHARE", 0.7)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    rows = {name: {"test": [with_unseen(task, index) for index in range(4)]} for name, task in TASKS.items()}
    dataset = write_small_dataset(tmp_path / "dataset", rows)
    table = {config.name: config for config in load_tasks(monkeypatch, dataset).TASKS_TABLE}
    assert list(table) == [f"{suite}:{name}" for suite in ("shop", "shop_unseen") for name in TASKS]
    for name, task in TASKS.items():
        own, unseen = (LightevalTask(table[f"{suite}:{name}"]).get_docs() for suite in ("shop", "shop_unseen"))
        assert (len(own), len(unseen)) == (4, 3)
        assert table[f"shop_unseen:{name}"].few_shots_split, "without one lighteval warns of examples that nobody asked for"
        by_prompt = {row["prompt"][0]["content"]: row for row in rows[name]["test"]}
        for doc, other in zip(own, unseen, strict=False):
            assert other.specific["paired_with"] == doc.query
            assert other.query == by_prompt[doc.query]["unseen"][0]["content"]
            assert other.get_golds() == doc.get_golds()
            assert other.specific["pattern"] == doc.specific["pattern"]
            assert (other.generation_size, other.stop_sequences) == (doc.generation_size, doc.stop_sequences)
        assert table[f"shop_unseen:{name}"].original_num_docs == 3
        assert table[f"shop_unseen:{name}"].metrics[0].metric_name == task.metric


def test_with_max_samples_the_same_rows_are_asked_in_both_wordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.tasks.lighteval_task import LightevalTask

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    rows = [with_unseen(TASKS["also_buy"], index) for index in range(50)]
    dataset = write_small_dataset(tmp_path / "dataset", {"also_buy": {"test": rows}})
    own, unseen = (LightevalTask(config).get_docs(max_samples=7) for config in load_tasks(monkeypatch, dataset).TASKS_TABLE)
    assert [doc.query for doc in own] == [doc.specific["paired_with"] for doc in unseen]
    assert len({doc.query for doc in own}) == 7


def test_a_document_has_its_rows_pattern_and_group(shop_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = load_tasks(monkeypatch, shop_dataset)

    for task in TASKS.values():
        row = dataset_row(task, 0)
        doc = tasks.prompt(row | {"group": "B00"}, f"shop:{task.name}|0")
        assert doc.specific == {"answer": row["answer"], "pattern": doc.specific["pattern"], "group": "B00"}
        assert bool(doc.specific["pattern"]) == (task.family != "generation")
        assert not doc.specific["pattern"] or re.fullmatch(doc.specific["pattern"], doc.get_golds()[0])
        assert "group" not in tasks.prompt(row, f"shop:{task.name}|0").specific


GARBAGE = ["", "\0\x1b[31m\x07", "\u200b", "x " * 50_000, "#" * 100_000, "9" * 100_000, "x\n" * 50_000]


@pytest.mark.parametrize("text", GARBAGE, ids=["empty", "control", "no width", "words", "one word", "digits", "lines"])
def test_garbage_scores_0_within_a_second(text: str, shop_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse

    tasks = load_tasks(monkeypatch, shop_dataset)
    for config in tasks.TASKS_TABLE:
        name = config.hf_subset
        docs = [tasks.prompt(dataset_row(TASKS[name], 0), f"{config.name}|0")]
        start = time.process_time()
        (values,) = apply_metric([ModelResponse(text=[text])], docs, config.metrics)
        assert values[TASKS[name].metric] == 0
        assert time.process_time() - start < 1


def test_changed_rows_or_weights_give_other_cache_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, model = tmp_path / "dataset", tmp_path / "model"
    write_dataset(dataset, ["also_buy"])
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"first")

    def key() -> str:
        (config,) = load_tasks(monkeypatch, dataset, ["accelerate", f"model_name={model},batch_size=4"]).TASKS_TABLE
        return str(config.__str__(lite=True))

    first = key()
    assert key() == first

    (model / "model.safetensors").write_bytes(b"second")
    os.utime(model / "model.safetensors", ns=(1, 1))
    second = key()
    assert second != first

    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["configs"]["also_buy"]["fingerprint"] = "other rows"
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    assert key() not in (first, second)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds no manifest.json"),
        ("{", "manifest.json cannot be read as JSON"),
        ("[]", "manifest.json holds no JSON object"),
        ('{"configs": {}}', "no task has test rows"),
    ],
)
def test_a_folder_that_is_no_dataset_is_told_in_one_sentence(
    content: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(SystemExit) as stopped:
        load_tasks(monkeypatch, tmp_path)

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: SHOP_DATASET=")
    assert sentence in error


def test_a_missing_hub_dataset_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(SystemExit) as stopped:
        load_tasks(monkeypatch, "org/no-such-dataset")

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: SHOP_DATASET=org/no-such-dataset is no folder here, and cannot be had from the Hub (")
    assert error.count("\n") == 1


def test_the_console_script_says_that_no_dataset_is_named(lighteval: Lighteval, model: Path) -> None:
    done = lighteval("accelerate", f"model_name={model}", "shop|0", "--custom-tasks", "eval_tasks/shop.py")

    assert done.returncode == 2
    assert "error: SHOP_DATASET is not set; set it to the folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dataset_on_the_hub_is_scored_at_the_revision_named(
    hub: Hub, lighteval: Lighteval, model: Path, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["answerability", "also_buy"], rows=2)
    environment = hub.env(home=tmp_path / "home")
    upload = [Path(sys.executable).parent / "hf", "upload", "org/shop-evaluated", dataset, "--repo-type", "dataset"]
    subprocess.run(upload, env=environment, check=True, capture_output=True)
    revision = hub.head("org/shop-evaluated", "dataset")

    done = lighteval(
        "accelerate",
        f"model_name={model},batch_size=4",
        "shop|0",
        "--custom-tasks",
        "eval_tasks/shop.py",
        "--output-dir",
        str(tmp_path / "out"),
        **environment | {"HF_HUB_OFFLINE": "0", "SHOP_DATASET": "org/shop-evaluated", "SHOP_DATASET_REVISION": revision},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    content = read_results(tmp_path / "out")
    assert {"shop:answerability|0", "shop:also_buy|0"} <= set(content["results"])
    assert content["config_tasks"]["shop:also_buy|0"]["hf_revision"] == revision
