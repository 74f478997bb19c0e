"""What a task is: which rows are valid, how a teacher is asked, what counts as an answer, which metrics apply."""

from __future__ import annotations

import json
import re
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shared.rows import Message, Row


class Rejected(Exception):
    """A teacher's answer that fails the task's check; the message is the reason, free of row content."""


@dataclass(frozen=True)
class Extracted:
    """The answer to learn and, where the teacher reasoned first, its reasoning."""

    answer: str
    rationale: str | None = None


@dataclass(frozen=True)
class Settings:
    """A job's wishes that change how the task is asked.

    `labels` is the answer set of a classification.  `system_prompt` replaces the instruction given to the teacher,
    never what the student sees.  `max_summary_words` bounds a summary (Azure's `max_len_summary`).  `keep_rationale`
    keeps the teacher's reasoning beside its answer.
    """

    labels: tuple[str, ...] = ()
    chain_of_thought: bool = False
    chain_of_density: bool = False
    keep_rationale: bool = False
    max_summary_words: int = 80
    system_prompt: str | None = None


class Task(ABC):
    """One kind of task; subclasses override what differs."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    headline: ClassVar[str] = "accuracy"
    multi_turn: ClassVar[bool] = False
    instruction: str | None = None
    thought_words: ClassVar[int] = 80

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def check(self, prompt: Sequence[Message], reference: str | None) -> list[str]:
        """What is wrong with a row for this task, beyond its shape; an empty list when it is valid."""
        users = sum(message["role"] == "user" for message in prompt)
        if not self.multi_turn and users != 1:
            return [f"a row of {self.name} has exactly one user message, this one has {users}"]
        return []

    def candidates(self, prompt: Sequence[Message]) -> tuple[str, ...]:
        """The answers that can be right for this prompt; empty for free text."""
        return ()

    def teacher_messages(self, prompt: Sequence[Message], examples: Sequence[Row] = ()) -> list[Message]:
        """What the teacher is sent: the user's messages, solved examples before them, and the task's instruction."""
        system = [m["content"] for m in prompt if m["role"] == "system"]
        turns = [m for m in prompt if m["role"] != "system"]
        parts = [self.settings.system_prompt or "\n\n".join(system) or self.instruction, self.reasoning_instruction()]
        content = "\n\n".join(part for part in parts if part)
        head: list[Message] = [{"role": "system", "content": content}] if content else []
        return head + [turn for row in examples for turn in _solved(row)] + turns

    def reasoning_instruction(self) -> str | None:
        """The extra instruction that asks for reasoning before the answer, where the job wants it."""
        if not self.settings.chain_of_thought:
            return None
        return (
            "Think step by step before you answer. Reply with one JSON object and nothing else: "
            f'{{"reason": "<your reasoning, at most {self.thought_words} words>", "answer": "<your final answer>"}}'
        )

    def extract(self, text: str, candidates: Sequence[str] = ()) -> Extracted:
        """The answer inside a teacher's text; raises Rejected with the reason when there is none."""
        rationale = None
        if self.settings.chain_of_thought:
            rationale, text = parse_reasoned(text)
        answer = self.normal_answer(text.strip(), candidates)
        if not answer:
            raise Rejected("empty answer")
        return Extracted(answer, rationale)

    def learnt(self, extracted: Extracted) -> str:
        """What the student is to say."""
        return extracted.answer

    def normal_answer(self, text: str, candidates: Sequence[str]) -> str:
        """`text` in the form the student shall learn; raises Rejected when it is no possible answer."""
        return text

    def is_correct(self, answer: str, reference: str, candidates: Sequence[str] = ()) -> bool:
        """Whether an answer (of a teacher or a student) says the same as the reference."""
        return squash(answer) == squash(reference)


class LabelTask(Task):
    """A task whose answer is one of a few candidates."""

    metrics = ("accuracy", "macro_f1", "inference_time")

    def check(self, prompt: Sequence[Message], reference: str | None) -> list[str]:
        problems = super().check(prompt, reference)
        candidates = self.candidates(prompt)
        if reference is not None and candidates and reference not in candidates:
            problems.append(f"the answer {shorten(reference)!r} is none of {', '.join(candidates)}")
        return problems

    def normal_answer(self, text: str, candidates: Sequence[str]) -> str:
        label = find_label(text, candidates)
        if label is None:
            raise Rejected("the answer is none of the labels")
        return label

    def is_correct(self, answer: str, reference: str, candidates: Sequence[str] = ()) -> bool:
        return (find_label(answer, candidates) or answer) == reference


def find_label(text: str, candidates: Sequence[str]) -> str | None:
    """The one candidate that `text` names: as the whole text, as its first words, or alone anywhere in it."""
    said = squash(text)
    plain = said.rstrip(".!")
    for whole, ends in ((said, ""), (plain, ""), (plain, ".!")):  # "U.S." may be a label, and "U.S" mean it
        exact = [c for c in candidates if whole and squash(c).rstrip(ends) == whole]
        if exact:
            return exact[0]
    named = [c for c in candidates if re.search(rf"(?<!\w){re.escape(squash(c))}(?!\w)", said)]
    # of "positive" and "very positive", a text that names both by naming the longer one means the longer one
    longest = [c for c in named if not any(squash(c) in squash(o) and c != o for o in named)]
    return longest[0] if len(longest) == 1 else None


def parse_reasoned(text: str) -> tuple[str, str]:
    """(reason, answer) of a `{"reason", "answer"}` object, fenced or not; raises Rejected when it is not one."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value: Any = json.loads(text[start : end + 1], strict=False)
        reason, answer = value["reason"], value["answer"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Rejected("unparsable chain of thought") from None
    if not isinstance(answer, str | int | float):  # null, or an object
        raise Rejected("the answer is no text")
    return str(reason), str(answer)


def squash(text: str) -> str:
    """Lower case, white space folded: what a comparison of words looks at."""
    return " ".join(text.lower().split())


def shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _solved(row: Row) -> list[Message]:
    turns = [m for m in row.prompt if m["role"] != "system"]
    return [*turns, {"role": "assistant", "content": row.reference or row.answer or ""}]
