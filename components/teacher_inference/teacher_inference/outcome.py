"""What a response means: an answer, another attempt, an end for the row, or (by raising) an end for the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.fast_json import decode
from teacher_inference.retry import asked_wait
from teacher_inference.teacher import FILTERED, Answer

RETRYABLE = {408, 409, 425, 429}
OVERLOADED = 529  # Anthropic's "everybody asks too much"
UNANSWERED = {408, 504}  # timeouts, after which an answer may have been made and charged
TOO_LONG = re.compile(r"context|too long|length_exceeded", re.IGNORECASE)
EXHAUSTED = {"insufficient_quota", "billing_hard_limit_reached", "credit_balance_exhausted"}


@dataclass(frozen=True)
class Retry:
    """Ask again.

    `wait` is what the server asked for.  `reached` is False when there was no server at all.  `adapted` when the same
    question goes out at once in another form: that is no failure.  `lost` when it may have been answered, and paid,
    though no answer came back.
    """

    reason: str
    wait: float | None = None
    throttled: bool = False
    reached: bool = True
    adapted: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Failed:
    """The endpoint gives this row no answer, and would not a second time."""

    reason: str


@dataclass(frozen=True)
class ServerError:
    """The `error` object of a refusal, as far as there is one."""

    status: int
    message: str = ""
    code: str = ""
    param: str = ""

    @property
    def filtered(self) -> bool:
        return any("content_filter" in part.lower() for part in (self.code, self.message)) or (
            "responsibleaipolicyviolation" in self.message.lower()
        )

    @property
    def too_long(self) -> bool:
        """Whether this row is refused for its length, which says nothing of others."""
        return self.status == 413 or bool(TOO_LONG.search(f"{self.code} {self.param} {self.message}"))

    def __str__(self) -> str:
        """Status and code; the message may quote the prompt and is left out."""
        return " ".join(filter(None, (str(self.status), self.code)))


Outcome = Answer | Retry | Failed
Read = Callable[[Any, float], Answer]  # of the JSON of an answer, which took so many milliseconds


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, latency_ms: float, read: Read
) -> Answer | Retry | ServerError:
    """The meaning of a response; a ServerError is left to the caller, who knows what was asked of whom.

    `read` takes the JSON of an answer, and may raise what comes of taking apart JSON of another form.
    """
    if status == 200:
        return read_answer(body, latency_ms, read)
    error = read_error(status, body)
    if status == 429 and error.code in EXHAUSTED:
        return error
    if status in RETRYABLE or status >= 500:
        wait = asked_wait(headers)
        throttled = status in (429, OVERLOADED) or (status == 503 and wait is not None)
        return Retry(str(error), wait, throttled, lost=status in UNANSWERED)
    if status in (400, 422) and error.filtered:
        return Answer("", FILTERED, latency_ms=latency_ms)
    return error


def read_answer(body: bytes, latency_ms: float, read: Read) -> Answer | Retry:
    """An answer; a body that is none is asked for again."""
    try:
        return read(decode(body), round(latency_ms, 3))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        kind = "a web page" if body.lstrip()[:1] == b"<" else "a body that is no answer"
        return Retry(f"{kind} (status 200)", lost=True)


def read_error(status: int, body: bytes) -> ServerError:
    """The error of OpenAI, Azure, Anthropic, vLLM, llama.cpp and most gateways: `{"error": {…}}`, `{…}` or text."""
    try:
        value: Any = decode(body)
    except (ValueError, RecursionError):
        return ServerError(status)
    if isinstance(value, dict):
        value = value.get("error", value)
    if not isinstance(value, dict):
        return ServerError(status, message=str(value))
    code = value.get("code") if isinstance(value.get("code"), str) else value.get("type")
    inner = value.get("innererror")
    detail = str(inner.get("code", "")) if isinstance(inner, dict) else ""
    message = f"{value.get('message') or value.get('detail') or ''} {detail}".strip()
    code = code if re.fullmatch(r"[\w.-]{1,64}", str(code)) else ""  # it is told, so it must be a name, not a text
    return ServerError(status, message, str(code or ""), str(value.get("param") or ""))


def plain(text: object) -> str:
    """Text that every file can hold: lone surrogates, which a server may send, are replaced."""
    return ("" if text is None else str(text)).encode("utf-8", "replace").decode()


def whole(value: object) -> int:
    """A count of tokens, 0 where there is none."""
    return value if type(value) is int and value >= 0 else 0
