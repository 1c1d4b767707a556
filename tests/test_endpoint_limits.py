"""What is left of a rate limit, read from headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.pipeline import RateLimits
from tools.endpoint.limits import read_duration, read_limits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("2.5", 2.5), ("", None), ("soon", None), ("-1s", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert read_duration(text) == (pytest.approx(seconds) if seconds is not None else None)


def test_all_headers() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "14984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_limits(headers) == RateLimits(requests=59, tokens=14984, reset_seconds=360)


def test_a_server_that_does_not_tell() -> None:
    assert read_limits({}) == RateLimits()


@given(st.dictionaries(st.sampled_from(["x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens"]), st.text()))
def test_whatever_a_server_says_is_read(headers: dict[str, str]) -> None:
    read_limits(headers)
