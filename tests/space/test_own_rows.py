"""Rows of a visitor's own in Chromium: a list with scores, and a table that is typed or chosen as a file, and saved."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.space.conftest import NASTY_TITLES, Served
from tests.space.test_pages import opened

SCORE = r"^0\.\d\d$"


@pytest.fixture
def page(served: Served, browser: Any) -> Iterator[Any]:
    page = opened(browser, served.url)
    page.get_by_role("tab", name="Your rows").click()
    yield page
    page.context.close()


def table_view(page: Any) -> Any:
    page.get_by_role("tab", name="Answer a CSV table").click()
    view = page.locator("#view-table")
    view.get_by_role("button", name="Answer the rows").wait_for()
    return view


def test_a_list_of_fifty_is_ranked_with_its_scores(page: Any, screenshots: Path) -> None:
    view = page.locator("#view-rank")
    view.get_by_label("Search query").fill("garden hose")
    products = [*NASTY_TITLES, *(f"Garden hose of {metres} m" for metres in range(45))]
    view.get_by_label("Products, one a line, 2 to 50").fill("\n".join(products))
    view.get_by_role("button", name="Rank the list").click()
    tuned = view.get_by_role("region", name="Tuned")
    tuned.wait_for()
    scores = tuned.locator(".chance").all_inner_texts()
    assert len(scores) == 50
    assert sorted(map(float, scores), reverse=True) == list(map(float, scores))
    assert sorted(tuned.locator(".title").all_inner_texts()) == sorted(products)
    assert view.locator(".result :is(img, script, b)").count() == 0
    assert view.get_by_role("region", name="Base").get_by_role("listitem").count() == 50
    page.screenshot(path=screenshots / "space_rank_list.png", full_page=True)
    view.get_by_label("Products, one a line, 2 to 50").fill("only one")
    view.get_by_role("button", name="Rank the list").click()
    view.get_by_role("alert").filter(has_text="there have to be 2 to 50, one a line, and there is 1").wait_for()


def test_a_table_is_answered_and_saved(page: Any, tmp_path: Path, screenshots: Path) -> None:
    view = table_view(page)
    box = view.get_by_label("CSV with a header")
    assert box.input_value().startswith("category,review\n")
    box.fill('id,category,review\n7,Kitchen,"Leaks, <b>and</b> how"\n8,Kitchen,\n')
    view.get_by_role("button", name="Answer the rows").click()
    view.get_by_text("1 of 2 rows have an answer.").or_(view.get_by_text("0 of 2 rows have an answer.")).wait_for()
    table = view.get_by_role("region", name="Answers")
    assert "Leaks, <b>and</b> how" in table.inner_text()
    assert "Review: this is empty. Fill it in." in table.inner_text()
    page.screenshot(path=screenshots / "space_table.png", full_page=True)
    with page.expect_download() as download:
        view.get_by_role("button", name="Save the answers as CSV").click()
    assert download.value.suggested_filename == "answers.csv"
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["review"]) for row in rows] == [("7", "Leaks, <b>and</b> how"), ("8", "")]
    assert rows[1]["error"] == "Review: this is empty. Fill it in."
    box.fill("category,words\na,b")
    view.get_by_role("button", name="Answer the rows").click()
    view.get_by_role("alert").filter(has_text="There is no column review.").wait_for()
    assert view.get_by_role("button", name="Save the answers as CSV").is_disabled()


def test_a_chosen_file_fills_the_box_and_another_task_keeps_it(page: Any, tmp_path: Path) -> None:
    view = table_view(page)
    box = view.get_by_label("CSV with a header")
    view.get_by_label("Task").click()
    page.get_by_role("option", name="Write a search query").click()
    page.wait_for_function("document.querySelector('#csv textarea').value.startsWith('product\\n')")
    (tmp_path / "mine.csv").write_text("product,sku\nLampe für den Schreibtisch,17\n", encoding="utf-8")
    view.locator("#csv-file").set_input_files(tmp_path / "mine.csv")
    page.wait_for_function("document.querySelector('#csv textarea').value.includes('für')")
    view.get_by_role("button", name="Answer the rows").click()
    view.get_by_role("region", name="Answers").filter(has_text="Lampe für den Schreibtisch").wait_for()
    view.get_by_label("Task").click()
    page.get_by_role("option", name="Rate a review").click()
    view.get_by_text("Columns: category, review").wait_for()
    assert "für" in box.input_value()
    (tmp_path / "huge.csv").write_text("product\n" + "x" * 900_001, encoding="utf-8")
    view.locator("#csv-file").set_input_files(tmp_path / "huge.csv")
    page.wait_for_function("document.querySelector('#csv textarea').value === ''")


def test_both_views_fit_a_phone_in_the_dark(served: Served, browser: Any, screenshots: Path) -> None:
    page = opened(browser, served.url, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.get_by_role("tab", name="Your rows").click()
    assert page.get_by_role("tab", name="Data").is_visible()
    page.locator("#view-rank").get_by_role("button", name="Rank the list").click()
    page.locator("#view-rank").get_by_role("region", name="Tuned").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.screenshot(path=screenshots / "space_phone_dark_rank_list.png", full_page=True)
    view = table_view(page)
    view.get_by_role("button", name="Answer the rows").click()
    view.get_by_role("region", name="Answers").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.screenshot(path=screenshots / "space_phone_dark_table.png", full_page=True)
    page.context.close()
