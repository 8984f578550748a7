"""What is asked of a language model, what came back, and how much of it. Only the standard library is imported."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = "no answer"
"""How the reason of a reply begins that is none: the server was in trouble whenever it was asked. It is asked again."""


@dataclass(frozen=True)
class Ask:
    """One request of chat completions (https://platform.openai.com/docs/api-reference/chat/create).

    `messages` are (role, content); `max_tokens` limits the answer. `sample` numbers the answers where one prompt is asked
    several times. `schema` is the JSON schema of a structured answer, as canonical JSON text; "" where plain text is asked.
    `extra` is a JSON object, as text, that is laid over the request's body for what this server or model takes besides; a
    null in it takes a field away: {"temperature": null, "reasoning_effort": "low"}.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    sample: int = 0
    schema: str = ""
    extra: str = ""

    def key(self, model: str) -> str:
        """What its reply is kept under, in hex: changes with everything that an answer depends on."""
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


@dataclass(frozen=True)
class Reply:
    """An answer, or why there is none.

    `text` is "" where there is none; of a structured answer it is JSON of the schema. `reason` is "" where there is one, else
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
        """Whether it is only a note that the server was in trouble."""
        return self.reason.startswith(NO_ANSWER)


@dataclass
class Counts:
    """What became of the asks so far.

    `kept` had a reply before this run, or are equal to another ask of it. `rejected` counts by kind.
    `retries` are tries that failed and were made again. Tokens are those of this run, as the server counts them.
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

    def add(self, reply: Reply) -> None:
        if reply.reason:
            self.rejected[reply.kind] += 1
        else:
            self.answered += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
