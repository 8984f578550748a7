"""What is read from a server's errors and headers; whole requests are made in test_endpoint.py."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.chat import LONGEST_WAIT, Endpoint, PassingError, api_key, backoff, base_url, retry_after
from common.errors import UserError


@given(st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
def test_any_retry_after_is_a_time_to_wait_or_nothing(value: str) -> None:
    for header in ("retry-after", "retry-after-ms"):
        seconds = retry_after({header: value})
        assert seconds is None or seconds >= 0


def test_retry_after_is_seconds_or_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": " 1.5 "}) == 1.5
    assert retry_after({"retry-after": "1", "retry-after-ms": "250"}) == 0.25
    for date in (format_datetime(later, usegmt=True), later.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        assert 90 < (retry_after({"retry-after": date}) or 0) <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@given(st.integers(1, 60), st.none() | st.floats(0, 600))
def test_a_retry_waits_no_less_than_the_server_asks_for_and_no_longer_than_a_limit(tries: int, asked: float | None) -> None:
    wait = backoff(tries, PassingError("busy", asked))
    assert (asked or 0) <= wait <= (asked or 0) + LONGEST_WAIT * 1.25
    assert wait > 0


def test_requests_that_failed_together_are_not_asked_again_together() -> None:
    for asked in (None, 1.0):
        waits = sorted(backoff(3, PassingError("busy", asked)) for _ in range(64))
        assert waits[-1] - waits[0] > 0.3


def test_an_address_is_a_url_and_a_key_is_one_that_a_header_can_hold() -> None:
    assert base_url("http://h/v1/") == "http://h/v1"
    for wrong in ("localhost:8000", "http:///v1", "http://host:port/v1", "http://[::1/v1", "ftp://host/v1", ""):
        with pytest.raises(UserError, match="is no server's address, such as"):
            base_url(wrong)
    assert api_key({}) == ""
    assert api_key({"OPENAI_API_KEY": " sk-1\n"}) == "sk-1"
    with pytest.raises(UserError, match="characters that no key has"):
        api_key({"OPENAI_API_KEY": "sk-ä"})


def test_a_key_shows_nowhere() -> None:
    key = "-".join(("sk", "0123456789"))
    endpoint = Endpoint("http://h/v1", "m", key=key)
    assert "0123456789" not in repr(endpoint)
    assert endpoint.hide(f"the key {key} is wrong") == "the key … is wrong"
