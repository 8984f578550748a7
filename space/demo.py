"""What the page shows and the endpoint returns, without the page: sample rows, both answers, how they are read and marked."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

from examples import Example, Examples, dataset_examples, normal, read_examples
from model import Model, ModelError, public_name
from panels import Panel, alert, hint, panels, status
from reading import lines, mark, right_lines, unreadable
from tasks import TASKS, Task, parse_completion

MAX_CHARS = 6000
EXAMPLES_PER_TASK = 20
ANSWER_SECONDS = 30.0
"""For one answer of one model; a longer one is cut off and shown as far as it got."""
LOADING_SECONDS = 300.0
"""How long a click waits for the model to load."""

FAMILY_HINTS = {
    "multiple_choice": "Multiple choice: right or wrong.",
    "ranking": "Ranking: marked by NDCG, 1 is the best order.",
    "retrieval": "Retrieval: marked by how many of the right products or queries are picked.",
    "generation": "Free text: marked by its overlap with the real text, ROUGE-L.",
}


@dataclass(frozen=True)
class Answer:
    """What one model said so far; `seconds` is None until it has finished."""

    said: str = ""
    seconds: float | None = None
    cut: bool = False


class BadInput(Exception):
    """A request that cannot be answered; the message is a sentence for who sent it."""


class Demo:
    """What the page's functions share: the model and the sample rows. It keeps nothing of any visitor."""

    def __init__(self, base: str, adapter: str | None = None, dataset: str | None = None) -> None:
        self.model = Model(base, adapter)
        self.examples: Examples = read_examples()
        self.trained: set[str] = set()
        if dataset and Path(dataset).is_dir():
            self._take_rows(dataset)
        elif dataset:  # from the Hub: the page need not wait for it
            Thread(target=self._take_rows, args=(dataset,), daemon=True).start()

    def _take_rows(self, dataset: str) -> None:
        try:
            found = dataset_examples(dataset, TASKS, EXAMPLES_PER_TASK, MAX_CHARS)
        except ValueError as error:
            print(f"warning: {error}; the page shows its own examples", file=sys.stderr, flush=True)
            return
        self.examples = {**self.examples, **found}
        self.trained = set(found)

    def example_of(self, name: str, prompt: str) -> Example | None:
        """The sample row with this very prompt, which is where the right answer comes from."""
        return next((row for row in self.examples.get(name, ()) if row.key == normal(prompt)), None)

    def status(self) -> tuple[str, bool]:
        """The status line, and whether it may still change."""
        base = public_name(self.model.base)
        if not self.model.ready:
            return status(f"Loading {base} … the page works already, the first answer waits for the model.", "loading"), True
        try:
            self.model.wait(0)
        except ModelError as error:
            return status(str(error), "failed"), False
        tuned = f"Adapter: {public_name(self.model.adapter)}" if self.model.adapter else "no adapter, so only the base answers"
        return status(f"Base: {base} · {tuned} · loaded in {self.model.load_seconds:.0f} s", "ready"), False

    def answers(self, task: Task, prompt: str) -> Iterator[dict[bool, Answer]]:
        """The answers so far by `tuned`, the base's first. Raises ModelError."""
        self.model.wait(LOADING_SECONDS)
        answers = {False: Answer()}
        for tuned in (False, True) if self.model.adapter else (False,):
            start = time.monotonic()
            answers[tuned] = Answer()
            for said in self.model.stream(prompt, task.max_new_tokens, tuned, ANSWER_SECONDS):
                answers[tuned] = Answer(said)
                yield dict(answers)
            seconds = time.monotonic() - start
            answers[tuned] = replace(answers[tuned], seconds=seconds, cut=seconds > ANSWER_SECONDS)
            yield dict(answers)

    def compare(self, name: str, prompt: str) -> Iterator[tuple[str, str]]:
        """The page's click: notice and panels, again and again."""
        problem = input_problem(name, prompt)
        if problem:
            yield alert(problem), ""
            return
        task, example = TASKS[name], self.example_of(name, prompt)
        try:
            waiting = "" if self.model.ready else hint("The model is still loading; the answer follows by itself.")
            yield waiting, self.show(task, prompt, {}, example)
            for answers in self.answers(task, prompt):
                yield "", self.show(task, prompt, answers, example)
        except ModelError as error:
            yield alert(str(error)), ""

    def show(self, task: Task, prompt: str, answers: dict[bool, Answer], example: Example | None) -> str:
        base, adapter = self.model.base, self.model.adapter
        columns = [answer_panel(Panel("Base", public_name(base)), task, prompt, answers.get(False), example)]
        if adapter:
            tuned = Panel("Tuned", f"{public_name(base)} + {public_name(adapter)}")
            columns.append(answer_panel(tuned, task, prompt, answers.get(True), example))
        if example is not None:
            shown = right_lines(task, prompt, example.answer)
            columns.append(Panel("Right answer", example.origin, lines=shown, shape=task.family))
        return panels(columns)

    def answer(self, task: str, prompt: str) -> dict[str, Any]:
        """Both models' answers to a prompt: what each said, how it is read, the seconds it took, and, where the prompt is one
        of the page's examples, how right it is. `tuned` is null without an adapter."""
        problem = input_problem(task, prompt)
        if problem:
            raise BadInput(problem)
        example = self.example_of(task, prompt)
        *_, answers = self.answers(TASKS[task], prompt)
        told = {who: as_json(TASKS[task], answers.get(tuned), example) for who, tuned in (("base", False), ("tuned", True))}
        return {"task": task, **told, "right": None if example is None else example.answer}

    def opening(self, name: str) -> tuple[str, str, str, str]:
        """A task was picked: its first example, the line under it, and an empty place for answers."""
        return self.example_at(name, 0)

    def another(self, name: str, prompt: str) -> tuple[str, str, str, str]:
        rows = self.examples.get(name, ())
        here = next((place for place, row in enumerate(rows) if row.key == normal(prompt)), -1)
        return self.example_at(name, here + 1)

    def example_at(self, name: str, place: int) -> tuple[str, str, str, str]:
        rows = self.examples[name]
        row = rows[place % len(rows)]
        caption = f"{FAMILY_HINTS[TASKS[name].family]} Example {place % len(rows) + 1} of {len(rows)}, {row.origin}."
        return row.prompt, hint(caption), "", ""


