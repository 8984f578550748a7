"""Requests to a language model, its replies, and the check of structured outputs against their JSON schema."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from common.chat import Completion

NO_ANSWER = "no answer"
"""Start of the reason of a reply that is only a note: the server failed at every try. The next run requests it again."""

NO_JSON = "no JSON of the schema"
CUT_OFF = "cut off"

MAX_FAULT_CHARS = 200
"""A validator's message may hold the whole answer."""


@dataclass(frozen=True)
class LabelRequest:
    """One request of chat completions (https://platform.openai.com/docs/api-reference/chat/create).

    `messages` are (role, content); `max_tokens` limits the answer. `sample` numbers the answers to one prompt. `schema` is the
    JSON schema of a structured answer, as canonical JSON text, or "" for plain text. `extra` is a JSON object, as text, that
    overrides fields of the request's body; null removes a field: {"temperature": null, "reasoning_effort": "low"}.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    sample: int = 0
    schema: str = ""
    extra: str = ""

    def key(self, model: str) -> str:
        """Cache key of the reply, in hex: it changes with everything that an answer depends on."""
        parts = [model, self.messages, self.max_tokens, float(self.temperature), self.sample, self.schema, self.extra]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def body(self, model: str) -> dict[str, Any]:
        """The request's body. A seed is sent only where it has a meaning, since not every server takes one."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in self.messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.temperature or self.sample:
            body["seed"] = self.sample
        if self.schema:
            # https://platform.openai.com/docs/guides/structured-outputs
            form = {"name": "answer", "schema": json.loads(self.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        extra = json.loads(self.extra) if self.extra else {}
        return {name: value for name, value in (body | extra).items() if value is not None}


def second_body(body: Mapping[str, Any], text: str, fault: str) -> dict[str, Any]:
    """The body of the second request, for a structured answer with a fault."""
    complaint = f"That answer is not of the form that was asked for: {fault}\nAnswer again, with JSON of the schema alone."
    turns = [{"role": "assistant", "content": text}, {"role": "user", "content": complaint}]
    return {**body, "messages": [*body["messages"], *turns]}


@dataclass(frozen=True)
class LabelReply:
    """An answer, or the reason why there is none.

    `text` is "" without an answer; a structured answer is JSON of its schema. `reason` is "" with an answer, else
    "content filter", "too long", "cut off", "no JSON of the schema: …", "refused: …" or "no answer …" (see NO_ANSWER).
    """

    text: str
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def kind(self) -> str:
        """The reason up to its colon, which is one of few."""
        return self.reason.partition(":")[0]

    @property
    def unanswered(self) -> bool:
        """Whether it is only a note that the server failed."""
        return self.reason.startswith(NO_ANSWER)

    @property
    def fault(self) -> str:
        """What is wrong with the JSON of a structured answer, which a second request may mend; else ""."""
        return self.reason.removeprefix(f"{NO_JSON}: ") if self.kind == NO_JSON else ""


def to_reply(completion: Completion, schema: str) -> LabelReply:
    """The reply that a completion is: rejected without an answer, or where a structured one is cut or not of its schema."""
    reason = completion.reason
    if not reason and schema:
        fault = "" if completion.cut else schema_fault(schema, completion.text)
        reason = CUT_OFF if completion.cut else fault and f"{NO_JSON}: {fault}"
    return LabelReply("" if reason else completion.text, reason, completion.prompt_tokens, completion.completion_tokens)


def schema_fault(schema: str, text: str) -> str:
    """Why an answer is not JSON of the schema (https://json-schema.org/draft/2020-12), or "". Never raises."""
    from jsonschema.exceptions import best_match

    try:
        value = json.loads(text, parse_constant=_no_constant)
        error = best_match(_validator(schema).iter_errors(value))
    except (ValueError, RecursionError) as wrong:
        return f"it is no JSON: {wrong}"[:MAX_FAULT_CHARS]
    return " ".join(f"at {error.json_path}: {error.message}".split())[:MAX_FAULT_CHARS] if error else ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


@lru_cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


@dataclass
class ReplyCounts:
    """Progress of a run over its requests.

    `kept` had a reply before this run, or are equal to an earlier request of it. `rejected` counts by kind. `retries` are tries
    that failed and were repeated. Tokens are those of this run, as the server counts them.
    """

    kept: int = 0
    answered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def done(self) -> int:
        return self.kept + self.answered + self.rejected.total()

    def add(self, reply: LabelReply) -> None:
        if reply.reason:
            self.rejected[reply.kind] += 1
        else:
            self.answered += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
