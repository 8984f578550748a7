"""Queries of sessions that a language model writes: how it is asked, and what of its answers can be used."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataset_builders.annotating.asks import Ask, Reply
from dataset_builders.privacy import mask
from dataset_builders.recipes.query_lists import COMPLEMENTS, NARROWING, SUBSTITUTES
from dataset_builders.text import clean

LONGEST = 80
"""Characters of a query; what customers type into a shop's search box has a third of it."""
MOST_WORDS = 30
"""Of each field that is told of a product, as in the rows."""
MAX_TOKENS = 300

SYSTEM = "You know how customers of an online shop search. Answer with JSON only."

SEARCH = "Search: "
"""How `about` begins where it is a search that a customer typed, and no product."""

WORDING = {
    "query": "query: what a customer would type into the search box to find this product",
    "narrowing": f"narrowing: {NARROWING} queries that ask for the same, but for a narrower kind of it",
    "substitute": f"substitute: {SUBSTITUTES} query for something else that could take its place",
    "complement": f"complement: {COMPLEMENTS} queries for things that are bought to go with it",
}
MANY = {"narrowing": NARROWING, "substitute": SUBSTITUTES, "complement": COMPLEMENTS}
"""Fields that are lists -> number of their queries."""

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
        return (*(() if self.about.startswith(SEARCH) else ("query",)), *(MANY if self.label else ()))

    def told(self) -> str:
        """`about` as it may leave this machine: without markup, and without anyone's address or number."""
        return "\n".join(mask(clean(line, MOST_WORDS))[0] for line in self.about.split("\n"))


@dataclass(frozen=True)
class Written:
    """What became of a subject: its queries by field, or the reason why they cannot be used."""

    subject: Subject
    queries: Mapping[str, Sequence[str]]
    reason: str = ""
    again: bool = False
    """Whether the model was asked a second time."""


def schema(fields: Sequence[str]) -> str:
    """JSON schema of an answer, of what all servers of structured answers know: lengths of texts are checked afterwards."""
    text = {"type": "string"}
    properties = {
        name: {"type": "array", "items": text, "minItems": MANY[name], "maxItems": MANY[name]} if name in MANY else text
        for name in fields
    }
    form = {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}
    return json.dumps(form, sort_keys=True)


def ask(subject: Subject, max_tokens: int | None = None, extra: str = "") -> Ask:
    lines = [
        subject.told(),
        "",
        "Write short search queries for it, in the language above, each in one line and no two alike:",
        *(f"- {WORDING[name]}" for name in subject.fields),
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
        return Written(subject, {}, reply.reason.partition(":")[0])
    try:
        answer = json.loads(reply.text)
        found = {name: answer[name] if name in MANY else [answer[name]] for name in subject.fields}
    except (ValueError, KeyError, TypeError, RecursionError):
        return Written(subject, {}, NO_QUERIES)
    if reason := _fault(subject, found):
        return Written(subject, {}, reason)
    return Written(subject, {name: [_plain(text) for text in texts] for name, texts in found.items()})


def _fault(subject: Subject, found: Mapping[str, Any]) -> str:
    if not all(isinstance(texts, list) and len(texts) == MANY.get(name, 1) for name, texts in found.items()):
        return NO_QUERIES
    texts = [text for name in found for text in found[name]]
    if not all(isinstance(text, str) for text in texts):
        return NO_QUERIES
    plain = [_plain(text) for text in texts]
    typed = [_plain(subject.about.removeprefix(SEARCH))] if subject.about.startswith(SEARCH) else []
    faults = {
        EMPTY: not all(any(char.isalnum() for char in text) for text in plain),
        LONG: any(len(text) > LONGEST for text in plain),
        LINES: any(len(text.strip().splitlines()) > 1 for text in texts),
        TWICE: len({*plain, *typed}) < len(plain) + len(typed),
    }
    return next((reason for reason, is_so in faults.items() if is_so), "")


def _plain(text: str) -> str:
    return clean(text, LONGEST).lower()


def rows(written: Sequence[Written], model: str) -> Iterator[dict[str, Any]]:
    """Rows of the table: see tables.SESSION_QUERIES."""
    for one in written:
        for kind, texts in one.queries.items():
            for place, text in enumerate(texts):
                subject = one.subject
                yield {"key": subject.key, "about": subject.told(), "kind": kind, "place": place, "text": text, "model": model}
