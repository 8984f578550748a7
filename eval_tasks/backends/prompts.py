"""A backend's prompts, its loaded model, and its options in lighteval's `key=value,...` form."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError

COMMON_OPTIONS = {
    "model_name": "",  # folder or Hub id of the base model, or the name that an endpoint knows it by
    "revision": "",  # branch, tag or commit of a model on the Hub
    "adapter": "",  # folder or Hub id of a LoRA adapter, `org/name@revision` for a revision of it
    "answers": "written",  # or scored: by likelihood, what cannot be scored is written
    "lists": "words",  # how lists are scored: by the expected gain of words, or by the likelihood of a text (see TextForm)
    "constrained": "false",  # whether decoding is limited to answers that can be read
    "cache_dir": "",  # folder that keeps the answers (default: in the Hugging Face cache)
    "template.": "",  # template.KEY=VALUE: arguments of the chat template, such as template.enable_thinking=true
}
"""Option of every backend -> its default."""

ANSWERS = ("written", "scored")
"""How a model answers: by the tokens that it writes, or by the likelihoods that it gives to what may be answered."""

LISTS = ("words", "text")
"""How the items of a list are scored."""

LISTS_HELP = (
    "how lists are scored: by the expected gain of each item in words, or by the likelihood of a text behind it, the query "
    "behind a product, what was bought behind a candidate; ShopBench's lists by how much likelier the prompt makes each item"
)

NO_TEXT_AT_ENDPOINT = "--lists text takes likelihoods of whole texts, which an endpoint does not tell; leave it out"


@dataclass(frozen=True)
class Prompt:
    """One prompt of a model.

    `messages` are (role, content) of a chat that ends with the user's turn; `plain` is the same for a model without a chat
    template, which also ends its answer at one of `stop`. `pattern` is a regular expression that every readable answer matches
    in full ("": any text is readable). `task` is the name of the lighteval task, without the number of few-shot examples.
    """

    messages: tuple[tuple[str, str], ...]
    plain: str
    max_new_tokens: int
    task: str = ""
    pattern: str = ""
    stop: tuple[str, ...] = ()

    def chat(self) -> list[dict[str, str]]:
        """The messages as chat templates and endpoints take them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class ScoredPrompt:
    """A prompt whose answer is scored and not written: `candidates` are the answers of which the log-likelihoods are asked.

    Candidates are at least one, none of them empty.
    """

    prompt: Prompt
    candidates: tuple[str, ...]

    @property
    def ended(self) -> bool:
        """Whether the end of the turn is scored with each candidate: where one begins with another, such as 10 with 1.

        Elsewhere a candidate's likelihood is that of an answer that begins with it, which is how a label is parsed.
        """
        return any(one != other and other.startswith(one) for one in self.candidates for other in self.candidates)


Likelihoods = tuple[float, ...]
"""Of each candidate of a ScoredPrompt the natural logarithm of its likelihood, summed over its tokens."""


class RefusedAnswer(str):
    """The empty answer to a prompt that a server refuses. `reason` says why."""

    reason: str

    def __new__(cls, reason: str) -> "RefusedAnswer":
        refused = super().__new__(cls, "")
        refused.reason = reason
        return refused


class RefusedLikelihoods(tuple[float, ...]):
    """No likelihoods, of a prompt that a server refuses. `reason` says why."""

    reason: str

    def __new__(cls, reason: str) -> "RefusedLikelihoods":
        refused = super().__new__(cls)
        refused.reason = reason
        return refused


def _cannot_score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
    raise UserError("this backend gives no likelihoods, so it cannot score answers; let it write them (--answers written)")


@dataclass(frozen=True)
class LoadedModel:
    """A base model that is ready to answer.

    `answer(prompts, adapter, constrained)` yields (place in `prompts`, text or RefusedAnswer) as answers come, in any order,
    each once; `adapter` is a folder, or None for the base alone. `identity` is all that its answers depend on besides prompts
    and adapter: backend, weights, data type, arguments of the chat template, versions of libraries. `cut(prompts, adapter)` are
    the tokens that each prompt loses since prompt and answer have to fit into the model, where that is known.

    `score(prompts, adapter)` yields (place in `prompts`, Likelihoods) as `answer` yields texts.
    """

    identity: tuple[str, ...]
    answer: Callable[[Sequence[Prompt], Path | None, bool], Iterator[tuple[int, str]]]
    cut: Callable[[Sequence[Prompt], Path | None], Sequence[int]] = lambda prompts, adapter: [0] * len(prompts)
    score: Callable[[Sequence[ScoredPrompt], Path | None], Iterator[tuple[int, Likelihoods]]] = _cannot_score


def parse_options(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Options of "model_name=X,key=value", those of `known` and COMMON_OPTIONS with their defaults. Raises UserError.

    A text without "=" is the model's name. A value may hold "=", and commas only within the brackets of JSON. A known name that
    ends in a dot is the prefix of any name behind it.
    """
    known = {**COMMON_OPTIONS, **known}
    defaults = {name: value for name, value in known.items() if not name.endswith(".")}
    prefixes = tuple(name for name in known if name.endswith("."))
    pairs = [("model_name", text.strip())] if "=" not in text else [_pair(part) for part in _parts(text) if part.strip()]
    for name, value in pairs:
        if name not in defaults and not (name.startswith(prefixes) and name not in prefixes):
            raise UserError(f"unknown model option {name!r}; use one of {', '.join(defaults)}, {'NAME, '.join(prefixes)}NAME")
        if not value and name != "model_name":
            raise UserError(f"the model option {name} has no value; write {name}=… or leave it out")
    options = {**defaults, **dict(pairs)}
    if not options["model_name"]:
        raise UserError("no model is named; give model_name=FOLDER_OR_HUB_ID")
    return options


def _parts(text: str) -> list[str]:
    """The text in parts at its commas, but for those within a JSON object or list that is a value."""
    parts, start = [], 0
    while start < len(text):
        equals, comma = text.find("=", start), text.find(",", start)
        stop = len(text) if comma < 0 else comma
        if equals >= 0 and text[equals + 1 : equals + 2] in ("{", "[") and equals < stop:
            with suppress(ValueError):  # then it is as any other text
                stop = json.JSONDecoder().raw_decode(text, equals + 1)[1]
        parts.append(text[start:stop])
        start = stop + 1
    return parts


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip()


def bool_option(options: Mapping[str, str], name: str) -> bool:
    """An option that is true or false. Raises UserError."""
    value = options[name].lower()
    if value not in ("true", "false"):
        raise UserError(f"the model option {name} must be true or false, not {options[name]!r}")
    return value == "true"


def choice_option(options: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """An option that is one of some words. Raises UserError."""
    if options[name] not in choices:
        raise UserError(f"the model option {name} must be {' or '.join(choices)}, not {options[name]!r}")
    return options[name]


def int_option(options: Mapping[str, str], name: str, least: int = 1) -> int:
    """An option that is a whole number. Raises UserError."""
    value = options[name]
    if not value.isdecimal() or int(value) < least:
        raise UserError(f"the model option {name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def shown_name(options: Mapping[str, Any]) -> str:
    """What results call the model: the adapter's or the base's name, a folder by its last part."""
    name = options["adapter"] or options["model_name"]
    shown = Path(name).resolve().name if Path(name).exists() or Path(name).is_absolute() else name.replace("@", "_at_")
    shown += "_constrained" if bool_option(options, "constrained") else ""
    return f"{shown}_scored" if choice_option(options, "answers", ANSWERS) == "scored" else shown
