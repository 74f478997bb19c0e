"""Whether the words of an endpoint hold words of a row: those must not be told, and say nothing of a request's form."""

from __future__ import annotations

import re

from teacher_inference.teacher import Question

PIECE = 12  # characters that stand in a message by quotation, hardly by chance
SNIPPET = 8  # characters that may be a quotation
NUMBER = re.compile(r"\d{3,}")


def quotes(said: str, question: Question) -> bool:
    """Whether `said` quotes the question: two pieces' length or more, of a message that is as long as one."""
    texts = [message["content"] for message in question.messages if len(message["content"]) >= PIECE]
    starts = ((text, start) for text in texts for start in range(0, len(text) - PIECE + 1, PIECE))
    return any(text[start : start + PIECE] in said for text, start in starts)


def repeats(said: str, question: Question) -> bool:
    """Whether `said` may hold anything of the question, if only by chance: what is told to people must not."""
    said = _folded(said)
    parts = {said[start : start + SNIPPET] for start in range(len(said) - SNIPPET + 1)} | {*NUMBER.findall(said)}
    texts = [text for message in question.messages if (text := _folded(message["content"]))]
    return any(text in said or any(part in text for part in parts) for text in texts)


def _folded(text: str) -> str:
    """Lower case and single blanks, without the marks by which JSON escapes: as it is said, or as it is quoted."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return " ".join(re.sub(r"\\[nrt]|\\", " ", unescaped).lower().split())
