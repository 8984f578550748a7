"""Retry with exponential back-off and jitter, and how long a server asks to wait (Retry-After): one rule for all requests."""

import random
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 6
"""Of one action in `call_with_retries`."""

FIRST_WAIT = 0.5
"""Seconds before the second attempt; each further one waits twice as long."""

LONGEST_WAIT = 30.0
"""Seconds before an attempt at most, unless the server asks for more."""

LONGEST_RETRY_AFTER = 600.0
"""Seconds; no retry where a server asks for more. The Hub's rate limits count over windows of five minutes."""

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, *range(500, 600)})

_SECONDS = re.compile(r"\s*[0-9]{1,9}(\.[0-9]*)?\s*")


@dataclass(frozen=True)
class TransientFailure:
    """Why another attempt may succeed, and the seconds that the server asks to wait for it."""

    reason: str
    retry_after: float | None = None


def call_with_retries(action: Callable[[], T], transient: Callable[[Exception], TransientFailure | None]) -> T:
    """The action's result; after an error that `transient` recognises it is called again, ATTEMPTS times in all."""
    for attempt in range(1, ATTEMPTS):
        try:
            return action()
        except Exception as error:
            failure = transient(error)
            if failure is None or (failure.retry_after or 0) > LONGEST_RETRY_AFTER:
                raise
        pause = backoff(attempt, failure.retry_after)
        print(f"{failure.reason}; trying again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)
    return action()


def longest_backoff(attempt: int) -> float:
    """Seconds to wait after this failed attempt, counted from 1, without jitter."""
    return min(FIRST_WAIT * 2.0 ** (attempt - 1), LONGEST_WAIT)


def backoff(attempt: int, asked: float | None = None) -> float:
    """Seconds to wait after a failed attempt: never less than the server asked for, with jitter against retries in step."""
    longest = longest_backoff(attempt)
    return longest * random.uniform(0.75, 1.25) if asked is None else asked + longest * random.random()


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a response asks to wait; None where no header can be read.

    In this order: RateLimit with nothing remaining, which the Hub sends (an IETF draft), retry-after-ms, which Azure sends, and
    Retry-After as seconds or an HTTP date (RFC 9110, section 10.2.3). `headers` ignores case, or its names are in lower case.
    """
    if "ratelimit" in headers:
        from huggingface_hub.utils import parse_ratelimit_headers

        limit = parse_ratelimit_headers(headers)
        if limit is not None and limit.remaining == 0:
            return float(limit.reset_in_seconds)
    if _SECONDS.fullmatch(milliseconds := headers.get("retry-after-ms", "")):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "")
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - (now or datetime.now(UTC))).total_seconds(), 0.0)
