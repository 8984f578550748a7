"""Base and tuned model on one prompt: what the page shows while they write, and what an endpoint returns."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

from common.answers import parse_completion
from common.tasks import TASKS, Task

from .answer_view import lines, mark, offered_labels, right_lines, so_far, unreadable
from .backend import Ask, Backend, ModelError, Said
from .dataset_pages import DataError, Dataset
from .examples import Example, Examples, dataset_examples, normal, read_examples
from .html import Panel, alert, hint, panels, spoken
from .inputs import MAX_PROMPT, BadInput, Filled, checked, prompt_of, read_back
from .views import View

EXAMPLES_PER_TASK = 20
ANSWER_SECONDS = 60.0
"""For the answers of both models to one prompt; what is longer is cut off and shown as far as it got."""
LOADING_SECONDS = 300.0
"""How long a click waits for the model to load."""

TITLES = {"base": "Base", "tuned": "Tuned"}


@dataclass(frozen=True)
class Sample:
    """An example and what a form holds to send its very prompt."""

    example: Example
    filled: Filled


class Comparison:
    """What the page's functions share: who answers, and the examples. It keeps nothing of any visitor."""

    def __init__(self, backend: Backend, dataset: Dataset | None = None) -> None:
        self.backend = backend
        self.samples = samples_of(read_examples())
        if dataset and dataset.local:
            self._take_rows(dataset)
        elif dataset:  # from the Hub: the page need not wait for it
            Thread(target=self._take_rows, args=(dataset,), daemon=True, name="examples").start()

    def _take_rows(self, dataset: Dataset) -> None:
        try:
            found = dataset_examples(dataset, TASKS, EXAMPLES_PER_TASK, MAX_PROMPT)
        except DataError as error:
            print(f"warning: {error} The page shows its own examples.", file=sys.stderr, flush=True)
            return
        self.samples = {**self.samples, **samples_of(found)}

    def example_of(self, task: str, prompt: str) -> Example | None:
        """The example with this very prompt, which is where the right answer comes from."""
        samples = self.samples.get(task, ())
        place = place_of(prompt, samples)
        return None if place is None else samples[place].example

    def sample_after(self, task: str, prompt: str) -> Sample | None:
        """The example behind that with this prompt; the first one behind any other prompt."""
        samples = self.samples.get(task, ())
        place = place_of(prompt, samples)
        following = samples if place is None else samples[place + 1 :] or samples
        return following[0] if following else None

    def caption(self, task: str, prompt: str) -> str:
        """What is known of a prompt, in a line under the form."""
        samples = self.samples.get(task, ())
        place = place_of(prompt, samples)
        if place is None:
            return hint("Your own input, so that no right answer is known.")
        origin = samples[place].example.origin
        return hint(f"Example {place + 1} of {len(samples)}, {origin}. Its right answer is known.")

    def compare(self, view: View, values: dict[str, Any], wording: int) -> Iterator[tuple[str, str]]:
        """The page's click: notice and panels, again and again."""
        try:
            prompt = prompt_of(view.task, values, wording)
            example = self.example_of(view.name, prompt)
            loading = self.backend.state().kind == "loading"
            waiting = hint("The model is still loading; the answer follows by itself.") if loading else ""
            yield waiting, self.show(view.task, prompt, {}, example)
            said: dict[str, Said] = {}
            for said in self.answers(view.task, prompt):
                yield "", self.show(view.task, prompt, said, example)
            yield spoken(in_short(view.task, said, example)), self.show(view.task, prompt, said, example)
        except (BadInput, ModelError) as error:
            yield alert(str(error)), ""

    def answers(self, task: Task, prompt: str) -> Iterator[dict[str, Said]]:
        """What each model said so far. Raises ModelError."""
        self.backend.wait(LOADING_SECONDS)
        ask = Ask(prompt, task.max_new_tokens, offered_labels(task, prompt))
        yield from self.backend.stream(ask, ANSWER_SECONDS)

    def show(self, task: Task, prompt: str, said: dict[str, Said], example: Example | None) -> str:
        columns = [
            answer_panel(TITLES[who], name, task, prompt, said.get(who), example) for who, name in self.backend.names.items()
        ]
        if example is not None and task.family != "retrieval":  # whose candidates are all there, the right ones marked
            shown = right_lines(task, prompt, example.answer)
            columns.append(Panel("Right answer", example.origin, task.family, lines=shown, truth=True))
        return panels(columns)

    def answer(self, task: str, prompt: str) -> dict[str, Any]:
        """Both models' answers to a prompt: what each said, how it is read, how likely each label is, the seconds it took, and,
        where the prompt is one of the page's examples, how right it is. `tuned` is null where there is no tuned model."""
        if task not in TASKS:
            raise BadInput(f"There is no task of that name. The tasks are: {', '.join(TASKS)}.")
        prompt = checked(prompt)
        example = self.example_of(task, prompt)
        *_, said = self.answers(TASKS[task], prompt)
        told = {who: as_json(TASKS[task], prompt, said.get(who), example) for who in TITLES}
        return {"task": task, "prompt": prompt, **told, "right": None if example is None else example.answer}


