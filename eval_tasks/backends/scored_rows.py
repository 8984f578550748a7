"""Answers to lighteval's documents by likelihood: which prompts are asked, of which candidates, and what answer that makes.

Rows of the dataset are asked in words, whatever wording they have: a choice by its words, a ranking or a retrieval item by
item (see common/words.py), or by the likelihood of a text of the row behind each item. A choice that lists statements of its
own, as ShopBench's do, is asked as it is for the likelihoods of its numbers. Models prefer some numbers whatever they stand
for: that prior is estimated from some rows whose statements are moved from number to number, and taken off (PriDe,
https://arxiv.org/abs/2309.03882). By text every list of ShopBench's form is answered by how much likelier
each item is behind the prompt without its list than behind PREMISE alone (PMI_DC, https://arxiv.org/abs/2104.08315). Texts are
not scored.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from statistics import fmean

from lighteval.tasks.prompt_manager import PromptManager
from lighteval.tasks.requests import Doc

from common.answers import numbered_items, rotated_items, without_items
from common.errors import UserError
from common.prompts import read_fields
from common.tasks import TASKS, Task
from common.words import (
    Fields,
    completion_by_text,
    is_scored,
    likeliest_first,
    probabilities,
    scored_completion,
    text_questions,
    word_candidates,
    word_prompts,
)
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
from eval_tasks.suites.shopbench_rows import PICKS, ShopBenchRow, row_of
from eval_tasks.suites.suite import SUITES, UNSEEN, shop_task, suite_name

PRIOR_ROWS = 24
"""Rows of a task and number of statements that the prior of its numbers is estimated from."""

PREMISE = "Answer: "
"""What is asked for how likely an item of a list is at all."""

Prior = tuple[str, int]
"""A task's name and how many statements its rows list."""


@dataclass(frozen=True)
class ScoredRow:
    """One document's prompts, and its answer by their likelihoods and by what the prior's numbers are likely at all.

    `prior` is what a numbered choice belongs to, None of rows in words; of those rows that the prior is estimated from, the
    prompts behind the first have the statements moved on by one place each.
    """

    prompts: tuple[ScoredPrompt, ...]
    answer: Callable[[Sequence[Likelihoods], Mapping[Prior, Sequence[float]]], str]
    prior: Prior | None = None


def scored_rows(docs: Sequence[Doc], lists: str = "words") -> dict[int, ScoredRow]:
    """Place -> row of the documents whose answers can be scored; `lists`: one of prompts.LISTS. Raises UserError."""
    rows: dict[int, ScoredRow] = {}
    numbered: dict[Prior, list[int]] = defaultdict(list)
    by_text = lists == "text"
    for place, doc in enumerate(docs):
        task = shop_task(doc.task_name)
        if doc.fewshot_samples and (task is None or is_scored(task)):
            raise UserError(f"{doc.task_name}: scored answers take no examples in the prompt; give |0")
        row = _row_in_words(task, doc, by_text) if task else _listed_row(doc) if by_text else None
        if row:
            rows[place] = row
        elif (task is None or is_scored(task)) and _is_numbered_choice(doc):
            numbered[doc.task_name, len(numbered_items(doc.query))].append(place)
    for prior, places in numbered.items():
        drawn = set(sorted(places, key=lambda place: hashlib.md5(docs[place].query.encode()).hexdigest())[:PRIOR_ROWS])
        rows |= {place: _numbered_row(docs[place], prior, place in drawn) for place in places}
    return rows


def _row_in_words(task: Task, doc: Doc, by_text: bool) -> ScoredRow | None:
    """None of texts, and of a choice that lists other statements than the task's."""
    if not is_scored(task):
        return None
    if task.words is None:  # the prompt asks in words already
        prompts, fields, candidates = [doc.query], dict[str, object](), task.labels
    else:
        fields = dict(read_fields(task, doc.query))
        if not fields:
            raise UserError(f"A row of {task.name} fits none of its templates: {doc.query[:60]!r}. Build the dataset again.")
        if by_text and task.by_text:
            return _row_by_text(task, doc, fields)
        prompts = word_prompts(task, fields, unseen=suite_name(doc.task_name) == UNSEEN)
        candidates = word_candidates(task, fields)
    if not candidates:
        return None
    asked = tuple(ScoredPrompt(prompt_of(replace(doc, query=prompt)), candidates) for prompt in prompts)
    return ScoredRow(asked, _answer_in_words(task, fields))


