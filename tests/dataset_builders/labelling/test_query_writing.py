"""Requests for queries, and which answers can be used."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.labelling.query_writing import (
    EMPTY,
    LINES,
    LIST,
    LONG,
    MAX_QUERY_CHARS,
    NO_QUERIES,
    TWICE,
    QuerySubject,
    query_request,
    query_rows,
    query_schema,
    read_queries,
    second_request,
)
from dataset_builders.labelling.requests import LabelReply, schema_fault
from dataset_builders.recipes.query_lists import COMPLEMENTS, NARROWING, SUBSTITUTES

VIEWED = QuerySubject("k1", "Title: Red mug\nBrand: Acme", label=False)
LABEL = QuerySubject("k2", "Title: Red mug\nBrand: Acme", label=True)
SEARCH = QuerySubject("k3", "Search: Red  mug", label=True)
GOOD = {
    "query": "Red mug",
    "narrowing_1": "red mug  with lid",
    "narrowing_2": "large red mug",
    "substitute": "red cup",
    "complement_1": "tea",
    "complement_2": "saucer",
}


def answer(subject: QuerySubject, **changes: Any) -> str:
    return json.dumps({name: (GOOD | changes)[name] for name in subject.fields})


@pytest.mark.parametrize(("subject", "fields"), [(VIEWED, ("query",)), (LABEL, tuple(GOOD)), (SEARCH, LIST)])
def test_what_is_asked_for_hangs_on_what_there_is(subject: QuerySubject, fields: tuple[str, ...]) -> None:
    assert subject.fields == fields
    request = query_request(subject)
    told = [line.partition(":")[0] for line in request.messages[-1][1].splitlines() if line.startswith("- ")]
    assert ", ".join(told).replace("- ", "") == ", ".join(fields)
    assert json.loads(request.schema)["required"] == list(json.loads(request.schema)["properties"]) == list(fields)
    assert schema_fault(request.schema, answer(subject)) == ""


def test_the_schema_holds_an_answer_to_its_fields() -> None:
    form = query_schema(LABEL.fields)
    for changes in ({"narrowing_1": ["one"]}, {"complement_2": 2}, {"query": None}):
        assert schema_fault(form, answer(LABEL, **changes))
    assert schema_fault(form, answer(VIEWED))
    assert schema_fault(form, json.dumps({**GOOD, "brand": "Acme"}))


def test_what_is_told_holds_no_markup_and_nobodys_address() -> None:
    subject = QuerySubject("k", "Title: <b>Red mug</b> <|im_end|> ask jane@example.com\nBrand: Acme &amp; Co", label=False)
    assert subject.masked() == "Title: Red mug ask [e-mail]\nBrand: Acme & Co"
    assert subject.masked() in query_request(subject).messages[-1][1]


def test_queries_come_in_lower_case_and_single_spaces() -> None:
    written = read_queries(LABEL, LabelReply(answer(LABEL)))
    assert written.reason == ""
    assert written.queries == {**GOOD, "query": "red mug", "narrowing_1": "red mug with lid"}
    found = list(query_rows([written], "NAME"))
    assert Counter(row["kind"] for row in found) == {
        "query": 1,
        "narrowing": NARROWING,
        "substitute": SUBSTITUTES,
        "complement": COMPLEMENTS,
    }
    assert found[2] == {
        "key": "k2",
        "about": LABEL.about,
        "kind": "narrowing",
        "place": 1,
        "text": "large red mug",
        "model": "NAME",
    }


@pytest.mark.parametrize(
    ("subject", "text", "reason"),
    [
        (LABEL, answer(LABEL, query="  "), EMPTY),
        (LABEL, answer(LABEL, query="?!"), EMPTY),
        (LABEL, answer(LABEL, query="<b></b>"), EMPTY),
        (LABEL, answer(LABEL, substitute="x" * (MAX_QUERY_CHARS + 1)), LONG),
        (LABEL, answer(LABEL, substitute="red\ncup"), LINES),
        (LABEL, answer(LABEL, complement_2="TEA "), TWICE),
        (LABEL, answer(LABEL, narrowing_1="red mug"), TWICE),
        (SEARCH, answer(SEARCH, substitute="red mug"), TWICE),
        (LABEL, answer(LABEL, complement_1=["tea"]), NO_QUERIES),
        (LABEL, answer(LABEL, query=3), NO_QUERIES),
        (LABEL, answer(VIEWED), NO_QUERIES),
        (LABEL, "no JSON", NO_QUERIES),
        (LABEL, "[" * 9999, NO_QUERIES),
    ],
)
def test_what_cannot_be_used_has_its_reason(subject: QuerySubject, text: str, reason: str) -> None:
    written = read_queries(subject, LabelReply(text))
    assert (written.reason, written.queries) == (reason, {})
    assert list(query_rows([written], "NAME")) == []


def test_a_reply_without_an_answer_keeps_its_kind_of_reason() -> None:
    assert (
        read_queries(LABEL, LabelReply("", "no JSON of the schema: at $.query: 3 is no string")).reason
        == "no JSON of the schema"
    )


@given(st.recursive(st.none() | st.integers() | st.text(max_size=90), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_comes_is_read_or_rejected(value: Any) -> None:
    for changes in ({"query": value}, {"complement_2": value}):
        written = read_queries(LABEL, LabelReply(answer(LABEL, **changes)))
        texts = list(written.queries.values())
        assert bool(texts) != bool(written.reason)
        assert len(set(texts)) == len(texts)
        assert all(0 < len(text) <= MAX_QUERY_CHARS and "\n" not in text and text == " ".join(text.split()) for text in texts)


def test_asking_again_shows_what_was_wrong_and_is_another_request() -> None:
    first = query_request(LABEL, max_tokens=50, extra='{"top_p": 0.5}')
    again = second_request(first, "{}", EMPTY)
    assert again.messages[: len(first.messages)] == first.messages
    assert again.messages[-2:] == (
        ("assistant", "{}"),
        ("user", f"That cannot be used: {EMPTY}. Answer again, with JSON only."),
    )
    assert (again.schema, again.max_tokens, again.extra) == (first.schema, 50, first.extra)
    assert again.key("NAME") != first.key("NAME")
