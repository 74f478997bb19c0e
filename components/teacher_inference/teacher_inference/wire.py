"""The two forms in which a question goes over the wire and its answer comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from teacher_inference import chat, messages
from teacher_inference.outcome import Read
from teacher_inference.teacher import Question


@dataclass(frozen=True)
class Wire:
    """`body` builds a request from messages and parameters with OpenAI's names; `read` takes an answer's JSON apart."""

    body: Callable[[Question, Mapping[str, Any]], dict[str, Any]]
    read: Read


def of(api: str) -> Wire:
    """The form that an API of `apis.APIS` speaks."""
    module = messages if api == "anthropic" else chat
    return Wire(module.body, module.read)
