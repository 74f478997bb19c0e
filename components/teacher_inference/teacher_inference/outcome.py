"""What a response means: an answer, another attempt, an end for the row, or (by raising) an end for the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teacher_inference.retry import asked_wait
from teacher_inference.teacher import FILTERED, REFUSED, Answer, TokenLogprobs

RETRYABLE = {408, 409, 425, 429}
EXHAUSTED = {"insufficient_quota", "billing_hard_limit_reached"}


@dataclass(frozen=True)
class Retry:
    """Ask again.

    `wait` is what the server asked for.  `reached` is False when there was no server at all.  `adapted` when the same
    question goes out at once in another form: that is no failure.
    """

    reason: str
    wait: float | None = None
    throttled: bool = False
    reached: bool = True
    adapted: bool = False


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

    def __str__(self) -> str:
        """Status and code; the message may quote the prompt and is left out."""
        return " ".join(filter(None, (str(self.status), self.code)))


Outcome = Answer | Retry | Failed


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, latency_ms: float
) -> Answer | Retry | ServerError:
    """The meaning of a response; a ServerError is left to the caller, who knows what was asked of whom."""
    if status == 200:
        return read_answer(body, latency_ms)
    error = read_error(status, body)
    if status == 429 and error.code in EXHAUSTED:
        return error
    if status in RETRYABLE or status >= 500:
        wait = asked_wait(headers)
        return Retry(str(error), wait, throttled=status == 429 or (status == 503 and wait is not None))
    if status in (400, 422) and error.filtered:
        return Answer("", FILTERED, latency_ms=latency_ms)
    return error


def read_answer(body: bytes, latency_ms: float) -> Answer | Retry:
    """The first choice of a chat completion; a body that is none is asked for again."""
    try:
        value = json.loads(body)
        choice = value["choices"][0]
        message = choice["message"]
        text, finish = _text(message.get("content")), choice.get("finish_reason") or "stop"
        if message.get("refusal"):
            finish = REFUSED
        usage = value.get("usage") or {}
        return Answer(
            text=text,
            finish=str(finish),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            latency_ms=round(latency_ms, 3),
            top_logprobs=_logprobs(choice.get("logprobs")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Retry("a body that is no chat completion")


def read_error(status: int, body: bytes) -> ServerError:
    """The error of OpenAI, Azure, vLLM, llama.cpp and most gateways: `{"error": {…}}` or `{…}` or text."""
    try:
        value: Any = json.loads(body)
    except ValueError:
        return ServerError(status)
    if isinstance(value, dict):
        value = value.get("error", value)
    if not isinstance(value, dict):
        return ServerError(status, message=str(value))
    code = value.get("code") if isinstance(value.get("code"), str) else value.get("type")
    inner = value.get("innererror")
    detail = str(inner.get("code", "")) if isinstance(inner, dict) else ""
    message = f"{value.get('message') or value.get('detail') or ''} {detail}".strip()
    return ServerError(status, message, str(code or ""), str(value.get("param") or ""))


def _text(content: object) -> str:
    """Content as text; parts are joined, and lone surrogates, which no file can hold, replaced."""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ("" if content is None else str(content)).encode("utf-8", "replace").decode()


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0


def _logprobs(value: Any) -> list[TokenLogprobs] | None:
    """Token by token, the chosen one among the listed; None where there are none, or none that can be read."""
    try:
        return [_position(position) for position in value["content"]] or None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _position(position: dict[str, Any]) -> TokenLogprobs:
    chosen = (str(position["token"]), float(position["logprob"]))
    listed = [(str(top["token"]), float(top["logprob"])) for top in position.get("top_logprobs") or []]
    if chosen[0] not in dict(listed):
        listed.append(chosen)
    # a minus infinity would not survive JSON, and a log probability above zero is none
    return chosen[0], [(token, max(-1e4, logprob)) for token, logprob in listed if logprob <= 0.01]
