"""Requests that are far enough apart, by a clock that the test holds."""

from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.labelling.rate_limit import RateLimiter

limits = st.integers(1, 10_000)


@given(limits, limits, st.lists(st.tuples(st.integers(1, 500), st.floats(0, 5)), min_size=1, max_size=60))
def test_no_minute_has_more_requests_or_tokens_than_the_limits_but_for_the_last_one(
    requests: int, tokens: int, sizes: list[tuple[int, float]]
) -> None:
    limiter, now, starts = RateLimiter(requests, tokens), 100.0, []
    for size, later in sizes:
        now += later
        starts.append((now + limiter.delay(size, now), size))
    for place, (start, _) in enumerate(starts):
        within = [size for moment, size in starts[place:] if moment < start + 60 - 1e-6]
        assert len(within) <= requests + 1
        assert sum(within[:-1]) <= tokens * (1 + 1e-9)


def test_without_limits_nothing_waits() -> None:
    limiter = RateLimiter()
    assert [limiter.delay(1000, now) for now in (0.0, 0.0, 1.0)] == [0.0, 0.0, 0.0]


def test_without_limits_requests_are_apart_and_a_limit_is_kept_where_it_is_stricter() -> None:
    assert [RateLimiter(spacing=0.5).delay(1000, 0.0)] == [0.0]
    for limiter, waits in ((RateLimiter(spacing=0.5), [0.0, 0.5, 1.0]), (RateLimiter(60, spacing=0.5), [0.0, 1.0, 2.0])):
        assert [limiter.delay(1000, 0.0) for _ in waits] == waits
        assert limiter.delay(1000, 9.0) == 0.0


def test_a_limit_is_used_in_full_from_the_first_request_on() -> None:
    limiter = RateLimiter(requests_per_minute=60)
    assert [limiter.delay(10, 0.0) for _ in range(4)] == [0.0, 1.0, 2.0, 3.0]
    assert limiter.delay(10, 100.0) == 0.0, "what was not used is not made up for"
    assert limiter.delay(10, 100.0) == 1.0


def test_a_request_of_more_tokens_than_a_minute_has_is_let_through_and_waited_for() -> None:
    limiter = RateLimiter(tokens_per_minute=100)
    assert [limiter.delay(tokens, 0.0) for tokens in (300, 10, 10)] == [0.0, 180.0, 186.0]


@given(st.floats(0.1, 60), st.floats(0, 30))
def test_all_wait_while_the_server_wants_to_be_left_alone_and_then_start_apart(seconds: float, spread: float) -> None:
    limiter = RateLimiter()
    limiter.pause(seconds, spread, 10.0)
    limiter.pause(seconds / 2, spread, 10.0)
    waits = [limiter.delay(1, 10.0) for _ in range(20)]
    assert all(seconds - 1e-9 <= wait <= seconds + spread + 1e-9 for wait in waits)
    assert len(set(waits)) > 1 or spread < 1e-9
    assert limiter.delay(1, 10.0 + seconds) == 0.0


def test_limits_hold_after_a_break_too() -> None:
    limiter = RateLimiter(requests_per_minute=60)
    limiter.pause(5.0, 1.0, 0.0)
    assert [limiter.delay(1, 0.0) for _ in range(3)] == [5.0, 6.0, 7.0]
