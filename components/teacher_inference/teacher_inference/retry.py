"""How long to wait before a request is sent again."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_ASKED = 300.0  # a server that asks for more is asked again after this
RESETS = [(f"x-ratelimit-reset{kind}", f"x-ratelimit-remaining{kind}") for kind in ("-requests", "-tokens", "")] + [
    (f"anthropic-ratelimit-{kind}-reset", f"anthropic-ratelimit-{kind}-remaining")
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
]


@dataclass(frozen=True)
class Backoff:
    """Full jitter: uniform between nothing and `base` doubled with each failure, up to `cap` seconds.

    A request that failed `attempts` times, refusals for its rate not counted, gets no answer.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 20.0

    def wait(self, failures: int, asked: float | None) -> float:
        """Seconds before the next attempt; never less than the server asked for."""
        jitter = random.uniform(0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))
        return jitter if asked is None else asked + min(jitter, 1.0)


def asked_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a response asks to wait; None where it asks for nothing.

    Read are, in this order, `retry-after-ms` (also as `x-ms-…`), `retry-after` (seconds or an HTTP date, RFC 9110)
    and the resets of the limits that have nothing remaining: OpenAI's `x-ratelimit-reset-requests` / `-tokens` and
    Anthropic's `anthropic-ratelimit-…-reset`.  Names must be lower case or the mapping case-insensitive.
    """
    now = time.time() if now is None else now
    milliseconds = headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms")
    for value in (_number(milliseconds, 1000), _retry_after(headers.get("retry-after"), now)):
        if value is not None:
            return min(value, LONGEST_ASKED)
    resets = [
        _duration(headers.get(reset), now)
        for reset, remaining in RESETS
        if headers.get(remaining, "0").strip() in ("0", "")
    ]
    known = [reset for reset in resets if reset is not None]
    return min(max(known), LONGEST_ASKED) if known else None


def _number(text: str | None, divisor: float = 1.0) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,13}(\.\d*)?\s*", text, re.ASCII):
        return None
    return float(text) / divisor


def _retry_after(text: str | None, now: float) -> float | None:
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return _from(parsedate_to_datetime(text), now)
    except (ValueError, OverflowError):
        return None


def _until(text: str, now: float) -> float | None:
    try:
        return _from(datetime.fromisoformat(text.strip()), now)
    except ValueError:
        return None


def _from(point: datetime, now: float) -> float:
    """Seconds until a point in time, which is of UTC where it names no zone."""
    return max(0.0, (point if point.tzinfo else point.replace(tzinfo=UTC)).timestamp() - now)


def _duration(text: str | None, now: float) -> float | None:
    """`6m0s`, `1.5s`, `20ms`, plain seconds, or a point in time: of Unix (in milliseconds, too), or by RFC 3339."""
    seconds = _number(text)
    if seconds is not None:
        seconds = seconds / 1000 if seconds > 1e12 else seconds
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    if text and "T" in text:
        return _until(text, now)
    if text is None or not re.fullmatch(r"(\d+(\.\d+)?(ms|h|m|s))+", text.strip(), re.ASCII):
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(amount) * units[unit] for amount, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text))
