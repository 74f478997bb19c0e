"""What a run would ask, before anything is sent: how much of it, and the first questions word for word."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from shared.rows import Message, Row
from shared.tasks import Task
from shared.tasks.text import Summarization
from teacher_inference.questions import Questions
from teacher_inference.selection import Policy
from teacher_inference.teacher import Question

FILE = "preview.json"
WORD = 6  # bytes of an English word and its space
WRAPPING = len('{"reason": "", "answer": ""}')


def preview(questions: Questions, policy: Policy, shown: int) -> dict[str, Any]:
    """Counts over all rows, and `shown` different questions.

    `requests` counts equal questions once and every sample; `most_requests` re-asked answers too.  `answer_bytes`
    is what all answers together are expected to have, in UTF-8: as long as the label or the reference; None where no
    row tells.
    """
    rows: Counter[str] = Counter()
    asked: dict[bytes, int] = {}  # samples by question
    sums: Counter[str] = Counter()
    known = size_of_answers = 0
    for split, row in questions.asked():
        rows[split] += 1
        question = questions.question(row)
        digest = hashlib.sha256(json.dumps(question.messages).encode()).digest()
        again = 0 if digest in asked else policy.re_asks
        more = max(0, policy.count(split) - asked.get(digest, 0))
        asked[digest] = asked.get(digest, 0) + more
        size = sum(len(message["content"].encode()) for message in question.messages)
        sums.update(requests=more, most_requests=more + again)
        sums.update(prompt_bytes=more * size, most_prompt_bytes=(more + again) * size)
        length = answer_length(questions.task, row, question)
        if length is not None and more:
            known, size_of_answers = known + more, size_of_answers + more * length
    return {
        "rows": dict(rows),
        **{name: sums[name] for name in ("requests", "most_requests", "prompt_bytes", "most_prompt_bytes")},
        "answer_bytes": round(size_of_answers / known * sums["requests"]) if known else None,
        "prompts": list(islice(_prompts(questions), shown)),
    }


def answer_length(task: Task, row: Row, question: Question) -> int | None:
    """Bytes that an answer is expected to have; None where nothing tells."""
    if question.candidates:
        length = max(len(label.encode()) for label in question.candidates)
    elif row.reference is not None:
        length = len(row.reference.encode())
    elif isinstance(task, Summarization):
        length = task.settings.max_summary_words * WORD
    else:
        return None
    return length + (task.thought_words * WORD + WRAPPING if question.reasoned else 0)


def _prompts(questions: Questions) -> Iterator[dict[str, Any]]:
    seen: list[Sequence[Message]] = []
    for split, row in questions.asked():
        messages = questions.question(row).messages
        if messages not in seen:
            seen.append(messages)
            yield {"id": row.id, "split": split, "messages": list(messages)}
