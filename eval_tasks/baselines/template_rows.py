"""Rows of a dataset with what their templates were filled with, so that a baseline need not parse prompts."""

from dataclasses import dataclass, replace
from typing import Any

from common.answers import decode_answer, render_completion
from common.errors import UserError
from common.prompts import read_fields
from common.tasks import TASKS, Task, Value
from common.words import numbered_form, row_task
from dataset_builders.rows import NOT_CONTENT

CHOSEN_FROM = ("options", "candidates", "queries", "products")
"""Fields with the numbered texts of a prompt (`products` of a ranking only)."""


@dataclass(frozen=True)
class TemplateRow:
    """A row of the dataset. `fields` are what its template was filled with, lists as tuples."""

    task: Task
    prompt: str
    completion: str
    answer: Any
    group: str
    fields: dict[str, str | tuple[str, ...]]

    def content(self) -> dict[str, tuple[str, ...]]:
        """The texts that tell what the row is about, by field, as the builder has them."""
        lists = {name: (value,) if isinstance(value, str) else value for name, value in self.fields.items()}
        return {name: value for name, value in lists.items() if name not in NOT_CONTENT}

    def texts(self) -> list[str]:
        """One text for each field of the content, without those to choose from."""
        return ["\n".join(texts) for name, texts in self.content().items() if not (name == "products" and self.candidates())]

    def candidates(self) -> tuple[str, ...]:
        """What may be chosen from: the numbered texts, or the labels where there are none."""
        if self.task.family == "generation":
            return ()
        return next((tuple(self.fields[name]) for name in CHOSEN_FROM if name in self.fields), self.task.labels)

    def meaning(self) -> str:
        """Of a multiple choice, what the right label stands for."""
        label = str(self.answer)
        return dict(zip(self.task.labels, self.candidates(), strict=False)).get(label, label)

    def render(self, value: Value) -> str:
        return render_completion(self.task, value)


def template_row(row: dict[str, Any]) -> TemplateRow:
    """A row of the dataset's files, one in words as the numbered one that it stands for. Raises UserError where its prompt is
    of no template."""
    task, answer = TASKS[row["task"]], decode_answer(row)
    known = prompt_row(task, row["prompt"][0]["content"])
    if row_task(task, answer) is not task:
        fields, answer = numbered_form(task, known.fields, answer)
        known = replace(known, fields=fields)
    return replace(known, completion=row["completion"][0]["content"], answer=answer, group=row["group"])


def prompt_row(task: Task, prompt: str) -> TemplateRow:
    """A row of which only the prompt is known. Raises UserError where it is of no template."""
    fields = read_fields(task, prompt)
    if not fields:
        raise UserError(f"A row of {task.name} fits none of its templates: {prompt[:60]!r}. Build the dataset again.")
    return TemplateRow(task, prompt, "", None, "", fields)
