"""A row as the prompts that it makes, the same as the evaluation's, and what was said to them as the row's answer."""

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import TYPE_CHECKING, Any

from common.answers import answer_pattern, parse_completion, selection_pattern
from common.errors import UserError
from common.prompts import render_prompt, template_fields
from common.tasks import RANKED, TASKS, Task, TextForm
from common.thinking import without_thoughts
from common.words import (
    best_first,
    expected_gain,
    in_words,
    is_scored,
    item_questions,
    likeliest_first,
    probabilities,
    scored_completion,
    text_scores,
    word_candidates,
    word_of_label,
    word_prompts,
)
from dataset_builders.mapping import near
from dataset_builders.privacy import mask
from dataset_builders.rows import MAX_WORDS
from dataset_builders.text import clean
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
from eval_tasks.prediction.input_rows import list_items

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = "the answer cannot be read"
UNFINISHED = "all tokens went into reasoning"
OTHER_WORDS = 30
"""Most words of a field that rows.MAX_WORDS does not name, as in training."""
MOST_ITEMS = 99
"""Items of a numbered list; the pattern of a selection has two digits."""

EXAMPLES: dict[str, Any] = {
    "category": "Kitchen",
    "review": "The lid leaks and the handle broke after two days.",
    "query": "steel water bottle 1 l",
    "other_query": "insulated steel water bottle",
    "options": [],
    "product": "Insulated water bottle, steel, 750 ml",
    "other_product": "Bottle brush with long handle",
    "question": "Does the lamp come with a bulb?",
    "snippets": ["The bulb is in the box.", "It is bright enough for a desk."],
    "products": [f"Water bottle {millilitres} ml" for millilitres in (250, 500, 750, 1000, 1500)],
    "candidates": ["Bottle brush", "Garden hose", "Drinking straws of steel"],
    "number": "2 products",
    "actions": ["Searched for 'tent'", "Looked at 'Tent for two persons'"],
    "queries": ["tent for three persons", "sleeping bag", "coffee maker", "tent pegs"],
}
"""An example of each field of any template."""


class CannotAskError(Exception):
    """Why no question can be made of a row."""


