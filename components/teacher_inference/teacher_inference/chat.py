"""Chat completions: the API of OpenAI, and of nearly everybody since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacher_inference.outcome import plain, whole
from teacher_inference.teacher import BROKEN, CALLED, CUT, REFUSED, Answer, Question, TokenLogprobs

# finish reasons of those who have their own: Mistral, vLLM, SGLang, DeepSeek, gateways
FINISHES = {
    "model_length": CUT,
    "max_tokens": CUT,
    "max_output_tokens": CUT,
    "error": BROKEN,
    "abort": BROKEN,
    "insufficient_system_resource": BROKEN,
    "tool_calls": CALLED,
    "function_call": CALLED,
}


def body(question: Question, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": question.messages, **parameters}


def read(value: Any, latency_ms: float) -> Answer:
    """The first choice of a completion."""
    choice = value["choices"][0]
    message = choice["message"]
    finish = str(choice.get("finish_reason") or "stop")
    usage = value.get("usage") or {}
    tokens = _tokens(choice.get("logprobs"))
    return Answer(
        text=plain(_joined(message.get("content"))),
        finish=REFUSED if message.get("refusal") else FINISHES.get(finish, finish),
        prompt_tokens=whole(usage.get("prompt_tokens")),
        completion_tokens=whole(usage.get("completion_tokens")),
        latency_ms=latency_ms,
        top_logprobs=[listed for listed, _ in tokens] or None,
        token_bytes={str(index): odd for index, (_, odd) in enumerate(tokens) if odd} or None,
    )


def _joined(content: object) -> object:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content


def _tokens(logprobs: Any) -> list[tuple[TokenLogprobs, list[int] | None]]:
    """Token by token, the chosen one among the listed; empty where there are none, or none that can be read."""
    try:
        return [(_position(position), _odd_bytes(position)) for position in logprobs["content"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return []


def _position(position: dict[str, Any]) -> TokenLogprobs:
    chosen = (plain(position["token"]), float(position["logprob"]))
    listed = [(plain(top["token"]), float(top["logprob"])) for top in position.get("top_logprobs") or []]
    if chosen[0] not in dict(listed):
        listed.append(chosen)
    # a minus infinity would not survive JSON, and a log probability above zero is none
    return chosen[0], [(token, max(-1e4, logprob)) for token, logprob in listed if logprob <= 0.01]


def _odd_bytes(position: dict[str, Any]) -> list[int] | None:
    """The bytes of a token whose text does not show them."""
    given = position.get("bytes")
    if not isinstance(given, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in given):
        return None
    return None if bytes(given) == plain(position["token"]).encode() else given
