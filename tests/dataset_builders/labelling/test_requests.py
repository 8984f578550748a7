"""Keys and bodies of asks."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.labelling.requests import NO_ANSWER, Ask, Counts, Reply

texts = st.text(max_size=20)
asks = st.builds(
    Ask,
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=3).map(tuple),
    max_tokens=st.integers(1, 4096),
    temperature=st.floats(0, 2),
    sample=st.integers(0, 99),
    schema=st.sampled_from(["", '{"type":"object"}', '{"type":"string"}']),
    extra=st.sampled_from(["", '{"top_p":0.5}']),
)
SCHEMA = '{"properties":{"label":{"enum":[0,1]}},"required":["label"],"type":"object"}'


@given(asks, asks, texts, texts)
def test_two_asks_have_one_key_exactly_if_model_and_every_field_are_equal(one: Ask, other: Ask, model: str, named: str) -> None:
    assert (one.key(model) == other.key(named)) == ((one, model) == (other, named))
    assert one.key(model) == replace(one).key(model)


def test_the_key_changes_with_each_field() -> None:
    ask = Ask((("user", "Rate it."),), 8)
    changed: dict[str, Any] = {
        "messages": (("system", "Rate it."),),
        "max_tokens": 9,
        "temperature": 0.5,
        "sample": 1,
        "schema": SCHEMA,
        "extra": '{"top_p":0.5}',
    }
    assert set(changed) == {field.name for field in fields(Ask)}
    keys = {replace(ask, **{name: value}).key("m") for name, value in changed.items()} | {ask.key("m"), ask.key("n")}
    assert len(keys) == len(changed) + 2


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    # Else replies that were paid for would be asked for again.
    assert Ask((("user", "Rate it."),), 8).key("m") == "0f28da7d5420a9cee3b9c14bb3a5c7263abb18634e69ab7908881912d8a4161a"
    assert Ask((("user", "Rate it."),), 8, temperature=0).key("m") == Ask((("user", "Rate it."),), 8, temperature=0.0).key("m")


def test_a_plain_body_holds_nothing_that_a_server_may_not_know() -> None:
    assert Ask((("system", "Be brief."), ("user", "Rate it.")), 8).body("m") == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rate it."}],
        "temperature": 0.0,
        "max_tokens": 8,
    }


def test_samples_have_seeds_and_structured_answers_their_schema() -> None:
    body = Ask((("user", "Rate it."),), 8, temperature=0.7, sample=3, schema=SCHEMA).body("m")
    assert body["seed"] == 3
    form = {"name": "answer", "schema": json.loads(SCHEMA), "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}


def test_extra_fields_are_laid_over_the_body_and_a_null_takes_one_away() -> None:
    extra = '{"max_tokens": null, "max_completion_tokens": 500, "temperature": null, "reasoning_effort": "low"}'
    body = Ask((("user", "Rate it."),), 8, extra=extra).body("m")
    assert body.keys() == {"model", "messages", "max_completion_tokens", "reasoning_effort"}


@pytest.mark.parametrize(
    ("reason", "kind", "unanswered"),
    [("", "", False), ("too long", "too long", False), (f"{NO_ANSWER} in 3 tries: 500: x", "no answer in 3 tries", True)],
)
def test_reasons_are_counted_by_kind(reason: str, kind: str, unanswered: bool) -> None:
    reply = Reply("" if reason else "3", reason, 12, 2)
    assert (reply.kind, reply.unanswered) == (kind, unanswered)
    counts = Counts(kept=1)
    counts.add(reply)
    assert (counts.answered, dict(counts.rejected)) == ((0, {kind: 1}) if reason else (1, {}))
    assert (counts.done, counts.prompt_tokens, counts.completion_tokens) == (2, 12, 2)
