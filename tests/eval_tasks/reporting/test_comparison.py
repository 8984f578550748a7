"""Scores, differences and means of models beside each other, and what they are taken over."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from eval_tasks.reporting.comparison import make_report
from tests.eval_tasks.runs import BASELINE, Said, model_of, report_of, said, write_run

BASE = {"shop:also_buy": said(0.2), "shop:next_query": said(0.4), "shop:answerability": said(0.5)}
TUNED = {"shop:also_buy": said(0.6), "shop:next_query": said(0.5), "shop:answerability": said(0.4)}


def test_means_are_over_tasks_and_differences_are_to_the_first_model(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "base", BASE), write_run(tmp_path / "tuned", TUNED))

    means = {group.family: [cell and cell.value for cell in group.mean.cells] for group in report.groups}
    assert means == {"multiple_choice": [0.5, 0.4], "retrieval": [pytest.approx(0.3), pytest.approx(0.55)]}
    assert [cell and cell.value for cell in report.mean.cells] == [pytest.approx(1.1 / 3), pytest.approx(0.5)]
    assert report.mean.gains[0] is None
    assert report.mean.gains[1] is not None
    assert report.mean.gains[1].value == pytest.approx(0.5 - 1.1 / 3)
    assert [line.name for line in report.lines] == ["shop:answerability", "shop:also_buy", "shop:next_query"]


def test_differences_are_over_the_same_rows_wherever_they_stand(tmp_path: Path) -> None:
    rows = said(*([0.0, 1.0] * 20))
    better = [replace(row, value=1.0) if number < 8 else row for number, row in enumerate(rows)]
    random.Random(0).shuffle(better)
    base, tuned = (write_run(tmp_path / name, {"shop:answerability": of}) for name, of in (("a", rows), ("b", better)))

    (line,) = report_of(base, tuned).lines

    gain = line.gains[1]
    assert gain is not None
    # Four rows are better and none is worse: McNemar's exact test.
    assert (gain.value, gain.p_value, gain.rows) == (pytest.approx(0.1), pytest.approx(2 * 0.5**4), 40)
    assert gain.low is not None
    assert gain.low >= 0, "rows that agree take nothing from the difference"


def test_a_difference_is_over_the_rows_that_both_answered(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", {"shop:answerability": said(0.0, 0.0, 1.0)})
    tuned = write_run(tmp_path / "b", {"shop:answerability": said(1.0, 1.0)})

    (line,) = report_of(base, tuned).lines

    assert line.gains[1] is not None
    assert (line.gains[1].value, line.gains[1].rows) == (1.0, 2)
    assert [cell and cell.rows for cell in line.cells] == [3, 2]


def test_no_row_in_common_is_no_difference(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", {"shop:answerability": [Said("one", "1", 1.0)]})
    tuned = write_run(tmp_path / "b", {"shop:answerability": [Said("two", "1", 0.0)]})

    report = report_of(base, tuned)

    assert report.lines[0].gains == (None, None)
    assert report.mean.gains == (None, None)


def test_rows_of_one_group_are_drawn_together(tmp_path: Path) -> None:
    values = [float(number < 20) for number in range(40)]
    alone = write_run(tmp_path / "a", {"shop:answerability": said(*values)})
    grouped = [replace(row, specific={"group": f"g{number // 10}"}) for number, row in enumerate(said(*values))]
    together = write_run(tmp_path / "b", {"shop:answerability": grouped})

    widths = [cell.high - cell.low for cell in report_of(alone, together).lines[0].cells]  # type: ignore[union-attr, operator]

    assert widths[1] > 2 * widths[0]


def test_baselines_come_last_without_a_difference_and_leave_the_means_alone(tmp_path: Path) -> None:
    baseline = write_run(tmp_path / "majority", {"shop:also_buy": said(0.3)}, **BASELINE)
    report = report_of(baseline, write_run(tmp_path / "base", BASE), write_run(tmp_path / "tuned", TUNED))

    assert report.names == ("base", "tuned", "majority")
    assert report.last == 1
    assert [cell and round(cell.value, 3) for cell in report.mean.cells] == [0.367, 0.5, None]
    also_buy = next(line for line in report.lines if line.name == "shop:also_buy")
    assert also_buy.gains[2] is None
    assert report.best_baseline(also_buy) == 0.3
    assert report.best_baseline(report.mean) is None


def test_baselines_alone_are_compared_like_models(tmp_path: Path) -> None:
    report = report_of(*(write_run(tmp_path / name, TUNED, **BASELINE) for name in ("random", "majority")))

    assert report.last == 1
    assert report.mean.gains[1] is not None


def test_one_model_has_no_difference(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "base", BASE))

    assert (report.last, report.mean.gains) == (0, (None,))
    assert report.mean.cells[0] is not None


def test_without_answers_intervals_come_from_standard_errors_as_of_independent_runs(tmp_path: Path) -> None:
    base, tuned = (write_run(tmp_path / name, tasks, details=False) for name, tasks in (("a", BASE), ("b", TUNED)))

    report = report_of(base, tuned)

    cell, gain = report.lines[0].cells[0], report.lines[0].gains[1]
    assert cell is not None
    assert (cell.low, cell.high) == (pytest.approx(0.5 - 0.0196), pytest.approx(0.5 + 0.0196))
    assert gain is not None
    assert (gain.low, gain.p_value, gain.rows) == (pytest.approx(-0.1 - 0.0196 * 2**0.5), None, None)
    assert report.mean.cells[0] is not None
    assert report.mean.cells[0].high == pytest.approx(1.1 / 3 + 0.0196 / 3**0.5)


def test_where_one_kept_no_answers_the_difference_is_that_of_the_scores(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "a", BASE, details=False), write_run(tmp_path / "b", TUNED))

    assert report.lines[0].gains[1] is not None
    assert (report.lines[0].gains[1].value, report.lines[0].gains[1].p_value) == (pytest.approx(-0.1), None)
    assert report.mean.gains[1] is not None


def test_counts_of_entities_are_summed_and_not_averaged(tmp_path: Path) -> None:
    rows = said([3.0, 0.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0])
    report = report_of(write_run(tmp_path / "a", {"shopbench:task4": rows}, metric="micro f1"))

    (cell,) = report.lines[0].cells
    assert cell is not None
    assert cell.value == pytest.approx(8 / 14)
    assert cell.low is not None
    assert cell.low < cell.value


def test_lists_of_a_metric_that_is_not_known_have_no_interval(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", {"shopbench:task4": said([1.0, 0.0, 0.0])}, metric="micro f1")
    file = next(folder.rglob("results_*.json"))
    file.write_text(file.read_text().replace("micro f1", "new metric"))

    (cell,) = report_of(folder).lines[0].cells
    assert cell is not None
    assert (cell.value, cell.low) == (1.0, None)


def test_tracks_of_two_suites_are_apart_and_each_suite_has_its_mean(tmp_path: Path) -> None:
    tasks = {f"shopbench:{task}": said(0.5) for task in ("task10", "task2", "task18", "taskx")}
    report = report_of(write_run(tmp_path / "a", tasks | {"shop:also_buy": said(1.0)}))

    assert [(group.suite, group.family, [line.name for line in group.lines]) for group in report.groups] == [
        ("shop", "retrieval", ["shop:also_buy"]),
        ("shopbench", "concepts", ["shopbench:task2"]),
        ("shopbench", "reasoning", ["shopbench:task10"]),
        ("shopbench", "languages", ["shopbench:task18"]),
        ("shopbench", "other", ["shopbench:taskx"]),
    ]
    assert [(line.name, line.cells[0] and line.cells[0].value) for line in (*report.means, report.mean)] == [
        ("shop, all tasks", 1.0),
        ("shopbench, all tasks", 0.5),
        ("all tasks", 0.6),
    ]


def test_the_same_answers_give_the_same_report_in_any_order(tmp_path: Path) -> None:
    rows = said(*([0.0, 0.25, 1.0] * 9))
    shuffled = random.Random(1).sample(rows, len(rows))
    reports = []
    for name, of in (("one", rows), ("other", shuffled)):
        first = model_of(write_run(tmp_path / f"{name}-a", {"shop:also_buy": of}), "first")
        second = model_of(write_run(tmp_path / f"{name}-b", {"shop:also_buy": said(*([0.5] * 27))}), "second")
        reports.append(make_report([first, second], seed=3))

    assert reports[0].lines == reports[1].lines
    assert reports[0].mean == reports[1].mean
