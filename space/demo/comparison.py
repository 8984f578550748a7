"""Base and tuned model on one prompt: what the page shows while they generate, and what an endpoint returns."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

from common.answers import parse_completion
from common.tasks import TASKS, Task

from .answer_view import answer_lines, gold_lines, grade, offered_labels, parse_partial, unparsable_reason
from .backend import Answers, BackendBusy, BackendError, ModelAnswer, ModelBackend
from .dataset_pages import DatasetError, DatasetReader
from .examples import Examples, PageExample, dataset_examples, prompt_key, read_examples
from .html import AnswerPanel, alert, hint, panels, spoken
from .inputs import MAX_PROMPT, FilledForm, InputError, build_prompt, clean_prompt, fill_form
from .list_scoring import question

EXAMPLES_PER_TASK = 20
ANSWER_SECONDS = 60.0
"""Timeout for the answers of both models to one prompt; they are shown as far as they are by then."""
LOADING_SECONDS = 300.0
"""How long a click waits for the model to load."""

TITLES = {"base": "Base", "tuned": "Tuned"}


@dataclass(frozen=True)
class FormExample:
    """An example with the filled form that builds its prompt."""

    example: PageExample
    form: FilledForm


class ModelComparison:
    """The backend and the examples, shared by all of the page's functions. It stores nothing of any visitor.

    `by_text`: whether lists are scored by text, for which the models were trained (`lists`); `text_is_missing` where the
    backend cannot.
    """

    def __init__(self, backend: ModelBackend, dataset: DatasetReader | None = None, lists: str = "words") -> None:
        self.backend = backend
        self.by_text = lists == "text" and backend.scores_texts
        self.text_is_missing = lists == "text" and not backend.scores_texts
        self.examples = form_examples(read_examples())
        if dataset and dataset.is_local:
            self._add_rows(dataset)
        elif dataset:  # on the Hub: the page does not wait for it
            Thread(target=self._add_rows, args=(dataset,), daemon=True, name="examples").start()

    def _add_rows(self, dataset: DatasetReader) -> None:
        try:
            found = dataset_examples(dataset, TASKS, EXAMPLES_PER_TASK, MAX_PROMPT)
        except DatasetError as error:
            print(f"warning: {error} The page shows its own examples.", file=sys.stderr, flush=True)
            return
        self.examples = self.examples | form_examples(found)

    def example_with(self, task: str, prompt: str) -> PageExample | None:
        """The example with this very prompt, for its right answer."""
        examples = self.examples.get(task, ())
        position = position_of(prompt, examples)
        return None if position is None else examples[position].example

    def example_after(self, task: str, prompt: str) -> FormExample | None:
        """The example after the one with this prompt; the first one after any other prompt."""
        examples = self.examples.get(task, ())
        position = position_of(prompt, examples)
        following = examples if position is None else examples[position + 1 :] or examples
        return following[0] if following else None

    def caption(self, task: str, prompt: str) -> str:
        """The line under the form: whether the right answer to the prompt is known."""
        examples = self.examples.get(task, ())
        position = position_of(prompt, examples)
        if position is None:
            return hint("Your own input, so that no right answer is known.")
        origin = examples[position].example.origin
        return hint(f"Example {position + 1} of {len(examples)}, {origin}. Its right answer is known.")

    def compare(self, task: Task, values: dict[str, Any], wording: int) -> Iterator[tuple[str, str]]:
        """Notice and answers as HTML, again after each token."""
        try:
            prompt = build_prompt(task, values, wording)
            example = self.example_with(task.name, prompt)
            loading = self.backend.state().kind == "loading"
            notice = hint("The model is still loading; the answer follows by itself.") if loading else ""
            yield notice, self.show(task, prompt, {}, example)
            answers: Answers = {}
            for answers in self.stream(task, prompt):
                yield "", self.show(task, prompt, answers, example)
            yield spoken(summary(task, answers, example)), self.show(task, prompt, answers, example)
        except (InputError, BackendError) as error:
            yield alert(str(error)), ""

    def stream(self, task: Task, prompt: str) -> Iterator[Answers]:
        """The answers so far, after each token. Raises BackendError."""
        self.backend.wait(LOADING_SECONDS)
        asked = question(task, prompt, self.by_text)
        if not asked.by_text:
            yield from self.backend.stream(asked.requests[0], ANSWER_SECONDS)
            return
        found: dict[int, Answers] = {}
        yield {}
        for place, answers in self.backend.answer_all(asked.requests, ANSWER_SECONDS):
            if isinstance(answers, BackendError):
                raise answers
            found[place] = answers
        if not found:
            raise BackendBusy("The model is busy with other requests. Try again in a minute.")
        yield asked.answer(found)

    def show(self, task: Task, prompt: str, answers: Answers, example: PageExample | None) -> str:
        columns = [
            answer_panel(TITLES[who], name, task, prompt, answers.get(who), example) for who, name in self.backend.names.items()
        ]
        if example is not None and task.family != "retrieval":  # whose lines are all candidates, the right ones marked
            lines = gold_lines(task, prompt, example.answer)
            columns.append(AnswerPanel("Right answer", example.origin, task.family, lines, is_gold=True))
        return panels(columns)

    def answer(self, task: str, prompt: str) -> dict[str, Any]:
        """Both models' answers to a prompt: what each said, how it is read, how likely each label is, the seconds it took, and,
        where the prompt is one of the page's examples, how right it is. `tuned` is null where there is no tuned model."""
        if task not in TASKS:
            raise InputError(f"There is no task of that name. The tasks are: {', '.join(TASKS)}.")
        prompt = clean_prompt(prompt)
        example = self.example_with(task, prompt)
        *_, answers = self.stream(TASKS[task], prompt)
        results = {who: as_json(TASKS[task], prompt, answers.get(who), example) for who in TITLES}
        return {"task": task, "prompt": prompt, **results, "right": None if example is None else example.answer}


