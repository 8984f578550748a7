"""The form of a task that is asked in words, and answers to it by likelihood: of each word, or the expected gain of each item.

A row of any wording is scored by its fields: a choice by the words of what it lists, a list item by item. Only the standard
library is imported, so that the Space can take this file along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp
from typing import Any

from common.answers import render_completion
from common.prompts import render_prompt
from common.tasks import TASKS, Task, TextForm, WordForm

Fields = Mapping[str, Any]
"""What a row's template was filled with: texts, and sequences of texts."""


def in_words(task: Task) -> Task:
    """The task's form in words as a multiple choice of one item, which is parsed and scored as any multiple choice is.

    A choice whose labels are words already is its own form. Raises ValueError for a task without one, which is written.
    """
    if not is_scored(task):
        raise ValueError(f"{task.name} has no form in words")
    if task.words is None:
        return task
    form = task.words
    return replace(
        task,
        family="multiple_choice",
        templates=form.templates,
        unseen=form.unseen,
        labels=form.labels,
        metric="accuracy",
        max_new_tokens=8,
        words=None,
    )


def is_scored(task: Task) -> bool:
    """Whether the task's answers can be scored; a text can only be written."""
    return task.words is not None or task.family == "multiple_choice"


def row_task(task: Task, answer: Any) -> Task:
    """The form that a row asks the task in, by its decoded `answer`: in words where that is one of the words."""
    return in_words(task) if task.words and isinstance(answer, str) and answer in task.words.labels else task


# --- Questions ---


def word_prompts(task: Task, fields: Fields, wording: int = 0, unseen: bool = False) -> list[str]:
    """The prompts in words that a row's fields make: one of a choice, one for each item of a list.

    `unseen`: in the wording that is never trained on.
    """
    form = in_words(task)
    template = form.unseen if unseen else form.templates[wording]
    if task.words and task.words.items:
        return [render_prompt(template, item_fields(task.words, fields, item)) for item in fields[task.words.items]]
    return [render_prompt(template, dict(fields))]


def text_questions(task: Task, fields: Fields) -> list[tuple[str, str]]:
    """The prompts that a list scored by text makes (see TextForm), each with the text whose likelihood is asked behind it.

    Raises ValueError for other tasks.
    """
    if task.by_text is None or task.words is None:
        raise ValueError(f"{task.name} is no list that can be scored by text")
    return item_questions(task.by_text, fields[task.words.items], str(fields[task.by_text.text]))


def item_questions(form: TextForm, items: Sequence[str], text: str) -> list[tuple[str, str]]:
    """The same for items and text: of each item in turn the text behind it and, where that counts, the item behind the text."""
    if not form.direct:
        return [(_text_prompt(form, item), text) for item in items]
    return [question for item in items for question in ((_text_prompt(form, item), text), (_text_prompt(form, text), item))]


def _text_prompt(form: TextForm, given: str) -> str:
    return render_prompt(TASKS[form.task].templates[0], {form.item: (given,)})


def item_fields(form: WordForm, fields: Fields, item: str) -> dict[str, Any]:
    """The fields of a question about one item of a list."""
    return {**fields, form.item: item}


def word_candidates(task: Task, fields: Fields) -> tuple[str, ...]:
    """The labels in words that may answer a row, in their fixed order: those whose statements a choice lists, else all.

    Empty where a choice lists a statement that is not the task's: it can be answered by number only.
    """
    labels = in_words(task).labels
    if not task.words or not task.words.statements:
        return labels
    listed = set(fields["options"])
    if not listed <= set(task.words.statements):
        return ()
    return tuple(label for label, statement in zip(labels, task.words.statements, strict=True) if statement in listed)


# --- Answers ---


def probabilities(likelihoods: Sequence[float]) -> list[float]:
    """Natural logarithms of likelihoods as probabilities that sum to 1."""
    most = max(likelihoods)
    weights = [exp(value - most) for value in likelihoods]
    return [weight / sum(weights) for weight in weights]


