"""Which form lists are scored in: as asked for, else by what the model says that it was trained on."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.prediction.list_form import list_form, note_for_server
from eval_tasks.prediction.questions import row_form, wordings
from tests.eval_tasks.runs import BY_TEXT

RANKING, ALSO_BUY, NEXT_QUERY = (TASKS[name] for name in ("query_product_ranking", "also_buy", "next_query"))


def arguments(adapter: str | None = None, **given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"lists": None, "backend": "transformers", "model": "no/base", "adapter": adapter, **given})


def trained(folder: Path, **summary: Any) -> Path:
    folder.mkdir()
    (folder / "training_summary.json").write_text(json.dumps(BY_TEXT | summary))
    return folder


def test_a_model_that_learnt_by_text_alone_is_scored_by_text_and_it_is_said_why(tmp_path: Path) -> None:
    adapter = trained(tmp_path / "adapter")
    form, why = list_form(RANKING, arguments(str(adapter)))
    assert form is RANKING.by_text
    assert why == "lists by text: the adapter was trained on rows of query_generation and on no list in words"
    assert list_form(ALSO_BUY, arguments(str(adapter)))[0] is ALSO_BUY.by_text
    assert list_form(NEXT_QUERY, arguments(str(adapter))) == (None, ""), "which has no form by text"
    merged = tmp_path / "merged"
    merged.mkdir()
    (merged / "merge.json").write_text(json.dumps({"training": BY_TEXT}))
    assert "the model was trained" in list_form(RANKING, arguments(None, model=str(merged)))[1]


@pytest.mark.parametrize(
    "summary",
    [
        {"rows_in_words": {"query_product_ranking": 1}},
        {"rows_in_words": {"query_product_relation": 1}},  # asked in the same words
        {"tasks": {"query_product_ranking": 400}},
        {"adapter": "an earlier one, trained on nobody knows what"},
        {"rows_in_words": None},  # a summary of an earlier version has no such entry
    ],
)
def test_a_model_that_learnt_in_words_or_of_which_it_is_not_known_is_scored_in_words(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    assert list_form(RANKING, arguments(str(trained(tmp_path / "adapter", **summary)))) == (None, "")


def test_an_explicit_form_wins(tmp_path: Path) -> None:
    adapter = str(trained(tmp_path / "adapter"))
    assert list_form(RANKING, arguments(adapter, lists="words")) == (None, "")
    assert list_form(RANKING, arguments(None, lists="text")) == (RANKING.by_text, ""), "also of a base that is not looked at"


def test_an_endpoint_is_asked_in_words_and_cannot_be_asked_by_text() -> None:
    assert list_form(RANKING, arguments(backend="endpoint", model="served")) == (None, "")
    with pytest.raises(UserError, match="which an endpoint does not tell"):
        list_form(RANKING, arguments(backend="endpoint", lists="text"))
    with pytest.raises(UserError, match="of query_product_ranking, also_buy, not of review_rating; leave it out"):
        list_form(TASKS["review_rating"], arguments(lists="text"))


def test_who_serves_an_adapter_that_learnt_by_text_is_told(tmp_path: Path) -> None:
    assert "rank with python -m eval_tasks.rank" in note_for_server(trained(tmp_path / "adapter"))
    assert note_for_server(trained(tmp_path / "words", rows_in_words={"also_buy": 1, "query_product_ranking": 1})) == ""
    assert note_for_server(tmp_path) == note_for_server(None) == ""


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.by_text], ids=lambda task: task.name)
def test_a_list_takes_the_same_columns_in_words_and_by_text(task: Any) -> None:
    needed = [fields for _, fields in wordings(task, scored=True)]
    assert needed == [{task.by_text.text, task.words.items}] * len(needed)
    form = row_form(task.name, True, sorted(needed[0]), {}).scored_by_text(task.by_text)
    fields = form.fields({task.by_text.text: "steel bottle", task.words.items: ["cup", "garden hose"]})
    texts = [candidate for each in form.prompts(fields) for candidate in each.candidates]  # type: ignore[union-attr]
    assert texts == (["steel bottle", "cup", "steel bottle", "garden hose"] if task.by_text.direct else ["steel bottle"] * 2)
