"""Rows of a dataset with what their templates were filled with, so that a baseline need not parse prompts."""

import re
import string
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from dataset_builders.errors import UserError
from dataset_builders.rows import NOT_CONTENT
from dataset_builders.tasks import TASKS, Task, Value, decode_answer, render_completion

CHOSEN_FROM = ("options", "candidates", "queries", "products")
"""Fields with the numbered texts of a prompt (`products` of a ranking only)."""


@dataclass(frozen=True)
class Question:
    """A row of the dataset. `fields` are what its template was filled with, lists as tuples."""

    task: Task
    prompt: str
    completion: str
    answer: Any
    group: str
    fields: dict[str, str | tuple[str, ...]]

    def content(self) -> dict[str, tuple[str, ...]]:
        """The texts that tell what the row is about, by field, as the builder has them."""
        listed = {name: (value,) if isinstance(value, str) else value for name, value in self.fields.items()}
        return {name: value for name, value in listed.items() if name not in NOT_CONTENT}

    def about(self) -> list[str]:
        """One text for each field of the content, without those to choose from."""
        return ["\n".join(texts) for name, texts in self.content().items() if not (name == "products" and self.listed())]

    def listed(self) -> tuple[str, ...]:
        """What may be chosen from: the numbered texts, or the labels where there are none."""
        if self.task.family == "generation":
            return ()
        return next((tuple(self.fields[name]) for name in CHOSEN_FROM if name in self.fields), self.task.labels)

    def meant(self) -> str:
        """Of a multiple choice, what the right label stands for."""
        label = str(self.answer)
        return dict(zip(self.task.labels, self.listed(), strict=False)).get(label, label)

    def text(self, value: Value) -> str:
        return render_completion(self.task, value)


def question(row: dict[str, Any]) -> Question:
    """A question of a row as the dataset's files hold it. Raises UserError where its prompt is of no template."""
    known = unanswered(TASKS[row["task"]], row["prompt"][0]["content"])
    return replace(known, completion=row["completion"][0]["content"], answer=decode_answer(row), group=row["group"])


def unanswered(task: Task, prompt: str) -> Question:
    """A question of which nothing but the prompt is known. Raises UserError where it is of no template."""
    fields = read_fields(task, prompt)
    if not fields:
        raise UserError(f"A row of {task.name} fits none of its templates: {prompt[:60]!r}. Build the dataset again.")
    return Question(task, prompt, "", None, "", fields)


def read_fields(task: Task, prompt: str) -> dict[str, str | tuple[str, ...]]:
    """What a prompt's template was filled with: `render_prompt` backwards. Empty where no template of the task fits."""
    for pattern, lists in map(_template_pattern, task.templates):
        if match := pattern.fullmatch(prompt):
            return {
                name: tuple(mark.sub("", line) for line in value.split("\n")) if (mark := lists.get(name)) else value
                for name, value in match.groupdict().items()
            }
    return {}


@lru_cache
def _template_pattern(template: str) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """The template as an expression, and what stands before each item of its lists."""
    parts, lists = [], {}
    for literal, name, spec, _ in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P<{name}>.+?)")
            if spec or name == "actions":
                lists[name] = re.compile(r"^\d+\. " if (spec or "").isdecimal() else f"^{re.escape(spec)} " if spec else "^")
    return re.compile("".join(parts), re.DOTALL), lists
