"""A task's prompt as the requests that answer it: the prompt itself, or of a list scored by text one or two for each item.

Such a list is ordered by how likely its text is behind each item, as `--lists text` of eval_tasks orders it: the query behind a
product, what was bought behind a candidate and, which counts less, the candidate behind what was bought.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.answers import render_completion
from common.prompts import read_fields
from common.tasks import Task
from common.words import likeliest_first, text_questions, text_scores

from .answer_view import offered_labels
from .backend import AnswerRequest, Answers, ModelAnswer

PICKS = 3
"""Items that are picked of a list whose wording does not say how many."""

FORMS = ("words", "text")
"""How lists are scored, as LISTS of eval_tasks.backends.prompts."""


@dataclass(frozen=True)
class Question:
    """A prompt and what is asked of the models: one request, which is written, or `by_text` those of a list's items."""

    task: Task
    prompt: str
    requests: tuple[AnswerRequest, ...]
    by_text: bool = False

    def answer(self, found: Mapping[int, Answers]) -> Answers:
        """The answers, complete or so far, by those to each of `requests`. Items that have none yet come last."""
        if not self.by_text:
            return found.get(0, {})
        names = dict.fromkeys(name for answers in found.values() for name in answers)
        return {name: self._by_text({place: answers[name] for place, answers in found.items()}) for name in names}

    def _by_text(self, found: Mapping[int, ModelAnswer]) -> ModelAnswer:
        known = [found[place].likelihood if place in found else None for place in range(len(self.requests))]
        logs = [float("-inf") if value is None else value for value in known]
        order = likeliest_first(text_scores(self.task.by_text, logs) if self.task.by_text else logs)
        seconds = sum(answer.seconds or 0.0 for answer in found.values())
        text = render_completion(self.task, order[: self._picks(len(order))])
        return ModelAnswer(text, seconds, cut=None in known, scored=True)

    def _picks(self, items: int) -> int:
        """How many items the answer names: all of a ranking, of a selection as many as are asked for."""
        if self.task.family == "ranking":
            return items
        asked = re.match("[0-9]+", str(read_fields(self.task, self.prompt).get("number", "")))
        return int(asked[0]) if asked else PICKS


def question(task: Task, prompt: str, by_text: bool, only: tuple[str, ...] = ()) -> Question:
    """`by_text`: lists that can be are scored by text; a prompt of no wording of the task is written all the same."""
    fields = read_fields(task, prompt) if by_text and task.by_text else {}
    if fields:
        return Question(task, prompt, tuple(item_requests(task, fields, only)), by_text=True)
    return Question(task, prompt, (AnswerRequest(prompt, task.max_new_tokens, offered_labels(task, prompt), only),))


def item_requests(task: Task, fields: Mapping[str, Any], only: tuple[str, ...] = ()) -> list[AnswerRequest]:
    """Those of how likely a text is that a list scored by text makes. Raises ValueError for other tasks."""
    return [AnswerRequest(prompt, task.max_new_tokens, only=only, text=text) for prompt, text in text_questions(task, fields)]


def shown_prompt(task: Task, prompt: str, by_text: bool) -> str:
    """What is sent, for people to read."""
    asked = question(task, prompt, by_text)
    if not asked.by_text:
        return prompt
    first, both_ways = asked.requests[0], bool(task.by_text and task.by_text.direct)
    others = len(asked.requests) // (1 + both_ways) - 1
    turned = "; the other way round counts a little" if both_ways else ""
    about = f"and so for {others} other items, which are ordered by how likely the answer is{turned}:"
    return f"{first.prompt}\n\n({about})\n{first.text}"
