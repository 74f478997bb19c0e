"""Rows: the JSON lines that flow from one component to the next.

A row file holds one JSON object a line.  Every row that `prepare_data` writes has

    id          a name that stays the same as long as the prompt does
    messages    the conversation; a last assistant message is the row's answer
    reference   the user's own ("gold") answer, or null where there is none

In `prepare_data`'s output the last assistant message *is* the reference.  `teacher_inference` replaces it by the
teacher's answer and may add

    label_logprobs   {candidate answer: log probability}, normalised over the candidates of the row
    token_logprobs   for each token of the answer {"token", "logprob", "bytes"?, "top": [[token, log probability], …]}
    rationale        the teacher's reasoning, where it was asked for and kept
    agreement        the share of the teacher's answers that say the same, where several were drawn

The reference is never shown to a teacher.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from shared.errors import InvalidInput, Problem
from shared.fast_json import decode, encode

SPLITS = ("train", "validation", "test")
LEARNT = ("label_logprobs", "token_logprobs", "rationale", "agreement")


class Message(TypedDict):
    role: str
    content: str


@dataclass(frozen=True)
class Row:
    """One prompt with what is known of its answer.

    `prompt` ends with a user message.  `answer` is the text to be learnt (the reference in prepared data, the
    teacher's answer afterwards).  `label_logprobs` are natural logarithms.
    """

    id: str
    prompt: list[Message]
    answer: str | None = None
    reference: str | None = None
    label_logprobs: dict[str, float] | None = None
    token_logprobs: list[dict[str, Any]] | None = None
    rationale: str | None = None
    agreement: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Row:
        value = dict(value)
        prompt, answer = split_answer(value.pop("messages"))
        return Row(
            id=value.pop("id"),
            prompt=prompt,
            answer=answer,
            reference=value.pop("reference", None),
            label_logprobs=value.pop("label_logprobs", None),
            token_logprobs=value.pop("token_logprobs", None),
            rationale=value.pop("rationale", None),
            agreement=value.pop("agreement", None),
            extra=value,
        )

    def to_json(self) -> dict[str, Any]:
        messages = list(self.prompt)
        if self.answer is not None:
            messages.append({"role": "assistant", "content": self.answer})
        value: dict[str, Any] = {"id": self.id, "messages": messages, "reference": self.reference}
        for name in LEARNT:
            if getattr(self, name) is not None:
                value[name] = getattr(self, name)
        return value | self.extra


def split_answer(messages: list[Message]) -> tuple[list[Message], str | None]:
    """(prompt, answer): the last message is the answer when the assistant speaks last."""
    if messages and messages[-1]["role"] == "assistant":
        return messages[:-1], messages[-1]["content"]
    return messages, None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file that a component wrote, one at a time."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Row.from_json(decode(line))
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInput(Problem(f"is not a prepared row: {error!r}", str(path), number)) from None


def read_split(folder: Path, split: str) -> list[Row]:
    """All rows of `folder/SPLIT.jsonl`; none where there is no such file."""
    path = folder / f"{split}.jsonl"
    return list(read_rows(path)) if path.exists() else []


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write a row file, whole or not at all; returns the number of rows."""
    return write_jsonl(path, (row.to_json() for row in rows))


def write_jsonl(path: Path, values: Iterable[dict[str, Any]]) -> int:
    """Write JSON lines, whole or not at all; returns their number."""
    count = 0
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        for count, value in enumerate(values, 1):  # noqa: B007  (the last count is the result)
            file.write(encode(value) + b"\n")
    os.replace(temporary, path)
    return count


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON document, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
