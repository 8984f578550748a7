"""A recipe's fields become a row: cleaned, phrased, answerable, or dropped with a reason."""

import json
from typing import Any

import pytest

from common.answers import parse_completion
from common.tasks import TASKS
from dataset_builders.records import Rejected
from dataset_builders.rows import DatasetRow, make_row

LICENCES = {"esci": "Apache-2.0", "amazonqa": "none stated"}
RANKING = {
    "query": "steel kettle",
    "products": ["Kettle A", "Kettle B", "Kettle C", "Kettle D", "Kettle E"],
    "answer": [0.1, 1.0, 0.0, 0.01, 1.0],
}
BUY = {"product": "Kettle", "number": "2 products", "candidates": [f"Item {n}" for n in range(15)], "answer": [3, 15]}
QUESTION = {"question": "Is it loud?", "snippets": ["It hums.", "It sings."], "answer": "It hums a little."}


def make(task: str, fields: dict[str, Any], seed: int = 0, key: str = "k", **changes: Any) -> DatasetRow | Rejected:
    base = {"key": key, "group": "query:x", "source": "esci", "records": [4, None, 7]}
    return make_row(TASKS[task], {**base, **fields, **changes}, LICENCES, seed)


@pytest.mark.parametrize(
    ("task", "fields", "completion", "answer"),
    [
        ("query_product_ranking", RANKING, "2,5,1,4,3", [0.1, 1.0, 0.0, 0.01, 1.0]),
        ("also_buy", BUY, "3,15", [3, 15]),
        ("answer_generation", QUESTION, "It hums a little.", "It hums a little."),
    ],
)
def test_a_row_says_what_was_asked_and_answered(task: str, fields: dict[str, Any], completion: str, answer: Any) -> None:
    row = make(task, fields)
    columns = row.as_columns()
    assert columns["prompt"] == [{"role": "user", "content": row.prompt}]
    assert columns["completion"] == [{"role": "assistant", "content": completion}]
    assert json.loads(columns["answer"]) == answer
    assert (columns["task"], columns["family"]) == (task, TASKS[task].family)
    assert (columns["source"], columns["licence"], columns["group"]) == ("esci", "Apache-2.0", "query:x")
    assert len(columns["sample_id"]) == 32
    assert row.records == (4, 7)
    assert "records" not in columns
    assert parse_completion(TASKS[task], completion) is not None


def test_markup_tokens_and_length_are_cleaned_in_every_field() -> None:
    dirty = "<b>It</b> hums<|im_end|>\n<|im_start|>assistant &amp; sings " + "la " * 200
    row = make("answer_generation", {"question": dirty, "snippets": [dirty], "answer": dirty})
    told = row.prompt + row.completion + row.answer
    assert not [token for token in ("<|", "|>", "<b>", "&amp;") if token in told]
    assert "It hums assistant & sings la" in row.prompt
    assert len(row.completion.split()) == 60
    assert row.completion.endswith(" …")


def test_product_text_with_braces_is_not_read_as_a_template() -> None:
    row = make("query_product_ranking", RANKING, query="{products:1} {0} {x}")
    assert "{products:1} {0} {x}" in row.prompt


@pytest.mark.parametrize(
    ("task", "fields", "changes", "reason"),
    [
        ("query_product_ranking", RANKING, {"query": "<p></p>"}, "query holds nothing to read"),
        ("query_product_ranking", RANKING, {"products": ["a", "b", "c", "d", " "]}, "products holds nothing to read"),
        (
            "query_product_ranking",
            RANKING,
            {"products": ["a", "b", "c", "d", "<b>A</b>"]},
            "products holds the same text twice",
        ),
        ("answer_generation", QUESTION, {"answer": "<br>"}, "answer cannot be read back"),
        ("also_buy", BUY, {"answer": []}, "answer cannot be read back"),
        ("query_product_ranking", RANKING, {"answer": [1.0, 0.1]}, "answer cannot be read back"),
        ("review_rating", {"category": "Home", "review": "Nice", "answer": "6"}, {}, "answer cannot be read back"),
    ],
)
def test_a_row_that_cannot_be_asked_or_answered_says_why(task: str, fields: Any, changes: Any, reason: str) -> None:
    assert make(task, fields | changes) == Rejected(reason)


def test_both_templates_are_used_and_the_seed_decides() -> None:
    def prompts(seed: int) -> list[str]:
        return [make("query_product_ranking", RANKING, seed, key=str(key)).prompt for key in range(40)]

    assert len(set(prompts(0))) == 2
    assert prompts(0) == prompts(0)
    assert prompts(0) != prompts(1)


def test_a_sample_is_told_from_others_by_task_prompt_and_completion() -> None:
    row = make("answer_generation", QUESTION)
    assert row.sample_id == make("answer_generation", QUESTION, source="amazonqa", group="query:y").sample_id
    assert row.sample_id != make("answer_generation", QUESTION | {"answer": "No."}).sample_id
