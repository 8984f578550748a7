"""What a report says of itself: what came out, and what must be minded before columns are compared."""

import json
from pathlib import Path
from typing import Any

from eval_tasks.reporting.notes import notes, summary
from tests.eval_tasks.runs import BASELINE, Said, report_of, said, write_run

UNLIKE = "A mean over tasks of different metrics is one of unlike things: it orders models, and measures nothing."
LOW, HIGH = {"shop:answerability": said(*([0.0] * 30))}, {"shop:answerability": said(*([1.0] * 30))}


def changed(folder: Path, **config: Any) -> Path:
    """The run with other values in its tasks' configs."""
    file = next(folder.rglob("results_*.json"))
    content = json.loads(file.read_text())
    for of_task in content["config_tasks"].values():
        of_task.update(config)
    file.write_text(json.dumps(content))
    return folder


def test_the_same_rows_need_no_note(tmp_path: Path) -> None:
    assert notes(report_of(write_run(tmp_path / "a", LOW), write_run(tmp_path / "b", HIGH))) == []


def test_what_came_out_is_told_with_how_sure_it_is(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "base", LOW), write_run(tmp_path / "tuned", HIGH))

    assert summary(report) == (
        "tuned is better than base on 1 (1 beyond chance) and worse on none of 1 tasks. "
        "Mean over tasks: 0.000 → 1.000, +1.000 (95 % interval +1.000 to +1.000)."
    )


def test_of_many_models_their_order_is_told_and_how_the_last_does_against_baselines(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, {"shop:answerability": said(value)}) for name, value in (("a", 0.5), ("b", 1.0), ("c", 0.0))
    ]
    baseline = write_run(tmp_path / "random", {"shop:answerability": said(0.25)}, **BASELINE)

    assert summary(report_of(*runs, baseline)) == (
        "Means over tasks: b 1.000, a 0.500, c 0.000. c is better than a on none and worse on 1 (0 beyond chance) of 1 tasks. "
        "c scores more than every baseline on 0 of 1 tasks."
    )


def test_of_one_model_nothing_is_concluded(tmp_path: Path) -> None:
    assert summary(report_of(write_run(tmp_path / "a", LOW))) == ""


def test_tasks_of_one_model_only_are_told(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", LOW | {"shop:query_relation": said(1.0)})

    assert notes(report_of(base, write_run(tmp_path / "b", HIGH))) == [
        "Not scored for every model, and in no mean: shop:query_relation."
    ]


def test_a_task_that_a_baseline_has_no_answer_to_is_told(tmp_path: Path) -> None:
    model = write_run(tmp_path / "a", LOW | {"shop:query_relation": said(1.0)})
    baseline = write_run(tmp_path / "majority", LOW, **BASELINE)

    assert notes(report_of(model, baseline)) == [
        "The baseline majority has no score, and so no mean, with shop:query_relation."
    ]


def test_rows_that_are_not_the_same_are_counted(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", {"shop:answerability": said(0.0, 0.0, 0.0)})
    tuned = write_run(tmp_path / "b", {"shop:answerability": [*said(1.0), Said("other", "1", 1.0)]})

    assert notes(report_of(base, tuned)) == [
        "Scored on different rows, so compare differences (over the same ones) and not scores: "
        "shop:answerability (1 of up to 3 are the same)."
    ]


def test_without_answers_other_rows_are_known_by_their_version_or_number(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", LOW, details=False)
    for number, change in enumerate(({"version": 2}, {"original_num_docs": 31})):
        other = changed(write_run(tmp_path / f"b{number}", HIGH, details=False), **change)

        assert notes(report_of(base, other))[0] == "Scored on different rows, so not comparable: shop:answerability."


def test_missing_answers_are_told_with_what_to_pass(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "a", LOW), write_run(tmp_path / "b", HIGH, details=False))

    assert notes(report) == [
        "No answers were kept of b, so intervals come from lighteval's standard errors and there are no examples: "
        "evaluate with --save-details."
    ]


def test_a_run_that_was_stopped_while_it_wrote_answers_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", LOW | {"shop:query_relation": said(1.0)})
    next(folder.rglob("details_shop:query_relation*")).unlink()

    assert notes(report_of(folder)) == ["a kept no answers of shop:query_relation: its run was stopped while it wrote them."]


def test_answers_that_do_not_belong_to_the_scores_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", LOW)
    other = write_run(tmp_path / "b", HIGH)
    next(other.rglob("*.parquet")).replace(next(folder.rglob("*.parquet")))

    assert notes(report_of(folder)) == ["a's answers do not add up to its scores of shop:answerability."]


def test_a_limit_a_missing_number_and_several_runs_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", LOW, max_samples=30)
    write_run(tmp_path / "a", {"shopbench:task2": said(1.0)}, time="2026-01-01T00-00-00.000001")
    file = next(folder.rglob("results_2026-01-02*.json"))
    content = json.loads(file.read_text())
    content["results"]["shop:also_buy|0"] = {"hit_rate": None}
    file.write_text(json.dumps(content))

    assert notes(report_of(folder)) == [
        "a was run on shop:also_buy and has no number for it.",
        "a's scores come from 2 runs, of 2026-01-02 10:00, 2026-01-01 00:00.",
        "Asked no more than 30 rows of a task (--max-samples): a.",
    ]


def test_different_numbers_of_examples_are_told(tmp_path: Path) -> None:
    few = write_run(tmp_path / "b", HIGH, details=False)
    file = next(few.rglob("results_*.json"))
    file.write_text(file.read_text().replace("answerability|0", "answerability|2"))

    found = notes(report_of(write_run(tmp_path / "a", LOW, details=False), few))

    assert "Asked with different numbers of examples in the prompt: a 0, b 2." in found


def test_a_mean_of_unlike_metrics_is_told(tmp_path: Path) -> None:
    assert notes(report_of(write_run(tmp_path / "a", LOW | {"shop:also_buy": said(1.0)}))) == [UNLIKE]
