"""Reasoning is no part of an answer, and a template's switch for it is found in the template."""

import pytest

from common.thinking import argument_value, may_open_thoughts, opens_thoughts, template_arguments, without_thoughts


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2", "2"),
        ("", ""),
        ("  two words ", "  two words "),
        ("<think>\n\n</think>\n\n2", "2"),
        ("<think>hm, 3 or 4</think>2<|x|>", "2<|x|>"),
        ("so it is 2.\n</think>\n\n2", "2"),
        ("<think>a</think>1<think>b</think>2", "2"),
        ("<think>a</think>1 <think>b", "1 "),
        ("<think>", None),
        ("\n<think>\nLet me see: 1, 2, 3", None),
        ("<think>a</think>\n<think>b", None),
        ("2 <think> is a tag", "2 "),
    ],
)
def test_the_answer_is_what_follows_the_reasoning(text: str, answer: str | None) -> None:
    assert without_thoughts(text) == answer


def test_reasoning_is_switched_off_where_the_template_can_and_nothing_else_was_asked_for() -> None:
    hybrid = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    assert template_arguments(hybrid) == {"enable_thinking": False}
    assert template_arguments(hybrid, {"enable_thinking": True, "k": 1}) == {"enable_thinking": True, "k": 1}
    assert template_arguments("{{ messages }}") == template_arguments(None) == {}
    assert template_arguments(None, {"date": "1 May"}) == {"date": "1 May"}


@pytest.mark.parametrize(
    ("text", "value"), [("false", False), ("3", 3), ("low", "low"), ('{"a": [1]}', {"a": [1]}), ("null", None), ("", "")]
)
def test_a_value_is_json_or_text(text: str, value: object) -> None:
    assert argument_value(text) == value


def test_a_prompt_that_ends_within_a_think_block_is_recognised() -> None:
    assert opens_thoughts("<|assistant|>\n<think>\n")
    assert not opens_thoughts("<|assistant|>\n<think>\n\n</think>\n\n")
    assert not opens_thoughts("What is <think>?\n<|assistant|>\n")
    assert may_open_thoughts("<th")
    assert may_open_thoughts(" \n")
    assert not may_open_thoughts("2")
    assert not may_open_thoughts("<b")