def input_problem(name: str, prompt: str) -> str:
    """What is wrong with a request, in a sentence, or nothing."""
    if name not in TASKS:
        return f"There is no task of that name. The tasks are: {', '.join(TASKS)}."
    if not prompt.strip():
        return "The prompt is empty. Type one, or take another example."
    if len(prompt) > MAX_CHARS:
        return f"The prompt is too long: {len(prompt)} characters, and {MAX_CHARS} are the most. Shorten it."
    return ""


def answer_panel(panel: Panel, task: Task, prompt: str, answer: Answer | None, example: Example | None) -> Panel:
    """A column's head filled with what its model said so far."""
    if answer is None:
        return replace(panel, state="waiting …")
    if answer.seconds is None:
        return replace(panel, said=answer.said, state="writing …")
    value = parse_completion(task, answer.said)
    truth = None if example is None else example.answer
    return replace(
        panel,
        said=answer.said,
        state=f"{answer.seconds:.1f} s" + (", cut off: it took too long" if answer.cut else ""),
        lines=() if value is None else lines(task, prompt, value, truth),
        problem=unreadable(task) if value is None else "",
        mark=None if example is None else mark(task, value, truth),
        shape=task.family,
    )


def as_json(task: Task, answer: Answer | None, example: Example | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    value = parse_completion(task, answer.said)
    verdict = None if example is None else mark(task, value, example.answer)
    return {
        "text": answer.said,
        "read_as": value,
        "seconds": round(answer.seconds or 0.0, 3),
        "mark": None if verdict is None else {"verdict": verdict.verdict, "note": verdict.note},
    }
