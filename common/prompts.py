"""Prompts: a template filled with a row's fields, and a prompt read back into the fields that it was filled with.

Only the standard library is imported, so that the Space can take this file along.
"""

import re
import string
from functools import lru_cache
from typing import Any

from common.tasks import Task


class _PromptFormatter(string.Formatter):
    """`{options:0}` numbers a list from 0, `{products:(1)}` from 1 with the number behind each item, `{snippets:-}` makes
    bullets, `{actions}` plain lines.

    A causal model reads a number behind an item with the item in view, and then has only to copy the number of the right one;
    a number in front it must find by way of the item, which a small model did not learn from a few hundred rows.

    Values are inserted as they are and never read again, so braces in product text cannot break a template.
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        if not isinstance(value, list | tuple):
            return str(value)
        if format_spec.isdecimal():
            return "\n".join(f"{number}. {item}" for number, item in enumerate(value, int(format_spec)))
        if is_numbered(format_spec):
            return "\n".join(f"{item} ({number})" for number, item in enumerate(value, int(format_spec.strip("()"))))
        return "\n".join(f"{format_spec} {item}".strip() for item in value)


def is_numbered(format_spec: str) -> bool:
    """Whether a field of a template is a numbered list."""
    return format_spec.strip("()").isdecimal()


def render_prompt(template: str, fields: dict[str, Any]) -> str:
    """The prompt's text. Raises KeyError if `fields` lacks one that the template names."""
    return _PromptFormatter().vformat(template, (), fields)


def template_fields(template: str) -> set[str]:
    """Names of the fields that a template asks for."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def read_fields(task: Task, prompt: str) -> dict[str, str | tuple[str, ...]]:
    """What a prompt's template was filled with: `render_prompt` backwards. Empty where no template of the task fits, be it one
    of those in words or the unseen one, as where a dataset of an earlier version numbers its lists otherwise."""
    return _template_and_fields(task, prompt)[1]


def refilled(task: Task, prompt: str, **values: str) -> str:
    """The prompt with other values in these fields; unchanged where no template of the task fits."""
    template, fields = _template_and_fields(task, prompt)
    return render_prompt(template, fields | values) if fields else prompt


def _template_and_fields(task: Task, prompt: str) -> tuple[str, dict[str, str | tuple[str, ...]]]:
    templates = (*task.templates, *(task.words.templates if task.words else ()), *([task.unseen] if task.unseen else ()))
    for template in templates:
        pattern, marks = _template_pattern(template)
        if not (match := pattern.fullmatch(prompt)):
            continue
        lines = {name: match[name].split("\n") for name in marks}
        if all(mark.search(line) for name, mark in marks.items() for line in lines[name]):
            lists = {name: tuple(mark.sub("", line) for line in lines[name]) for name, mark in marks.items()}
            return template, {**match.groupdict(), **lists}
    return "", {}


@lru_cache
def _template_pattern(template: str) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """The template as an expression, and what marks each item of its lists."""
    parts, lists = [], {}
    for literal, name, spec, _ in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if name:
            group = f"(?P<{name}>.+?)"
            parts.append(f"(?P={name})" if group in parts else group)
            if spec or name == "actions":
                lists[name] = _mark(spec or "")
    return re.compile("".join(parts), re.DOTALL), lists


def _mark(format_spec: str) -> re.Pattern[str]:
    """What `_PromptFormatter` adds to an item of a list."""
    if is_numbered(format_spec):
        return re.compile(r"^\d+\. " if format_spec.isdecimal() else r" \(\d+\)$")
    return re.compile(f"^{re.escape(format_spec)} " if format_spec else "^")
