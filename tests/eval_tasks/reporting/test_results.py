"""Which of lighteval's results files are read, and what is read of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from eval_tasks.reporting.results import names_of, read_run, results_files
from tests.eval_tasks.runs import BASELINE, said, write_run


def test_a_folder_stands_for_its_newest_results(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(1.0, 0.0)}, time="2026-03-01T09-00-00.000001")
    write_run(tmp_path, {"shop:also_buy": said(0.0), "shop:next_query": said(1.0)}, time="2026-02-28T23-00-00.000001")

    run = read_run(tmp_path)

    assert {task: score.value for task, score in run.scores.items()} == {"shop:also_buy": 0.5}
    assert run.times == ("2026-03-01T09-00-00.000001",)


def test_suites_that_were_run_one_by_one_stand_beside_each_other(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(1.0)}, time="2026-01-01T09-00-00.000001")
    write_run(tmp_path, {"shopbench:task2": said(0.0)}, time="2026-01-02T09-00-00.000001")
    write_run(tmp_path, {"shop:also_buy": said(0.5)}, time="2026-01-03T09-00-00.000001")

    run = read_run(tmp_path)

    assert {task: score.value for task, score in run.scores.items()} == {"shop:also_buy": 0.5, "shopbench:task2": 0.0}
    assert run.times == ("2026-01-03T09-00-00.000001", "2026-01-02T09-00-00.000001")


def test_a_real_run_of_lighteval_is_read(shop_run: Path) -> None:
    run = read_run(shop_run)

    assert {name: (score.metric, score.family, score.rows) for name, score in run.scores.items()} == {
        "shop:answerability": ("accuracy", "multiple_choice", 3),
        "shop:query_product_ranking": ("ndcg", "ranking", 3),
        "shop:also_buy": ("hit_rate", "retrieval", 3),
        "shop:query_generation": ("rougel", "generation", 3),
    }
    assert not run.baseline
    assert run.unscored == ()


def test_the_official_metric_of_a_suite_is_told(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, {"shopbench:task4": said([1, 0, 1], [1, 1, 0])}, metric="micro f1"))

    assert run.scores["shopbench:task4"].metric == "micro f1"
    assert run.scores["shopbench:task4"].value == pytest.approx(2 / 3)


def test_results_of_an_earlier_version_that_do_not_name_the_metric_are_refused(tmp_path: Path) -> None:
    """It wrote the name into the text of a function only. Tasks of the shop are called after their metric and stay readable."""
    write_run(tmp_path, {"shop:also_buy": said(1.0), "shopbench:task2": said(1.0)})
    (path,) = tmp_path.rglob("results_*.json")
    document = json.loads(path.read_text())
    for config in document["config_tasks"].values():
        config["metrics"] = [{"metric_name": "score", "sample_level_fn": "ShopBenchScore(metric=accuracy)"}]
    path.write_text(json.dumps(document))

    with pytest.raises(UserError, match="shopbench:task2: the results do not name its metric"):
        read_run(path)

    del document["results"]["shopbench:task2|0"]
    path.write_text(json.dumps(document))
    assert read_run(path).scores["shop:also_buy"].metric == "hit_rate"


def test_a_baseline_and_a_limit_are_told(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, {"shop:also_buy": said(1.0, 0.0, 0.0)}, max_samples=2, **BASELINE))

    assert (run.baseline, run.max_samples, run.scores["shop:also_buy"].rows) == (True, 2, 2)


def test_a_score_that_is_no_number_is_none(tmp_path: Path) -> None:
    path = tmp_path / "results_1.json"
    values = {"shop:also_buy|0": {"hit_rate": float("nan")}, "shop:next_query|0": {"hit_rate": 0.5}}
    path.write_text(json.dumps({"results": values}))

    run = read_run(path)

    assert run.unscored == ("shop:also_buy",)
    assert list(run.scores) == ["shop:next_query"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file or folder"),
        ("{", "is not a results file of lighteval"),
        ("[]", "is not a results file of lighteval"),
        ('{"results": 1}', "is not a results file of lighteval"),
        ('{"results": {"gsm8k|0": {"em": 1}}}', "has no score of a task of shop"),
        (
            '{"results": {"shop:also_buy|0": {"hit_rate": 1}, "shop:also_buy|2": {"hit_rate": 1}}}',
            "different numbers of examples",
        ),
    ],
)
def test_what_is_no_results_file_is_told(content: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "results_1.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(UserError, match=sentence):
        read_run(path)


def test_a_folder_without_results_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run lighteval with --output-dir"):
        results_files(tmp_path)


def test_a_folder_of_two_models_is_not_taken_for_one(tmp_path: Path) -> None:
    for model in ("base", "tuned"):
        write_run(tmp_path, {"shop:also_buy": said(1.0)}, model=model)

    with pytest.raises(UserError, match=r"more than one model; give one of them, such as .*base or .*tuned"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["results/base", "results/tuned"], ["base", "tuned"]),
        (["a/out", "b/out"], ["a/out", "b/out"]),
        (["a/x/out", "b/x/out", "c"], ["a/x/out", "b/x/out", "c"]),
        (["a/out", "b/y/out"], ["a/out", "y/out"]),
        (["same", "same"], ["same (1)", "same (2)"]),
    ],
)
def test_runs_are_named_after_their_folders(folders: list[str], names: list[str], tmp_path: Path) -> None:
    paths = [write_run(tmp_path / folder, {"shop:also_buy": said(1.0)}) for folder in folders]

    assert names_of(paths, [read_run(path) for path in paths]) == names


def test_the_run_of_a_file_is_named_after_its_model(tmp_path: Path) -> None:
    write_run(tmp_path, {"shop:also_buy": said(1.0)}, model="org/qwen")
    path = next(tmp_path.rglob("results_*.json"))
    run: Any = read_run(path)

    assert names_of([path], [run]) == ["qwen"]
