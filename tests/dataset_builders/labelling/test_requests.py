"""Keys and bodies of requests, and which structured answers are of their schema."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.chat import Completion
from dataset_builders.labelling.requests import (
    CUT_OFF,
    NO_ANSWER,
    NO_JSON,
    LabelReply,
    LabelRequest,
    ReplyCounts,
    schema_fault,
    second_body,
    to_reply,
)

texts = st.text(max_size=20)
requests = st.builds(
    LabelRequest,
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=3).map(tuple),
    max_tokens=st.integers(1, 4096),
    temperature=st.floats(0, 2),
    sample=st.integers(0, 99),
    schema=st.sampled_from(["", '{"type":"object"}', '{"type":"string"}']),
    extra=st.sampled_from(["", '{"top_p":0.5}']),
)
SCHEMA = '{"additionalProperties":false,"properties":{"label":{"enum":[0,1]}},"required":["label"],"type":"object"}'


@given(requests, requests, texts, texts)
def test_two_asks_have_one_key_exactly_if_model_and_every_field_are_equal(
    one: LabelRequest, other: LabelRequest, model: str, named: str
) -> None:
    assert (one.key(model) == other.key(named)) == ((one, model) == (other, named))
    assert one.key(model) == replace(one).key(model)


def test_the_key_changes_with_each_field() -> None:
    request = LabelRequest((("user", "Rate it."),), 8)
    changed: dict[str, Any] = {
        "messages": (("system", "Rate it."),),
        "max_tokens": 9,
        "temperature": 0.5,
        "sample": 1,
        "schema": SCHEMA,
        "extra": '{"top_p":0.5}',
    }
    assert set(changed) == {field.name for field in fields(LabelRequest)}
    keys = {replace(request, **{name: value}).key("m") for name, value in changed.items()} | {
        request.key("m"),
        request.key("n"),
    }
    assert len(keys) == len(changed) + 2


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    # Else replies that were paid for would be requested again.
    assert (
        LabelRequest((("user", "Rate it."),), 8).key("m") == "0f28da7d5420a9cee3b9c14bb3a5c7263abb18634e69ab7908881912d8a4161a"
    )
    assert LabelRequest((("user", "Rate it."),), 8, temperature=0).key("m") == LabelRequest(
        (("user", "Rate it."),), 8, temperature=0.0
    ).key("m")


def test_a_plain_body_holds_nothing_that_a_server_may_not_know() -> None:
    assert LabelRequest((("system", "Be brief."), ("user", "Rate it.")), 8).body("m") == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rate it."}],
        "temperature": 0.0,
        "max_tokens": 8,
    }


def test_samples_have_seeds_and_structured_answers_their_schema() -> None:
    body = LabelRequest((("user", "Rate it."),), 8, temperature=0.7, sample=3, schema=SCHEMA).body("m")
    assert body["seed"] == 3
    form = {"name": "answer", "schema": json.loads(SCHEMA), "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}


def test_extra_fields_are_laid_over_the_body_and_a_null_takes_one_away() -> None:
    extra = '{"max_tokens": null, "max_completion_tokens": 500, "temperature": null, "reasoning_effort": "low"}'
    body = LabelRequest((("user", "Rate it."),), 8, extra=extra).body("m")
    assert body.keys() == {"model", "messages", "max_completion_tokens", "reasoning_effort"}


@pytest.mark.parametrize(
    ("reason", "kind", "unanswered"),
    [("", "", False), ("too long", "too long", False), (f"{NO_ANSWER} in 3 tries: 500: x", "no answer in 3 tries", True)],
)
def test_reasons_are_counted_by_kind(reason: str, kind: str, unanswered: bool) -> None:
    reply = LabelReply("" if reason else "3", reason, 12, 2)
    assert (reply.kind, reply.unanswered) == (kind, unanswered)
    counts = ReplyCounts(kept=1)
    counts.add(reply)
    assert (counts.answered, dict(counts.rejected)) == ((0, {kind: 1}) if reason else (1, {}))
    assert (counts.done, counts.prompt_tokens, counts.completion_tokens) == (2, 12, 2)


@pytest.mark.parametrize("text", ['{"label": 1}', ' {"label":0}\n', '{"label": 1.0}'])
def test_json_of_the_schema_is_good(text: str) -> None:
    assert schema_fault(SCHEMA, text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no JSON"),
        ("1 star", "it is no JSON"),
        ('```json\n{"label": 1}\n```', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("1" * 100_000, "it is no JSON"),
        ('{"label": NaN}', "it is no JSON: NaN is no number"),
        ('{"label": 2}', "at $.label: 2 is not one of [0, 1]"),
        ("{}", "at $: 'label' is a required property"),
        ('{"label": 1, "why": "x"}', "at $: Additional properties are not allowed"),
        (json.dumps(["long"] * 1000), "at $: ['long', 'long'"),
    ],
)
def test_anything_else_is_told_in_one_short_line(text: str, said: str) -> None:
    found = schema_fault(SCHEMA, text)
    assert found.startswith(said)
    assert len(found) <= 200
    assert "\n" not in found


@given(st.text())
def test_any_text_can_be_checked_and_is_good_without_a_schema(text: str) -> None:
    assert isinstance(schema_fault(SCHEMA, text), str)
    assert to_reply(Completion(text), "") == LabelReply(text)


def test_a_completion_is_an_answer_or_rejected_or_has_a_fault() -> None:
    assert to_reply(Completion('{"label": 1}', "", False, 12, 2), SCHEMA) == LabelReply('{"label": 1}', "", 12, 2)
    assert to_reply(Completion("", "content filter"), SCHEMA) == LabelReply("", "content filter")
    assert to_reply(Completion('{"label": 1', cut=True), SCHEMA) == LabelReply("", CUT_OFF)
    assert to_reply(Completion("Red sho", cut=True), "") == LabelReply("Red sho")
    wrong = to_reply(Completion("one"), SCHEMA)
    assert (wrong.text, wrong.kind, wrong.fault[:13]) == ("", NO_JSON, "it is no JSON")
    assert to_reply(Completion("", "content filter"), SCHEMA).fault == LabelReply("3").fault == ""


def test_a_second_request_shows_the_answer_and_its_fault_and_changes_nothing_else() -> None:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Rate it."}], "max_tokens": 8}
    again = second_body(body, "three", "it is no JSON")
    assert again["messages"][:2] == [*body["messages"], {"role": "assistant", "content": "three"}]
    assert again["messages"][2]["role"] == "user"
    assert "it is no JSON" in again["messages"][2]["content"]
    assert {**again, "messages": body["messages"]} == body
    assert len(body["messages"]) == 1