def expected_gain(form: WordForm, likelihoods: Sequence[float]) -> float:
    """What an item is worth on average, by the likelihoods of all labels: the gain 2^weight - 1 that NDCG adds up."""
    return sum(chance * (2**weight - 1) for chance, weight in zip(probabilities(likelihoods), form.gains, strict=True))


def best_first(form: WordForm, likelihoods: Sequence[Sequence[float]]) -> list[int]:
    """Numbers of a list's items from 1, in the order of their expected gains; of equals the first first."""
    gains = [expected_gain(form, each) for each in likelihoods]
    return sorted(range(1, len(gains) + 1), key=lambda number: -gains[number - 1])


def scored_completion(task: Task, fields: Fields, likelihoods: Sequence[Sequence[float]]) -> str:
    """The answer to a row as it would be written, by the likelihoods of `word_candidates` behind each of `word_prompts`.

    Of a choice the likeliest label, or the number of its statement; of a list all numbers, the best first.
    """
    if task.words and task.words.items:
        return render_completion(task, best_first(task.words, likelihoods))
    labels = word_candidates(task, fields)
    best = max(zip(labels, likelihoods[0], strict=True), key=lambda pair: pair[1])[0]
    return label_of_word(task, fields, best)


def completion_by_text(task: Task, likelihoods: Sequence[float]) -> str:
    """All numbers of a list, best first, by the log-likelihoods that answer `text_questions`; of equals the first first.

    Raises ValueError for tasks without a `by_text`.
    """
    if task.by_text is None:
        raise ValueError(f"{task.name} is no list that can be scored by text")
    return render_completion(task, likeliest_first(text_scores(task.by_text, likelihoods)))


def text_scores(form: TextForm, likelihoods: Sequence[float]) -> list[float]:
    """The score of each item of a list, a log-likelihood or a weighted sum of two, by those that answer `item_questions`."""
    if not form.direct:
        return list(likelihoods)
    return [behind + form.direct * own for behind, own in zip(likelihoods[::2], likelihoods[1::2], strict=True)]


def likeliest_first(likelihoods: Sequence[float]) -> list[int]:
    """Numbers of a list's items from 1, in the order of one log-likelihood each; of equals the first first."""
    return sorted(range(1, len(likelihoods) + 1), key=lambda number: -likelihoods[number - 1])


def labelled_items(task: Task, fields: Fields, answer: Any) -> list[tuple[str, str]]:
    """The items of a row's list and the word for each, by the row's decoded `answer`."""
    form = task.words
    if form is None or not form.items:
        raise ValueError(f"{task.name} has no list whose items are asked for")
    items = fields[form.items]
    gains = answer if task.family == "ranking" else [float(number in answer) for number in range(1, len(items) + 1)]
    return [(item, form.labels[form.gains.index(gain)]) for item, gain in zip(items, gains, strict=True)]


def numbered_form(task: Task, fields: Fields, word: str) -> tuple[dict[str, Any], Any]:
    """The fields and the decoded answer of a row in words as a row of the task's own form has them.

    A choice lists all statements in the order of their labels, and a list has one item.
    """
    form = task.words
    if form is None:
        return dict(fields), word
    if not form.items:
        return {**fields, "options": form.statements}, task.labels[form.labels.index(word)]
    gain = form.gains[form.labels.index(word)]
    rest = {name: value for name, value in fields.items() if name != form.item}
    return {**rest, form.items: (fields[form.item],)}, [gain] if task.family == "ranking" else [1] if gain else []


def label_of_word(task: Task, fields: Fields, word: str) -> str:
    """The label, such as the number of a statement, that stands for a word in a row."""
    if not task.words or not task.words.statements:
        return word
    return task.labels[list(fields["options"]).index(task.words.statements[task.words.labels.index(word)])]


def word_of_label(task: Task, fields: Fields, label: str) -> str:
    """The word for a row's label: the inverse of `label_of_word`."""
    if not task.words or not task.words.statements:
        return label
    return task.words.labels[task.words.statements.index(fields["options"][task.labels.index(label)])]
