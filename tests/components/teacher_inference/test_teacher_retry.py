from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_inference.retry import LONGEST_ASKED, Backoff, asked_wait

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:32 GMT"}, 12.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}, 0.0),
        ({"retry-after": "86400"}, LONGEST_ASKED),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Tue Nov 14 22:13:32 2023"}, 12.0),  # RFC 9110: without a zone it is UTC
        ({"retry-after": "Tue, 14 Nov 2023 22:13:32 -0000"}, 12.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:32Z"}, 12.0),
        ({"anthropic-ratelimit-tokens-reset": "2023-11-14T23:13:22+01:00"}, 2.0),
        (
            {
                "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:32Z",
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-output-tokens-reset": "2023-11-14T22:13:50Z",
                "anthropic-ratelimit-output-tokens-remaining": "0",
            },
            30.0,
        ),
        ({"anthropic-ratelimit-requests-reset": "noTime"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, LONGEST_ASKED),
        ({"x-ratelimit-reset-requests": "1.5s"}, 1.5),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1m30s"}, 90.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": "1700000030"}, 30.0),
        ({"x-ratelimit-reset": "1700000030500"}, 30.5),
        (
            {
                "x-ratelimit-reset-requests": "3s",
                "x-ratelimit-remaining-requests": "40",
                "x-ratelimit-reset-tokens": "9s",
                "x-ratelimit-remaining-tokens": "0",
            },
            9.0,
        ),
        ({"x-ratelimit-reset-requests": "3s", "x-ratelimit-remaining-requests": "40"}, None),
    ],
)
def test_what_servers_ask_for(
    headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    request.addfinalizer(time.tzset)
    assert asked_wait(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


NAMES = (
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-reset",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-remaining",
    "anthropic-ratelimit-tokens-reset",
)


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.from_regex(r"[0-9.]{1,30}(ms|s|m|h)?", fullmatch=True)))
def test_no_header_breaks_it_or_asks_for_an_endless_wait(headers: dict[str, str]) -> None:
    wait = asked_wait(headers, NOW)
    assert wait is None or 0 <= wait <= LONGEST_ASKED


@given(st.integers(1, 10_000), st.none() | st.floats(0, 300))
def test_a_wait_is_bounded_and_never_shorter_than_asked(failures: int, asked: float | None) -> None:
    backoff = Backoff()
    wait = backoff.wait(failures, asked)
    assert (asked or 0.0) <= wait <= (backoff.cap if asked is None else asked + 1.0)
    if asked is None:
        assert wait <= backoff.base * 2.0 ** min(failures - 1, 50)
