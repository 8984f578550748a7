"""When the next request may start, so that no more are sent in a minute than a server allows."""

import random
from dataclasses import dataclass


@dataclass
class Pace:
    """Requests evenly apart: each keeps the next one off for its share of a minute, in requests and in tokens (0: no limit).

    A bucket that fills while nothing is asked, as in aiolimiter, would let twice the limit through in its first minute, and
    takes no request of more tokens than it holds. Times are in seconds of a clock that never goes back.
    """

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    next: float = 0.0
    held_until: float = 0.0
    spread: float = 0.0

    def turn(self, tokens: int, now: float) -> float:
        """Seconds from now until a request of so many tokens may start, which is taken to be meant."""
        start = max(now, self.next, self.held_until)
        by_requests = 60 / self.requests_per_minute if self.requests_per_minute else 0.0
        by_tokens = 60 * tokens / self.tokens_per_minute if self.tokens_per_minute else 0.0
        if share := max(by_requests, by_tokens):
            self.next = start + share
        elif now < self.held_until:
            start += self.spread * random.random()
        return start - now

    def hold(self, seconds: float, spread: float, now: float) -> None:
        """Nothing more starts for so long; then what has waited starts at different times, `spread` seconds apart at most."""
        if now + seconds > self.held_until:
            self.held_until, self.spread = now + seconds, spread
