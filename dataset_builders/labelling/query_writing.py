"""Search queries that a language model writes: the request for a product or search, and the check of its answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataset_builders.labelling.requests import LabelReply, LabelRequest
from dataset_builders.privacy import mask
from dataset_builders.recipes.query_lists import COMPLEMENTS, NARROWING
from dataset_builders.recipes.sessions import SEARCH
from dataset_builders.text import clean

MAX_QUERY_CHARS = 80
"""Three times what customers type into a shop's search box."""
MAX_WORDS = 30
"""Of each field of a product, as in the rows."""
MAX_TOKENS = 300

SYSTEM = "You know how customers of an online shop search. Answer with JSON only."

QUERY, SUBSTITUTE = ("query",), ("substitute",)
NARROWER = tuple(f"narrowing_{number}" for number in range(1, NARROWING + 1))
COMPLEMENT = tuple(f"complement_{number}" for number in range(1, COMPLEMENTS + 1))
LIST = (*NARROWER, *SUBSTITUTE, *COMPLEMENT)
"""Fields of an answer beside the query. Each is a string: not all servers can limit the length of a list."""

WORDING = {
    QUERY: "what a customer would type into the search box to find exactly this",
    NARROWER: "the same, made narrower by a colour, a size, a material or a use",
    SUBSTITUTE: "a query for another kind of thing that could take its place",
    COMPLEMENT: "queries for things that are bought to go with it",
}

EMPTY, LONG, LINES = "a query is empty", f"a query has more than {MAX_QUERY_CHARS} characters", "a query has several lines"
TWICE, NO_QUERIES = "a query is there twice, or says what the customer searched for", "the answer does not hold the queries"


@dataclass(frozen=True)
class QuerySubject:
    """A product or typed search to write queries for; `about` is its text by recipes/sessions.py.

    A `label` needs the query and the whole LIST, any other product the query alone.
    """

    key: str
    about: str
    label: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to write; a typed search is a query already."""
        return (*(() if self.about.startswith(SEARCH) else QUERY), *(LIST if self.label else ()))

    def masked(self) -> str:
        """`about` as it may leave this machine: without markup and personal data."""
        return "\n".join(mask(clean(line, MAX_WORDS))[0] for line in self.about.split("\n"))


@dataclass(frozen=True)
class WrittenQueries:
    """A subject's queries by field, or the reason why they cannot be used."""

    subject: QuerySubject
    queries: Mapping[str, str]
    reason: str = ""
    second: bool = False
    """Whether this is the reply to a second request."""


def query_schema(fields: Sequence[str]) -> str:
    """JSON schema of an answer, within what strict servers support; lengths are checked afterwards.

    Most servers write the fields in this order: the query first, then what builds on it.
    """
    properties = {name: {"type": "string"} for name in fields}
    form = {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}
    return json.dumps(form)


def query_request(subject: QuerySubject, max_tokens: int | None = None, extra: str = "") -> LabelRequest:
    lines = [
        subject.masked(),
        "",
        "Write short search queries for it, in the language above, each in one line and no two alike:",
        *(f"- {', '.join(names)}: {wording}" for names, wording in WORDING.items() if names[0] in subject.fields),
        f"Answer as {json.dumps(dict.fromkeys(subject.fields, '...'))}",
    ]
    messages = (("system", SYSTEM), ("user", "\n".join(lines)))
    return LabelRequest(messages, max_tokens or MAX_TOKENS, schema=query_schema(subject.fields), extra=extra)


def second_request(first: LabelRequest, answer: str, reason: str) -> LabelRequest:
    """The second and last request, after an answer that cannot be used."""
    turns = (("assistant", answer), ("user", f"That cannot be used: {reason}. Answer again, with JSON only."))
    return replace(first, messages=(*first.messages, *turns))


def read_queries(subject: QuerySubject, reply: LabelReply) -> WrittenQueries:
    """The queries in a reply, in lower case as all queries of the dataset. Never raises."""
    if reply.reason:
        return WrittenQueries(subject, {}, reply.kind)
    try:
        answer = json.loads(reply.text)
        texts = {name: answer[name] for name in subject.fields}
    except (ValueError, KeyError, TypeError, RecursionError):
        return WrittenQueries(subject, {}, NO_QUERIES)
    if not all(isinstance(text, str) for text in texts.values()):
        return WrittenQueries(subject, {}, NO_QUERIES)
    queries = {name: _plain(text) for name, text in texts.items()}
    typed = [_plain(subject.about.removeprefix(SEARCH))] if subject.about.startswith(SEARCH) else []
    faults = {
        EMPTY: not all(any(char.isalnum() for char in query) for query in queries.values()),
        LONG: any(len(query) > MAX_QUERY_CHARS for query in queries.values()),
        LINES: any(len(text.strip().splitlines()) > 1 for text in texts.values()),
        TWICE: len({*queries.values(), *typed}) < len(queries) + len(typed),
    }
    reason = next((reason for reason, is_so in faults.items() if is_so), "")
    return WrittenQueries(subject, {} if reason else queries, reason)


def _plain(text: str) -> str:
    return clean(text, MAX_QUERY_CHARS).lower()


def query_rows(written: Sequence[WrittenQueries], model: str) -> Iterator[dict[str, Any]]:
    """Rows of the table: see tables.SESSION_QUERIES."""
    for one in written:
        about = one.subject.masked()
        for name, text in one.queries.items():
            kind, _, number = name.partition("_")
            place = int(number or 1) - 1
            yield {"key": one.subject.key, "about": about, "kind": kind, "place": place, "text": text, "model": model}
