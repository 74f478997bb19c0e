"""A label out of the JSON object that some endpoints put it in when they are held to a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from teacher_inference.teacher import Answer, TokenLogprobs

OPENING = re.compile(r'\{\s*"[^"]*"\s*:\s*"')  # perhaps behind a fence, which the text does not show


def unwrapped(answer: Answer) -> Answer:
    """The answer without its object: the text is the one value, the tokens begin with the label's.

    An endpoint that ignored the schema has answered with the label alone, which stays as it is.
    """
    try:
        value: Any = json.loads(answer.text)
    except (ValueError, RecursionError):
        return answer
    if not isinstance(value, dict) or len(value) != 1:
        return answer
    label = next(iter(value.values()))
    if not isinstance(label, str | int | float):  # null, or another object
        return answer
    tokens = answer.top_logprobs and inside(answer.top_logprobs)
    return replace(answer, text=str(label), top_logprobs=tokens or None, token_bytes=None)


def inside(tokens: Sequence[TokenLogprobs]) -> list[TokenLogprobs]:
    """The tokens behind `{"answer": "`; a token that holds the end of that loses it, in all of its alternatives."""
    opening = OPENING.search("".join(token for token, _ in tokens))
    if opening is None:
        return []
    start = 0
    for index, (token, listed) in enumerate(tokens):
        if start + len(token) > opening.end():
            head = token[: opening.end() - start]
            rest = [(other[len(head) :], logprob) for other, logprob in listed if other.startswith(head)]
            known = [(other, logprob) for other, logprob in rest if other]
            return [(token[len(head) :], known), *tokens[index + 1 :]]
        start += len(token)
    return []
