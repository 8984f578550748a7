"""One retry rule, without a clock: the time is given, and sleeps are recorded."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.retry import (
    ATTEMPTS,
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    TransientFailure,
    backoff,
    call_with_retries,
    longest_backoff,
    retry_after,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@given(st.sampled_from(["retry-after", "retry-after-ms", "ratelimit"]), st.text(max_size=40) | st.floats().map(str))
def test_any_header_is_a_time_to_wait_or_nothing(name: str, value: str) -> None:
    seconds = retry_after({name: value}, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(-(10**6), 10**6))
def test_seconds_and_a_date_say_the_same(seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    for date in (format_datetime(moment, usegmt=True), moment.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        assert retry_after({"retry-after": date}, NOW) == max(seconds, 0)
    assert retry_after({"retry-after": str(seconds)}, NOW) == (seconds if seconds >= 0 else None)
    assert retry_after({"retry-after-ms": str(1000 * abs(seconds) % 10**9)}, NOW) == 1000 * abs(seconds) % 10**9 / 1000


def test_retry_after_reads_what_servers_send() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": " 1.5 "}) == 1.5
    assert retry_after({"retry-after": "1", "retry-after-ms": "250"}) == 0.25
    assert retry_after({"ratelimit": '"api";r=0;t=55', "retry-after": "1"}) == 55
    assert retry_after({"ratelimit": '"api";r=3;t=55', "retry-after": "1"}) == 1, "requests remain: it is no limit that was hit"


@given(st.integers(1, 60), st.none() | st.floats(0, LONGEST_RETRY_AFTER))
def test_back_off_is_bounded_and_no_shorter_than_asked_for(attempt: int, asked: float | None) -> None:
    wait = backoff(attempt, asked)
    assert (asked or 0) <= wait <= (asked or 0) + LONGEST_WAIT * 1.25
    assert asked is not None or wait >= 0.75 * longest_backoff(attempt) > 0


def test_requests_that_failed_together_are_not_retried_together() -> None:
    for asked in (None, 1.0):
        waits = sorted(backoff(3, asked) for _ in range(64))
        assert waits[-1] - waits[0] > 0.3


class Flaky:
    """An action that fails so many times, and counts its calls."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError
        return self.calls


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept, without sleeping."""
    slept: list[float] = []
    monkeypatch.setattr("common.retry.time.sleep", slept.append)
    return slept


@pytest.mark.parametrize("failures", range(ATTEMPTS))
def test_as_many_retries_as_failures(failures: int, sleeps: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert call_with_retries(Flaky(failures), lambda error: TransientFailure("it failed", 7.0)) == failures + 1
    assert len(sleeps) == failures
    assert all(7 <= slept <= 7 + longest_backoff(attempt) for attempt, slept in enumerate(sleeps, 1))
    assert capsys.readouterr().err.count("it failed; trying again in ") == failures


@pytest.mark.parametrize(
    ("failure", "calls"),
    [
        (TransientFailure("it failed"), ATTEMPTS),
        (TransientFailure("it failed", LONGEST_RETRY_AFTER), ATTEMPTS),
        (TransientFailure("it failed", LONGEST_RETRY_AFTER + 1), 1),
        (None, 1),
    ],
    ids=["always", "asks for the longest wait", "asks for longer", "not transient"],
)
def test_retries_end(failure: TransientFailure | None, calls: int, sleeps: list[float]) -> None:
    action = Flaky(100)
    with pytest.raises(ConnectionError):
        call_with_retries(action, lambda error: failure)
    assert action.calls == calls
    assert len(sleeps) == calls - 1
