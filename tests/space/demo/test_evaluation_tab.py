"""The Evaluation view, from what the evaluation's own report writes."""

import json
import re
from pathlib import Path

import pytest

from space.demo.evaluation_tab import MISSING, PLOT, SCORES, page, read_scores
from space.demo.html import hint


@pytest.fixture
def folder(report: Path, tmp_path: Path) -> Path:
    (tmp_path / SCORES).write_bytes((report / "scores.json").read_bytes())
    (tmp_path / PLOT).write_bytes((report / "scores.png").read_bytes())
    return tmp_path


def test_the_figures_are_those_of_the_report(folder: Path, report: Path) -> None:
    shown, written = page(folder), json.loads((report / "scores.json").read_text())
    rows = re.findall("<tr.*?</tr>", shown)
    assert [re.findall('scope="(?:col|row)"[^>]*>([^<]*)', row)[0] for row in rows] == [
        "task",
        "Rating of a review",
        "What else will this customer buy?",
        "Mean over tasks",
    ]
    for row, line in zip(rows[1:], [*written["tasks"], written["means"]["all tasks"]], strict=True):
        figures = re.findall(r"<td[^>]*>([^<]*)", row)
        assert figures[:2] == [f"{score:.3f}" for score in line["scores"].values()]
        assert figures[2] == f"{line['difference']:+.3f}"


def test_the_view_shows_scores_intervals_and_the_picture_and_escapes_names(folder: Path) -> None:
    shown = page(folder)
    assert "&lt;b&gt;tuned&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert "0.333" in shown
    assert "+0.667" in shown
    assert shown.count("data:image/png;base64,") == 1


def test_without_the_picture_the_scores_are_there_all_the_same(folder: Path) -> None:
    (folder / PLOT).unlink()
    assert "<img" not in page(folder)
    assert "<table" in page(folder)


def test_without_an_evaluation_the_view_says_how_to_get_one(tmp_path: Path) -> None:
    assert page(tmp_path) == hint(MISSING)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"names": ["a"], "tasks": [{}], "baselines": [], "notes": []}'])
def test_another_file_of_that_name_is_refused_and_shown_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / SCORES).write_text(content)
    with pytest.raises(ValueError, match=SCORES):
        read_scores(tmp_path / SCORES)
    assert page(tmp_path) == hint(MISSING)