def position_of(prompt: str, examples: tuple[FormExample, ...]) -> int | None:
    """The position of the example with this very prompt."""
    key = prompt_key(prompt)
    return next((position for position, one in enumerate(examples) if one.example.key == key), None)


def form_examples(examples: Examples) -> dict[str, tuple[FormExample, ...]]:
    """The examples whose prompts a form of the page can build, by task."""
    found = {
        name: tuple(FormExample(row, form) for row in rows if (form := fill_form(TASKS[name], row.prompt)))
        for name, rows in examples.items()
        if name in TASKS
    }
    return {name: rows for name, rows in found.items() if rows}


def answer_panel(
    title: str, model: str, task: Task, prompt: str, answer: ModelAnswer | None, example: PageExample | None
) -> AnswerPanel:
    """The column of one model. All its lines are there before the first token."""
    answer = answer or ModelAnswer()
    if answer.seconds is None:
        parsed = parse_partial(task, answer.text)
        return AnswerPanel(
            title,
            model,
            task.family,
            answer_lines(task, prompt, parsed, probabilities=answer.probabilities),
            raw_text=None if task.family == "generation" and parsed else answer.text,
            state="writing …" if answer.text else "waiting …",
            generating=True,
        )
    gold = None if example is None else example.answer
    parsed = parse_completion(task, answer.text)
    return AnswerPanel(
        title,
        model,
        task.family,
        answer_lines(task, prompt, parsed, gold, answer.probabilities),
        raw_text=None if answer.scored or (task.family == "generation" and answer.text.strip() == str(parsed)) else answer.text,
        state=f"{answer.seconds:.1f} s" + ", scored by text" * answer.scored + ", cut off: the time was up" * answer.cut,
        problem=unparsable_reason(task) if parsed is None else "",
        grade=None if example is None else grade(task, parsed, gold),
    )


def summary(task: Task, answers: Answers, example: PageExample | None) -> str:
    """The result in a sentence for screen readers."""
    if example is None:
        return "Both answers are there." if len(answers) > 1 else "The answer is there."
    grades = {TITLES[who]: grade(task, parse_completion(task, one.text), example.answer) for who, one in answers.items()}
    return " ".join(f"{title}: {found.verdict}{found.note and ', '}{found.note}." for title, found in grades.items())


def as_json(task: Task, prompt: str, answer: ModelAnswer | None, example: PageExample | None) -> dict[str, Any] | None:
    """The result of one model, as the README describes it."""
    if answer is None:
        return None
    parsed, labels = parse_completion(task, answer.text), offered_labels(task, prompt)
    return {
        "text": answer.text,
        "read_as": parsed,
        "chances": None if answer.probabilities is None else dict(zip(labels, answer.probabilities, strict=True)),
        "seconds": round(answer.seconds or 0.0, 3),
        "cut": answer.cut,
        "scored": answer.scored,
        "mark": None if example is None else vars(grade(task, parsed, example.answer)),
    }