def _row_by_text(task: Task, doc: Doc, fields: Fields) -> ScoredRow:
    questions = text_questions(task, fields)
    asked = tuple(ScoredPrompt(prompt_of(replace(doc, query=prompt)), (text,)) for prompt, text in questions)
    return ScoredRow(asked, lambda likelihoods, priors: completion_by_text(task, [own for (own,) in likelihoods]))


def _answer_in_words(task: Task, fields: Fields) -> Callable[..., str]:
    return lambda likelihoods, priors: scored_completion(task, fields, likelihoods)


def _shopbench_row(doc: Doc) -> ShopBenchRow | None:
    suite = SUITES.get(suite_name(doc.task_name))
    return row_of(str((doc.specific or {}).get("row", ""))) if suite and suite.shopbench_rows else None


def _listed_row(doc: Doc) -> ScoredRow | None:
    """A row of ShopBench's form by the texts of its list. None where it has no list, or its answer is none of the items."""
    row, items = _shopbench_row(doc), numbered_items(doc.query)
    count = {"multiple-choice": 1, "retrieval": PICKS, "ranking": len(items)}.get(row.task_type) if row else None
    texts = tuple(text.strip() for text in items.values())
    if not count or not texts or not all(texts):
        return None
    queries = (without_items(doc.query), PREMISE)
    asked = tuple(ScoredPrompt(prompt_of(replace(doc, query=query)), texts) for query in queries)

    def answer(likelihoods: Sequence[Likelihoods], priors: Mapping[Prior, Sequence[float]]) -> str:
        gained = [after - before for after, before in zip(*likelihoods, strict=True)]
        return ",".join(str(list(items)[place - 1]) for place in likeliest_first(gained)[:count])

    return ScoredRow(asked, answer)


def _is_numbered_choice(doc: Doc) -> bool:
    """Whether one number of a list in the prompt is asked for."""
    row, task = _shopbench_row(doc), _task_name(doc)
    chosen = row.task_type == "multiple-choice" if row else task in TASKS and TASKS[task].family == "multiple_choice"
    return chosen and bool(numbered_items(doc.query))


def _numbered_row(doc: Doc, prior: Prior, drawn: bool) -> ScoredRow:
    items = numbered_items(doc.query)
    numbers = tuple(map(str, items))
    queries = [rotated_items(doc.query, by) for by in range(len(items) if drawn else 1)]
    prompts = tuple(ScoredPrompt(prompt_of(replace(doc, query=query)), numbers) for query in queries)

    def answer(likelihoods: Sequence[Likelihoods], priors: Mapping[Prior, Sequence[float]]) -> str:
        left = [own - usual for own, usual in zip(likelihoods[0], priors[prior], strict=True)]
        return max(zip(numbers, left, strict=True), key=lambda pair: pair[1])[0]

    return ScoredRow(prompts, answer, prior)


def label_priors(rows: Mapping[int, ScoredRow], likelihoods: Mapping[int, Sequence[Likelihoods]]) -> dict[Prior, list[float]]:
    """The mean log-probability of each number over the rows that hold every statement at every number once."""
    found: dict[Prior, list[list[float]]] = defaultdict(list)
    for place, row in rows.items():
        if row.prior and len(row.prompts) == row.prior[1]:
            found[row.prior] += [_logs(each) for each in likelihoods[place]]
    return {prior: [fmean(column) for column in zip(*logs, strict=True)] for prior, logs in found.items()}


def _logs(likelihoods: Likelihoods) -> list[float]:
    """Normalised over the numbers, so that rows count alike."""
    return [log(max(chance, 1e-300)) for chance in probabilities(likelihoods)]


def prompt_of(doc: Doc) -> Prompt:
    """lighteval's document with the messages and the plain text that lighteval's own models are given. Raises UserError."""
    if doc.num_samples != 1:
        raise UserError(
            f"{doc.task_name} asks for {doc.num_samples} answers to each row; these models give one, decoded greedily"
        )
    manager = PromptManager()
    return Prompt(
        messages=tuple((message["role"], message["content"]) for message in manager.prepare_prompt_api(doc)),
        plain=manager.prepare_prompt(doc),
        max_new_tokens=doc.generation_size or 100,
        task=doc.task_name.partition("|")[0],
        pattern=str((doc.specific or {}).get("pattern") or ""),
        stop=tuple(doc.stop_sequences or ()),
    )


def _task_name(doc: Doc) -> str:
    return doc.task_name.partition("|")[0].partition(":")[2]
