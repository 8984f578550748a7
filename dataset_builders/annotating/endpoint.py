"""Asks a server of chat completions for what is missing."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dataset_builders.annotating.asks import Ask
from dataset_builders.annotating.replies import Replies


@dataclass(frozen=True)
class Endpoint:
    """`timeout` in seconds for each try; limits of 0 are none; `key` is sent to the server and shown nowhere."""

    url: str
    model: str
    concurrency: int = 8
    timeout: int = 120
    retries: int = 8
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    key: str = field(default="", repr=False)


@dataclass
class Counts:
    """What became of the asks so far. `kept` had a reply before this run, or are equal to another one of it."""

    kept: int = 0
    answered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def base_url(text: str) -> str:
    """An address as it is asked. Raises UserError."""


def api_key(environment: Mapping[str, str]) -> str:
    """OPENAI_API_KEY, "" where there is none. Raises UserError where it cannot be one."""


def ask_all(endpoint: Endpoint, asks: Iterable[Ask], store: Replies, progress: Callable[[Counts], None]) -> Counts:
    """Asks what is missing in `store` and keeps each reply as it comes; `progress` is called whenever some are on disk.

    Raises UserError for what will not pass, after what was under way is kept; SystemExit after SIGINT and SIGTERM.
    """
