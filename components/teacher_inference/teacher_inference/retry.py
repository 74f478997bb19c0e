"""How long to wait before a request is sent again."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LONGEST_ASKED = 300.0  # a server that asks for more is asked again after this


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

    Read are, in this order, `retry-after-ms`, `retry-after` (seconds or an HTTP date, RFC 9110) and OpenAI's
    `x-ratelimit-reset-requests` / `-tokens`, of those that have nothing remaining.  Names must be lower case or the
    mapping case-insensitive.
    """
    now = time.time() if now is None else now
    for value in (_number(headers.get("retry-after-ms"), 1000), _retry_after(headers.get("retry-after"), now)):
        if value is not None:
            return min(value, LONGEST_ASKED)
    resets = [
        _duration(headers.get(f"x-ratelimit-reset{kind}"), now)
        for kind in ("-requests", "-tokens", "")
        if headers.get(f"x-ratelimit-remaining{kind}", "0").strip() in ("0", "")
    ]
    known = [reset for reset in resets if reset is not None]
    return min(max(known), LONGEST_ASKED) if known else None


def _number(text: str | None, divisor: float = 1.0) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,12}(\.\d*)?\s*", text, re.ASCII):
        return None
    return float(text) / divisor


def _retry_after(text: str | None, now: float) -> float | None:
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _duration(text: str | None, now: float) -> float | None:
    """`6m0s`, `1.5s`, `20ms`, plain seconds, or a point in Unix time."""
    seconds = _number(text)
    if seconds is not None:
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    if text is None or not re.fullmatch(r"(\d+(\.\d+)?(ms|h|m|s))+", text.strip(), re.ASCII):
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(amount) * units[unit] for amount, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text))
