"""Structured answers: which are of their schema, and how they are asked for again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.chat import Completion
from dataset_builders.labelling.structured import CUT_OFF, asked_again, check, fault

SCHEMA = json.dumps(
    {"type": "object", "properties": {"label": {"enum": [0, 1]}}, "required": ["label"], "additionalProperties": False}
)


@pytest.mark.parametrize("text", ['{"label": 1}', ' {"label":0}\n', '{"label": 1.0}'])
def test_json_of_the_schema_is_good(text: str) -> None:
    assert fault(SCHEMA, text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no JSON"),
        ("1 star", "it is no JSON"),
        ('```json\n{"label": 1}\n```', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("1" * 5000, "it is no JSON"),
        ('{"label": NaN}', "it is no JSON: NaN is no number"),
        ('{"label": 2}', "at $.label: 2 is not one of [0, 1]"),
        ("{}", "at $: 'label' is a required property"),
        ('{"label": 1, "why": "x"}', "at $: Additional properties are not allowed"),
        (json.dumps(["long"] * 1000), "at $: ['long', 'long'"),
    ],
)
def test_anything_else_is_told_in_one_short_line(text: str, said: str) -> None:
    found = fault(SCHEMA, text)
    assert found.startswith(said)
    assert len(found) <= 200
    assert "\n" not in found


@given(st.text())
def test_any_text_can_be_checked_and_is_good_without_a_schema(text: str) -> None:
    assert isinstance(fault(SCHEMA, text), str)
    assert fault("", text) == ""


def test_a_completion_is_good_or_rejected_or_wrong() -> None:
    assert check(SCHEMA, Completion('{"label": 1}')) == ("", "")
    assert check(SCHEMA, Completion("", "content filter")) == ("content filter", "")
    assert check(SCHEMA, Completion('{"label": 1', cut=True)) == (CUT_OFF, "")
    assert check("", Completion("Red sho", cut=True)) == ("", "")
    reason, wrong = check(SCHEMA, Completion("one"))
    assert reason == ""
    assert wrong.startswith("it is no JSON")


def test_asking_again_shows_the_answer_and_what_is_wrong_and_changes_nothing_else() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Rate it."}], "max_tokens": 8}
    again = asked_again(body, "three", "it is no JSON")
    assert again["messages"][:2] == [*body["messages"], {"role": "assistant", "content": "three"}]
    assert again["messages"][2]["role"] == "user"
    assert "it is no JSON" in again["messages"][2]["content"]
    assert {**again, "messages": body["messages"]} == body
    assert len(body["messages"]) == 1
