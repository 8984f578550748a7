"""How much of an answer is read, and that no text makes a parser raise."""

import ast
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.metrics.shopbench_parsers import PARSERS, parse_entities, says_nothing

ANY_TEXT = st.text() | st.text(alphabet="0123456789,. ½²٣[]'\"()-\n", max_size=60)


@pytest.mark.parametrize(
    ("task_type", "text", "parsed"),
    [
        ("multiple-choice", " " * 5000 + "1", -1),
        ("retrieval", "x" * 4998 + "1,2", [1]),
        ("ranking", "x" * 4999 + "12", [1]),
        ("named_entity_recognition", "a," + "b" * 5000, ["a", "b" * 4998]),
        ("generation", "a" * 6000, "a" * 5000),
        ("retrieval", "1" * 5000, []),
    ],
)
def test_only_the_first_5000_characters_count(task_type: str, text: str, parsed: Any) -> None:
    assert PARSERS[task_type](text) == parsed


@pytest.mark.parametrize(
    "text", ["[" * 5000, "(" * 5000, "-" * 4999 + "1", "1+" * 2500, "{[]: 1}", "\0", "lambda: 0", "[0] * 9", "9" * 4999]
)
def test_what_breaks_pythons_parser_is_split_at_commas(text: str) -> None:
    assert parse_entities(text) == [text.strip()]


@pytest.mark.parametrize("task_type", PARSERS)
@given(text=ANY_TEXT)
def test_no_text_makes_a_parser_raise(task_type: str, text: str) -> None:
    json.dumps(PARSERS[task_type](text))


@given(st.text(alphabet="ab,'\"[]()\\\n #", max_size=30))
def test_a_text_without_a_bracket_is_no_list(text: str) -> None:
    try:
        literal = ast.literal_eval(text)
    except Exception:
        literal = None

    if isinstance(literal, list) and all(isinstance(entity, str) for entity in literal):
        assert parse_entities(text) == literal
    else:
        assert parse_entities(text) == [part.strip() for part in text.split(",") if part.strip()]


@pytest.mark.parametrize("task_type", PARSERS)
@pytest.mark.parametrize(
    "text", ["", " ", "\0" * 9, "1," * 50_000, "[" * 100_000, "9" * 100_000, "\ud800", "\x1b[2J" * 9, "\u202e1"]
)
def test_hostile_texts_are_read_in_no_time(task_type: str, text: str) -> None:
    started = time.process_time()

    json.dumps(PARSERS[task_type](text))

    assert time.process_time() - started < 1


@pytest.mark.parametrize(("task_type", "text"), [("multiple-choice", "A"), ("ranking", "1,1"), ("retrieval", "none")])
def test_what_cannot_be_read_says_nothing(task_type: str, text: str) -> None:
    assert says_nothing(PARSERS[task_type](text))


@pytest.mark.parametrize("task_type", PARSERS)
def test_an_empty_answer_says_nothing(task_type: str) -> None:
    assert says_nothing(PARSERS[task_type](" \n"))
    assert not says_nothing(PARSERS[task_type]("0"))