def place_of(prompt: str, samples: tuple[Sample, ...]) -> int | None:
    """Which of the samples has this very prompt."""
    key = normal(prompt)
    return next((place for place, sample in enumerate(samples) if sample.example.key == key), None)


def samples_of(examples: Examples) -> dict[str, tuple[Sample, ...]]:
    """Examples by task, those that a form of the page can send."""
    found = {
        name: tuple(Sample(row, filled) for row in rows if (filled := read_back(TASKS[name], row.prompt)))
        for name, rows in examples.items()
        if name in TASKS
    }
    return {name: samples for name, samples in found.items() if samples}


def answer_panel(title: str, model: str, task: Task, prompt: str, said: Said | None, example: Example | None) -> Panel:
    """A column with what its model said so far; all its lines are there before it says anything."""
    truth = None if example is None else example.answer
    if said is None or said.seconds is None:
        text = "" if said is None else said.text
        value = so_far(task, text)
        return Panel(
            title,
            model,
            task.family,
            lines=lines(task, prompt, value, chances=said and said.chances),
            said=None if task.family == "generation" and value else text,
            state="writing …" if text else "waiting …",
            writing=True,
        )
    value = parse_completion(task, said.text)
    rest = said.text.strip() != str(value)
    return Panel(
        title,
        model,
        task.family,
        lines=lines(task, prompt, value, truth, said.chances),
        said=said.text if task.family != "generation" or rest else None,
        state=f"{said.seconds:.1f} s" + (", cut off: the time was up" if said.cut else ""),
        problem=unreadable(task) if value is None else "",
        mark=None if example is None else mark(task, value, truth),
    )


def in_short(task: Task, said: dict[str, Said], example: Example | None) -> str:
    """What came out, for those who do not see it."""
    if example is None:
        return "Both answers are there." if len(said) > 1 else "The answer is there."
    marks = {TITLES[who]: mark(task, parse_completion(task, one.text), example.answer) for who, one in said.items()}
    return " ".join(f"{title}: {found.verdict}{found.note and ', '}{found.note}." for title, found in marks.items())


def as_json(task: Task, prompt: str, said: Said | None, example: Example | None) -> dict[str, Any] | None:
    if said is None:
        return None
    value = parse_completion(task, said.text)
    verdict = None if example is None else mark(task, value, example.answer)
    chances = None if said.chances is None else dict(zip(offered_labels(task, prompt), said.chances, strict=True))
    return {
        "text": said.text,
        "read_as": value,
        "chances": chances,
        "seconds": round(said.seconds or 0.0, 3),
        "cut": said.cut,
        "mark": None if verdict is None else {"verdict": verdict.verdict, "note": verdict.note},
    }