@dataclass(frozen=True)
class RowForm:
    """How the rows of a table are asked a task. `columns`: field -> column of the table; `template` is the wording.

    `by_text`: a list's items are scored by a text; of a pair, as `rank` has them, the one item is in the field of that name.
    """

    task: Task
    scored: bool
    template: str
    columns: Mapping[str, str]
    by_text: TextForm | None = None

    def scored_by_text(self, by_text: TextForm) -> "RowForm":
        """The form with items scored by a text. The columns are those that scoring in words takes."""
        return replace(self, by_text=by_text, template=TASKS[by_text.task].templates[0])

    @cached_property
    def lists(self) -> set[str]:
        return list_fields(self.task)

    @cached_property
    def items(self) -> str:
        """The field whose items are ranked or selected; "" of any other task."""
        return self.task.words.items if self.task.words else ""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A row's fields, cleaned and cut as in training. Raises CannotAskError."""
        fields: dict[str, Any] = {}
        for name, column in self.columns.items():
            value = values.get(column)
            fields[name] = self._list(name, value) if name in self.lists else self._text(name, value)
        statements = self.task.words.statements if self.task.words else ()
        if statements and "options" not in fields:
            fields["options"] = list(statements)
        return fields

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, list | tuple | dict | bytes):
            raise CannotAskError(f"{name} holds no text")
        text = "" if value is None or (isinstance(value, float) and isnan(value)) else str(value)
        text = mask(clean(text, MAX_WORDS.get(name, OTHER_WORDS)))[0]
        if not text:
            raise CannotAskError(f"{name} is missing or empty")
        return text

    def _list(self, name: str, value: Any) -> list[str]:
        items = list_items(value)
        if not items:
            raise CannotAskError(f"{name} is missing or empty")
        texts = [self._text(name, item) for item in items]
        if self.scored and name == self.items:
            return texts
        if name == self.items and self.task.family == "ranking" and len(texts) != RANKED:
            raise CannotAskError(f"{name} has not {RANKED} items, which scored answers do not need: {len(texts)}")
        if len(texts) > MOST_ITEMS:
            raise CannotAskError(f"{name} has more than {MOST_ITEMS} items: {len(texts)}")
        if name == "options" and len(texts) > len(self.task.labels):
            raise CannotAskError(f"{name} has more than {len(self.task.labels)} statements: {len(texts)}")
        return texts

    def prompts(self, fields: Mapping[str, Any]) -> list[Prompt] | list[ScoredPrompt]:
        """Raises CannotAskError."""
        if not self.scored:
            return [self._prompt(render_prompt(self.template, dict(fields)), self._pattern(fields))]
        if by_text := self.by_text:
            items = fields[self.items] if self.items else [fields[by_text.item]]
            questions = item_questions(by_text, items, fields[by_text.text])
            return [ScoredPrompt(self._prompt(prompt), (text,)) for prompt, text in questions]
        candidates = word_candidates(self.task, fields)
        if not candidates:
            raise CannotAskError("options are other statements than the task's, which written answers take")
        wording = in_words(self.task).templates.index(self.template)
        return [ScoredPrompt(self._prompt(text), candidates) for text in word_prompts(self.task, fields, wording)]

    def _prompt(self, text: str, pattern: str = "") -> Prompt:
        return Prompt((("user", text),), text, self.task.max_new_tokens, f"shop:{self.task.name}", pattern, ("\n",))

    def _pattern(self, fields: Mapping[str, Any]) -> str:
        """Of the answers that can be read, for constrained decoding."""
        if self.task.family == "generation":
            return ""
        if self.task.family == "retrieval":
            numbers = range(1, len(fields[self.items]) + 1)
            if self.task.name == "next_query" and len(numbers) >= 3:
                return selection_pattern(numbers, 3)
            one = f"(?:{'|'.join(map(str, numbers))})"
            return f"{one}(?:,{one}){{0,{len(numbers) - 1}}}"
        if "options" in fields:
            return "|".join(map(re.escape, self.task.labels[: len(fields["options"])]))
        return answer_pattern(self.task)

    # --- Answers ---

    def read_text(self, fields: Mapping[str, Any], text: str) -> dict[str, Any]:
        """The columns of a written answer."""
        said = without_thoughts(text)
        if said is None:
            return {"text": text, "error": UNFINISHED}
        parsed = parse_completion(self.task, said)
        if parsed is None:
            return {"text": text, "error": UNREADABLE}
        if isinstance(parsed, list):
            numbers = [number for number in parsed if number <= len(fields[self.items])]
            return {"text": text, **self._chosen(fields, numbers)} if numbers else {"text": text, "error": UNREADABLE}
        if "options" not in fields:
            return {"text": text, "answer": parsed}
        place = self.task.labels.index(parsed)
        if place >= len(fields["options"]):
            return {"text": text, "error": UNREADABLE}
        return {"text": text, "answer": self._word(fields, place)}

    def _word(self, fields: Mapping[str, Any], place: int) -> str:
        statement: str = fields["options"][place]
        known = self.task.words.statements if self.task.words else ()
        return word_of_label(self.task, fields, self.task.labels[place]) if statement in known else statement

    def _chosen(self, fields: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
        return {"answer": [fields[self.items][number - 1] for number in numbers], "numbers": list(numbers)}

    def read_likelihoods(self, fields: Mapping[str, Any], found: Sequence[Likelihoods]) -> dict[str, Any]:
        """The columns of a scored answer. By text there is no confidence: log-likelihoods of other items are none of it."""
        if self.by_text:
            scores = text_scores(self.by_text, [own for (own,) in found])
            return (
                {**self._chosen(fields, likeliest_first(scores)), "scores": scores} if self.items else {"likelihood": scores[0]}
            )
        form = self.task.words
        chances = [probabilities(each) for each in found]
        sure = sum(map(max, chances)) / len(chances)
        if form and form.items:
            scores = [expected_gain(form, each) for each in found]
            return {**self._chosen(fields, best_first(form, found)), "scores": scores, "confidence": sure}
        candidates = word_candidates(self.task, fields)
        best = max(range(len(candidates)), key=lambda place: chances[0][place])
        known = dict(zip(candidates, chances[0], strict=True))
        return {
            "answer": candidates[best],
            "text": scored_completion(self.task, fields, found),
            "confidence": sure,
            "probabilities": {label: known.get(label) for label in in_words(self.task).labels},
        }

    def answer_columns(self) -> dict[str, "pa.DataType"]:
        """The columns that answers have, beside those of the input."""
        import pyarrow as pa

        number, text = pa.float64(), pa.string()
        columns: dict[str, Any] = {"answer": pa.list_(text) if self.items else text}
        if self.items:
            columns["numbers"] = pa.list_(pa.int64())
        if self.scored:
            columns["confidence"] = number
            if self.items:
                columns["scores"] = pa.list_(number)
            elif self.by_text:
                columns["likelihood"] = number
            else:
                columns["probabilities"] = pa.struct([(label, number) for label in in_words(self.task).labels])
        return {**columns, "text": text, "error": text}


def list_fields(task: Task) -> set[str]:
    """Fields that are lists: those that a template numbers or lines up, and `actions`."""
    parts = [part for template in task.templates for part in string.Formatter().parse(template)]
    return {name for _, name, spec, _ in parts if name and (spec or name == "actions")}


def wordings(task: Task, scored: bool) -> list[tuple[str, set[str]]]:
    """Each wording and the fields that a row must have for it."""
    if not scored:
        return [(template, template_fields(template) - {"options"}) for template in task.templates]
    form = task.words
    renamed = {form.item: form.items} if form and form.items else {}
    return [
        (template, {renamed.get(name, name) for name in template_fields(template)}) for template in in_words(task).templates
    ]


def row_form(task_name: str, scored: bool, columns: Sequence[str], mapped: Mapping[str, str]) -> RowForm:
    """The first wording that the table has all columns for. `mapped`: field -> column. Raises UserError."""
    task = TASKS[task_name]
    scored = scored and is_scored(task)
    possible = wordings(task, scored)
    fields = set().union(*(needed for _, needed in possible)) | ({"options"} if task.lists_options else set())
    if unknown := sorted(set(mapped) - fields):
        raise UserError(f"--map: {task.name} has no field {unknown[0]!r}; it has {', '.join(sorted(fields))}")
    if absent := sorted(set(mapped.values()) - set(columns)):
        raise UserError(f"--map: --input has no column {absent[0]!r}. {near(absent[0], columns)}")
    found = {name: mapped.get(name, name) for name in fields if mapped.get(name, name) in columns}
    for template, needed in possible:
        if needed <= set(found):
            return RowForm(
                task, scored, template, {name: found[name] for name in sorted(found) if name in needed | {"options"}}
            )
    least: set[str] = min([needed - set(found) for _, needed in possible], key=len)
    missing = sorted(least)
    raise UserError(
        f"--input has no column {', '.join(missing)}, which {task.name} asks for; there are {', '.join(columns) or 'none'}. "
        f"Give --map {missing[0]}=COLUMN; python -m eval_tasks.predict --describe {task.name} shows a row"
    )


def described(task_name: str) -> str:
    """The fields of a task for people, with an example row."""
    task = TASKS[task_name]
    lines = [f"{task.title} ({task.name}, {task.family}): {task.about or task.title}", "", "Columns:"]
    fields = wordings(task, scored=False)
    needed = set.intersection(*(names for _, names in fields))
    for name in sorted(set().union(*(names for _, names in fields)) | ({"options"} & template_fields(task.templates[0]))):
        kind = "list of texts, a JSON list, or lines" if name in list_fields(task) else "text"
        lines.append(f"  {name}: {kind}{'' if name in needed else '; may be left out'}")
    example = {name: EXAMPLES[name] for name in sorted(needed)}
    lines += ["", "A row as JSON lines:", f"  {json.dumps(example, ensure_ascii=False)}", "", "It is asked:", ""]
    template = next(template for template, names in fields if names <= set(example))
    whole = {"options": list(task.words.statements) if task.words else [], **example}
    lines.append(render_prompt(template, whole))
    return "\n".join(lines)
