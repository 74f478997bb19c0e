"""Anthropic's Messages API, which Claude speaks, in Azure AI Foundry as elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacher_inference.outcome import plain, whole
from teacher_inference.teacher import CUT, FILTERED, REFUSED, Answer, Question

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": CUT,
    "model_context_window_exceeded": CUT,
    "refusal": REFUSED,
    "content_filtered": FILTERED,
}
KNOWN = ("model", "temperature", "top_p", "output_config")
CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")


def body(question: Question, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """System messages stand apart; there is neither a seed nor a log probability."""
    system = "\n\n".join(message["content"] for message in question.messages if message["role"] == "system")
    turns = [message for message in question.messages if message["role"] != "system"]
    limit = parameters.get("max_tokens") or parameters.get("max_completion_tokens")
    known = {name: parameters[name] for name in KNOWN if name in parameters}
    return {**known, "max_tokens": limit, "messages": turns} | ({"system": system} if system else {})


def read(value: Any, latency_ms: float) -> Answer:
    """The text blocks of a message; what the model thought before is left out."""
    text = "".join(block["text"] for block in value["content"] if block.get("type") == "text")
    finish, usage = str(value.get("stop_reason") or "stop"), value.get("usage") or {}
    return Answer(
        text=plain(text),
        finish=FINISHES.get(finish, finish),
        prompt_tokens=whole(usage.get("input_tokens")) + sum(whole(usage.get(name)) for name in CACHED),
        completion_tokens=whole(usage.get("output_tokens")),
        latency_ms=latency_ms,
    )
