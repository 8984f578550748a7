"""Input fields of a task, derived from its prompt templates, and the prompt that filled-in fields give.

A visitor fills in what a shop has, such as a query and products, instead of writing a raw prompt.
"""

import re
import string
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from common.prompts import is_numbered, read_fields, render_prompt, template_fields
from common.tasks import RANKED, Task

MAX_CHARS = 2000
"""Of a text, and of one item of a list."""
MAX_ITEMS = 30
MAX_PROMPT = 6000
"""Characters of a whole prompt."""

LABELS = {
    "query": "Search query",
    "other_query": "Second search query",
    "product": "Product",
    "other_product": "Second product",
    "products": "Products",
    "candidates": "Products to pick from",
    "queries": "Searches to pick from",
    "number": "How many to pick",
    "actions": "What the customer did",
    "category": "Department of the shop",
    "review": "Review",
    "question": "Question of a customer",
    "snippets": "Passages from reviews",
    "options": "Statements to choose from",
}
"""Label of a field; other fields are labelled by their names."""

PLACEHOLDERS = {
    "actions": "Looked at 'Instant Camera, White'",
    "products": "Instant Camera, White",
    "candidates": "Instant Camera, White",
    "product": "Instant Camera, White",
    "other_product": "Instant Film, 16 Sheets",
    "query": "instant camera",
    "other_query": "instant film",
    "queries": "instant film",
    "number": "3 products",
}
"""Example text in an empty box."""

FieldValues = dict[str, str | list[str]]


class InputError(Exception):
    """Invalid input; the message is one sentence for the visitor."""


@dataclass(frozen=True)
class InputField:
    """One input: a text, or a list of `min_items` to `max_items` lines."""

    name: str
    is_list: bool
    min_items: int = 1
    max_items: int = 1

    @property
    def label(self) -> str:
        return LABELS.get(self.name) or self.name.replace("_", " ").strip().capitalize()

    @property
    def item_count(self) -> str:
        """The number of items it takes, in words; empty where any number will do."""
        if not self.is_list or (self.min_items == 1 and self.max_items == MAX_ITEMS):
            return ""
        return f"exactly {self.max_items}" if self.min_items == self.max_items else f"{self.min_items} to {self.max_items}"

    @property
    def heading(self) -> str:
        """The label and the format, such as "Products, one a line, exactly 5"."""
        return ", ".join(filter(None, (self.label, "one a line" if self.is_list else "", self.item_count)))

    @property
    def placeholder(self) -> str:
        return PLACEHOLDERS.get(self.name, "")


@dataclass(frozen=True)
class FilledForm:
    """Values of a task's input fields, and the number of the template that they go into."""

    values: FieldValues
    wording: int


def input_fields(task: Task, wording: int | None = None) -> tuple[InputField, ...]:
    """The fields of all templates, those of the first one first; with `wording` only those that this template names."""
    specs: dict[str, str] = {}
    for template in task.templates:
        for _, name, spec, _ in string.Formatter().parse(template):
            if name:
                specs.setdefault(name, spec or "")
    named = specs if wording is None else template_fields(task.templates[wording - 1])
    return tuple(_input_field(task, name, spec) for name, spec in specs.items() if name in named)


def wordings(task: Task) -> range:
    """Numbers of the task's templates, from 1."""
    return range(1, len(task.templates) + 1)


def _input_field(task: Task, name: str, spec: str) -> InputField:
    if not spec and name != "actions":  # the only list that a template renders without numbers or bullets
        return InputField(name, is_list=False)
    if not is_numbered(spec):
        return InputField(name, is_list=True, max_items=MAX_ITEMS)
    if task.family == "ranking":
        return InputField(name, is_list=True, min_items=RANKED, max_items=RANKED)
    max_items = len(task.labels) if task.family == "multiple_choice" else MAX_ITEMS
    return InputField(name, is_list=True, min_items=2, max_items=max_items)


