"""Scores in a trained and in the unseen wording: of the same rows, with their difference, and only where both are there."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from eval_tasks.reporting.examples import draw
from eval_tasks.reporting.page import render
from eval_tasks.reporting.report import Report
from eval_tasks.reporting.table import as_json, markdown, print_report
from tests.eval_tasks.runs import BASELINE, Said, report_of, said, write_run

SEEN = [1.0] * 30 + [0.0] * 10


def reworded(rows: Sequence[Said], *values: float) -> list[Said]:
    """The first rows in another wording, with these values."""
    return [
        replace(row, prompt=f"Otherwise: {row.prompt}", value=value, specific={**row.specific, "paired_with": row.prompt})
        for row, value in zip(rows, values, strict=False)
    ]


def run(folder: Path, **unseen: Sequence[float]) -> Path:
    """40 rows of each task, whose first ones have these values in the unseen wording."""
    own = {f"shop:{name}": said(*SEEN) for name in unseen}
    other = {f"shop_unseen:{name}": reworded(own[f"shop:{name}"], *values) for name, values in unseen.items() if values}
    return write_run(folder, own | other)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("wordings")
    tuned = run(folder / "tuned", also_buy=[1.0] * 10 + [0.0] * 10, answerability=[1.0] * 20)
    base = run(folder / "base", also_buy=[0.0] * 20, answerability=())
    baseline = write_run(folder / "random", {"shop:also_buy": said(*SEEN)}, **BASELINE)
    return report_of(base, tuned, baseline)


def test_both_scores_are_of_the_rows_that_were_asked_in_both_wordings(report: Report) -> None:
    answerability, also_buy, overall = report.wordings
    assert [line.name for line in report.wordings] == ["shop:answerability", "shop:also_buy", "all tasks"]
    base, tuned = also_buy.cells
    assert base
    assert tuned
    assert (base.seen, base.unseen, base.gain.value, base.gain.rows) == (1.0, 0.0, -1.0, 20)
    assert (tuned.seen, tuned.unseen, tuned.gain.value) == (1.0, 0.5, -0.5)
    assert tuned.gain.low is not None
    assert tuned.gain.high is not None
    assert tuned.gain.low < -0.5 < tuned.gain.high < 0
    assert tuned.gain.clear
    # Ten rows are worse and none is better: McNemar's exact test.
    assert tuned.gain.p_value == pytest.approx(2 * 0.5**10)
    assert answerability.cells[0] is None
    assert overall.cells[0] is None, "the base has no pairs of one of the tasks"
    assert overall.cells[1]
    assert (overall.cells[1].seen, overall.cells[1].unseen, overall.cells[1].gain.rows) == (1.0, 0.75, 40)


def test_the_ordinary_scores_are_what_they_are_without_it(report: Report, tmp_path: Path) -> None:
    plain = report_of(
        *(write_run(tmp_path / name, {"shop:also_buy": said(*SEEN), "shop:answerability": said(*SEEN)}) for name in "ab")
    )
    assert [line.name for line in report.lines] == [line.name for line in plain.lines]
    assert report.mean.cells[:2] == plain.mean.cells
    assert [group.suite for group in report.groups] == ["shop", "shop"]


def test_nothing_is_said_where_no_row_was_asked_in_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = said(*SEEN)
    others = write_run(tmp_path / "a", {"shop:also_buy": rows[:20], "shop_unseen:also_buy": reworded(rows[20:], *SEEN[20:])})
    unkept = write_run(tmp_path / "b", {"shop:also_buy": rows, "shop_unseen:also_buy": reworded(rows, *SEEN)}, details=False)
    for folder in (others, unkept):
        report = report_of(folder)
        assert report.wordings == ()
        print_report(report)
        assert "nseen" not in capsys.readouterr().out + markdown(report)
        assert "unseen" not in as_json(report)
        assert b"Unseen wording" not in render(report, draw(report, 0, 0), 0, b"")


def test_a_run_of_unseen_wordings_alone_is_shown_like_any_other(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "a", {"shop_unseen:also_buy": reworded(said(*SEEN), *SEEN)}))
    assert [line.name for line in report.lines] == ["shop_unseen:also_buy"]


def test_every_form_of_the_report_shows_both_scores_and_the_difference(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report)
    screen = capsys.readouterr().out
    page = render(report, draw(report, 10, 0), 0, b"").decode()
    for text in (screen, markdown(report)):
        assert "Unseen wording" in text
        assert "1.000 -> 0.500 (-0.500" in text
    assert "1.000 \N{RIGHTWARDS ARROW} 0.500" in page
    [line] = [line for line in as_json(report)["unseen"] if line["task"] == "shop:also_buy"]
    assert line["models"]["tuned"] == json.loads(json.dumps(line["models"]["tuned"]))
    assert {name: line["models"]["tuned"][name] for name in ("seen", "unseen", "difference", "rows")} == {
        "seen": 1.0,
        "unseen": 0.5,
        "difference": -0.5,
        "rows": 20,
    }
