"""inspect-ai's tasks: the same prompts and scores as lighteval's, on the same model in float32, and gold answers score 1."""

import json
from pathlib import Path
from typing import Any

import inspect_ai
import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from common.tasks import TASKS
from eval_tasks.inspect_shop import evaluate, main, model_options, scores_of, shop, shopbench
from eval_tasks.suites.shopbench_rows import read_rows
from eval_tasks.suites.shopbench_scoring import score
from tests.eval_tasks.rows import dataset_row, write_dataset


def answered(task: Any, outputs: list[str], folder: Path) -> Any:
    """The log of a run whose model gives these answers in turn."""
    said = [ModelOutput.from_content("mockllm/model", text) for text in outputs]
    for output in said:
        output.usage = ModelUsage()  # else tokens are counted with a vocabulary from the network
    model = get_model("mockllm/model", custom_outputs=said)
    (log,) = inspect_ai.eval(task, model=model, log_dir=str(folder), display="none", max_connections=1, max_samples=1)
    assert log.status == "success", log.error
    return log


def test_lighteval_and_inspect_ai_give_the_same_scores_in_float32(shop_run: Path, model: Path, tmp_path: Path) -> None:
    (results,) = shop_run.rglob("results_*.json")
    expected = {
        name.removeprefix("shop:").removesuffix("|0"): found
        for name, found in json.loads(results.read_text())["results"].items()
        if name.removeprefix("shop:").removesuffix("|0") in TASKS
    }
    options = model_options([f"model_path={model}"], "hf/local")
    log = evaluate(shop(str(shop_run.parent / "dataset")), "hf/local", options, str(tmp_path))
    found = scores_of(log)
    assert len(expected) == 4
    assert set(found) == {*expected, "all"}
    for name, scores in expected.items():
        assert found[name] == {"score": scores[TASKS[name].metric], "unparsable": scores["unparsable"]}
    # Not only scores: the answers themselves.
    assert {sample.input: sample.output.completion for sample in log.samples} == answers_of_lighteval(shop_run)


def answers_of_lighteval(run: Path) -> dict[str, str]:
    """Prompt -> answer."""
    import pyarrow.parquet as pq

    rows = [row for path in run.rglob("details_*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["doc"]["query"]: row["model_response"]["text"][0] for row in rows}


def test_gold_answers_score_1_and_noise_is_unparsable(shop_dataset: Path, tmp_path: Path) -> None:
    gold = [dataset_row(task, index)["completion"][0]["content"] for task in TASKS.values() for index in range(3)]
    found = scores_of(answered(shop(str(shop_dataset)), gold, tmp_path))
    assert found == {name: {"score": 1.0, "unparsable": 0.0} for name in (*TASKS, "all")}
    noise = scores_of(answered(shop(str(shop_dataset), "ranking,review_rating"), [" \n"] * 6, tmp_path))
    named = ("review_rating", "query_product_ranking", "all")
    assert noise == {name: {"score": 0.0, "unparsable": 1.0} for name in named}


def test_shopbench_has_the_scores_of_its_scorer(shopbench_file: Path, tmp_path: Path) -> None:
    rows = read_rows(shopbench_file)
    outputs = ["1", "1", "1,2,6", "brass, teapot", "", "white bulb", "2,5,1,4,3", "Lampe aus Messing", "真鍮のランプ"]
    found = scores_of(answered(shopbench(str(shopbench_file)), outputs, tmp_path))
    expected = score(rows, outputs)
    assert {name: each["score"] for name, each in found.items()} == pytest.approx(
        {name: each["score"] for name, each in expected["tasks"].items()} | {"all": expected["overall"]}
    )
    assert {name: each["unparsable"] for name, each in found.items() if name != "all"} == {
        name: each["unparsable"] for name, each in expected["tasks"].items()
    }


def test_each_task_has_its_own_limit_of_tokens(shop_dataset: Path) -> None:
    samples = list(shop(str(shop_dataset)).dataset)
    assert {sample.metadata["task"]: sample.metadata["max_new_tokens"] for sample in samples} == {
        name: task.max_new_tokens for name, task in TASKS.items()
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there are no rows to evaluate on; give"),
        (["--data", "nowhere/there/is"], "is no file or folder here"),
        (["--data", "DATA", "--tasks", "nothing"], "tasks=nothing: 'nothing' is no task and no family"),
        (["--data", "DATA", "-M", "model_path"], "-M model_path: write KEY=VALUE"),
        (["--data", "DATA", "--model", "nope/model"], "inspect-ai cannot ask nope/model: Model API nope of model"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHOP_DATASET", raising=False)
    data = str(write_dataset(tmp_path / "dataset", ["review_rating"]))
    with pytest.raises(SystemExit) as stopped:
        main(["--model", "mockllm/model", *(data if word == "DATA" else word for word in arguments)])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_inspect_ais_own_command_is_told_a_mistake_as_its_own_errors() -> None:
    from inspect_ai._util.error import PrerequisiteError

    with pytest.raises(PrerequisiteError, match="is no file or folder here"):
        shop("nowhere/there/is")
