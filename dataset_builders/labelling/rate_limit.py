"""Rate limiter for requests and tokens per minute."""

import random
from dataclasses import dataclass


@dataclass
class RateLimiter:
    """Spaces requests evenly: each one delays the next by its share of a minute, in requests and in tokens (0: no limit).

    A token bucket that fills while idle, as in aiolimiter, would let twice the limit through in its first minute, and takes no
    request of more tokens than it holds.

    Without a stricter limit requests are `spacing` seconds apart: half of a worker's share of a reply's time, so that it delays
    none in the long run. Otherwise requests that start together would stay together where a server takes equally long for each:
    their replies arrive at once, and each waits until all of them are read.

    Times are in seconds of a monotonic clock.
    """

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    spacing: float = 0.0
    next_start: float = 0.0
    paused_until: float = 0.0
    spread: float = 0.0

    def delay(self, tokens: int, now: float) -> float:
        """Takes the next turn, for a request of this many tokens: seconds from now until it may start."""
        start = max(now, self.next_start, self.paused_until)
        by_requests = 60 / self.requests_per_minute if self.requests_per_minute else 0.0
        by_tokens = 60 * tokens / self.tokens_per_minute if self.tokens_per_minute else 0.0
        self.next_start = start + max(by_requests, by_tokens, self.spacing)
        if now < self.paused_until and not by_requests and not by_tokens:
            start += self.spread * random.random()
        return start - now

    def pause(self, seconds: float, spread: float, now: float) -> None:
        """No request starts for these seconds; those that waited then start at random times within `spread` seconds."""
        if now + seconds > self.paused_until:
            self.paused_until, self.spread = now + seconds, spread
