"""A visitor's own table: CSV in, each row asked as the task's tab asks, CSV out. Nothing is stored and no file is taken."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.answers import numbered_items, parse_completion
from common.tasks import Task

from .answer_view import has_options
from .backend import Answers, BackendError, ModelAnswer, ModelBackend
from .inputs import FilledForm, InputError, InputField, build_prompt, input_fields, wordings
from .list_scoring import Question, question

MOST_ROWS = 200
MOST_CHARS = 400_000
"""Of the whole text: below the size of an HTTP request, whatever its characters are."""
ANSWER_COLUMNS = ("answer", "confidence", "text", "error")
NO_TIME = "the time was up; ask for this row again"


@dataclass(frozen=True)
class Table:
    """A CSV file's header and rows, and its separator."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    separator: str = ","


@dataclass(frozen=True)
class RowAnswer:
    """The columns that a row gets; `error` says why it has no answer."""

    answer: str = ""
    confidence: float | None = None
    text: str = ""
    error: str = ""


def read_table(text: str | None) -> Table:
    """The table in a CSV text whose separator is a comma, a semicolon or a tab, as its first line tells. Raises InputError."""
    text = (text or "").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if not text.strip():
        raise InputError("The table is empty. Paste CSV with a header, or choose a file.")
    if len(text) > MOST_CHARS:
        raise InputError(f"The table is too long: {len(text):,} characters, and {MOST_CHARS:,} are the most.")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        header, *lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if line]
    except csv.Error as error:
        raise InputError(f"This is no CSV: {error}.") from None
    columns = tuple(name.strip() for name in header)
    if len(set(columns)) < len(columns) or not all(columns):
        raise InputError("The first line has to name each column, with different names.")
    if not lines:
        raise InputError("The table has a header only. Give at least one row below it.")
    if len(lines) > MOST_ROWS:
        raise InputError(f"The table has {len(lines):,} rows, and {MOST_ROWS} are the most. predict.py takes any number.")
    for number, line in enumerate(lines, 1):
        if len(line) != len(columns):
            raise InputError(
                f"Row {number} has {len(line)} cells, and the header has {len(columns)}. Quote cells that hold {separator!r}."
            )
    return Table(columns, tuple(dict(zip(columns, line, strict=True)) for line in lines), separator)


def wording_of(task: Task, table: Table) -> int:
    """The first wording whose fields the table has; options may be left out. Raises InputError."""
    missing = {number: _missing(task, number, table) for number in wordings(task)}
    number = min(missing, key=lambda one: len(missing[one]))
    if missing[number]:
        names = ", ".join(field.name for field in input_fields(task, number))
        raise InputError(f"There is no column {', '.join(missing[number])}. This task's columns are {names}.")
    return number


def _missing(task: Task, wording: int, table: Table) -> list[str]:
    return [field.name for field in input_fields(task, wording) if field.name not in (*table.columns, "options")]


def row_prompt(task: Task, row: Mapping[str, str], wording: int, options: Any) -> str:
    """The prompt of a row; `options` are the statements of a table without that column. Raises InputError."""
    values = {field.name: _cell(field, row.get(field.name)) for field in input_fields(task, wording)}
    return build_prompt(
        task, {"options": options} | {name: value for name, value in values.items() if value is not None}, wording
    )


def _cell(field: InputField, value: str | None) -> Any:
    """A list's cell is a JSON list, or has one item a line."""
    if field.is_list and value and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, list) else value
    return value


def answers_so_far(
    backend: ModelBackend, task: Task, table: Table, options: Any, timeout: float, by_text: bool = False
) -> Iterator[dict[int, RowAnswer]]:
    """The answers that are there by row, again after each; those of the tuned model, if there is one. `by_text`: see question.

    Raises InputError and BackendError where no row can be answered.
    """
    wording, who = wording_of(task, table), list(backend.names)[-1]
    found: dict[int, RowAnswer] = {}
    asked: dict[int, Question] = {}
    for place, row in enumerate(table.rows):
        try:
            asked[place] = question(task, row_prompt(task, row, wording, options), by_text, (who,))
        except InputError as error:
            found[place] = RowAnswer(error=str(error))
    yield found
    requests = [(place, number) for place, one in asked.items() for number in range(len(one.requests))]
    said: dict[int, dict[int, Answers]] = {place: {} for place in asked}
    everything = [request for one in asked.values() for request in one.requests]
    for at, answers in backend.answer_all(everything, timeout) if everything else ():
        place, number = requests[at]
        one = asked[place]
        if isinstance(answers, BackendError):
            found[place] = row_answer(task, one.prompt, answers, who)
        else:
            said[place][number] = answers
            if len(said[place]) == len(one.requests):
                found[place] = row_answer(task, one.prompt, one.answer(said[place]), who)
        yield found


def row_answer(task: Task, prompt: str, answers: Answers | BackendError, who: str) -> RowAnswer:
    if isinstance(answers, BackendError):
        return RowAnswer(error=str(answers))
    said: ModelAnswer = answers[who]
    if said.cut:
        return RowAnswer(text=said.text, error=NO_TIME)
    parsed = parse_completion(task, said.text)
    items = numbered_items(prompt)
    if isinstance(parsed, list):
        chosen = [items[number] for number in parsed if number in items]
        answer = json.dumps(chosen, ensure_ascii=False) if chosen else ""
    else:
        answer = items.get(int(parsed), "") if parsed and has_options(task) else parsed or ""
    sure = max(said.probabilities) if said.probabilities and answer else None
    return RowAnswer(answer, sure, said.text, "" if answer else "the answer cannot be read")


def written(table: Table, answers: Mapping[int, RowAnswer]) -> str:
    """The table as CSV, with the answers' columns behind its own."""
    named = answer_columns(table)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=table.separator, lineterminator="\n")
    writer.writerow([*table.columns, *named])
    for place, row in enumerate(table.rows):
        one = answers.get(place, RowAnswer(error=NO_TIME))
        sure = "" if one.confidence is None else f"{one.confidence:.4f}"
        writer.writerow([*row.values(), one.answer, sure, one.text, one.error])
    return out.getvalue()


def answer_columns(table: Table) -> list[str]:
    """ANSWER_COLUMNS; one that the table has already, such as one of an earlier run, gets a number."""
    names: list[str] = []
    for name in ANSWER_COLUMNS:
        free = (each for each in (name, *(f"{name}_{number}" for number in range(2, MOST_ROWS))) if each not in table.columns)
        names.append(next(free))
    return names


def column_names(task: Task) -> list[str]:
    """Those of the first wording; options may be left out."""
    return [field.name for field in input_fields(task, 1) if field.name != "options"]


def example_table(task: Task, examples: Sequence[FilledForm], most: int = 3) -> str:
    """The examples of a task as CSV; its header alone where there are none."""
    names = column_names(task)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for form in [form for form in examples if set(names) <= set(form.values)][:most]:
        cells = (form.values[name] for name in names)
        writer.writerow([json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for cell in cells])
    return out.getvalue()
