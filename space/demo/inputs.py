"""The inputs of a task, read from its own templates: what a shop has, such as a query and products, and not a raw prompt."""

import re
import string
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from common.tasks import RANKED, Task, read_fields, render_prompt, template_fields

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
"""What people call a field; any other is called by its name."""

HINTS = {
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
"""What stands faintly in an empty box."""

Values = dict[str, str | list[str]]


class BadInput(Exception):
    """A request that cannot be answered; the message is a sentence for who sent it."""


@dataclass(frozen=True)
class Field:
    """One input: a text, or a list of at least `least` and at most `most` items of one line each."""

    name: str
    listed: bool
    least: int = 1
    most: int = 1

    @property
    def label(self) -> str:
        return LABELS.get(self.name) or self.name.replace("_", " ").strip().capitalize()

    @property
    def count(self) -> str:
        """How many items there have to be, in words, or nothing where any number will do."""
        if not self.listed or (self.least == 1 and self.most == MAX_ITEMS):
            return ""
        return f"exactly {self.most}" if self.least == self.most else f"{self.least} to {self.most}"

    @property
    def heading(self) -> str:
        """The label with all that has to be known for filling the box."""
        return ", ".join(filter(None, (self.label, "one a line" if self.listed else "", self.count)))

    @property
    def hint(self) -> str:
        return HINTS.get(self.name, "")


def fields_of(task: Task) -> tuple[Field, ...]:
    """The inputs of a task: all places of its templates, the first template's first."""
    places: dict[str, str] = {}
    for template in task.templates:
        places |= {name: spec for name, spec in _places(template) if name not in places}
    return tuple(_field(task, name, spec) for name, spec in places.items())


def _places(template: str) -> list[tuple[str, str]]:
    return [(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name]


def _field(task: Task, name: str, spec: str) -> Field:
    if not spec and name != "actions":  # the one list whose items stand in a prompt as they are
        return Field(name, listed=False)
    if not spec.isdecimal():
        return Field(name, listed=True, most=MAX_ITEMS)
    if task.family == "ranking":
        return Field(name, listed=True, least=RANKED, most=RANKED)
    return Field(name, listed=True, least=2, most=len(task.labels) if task.family == "multiple_choice" else MAX_ITEMS)


def prompt_of(task: Task, given: dict[str, Any], wording: int = 1) -> str:
    """The prompt that asks the task about these values, in the words of its template number `wording`, from 1.

    A list may be given as a list, or as a text with one item a line. Raises BadInput.
    """
    if not isinstance(wording, int) or not 1 <= wording <= len(task.templates):
        raise BadInput(f"There is no wording {str(wording)[:20]!r}: give a whole number from 1 to {len(task.templates)}.")
    template = task.templates[wording - 1]
    needed = template_fields(template)
    values = {field.name: _value(field, given.get(field.name)) for field in fields_of(task) if field.name in needed}
    if "number" in values:
        _check_number(
            str(values["number"]), max((len(value) for value in values.values() if isinstance(value, list)), default=1)
        )
    return checked(render_prompt(template, values))


def checked(prompt: str) -> str:
    """A prompt as a person typed it, in characters that can be sent. Raises BadInput."""
    prompt = prompt.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")  # half of a surrogate pair cannot be sent
    if not prompt.strip():
        raise BadInput("The prompt is empty. Type one, or take another example.")
    if len(prompt) > MAX_PROMPT:
        raise BadInput(
            f"The prompt is too long: {len(prompt):,} characters, and {MAX_PROMPT:,} are the most. Shorten the texts."
        )
    return prompt


def _value(field: Field, given: Any) -> str | list[str]:
    if not field.listed:
        if given is not None and not isinstance(given, str | int | float):
            raise BadInput(f"{field.label}: this has to be one text.")
        return _text(field, "" if given is None else str(given))
    lines = given.splitlines() if isinstance(given, str) else [] if given is None else given
    if not isinstance(lines, list) or not all(isinstance(line, str | int | float) for line in lines):
        raise BadInput(f"{field.label}: this has to be a list of texts.")
    if len(lines) > 10 * MAX_ITEMS:
        raise BadInput(f"{field.label}: there are too many, and {field.most} are the most.")
    items = [" ".join(_text(field, line).split("\n")) for line in map(str, lines) if line.strip()]
    if not items:
        raise BadInput(f"{field.label}: this is empty. Fill it in, one a line.")
    if not field.least <= len(items) <= field.most:
        wanted = field.count or f"{field.most} at most"
        raise BadInput(f"{field.label}: there have to be {wanted}, one a line, and there {_are(len(items))}.")
    return items


def _text(field: Field, given: str) -> str:
    """Characters that can be seen, single spaces and no empty line, as in all texts of the dataset."""
    if len(given) > MAX_CHARS:
        raise BadInput(f"{field.label}: this is too long. It has {len(given):,} characters, and {MAX_CHARS:,} are the most.")
    text = "\n".join(filter(None, map(_line, given.splitlines())))
    if not text:
        raise BadInput(f"{field.label}: this is empty. Fill it in.")
    return text


def _line(given: str) -> str:
    seen = "".join(char if char.isprintable() else "" if category(char) == "Cf" else " " for char in given)
    return " ".join(seen.split())


def _check_number(text: str, most: int) -> None:
    found = re.match("[0-9]{1,3}(?![0-9])", text)
    if found is None or not 1 <= int(found[0]) <= most:
        raise BadInput(f"{LABELS['number']}: this has to begin with a number from 1 to {most}, which is how many are listed.")


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


@dataclass(frozen=True)
class Filled:
    """A form as an example fills it: what stands in each box, and the wording that the example was asked in."""

    values: Values
    wording: int


def read_back(task: Task, prompt: str) -> Filled | None:
    """What a form has to hold to send this very prompt, or None where no form sends it."""
    values: Values = {
        name: list(value) if isinstance(value, tuple) else value for name, value in read_fields(task, prompt).items()
    }
    for wording in range(1, len(task.templates) + 1) if values else ():
        try:
            if prompt_of(task, values, wording) == prompt:
                return Filled(values, wording)
        except BadInput:
            continue
    return None
