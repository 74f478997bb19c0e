"""An OpenAI-compatible chat completions endpoint, asked one question at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

ATTEMPTS = 5
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
TIMEOUT = 120.0
LONGEST_WAIT = 30.0


class Unreachable(Exception):
    """The endpoint gives no answer; the message says why, without the key and without row contents."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would take the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class ChatEndpoint:
    """`url` ends before `/chat/completions`.  `key` is sent as a bearer token."""

    def __init__(self, url: str, model: str, key: str | None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url, self.model, self.key, self.sleep = f"{url.rstrip('/')}/chat/completions", model, key, sleep
        self.opener = build_opener(_NoRedirects)

    def reply(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The answer's text; passing faults are tried again.  Raises Unreachable."""
        body = json.dumps({"model": self.model, "messages": list(messages)}).encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        for attempt in range(ATTEMPTS):
            wait = min(LONGEST_WAIT, 0.5 * 2**attempt)
            try:
                with self.opener.open(Request(self.url, body, headers), timeout=TIMEOUT) as response:
                    value = json.load(response)
                return str(value["choices"][0]["message"]["content"] or "")
            except HTTPError as error:
                error.close()
                reason = f"HTTP status {error.code}"
                if error.code not in PASSING:
                    break
                wait = _seconds(error.headers.get("Retry-After"), wait)
            except (URLError, HTTPException, OSError) as error:
                reason = f"cannot be reached ({type(error).__name__})"
            except (ValueError, KeyError, IndexError, TypeError):
                reason = "does not answer like a chat completions endpoint"
            if attempt + 1 < ATTEMPTS:
                self.sleep(wait)
        raise Unreachable(f"{self.url}: {reason}")


def _seconds(text: str | None, otherwise: float) -> float:
    try:
        return min(LONGEST_WAIT, max(0.0, float(text or "")))
    except ValueError:
        return otherwise
