"""`eval.yaml`: what the Hub and inspect-ai take, for the tasks that inspect-ai's scorers can score as this project does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.scoring import score_completion
from common.tasks import TASKS
from dataset_builders.benchmark import eval_yaml, in_benchmark
from dataset_builders.publish import main
from tests.hub import Hub, run_main

ROWS = dict.fromkeys(TASKS, 3)


def declared(rows: dict[str, int] = ROWS) -> dict[str, Any]:
    text = eval_yaml("A shop: é", rows)
    assert text
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_the_file_has_what_the_hub_asks_for() -> None:
    found = declared()
    assert list(found) == ["name", "description", "evaluation_framework", "tasks"]
    assert (found["name"], found["evaluation_framework"]) == ("A shop: é", "inspect-ai")
    assert [task["id"] for task in found["tasks"]] == [name for name, task in TASKS.items() if task.metric == "accuracy"]


def test_only_tasks_with_test_rows_are_in_it_and_without_any_there_is_no_file() -> None:
    assert [task["id"] for task in declared({"review_rating": 2, "answerability": 0, "also_buy": 9})["tasks"]] == [
        "review_rating"
    ]
    assert eval_yaml("shop", {"query_product_ranking": 5, "default": 5}) is None


def test_inspect_ai_takes_every_task() -> None:
    from inspect_ai._eval.task.hf import HFTask

    for task in declared()["tasks"]:
        HFTask.model_validate(task)


@given(st.sampled_from([task for task in TASKS.values() if in_benchmark(task)]), st.data())
def test_its_scorer_gives_what_this_project_gives_for_every_answer_in_the_tasks_form(task: Any, data: st.DataObject) -> None:
    """They differ where a label goes on as a longer word or number, such as 15, which `match` takes for 1."""
    from inspect_ai.scorer._match import match_str

    truth = data.draw(st.sampled_from(task.labels))
    said = data.draw(st.sampled_from([*task.labels, *map(str.upper, task.labels)]))
    text = (
        data.draw(st.sampled_from(["", " ", "\n"])) + said + data.draw(st.sampled_from(["", ".", " stars", "\nbecause", "!"]))
    )
    found = match_str(text, json.dumps(truth), location="begin")[1]
    assert float(found) == score_completion(task, text, truth)


@pytest.fixture
def inspect_cli(tiny_llama: Path, hub: Hub, tmp_path: Path) -> Any:
    """Runs `inspect eval` as somebody who has the Hub and the tiny model, and gives back its log."""

    def run(task: str) -> Any:
        from inspect_ai.log import read_eval_log

        model = ["--model", "hf/local", "-M", f"model_path={tiny_llama}", "-M", "do_sample=false"]
        line = [Path(sys.executable).with_name("inspect"), "eval", task, *model, "--log-dir", "logs", "--display", "none"]
        done = subprocess.run(line, cwd=tmp_path, env=hub.env(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
        (log,) = (tmp_path / "logs").glob("*.eval")
        return read_eval_log(str(log))

    return run


def test_inspect_eval_runs_the_published_dataset_from_the_hub(
    inspect_cli: Any, hub: Hub, hub_client: Hub, run_folder: Path
) -> None:
    done = run_main(main, "--data", run_folder / "dataset", "--repo-id", "org/benchmark")
    assert done.returncode == 0, done.stderr
    assert b"evaluation_framework: inspect-ai" in hub.files("org/benchmark", "dataset")["eval.yaml"]
    log = inspect_cli("hf/org/benchmark/review_rating")
    assert log.status == "success", log.error
    task, scores = TASKS["review_rating"], []
    for sample in log.samples:
        scores.append(score_completion(task, sample.output.completion, json.loads(sample.target)))
        assert len(sample.input) == 1
    assert len(scores) == log.eval.dataset.samples
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(sum(scores) / len(scores))
