"""Structured answers: whether they are JSON of their schema (https://json-schema.org/draft/2020-12), and how to ask again."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from common.chat import Completion
from dataset_builders.labelling.requests import Reply

NO_JSON = "no JSON of the schema"
CUT_OFF = "cut off"

SHOWN = 200
"""Characters of what is wrong; a message may hold the whole answer."""


def fault(schema: str, text: str) -> str:
    """What is wrong with an answer, in one sentence; "" where it is JSON of the schema, or the schema is "". Never raises."""
    if not schema:
        return ""
    from jsonschema.exceptions import best_match

    try:
        value = json.loads(text, parse_constant=_no_constant)
        error = best_match(_validator(schema).iter_errors(value))
    except (ValueError, RecursionError) as wrong:
        return f"it is no JSON: {wrong}"[:SHOWN]
    return " ".join(f"at {error.json_path}: {error.message}".split())[:SHOWN] if error else ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


@lru_cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def asked_again(body: Mapping[str, Any], text: str, wrong: str) -> dict[str, Any]:
    """The body of the second request, for an answer that was wrong."""
    complaint = f"That answer is not of the form that was asked for: {wrong}\nAnswer again, with JSON of the schema alone."
    turns = [{"role": "assistant", "content": text}, {"role": "user", "content": complaint}]
    return {**body, "messages": [*body["messages"], *turns]}


def check(schema: str, completion: Completion) -> tuple[str, str]:
    """(reason, fault) of a completion: why it is rejected at once, and what is wrong with its form; both "" of a good one."""
    if completion.reason:
        return completion.reason, ""
    if schema and completion.cut:
        return CUT_OFF, ""
    return "", fault(schema, completion.text)


def final(completion: Completion, reason: str, wrong: str) -> Reply:
    """What is kept of a completion that `check` says this of, and that is not asked for again."""
    reason = f"{NO_JSON}: {wrong}" if wrong else reason
    return Reply("" if reason else completion.text, reason, completion.prompt_tokens, completion.completion_tokens)
