"""Rows of a dataset a page at a time, from a folder, from the loopback Hub and from what came with the page."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.tasks import TASKS
from space.demo.data_tab import PAGE_ROWS, row_summary
from space.demo.dataset_pages import DatasetError, DatasetReader, RowPage, ShownRow
from space.demo.examples import ExampleRows, dataset_examples, read_examples
from tests.space.conftest import REPO, REVIEWS, write_rows

LOOK = """
import json, sys
from space.demo.dataset_pages import DatasetError, DatasetReader
dataset = DatasetReader(sys.argv[1])
try:
    there = dataset.contents()
    page = dataset.page(sys.argv[2], "test", "", 0, 10)
    print(json.dumps([there, page.total, [row.completion for row in page.rows]]))
except DatasetError as error:
    print(json.dumps(str(error)))
"""


def test_the_tasks_and_splits_of_a_folder_are_found_in_the_order_of_the_tasks(dataset: Path) -> None:
    assert DatasetReader(str(dataset)).contents() == {"review_rating": ("train", "test"), "query_product_ranking": ("test",)}
    assert list(DatasetReader(str(dataset)).contents()) == ["review_rating", "query_product_ranking"]


def test_pages_go_through_all_rows_once_in_their_order(dataset: Path) -> None:
    rows, start = DatasetReader(str(dataset)), 0
    found: list[ShownRow] = []
    while (page := rows.page("review_rating", "train", "", start, PAGE_ROWS)).rows:
        assert page.total == REVIEWS
        assert page.start == start
        found += page.rows
        start += PAGE_ROWS
    assert [row.prompt.split("number ")[1].split()[0] for row in found] == [str(number) for number in range(REVIEWS)]
    assert found[0] == ShownRow(found[0].prompt, "4", "a <b>source</b>", "Apache-2.0")


@pytest.mark.parametrize(
    ("words", "total"),
    [("LEAKS", REVIEWS // 2), ("number 7 ", 1), ("4", REVIEWS), ("%", 0), ("'; drop table", 0), ("<i>", REVIEWS)],
)
def test_rows_are_filtered_by_a_text_of_prompt_or_answer_in_any_case(dataset: Path, words: str, total: int) -> None:
    assert DatasetReader(str(dataset)).page("review_rating", "train", words, 0, PAGE_ROWS).total == total


def test_beyond_the_last_row_there_is_none(dataset: Path) -> None:
    assert DatasetReader(str(dataset)).page("review_rating", "train", "", 1000, PAGE_ROWS) == RowPage((), 1000, REVIEWS)


def test_a_task_that_the_project_does_not_know_is_browsed_too(tmp_path: Path) -> None:
    write_rows(tmp_path, "size_advice", [("Which size? ", "M")])
    rows = DatasetReader(str(tmp_path))
    assert rows.contents() == {"size_advice": ("test",)}
    assert rows.page("size_advice", "test", "", 0, 10).rows[0].completion == "M"


@pytest.mark.parametrize(
    ("task", "split", "sentence"),
    [
        ("review_rating", "dev", "There are no dev rows of this task"),
        ("../../etc", "test", "There are no test rows of this task"),
        ("", "", "rows of this task"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(dataset: Path, task: str, split: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        DatasetReader(str(dataset)).page(task, split, "", 0, 10)


def test_files_that_are_no_rows_are_told_in_a_sentence_without_their_path(tmp_path: Path) -> None:
    torn = write_rows(tmp_path, "review_rating", [("a", "1")]) / "data" / "review_rating" / "test-00000-of-00001.parquet"
    torn.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="cannot be read as dataset rows") as refused:
        DatasetReader(str(tmp_path)).page("review_rating", "test", "", 0, 10)
    assert str(tmp_path) not in str(refused.value)


def test_without_a_dataset_the_examples_of_the_page_are_browsed() -> None:
    rows = ExampleRows(read_examples())
    assert set(rows.contents()) == set(read_examples())
    page = rows.page("also_buy", "examples", "tent", 0, 1)
    assert (page.total, len(page.rows)) == (1, 1)
    assert page.rows[0].completion == "1,6,9"


def test_examples_are_short_test_rows_and_always_the_same_ones(tmp_path: Path) -> None:
    rows = [(f"Review {number}\nAnswer: ", "4") for number in range(9)] + [("long " * 99, "1")]
    found = dataset_examples(DatasetReader(str(write_rows(tmp_path, "review_rating", rows))), TASKS, 3, 100)
    assert [(row.prompt, row.answer) for row in found["review_rating"]] == rows[:3]
    assert {row.origin for row in found["review_rating"]} == {"test split of the dataset"}


def test_what_a_folded_row_shows_is_what_tells_it_from_others() -> None:
    prompt = read_examples()["query_relation"][0].prompt
    assert row_summary("query_relation", prompt) == "espresso machine · coffee bean grinder"
    assert row_summary("query_relation", "another prompt") == "another prompt"
    assert row_summary("size_advice", "Which size?") == "Which size?"


# --- On the Hub ---


def look(source: str, task: str, env: dict[str, str]) -> Any:
    """What a process that takes the loopback Hub for the Hub sees of a dataset."""
    command = [sys.executable, "-c", LOOK, source, task]
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def on_hub(hub: Any, dataset: Path) -> str:
    code = "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1], repo_type='dataset', "
    code += "exist_ok=True); api.upload_folder(repo_id=sys.argv[1], repo_type='dataset', folder_path=sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, "org/browsed", str(dataset)], env=hub.env(), check=True, capture_output=True)
    return "org/browsed"


def test_of_a_dataset_on_the_hub_only_what_is_looked_at_is_fetched_and_then_kept(hub: Any, on_hub: str, tmp_path: Path) -> None:
    env = hub.env(home=tmp_path)
    there, total, completions = look(on_hub, "review_rating", env)
    assert list(there) == ["review_rating", "query_product_ranking"]
    assert (total, completions) == (3, ["4", "4", "4"])
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["test-00000-of-00001.parquet"]
    with hub.fail("GET .*", 503):
        assert look(on_hub, "review_rating", env)[1:] == [total, completions]


@pytest.mark.parametrize("source", ["org/no_such_rows", "no such name", "/no/such/folder"])
def test_a_dataset_that_the_hub_does_not_give_out_is_told_in_a_sentence(hub: Any, source: str) -> None:
    told = look(source, "review_rating", hub.env())
    assert "neither a folder here nor a dataset that the Hub gives out" in told
    assert "/no/such" not in told