def build_prompt(task: Task, given: dict[str, Any], wording: int = 1) -> str:
    """The task's template number `wording`, from 1, filled with these values. Raises InputError.

    A list may be given as a list or as a text with one item a line.
    """
    if not isinstance(wording, int) or wording not in wordings(task):
        raise InputError(f"There is no wording {str(wording)[:20]!r}: give a whole number from 1 to {len(task.templates)}.")
    values = {field.name: parse_value(field, given.get(field.name)) for field in input_fields(task, wording)}
    if "number" in values:
        listed = max((len(value) for value in values.values() if isinstance(value, list)), default=1)
        _check_number(str(values["number"]), listed)
    return clean_prompt(render_prompt(task.templates[wording - 1], values))


def clean_prompt(prompt: str) -> str:
    """The prompt with Unix line ends and only characters that UTF-8 can encode. Raises InputError."""
    prompt = prompt.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")  # UTF-8 has no lone surrogates
    if not prompt.strip():
        raise InputError("The prompt is empty. Type one, or take another example.")
    if len(prompt) > MAX_PROMPT:
        raise InputError(
            f"The prompt is too long: {len(prompt):,} characters, and {MAX_PROMPT:,} are the most. Shorten the texts."
        )
    return prompt


def fill_form(task: Task, prompt: str) -> FilledForm | None:
    """The filled form that builds exactly this prompt; None where there is none."""
    values: FieldValues = {
        name: list(value) if isinstance(value, tuple) else value for name, value in read_fields(task, prompt).items()
    }
    for wording in wordings(task) if values else ():
        try:
            if build_prompt(task, values, wording) == prompt:
                return FilledForm(values, wording)
        except InputError:
            continue
    return None


def parse_value(field: InputField, given: Any) -> str | list[str]:
    """A field's value, cleaned; a list may be a text with one item a line. Raises InputError."""
    if not field.is_list:
        if given is not None and not isinstance(given, str | int | float):
            raise InputError(f"{field.label}: this has to be one text.")
        return _clean_text(field, "" if given is None else str(given))
    lines = given.splitlines() if isinstance(given, str) else [] if given is None else given
    if not isinstance(lines, list) or not all(isinstance(line, str | int | float) for line in lines):
        raise InputError(f"{field.label}: this has to be a list of texts.")
    if len(lines) > 10 * MAX_ITEMS:
        raise InputError(f"{field.label}: there are too many, and {field.max_items} are the most.")
    items = [" ".join(_clean_text(field, line).split("\n")) for line in map(str, lines) if line.strip()]
    if not items:
        raise InputError(f"{field.label}: this is empty. Fill it in, one a line.")
    if not field.min_items <= len(items) <= field.max_items:
        allowed = field.item_count or f"{field.max_items} at most"
        found = "is 1" if len(items) == 1 else f"are {len(items)}"
        raise InputError(f"{field.label}: there have to be {allowed}, one a line, and there {found}.")
    return items


def _clean_text(field: InputField, given: str) -> str:
    """Printable characters, single spaces and no empty line, as in all texts of the dataset."""
    if len(given) > MAX_CHARS:
        raise InputError(f"{field.label}: this is too long. It has {len(given):,} characters, and {MAX_CHARS:,} are the most.")
    text = "\n".join(filter(None, map(_clean_line, given.splitlines())))
    if not text:
        raise InputError(f"{field.label}: this is empty. Fill it in.")
    return text


def _clean_line(given: str) -> str:
    printable = "".join(char if char.isprintable() else "" if category(char) == "Cf" else " " for char in given)
    return " ".join(printable.split())


def _check_number(text: str, most: int) -> None:
    found = re.match("[0-9]{1,3}(?![0-9])", text)
    if found is None or not 1 <= int(found[0]) <= most:
        raise InputError(f"{LABELS['number']}: this has to begin with a number from 1 to {most}, which is how many are listed.")
