"""Queries of sessions that a language model writes: how it is asked, and what of its answers can be used."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataset_builders.labelling.requests import Ask, Reply
from dataset_builders.privacy import mask
from dataset_builders.recipes.query_lists import COMPLEMENTS, NARROWING
from dataset_builders.recipes.sessions import SEARCH
from dataset_builders.text import clean

LONGEST = 80
"""Characters of a query; what customers type into a shop's search box has a third of it."""
MOST_WORDS = 30
"""Of each field that is told of a product, as in the rows."""
MAX_TOKENS = 300

SYSTEM = "You know how customers of an online shop search. Answer with JSON only."

QUERY, SUBSTITUTE = ("query",), ("substitute",)
NARROWER = tuple(f"narrowing_{number}" for number in range(1, NARROWING + 1))
COMPLEMENT = tuple(f"complement_{number}" for number in range(1, COMPLEMENTS + 1))
LIST = (*NARROWER, *SUBSTITUTE, *COMPLEMENT)
"""Fields of an answer beside the query. Each is a text: not all servers of structured answers number the items of a list."""

WORDING = {
    QUERY: "what a customer would type into the search box to find exactly this",
    NARROWER: "the same, made narrower by a colour, a size, a material or a use",
    SUBSTITUTE: "a query for another kind of thing that could take its place",
    COMPLEMENT: "queries for things that are bought to go with it",
}

EMPTY, LONG, LINES = "a query is empty", f"a query has more than {LONGEST} characters", "a query has several lines"
TWICE, NO_QUERIES = "a query is there twice, or says what the customer searched for", "the answer does not hold the queries"


@dataclass(frozen=True)
class Subject:
    """What queries are written for: a product or a typed search, `about` as recipes/sessions.py tells it. All of a list's are
    wanted of a `label`, of others the query alone."""

    key: str
    about: str
    label: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """What is asked for; of a search that was typed there is the query already."""
        return (*(() if self.about.startswith(SEARCH) else QUERY), *(LIST if self.label else ()))

    def told(self) -> str:
        """`about` as it may leave this machine: without markup, and without anyone's address or number."""
        return "\n".join(mask(clean(line, MOST_WORDS))[0] for line in self.about.split("\n"))


@dataclass(frozen=True)
class Written:
    """What became of a subject: its queries by field, or the reason why they cannot be used."""

    subject: Subject
    queries: Mapping[str, str]
    reason: str = ""
    again: bool = False
    """Whether the model was asked a second time."""


def schema(fields: Sequence[str]) -> str:
    """JSON schema of an answer, of what strict servers know of schemas: how long texts are is checked afterwards.

    Its order is that in which most servers have the answer written: the query first, and then what builds on it.
    """
    properties = {name: {"type": "string"} for name in fields}
    form = {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}
    return json.dumps(form)


def ask(subject: Subject, max_tokens: int | None = None, extra: str = "") -> Ask:
    lines = [
        subject.told(),
        "",
        "Write short search queries for it, in the language above, each in one line and no two alike:",
        *(f"- {', '.join(names)}: {wording}" for names, wording in WORDING.items() if names[0] in subject.fields),
        f"Answer as {json.dumps(dict.fromkeys(subject.fields, '...'))}",
    ]
    said = (("system", SYSTEM), ("user", "\n".join(lines)))
    return Ask(said, max_tokens or MAX_TOKENS, schema=schema(subject.fields), extra=extra)


def ask_again(first: Ask, answer: str, reason: str) -> Ask:
    """The second and last request, for an answer that cannot be used."""
    turns = (("assistant", answer), ("user", f"That cannot be used: {reason}. Answer again, with JSON only."))
    return replace(first, messages=(*first.messages, *turns))


def read(subject: Subject, reply: Reply) -> Written:
    """What a reply says, in lower case as all queries of the dataset. Never raises."""
    if reply.reason:
        return Written(subject, {}, reply.kind)
    try:
        answer = json.loads(reply.text)
        texts = {name: answer[name] for name in subject.fields}
    except (ValueError, KeyError, TypeError, RecursionError):
        return Written(subject, {}, NO_QUERIES)
    if not all(isinstance(text, str) for text in texts.values()):
        return Written(subject, {}, NO_QUERIES)
    queries = {name: _plain(text) for name, text in texts.items()}
    typed = [_plain(subject.about.removeprefix(SEARCH))] if subject.about.startswith(SEARCH) else []
    faults = {
        EMPTY: not all(any(char.isalnum() for char in query) for query in queries.values()),
        LONG: any(len(query) > LONGEST for query in queries.values()),
        LINES: any(len(text.strip().splitlines()) > 1 for text in texts.values()),
        TWICE: len({*queries.values(), *typed}) < len(queries) + len(typed),
    }
    reason = next((reason for reason, is_so in faults.items() if is_so), "")
    return Written(subject, {} if reason else queries, reason)


def _plain(text: str) -> str:
    return clean(text, LONGEST).lower()


def rows(written: Sequence[Written], model: str) -> Iterator[dict[str, Any]]:
    """Rows of the table: see tables.SESSION_QUERIES."""
    for one in written:
        told = one.subject.told()
        for name, text in one.queries.items():
            kind, _, number = name.partition("_")
            place = int(number or 1) - 1
            yield {"key": one.subject.key, "about": told, "kind": kind, "place": place, "text": text, "model": model}
