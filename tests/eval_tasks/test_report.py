"""The report: which file it reads, what it averages, what it warns of, what it writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.errors import plain_errors
from eval_tasks.report import main, make_report, read_run, summary

BASE = {"also_buy": 0.2, "next_query": 0.4, "answerability": 0.5}
TUNED = {"also_buy": 0.6, "next_query": 0.5, "answerability": 0.4}
METRICS = {"also_buy": "hit_rate", "next_query": "hit_rate", "answerability": "accuracy"}


def write_results(folder: Path, scores: dict[str, float], time: str = "2026-01-02T10-00-00.000001", **config: Any) -> Path:
    """A results file in the shape of lighteval's, foreign metrics and averages included."""
    path = folder / "results" / "some" / "model" / f"results_{time}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    results = {
        f"shop:{task}|0": {METRICS[task]: value, f"{METRICS[task]}_stderr": 0.01, "unparsable": 0.25, "ndcg": 0.0}
        for task, value in scores.items()
    }
    task_config = {"original_num_docs": 30, "version": 1} | config
    content = {
        "config_general": {"max_samples": None},
        "results": results | {"all": {"accuracy": 9.0}, "shop:_average|0": {"hit_rate": 9.0}},
        "config_tasks": dict.fromkeys(results, task_config),
    }
    path.write_text(json.dumps(content))
    return path


def test_means_are_over_tasks_and_differences_are_last_less_first(tmp_path: Path) -> None:
    runs = [read_run(write_results(tmp_path / name, scores)) for name, scores in (("a", BASE), ("b", TUNED))]

    report = make_report(["base", "tuned"], runs)

    families = {family: mean.values for family, _, mean in report.families}
    assert families == {"multiple_choice": (0.5, 0.4), "retrieval": (pytest.approx(0.3), pytest.approx(0.55))}
    assert report.mean.values == (pytest.approx(1.1 / 3), pytest.approx(0.5))
    assert report.mean.difference == pytest.approx(0.5 - 1.1 / 3)
    assert summary(report) == "tuned beats base on 1 of 2 families; mean over tasks 0.367 -> 0.500 (+0.133)."
    assert report.notes == ()


def test_a_folder_stands_for_its_newest_results(tmp_path: Path) -> None:
    write_results(tmp_path, TUNED, time="2026-03-01T09-00-00.000001")
    write_results(tmp_path, BASE, time="2026-02-28T23-00-00.000001")

    assert read_run(tmp_path)["shop:also_buy"].value == 0.6


def test_a_task_of_one_model_only_is_shown_but_in_no_mean(tmp_path: Path) -> None:
    base = read_run(write_results(tmp_path / "a", {"also_buy": 0.2, "answerability": 0.5}))
    tuned = read_run(write_results(tmp_path / "b", {"also_buy": 0.6}))

    report = make_report(["base", "tuned"], [base, tuned])

    assert report.mean.values == (0.2, 0.6)
    assert report.notes == ("Not scored for every model, and in no mean: shop:answerability.",)


@pytest.mark.parametrize("change", [{"version": 2}, {"original_num_docs": 31}])
def test_scores_on_different_rows_are_said_not_to_be_comparable(tmp_path: Path, change: dict[str, int]) -> None:
    base, tuned = read_run(write_results(tmp_path / "a", BASE)), read_run(write_results(tmp_path / "b", TUNED, **change))

    assert "Scored on different rows, so not comparable: shop:answerability" in make_report(["a", "b"], [base, tuned]).notes[0]


def test_table_json_and_picture_are_written_and_the_table_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned, out = write_results(tmp_path / "a", BASE), write_results(tmp_path / "b", TUNED), tmp_path / "new" / "out"

    main(["--results", str(base), "--results", str(tuned), "--names", "small,large", "--out", str(out)])

    scores = json.loads((out / "scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["mean"] == {"small": pytest.approx(1.1 / 3), "large": pytest.approx(0.5)}
    assert scores["tasks"][0] == {
        "task": "shop:answerability",
        "family": "multiple_choice",
        "metric": "accuracy",
        "rows": {"small": 30, "large": 30},
        "scores": {"small": 0.5, "large": 0.4},
        "stderr": {"small": 0.01, "large": 0.01},
        "unparsable": {"small": 0.25, "large": 0.25},
        "difference": pytest.approx(-0.1),
    }
    assert "| also_buy | hit_rate | 0.200 | 0.600 | +0.400 | 30 | 25% -> 25% |\n" in (out / "report.md").read_text()
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["report.md", "scores.json", "scores.png"]
    shown = capsys.readouterr().out
    assert "also_buy" in shown
    assert "large beats small on 1 of 2 families" in shown


def test_a_real_run_of_lighteval_is_read(shop_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = read_run(shop_run)

    assert {name: (score.metric, score.rows) for name, score in scores.items()} == {
        "shop:answerability": ("accuracy", 3),
        "shop:query_product_ranking": ("ndcg", 3),
        "shop:also_buy": ("hit_rate", 3),
        "shop:query_generation": ("rougel", 3),
    }
    main(["--results", str(shop_run)])
    assert "all tasks" in capsys.readouterr().out


def test_shopbench_is_reported_by_track(tmp_path: Path) -> None:
    path = tmp_path / "results_1.json"
    results = {f"shopbench:{task}|0": {"score": 0.5, "unparsable": 0.0} for task in ("task10", "task2", "task18", "taskx")}
    path.write_text(json.dumps({"results": results | {"shopbench:_average|0": {"score": 9}}}))

    report = make_report(["base"], [read_run(path)])

    assert [(family, [line.name for line in lines]) for family, lines, _ in report.families] == [
        ("concepts", ["shopbench:task2"]),
        ("reasoning", ["shopbench:task10"]),
        ("languages", ["shopbench:task18"]),
        ("other", ["shopbench:taskx"]),
    ]


@pytest.mark.parametrize(
    ("content", "names", "sentence"),
    [
        (None, "a", "no such file or folder"),
        ("{", "a", "is no results file of lighteval"),
        ("[]", "a", "is no results file of lighteval"),
        ('{"results": {"gsm8k|0": {"em": 1}}}', "a", "has no score of a shop: or shopbench: task"),
        ('{"results": {"shop:also_buy|0": {"hit_rate": 1}}}', "a,b", "--names has 'a,b' for 1 --results"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    content: str | None, names: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results_1.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SystemExit) as stopped, plain_errors():
        main(["--results", str(path), "--names", names])

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1


def test_a_folder_without_results_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), plain_errors():
        main(["--results", str(tmp_path)])

    assert "run lighteval with --output-dir" in capsys.readouterr().err
