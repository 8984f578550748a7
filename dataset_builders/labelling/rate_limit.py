"""When the next request may start, so that no more are sent in a minute than a server allows."""

import random
from dataclasses import dataclass


@dataclass
class Pace:
    """Requests evenly apart: each keeps the next one off for its share of a minute, in requests and in tokens (0: no limit).

    A bucket that fills while nothing is asked, as in aiolimiter, would let twice the limit through in its first minute, and
    takes no request of more tokens than it holds.

    Where neither limit does so, requests are `apart` seconds from each other: half of what a worker's share of the time of a
    reply is, so that it holds none up in the long run. Requests that start together would else stay together where a server
    takes equally long for each: then their replies come at once, and each waits until all of them are read.

    Times are in seconds of a clock that never goes back.
    """

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    apart: float = 0.0
    next: float = 0.0
    held_until: float = 0.0
    spread: float = 0.0

    def turn(self, tokens: int, now: float) -> float:
        """Seconds from now until a request of so many tokens may start, which is taken to be meant."""
        start = max(now, self.next, self.held_until)
        by_requests = 60 / self.requests_per_minute if self.requests_per_minute else 0.0
        by_tokens = 60 * tokens / self.tokens_per_minute if self.tokens_per_minute else 0.0
        self.next = start + max(by_requests, by_tokens, self.apart)
        if now < self.held_until and not by_requests and not by_tokens:
            start += self.spread * random.random()
        return start - now

    def hold(self, seconds: float, spread: float, now: float) -> None:
        """Nothing more starts for so long; then what has waited starts at different times, `spread` seconds apart at most."""
        if now + seconds > self.held_until:
            self.held_until, self.spread = now + seconds, spread
