"""Hybrid reasoning models: chat template arguments that switch reasoning off, and answers without the reasoning before them.

Qwen3, SmolLM3, GLM-4.5 and others put their reasoning between <think> and </think>, in front of the answer. Only the standard
library is imported, so that the Space can take this file along.
"""

import json
from collections.abc import Mapping
from typing import Any

OPEN, CLOSE = "<think>", "</think>"


def template_arguments(template: str | None, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Keyword arguments of `apply_chat_template`: those given, and enable_thinking=False where the template knows it."""
    off = {"enable_thinking": False} if "enable_thinking" in (template or "") else {}
    return {**off, **(given or {})}


def argument_value(text: str) -> Any:
    """The value of a KEY=VALUE option: JSON, such as false, 3 or {"a": 1}, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def opens_thoughts(prompt: str) -> bool:
    """Whether a rendered prompt ends within a think block, so that what follows is reasoning."""
    return OPEN in prompt.rpartition(CLOSE)[2] and prompt.rstrip().endswith(OPEN)


def without_thoughts(text: str) -> str | None:
    """What was answered after the last think block; None where the text ends within one, such as at the limit of tokens."""
    _, closed, rest = text.rpartition(CLOSE)
    answer, opened, _ = rest.partition(OPEN)
    if opened and not answer.strip():
        return None
    return answer.lstrip() if closed else answer


def may_open_thoughts(text: str) -> bool:
    """Whether this beginning of an answer may still become a think block."""
    return OPEN.startswith(text.strip())
