"""Made-up rows with exact answers, for `azure-distill init`: seeded, without a model, without a download."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from azure_distill.errors import InvalidJob, Problem
from azure_distill.samples import classification, conversation, math, nli, nlu_qa, summarization

Messages = list[dict[str, str]]

# A drawer makes row `number` from a random source; the last message is the right answer.
DRAWERS: dict[str, Callable[[random.Random, int], Messages]] = {
    "nli": nli.draw,
    "conversation": conversation.draw,
    "nlu_qa": nlu_qa.draw,
    "math": math.draw,
    "summarization": summarization.draw,
    "classification": classification.draw,
}


def generate(task: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """`count` rows of a task, no prompt twice; the same seed makes the same rows, and more rows only append."""
    if task not in DRAWERS:
        raise InvalidJob([Problem(f"{task!r} is none of {', '.join(DRAWERS)}", field="task_type")])
    rng = random.Random(f"{task} {seed}")
    seen = set[tuple[str, ...]]()
    while len(seen) < count:
        messages = DRAWERS[task](rng, len(seen))
        prompt = tuple(message["content"] for message in messages[:-1])
        if prompt not in seen:
            seen.add(prompt)
            yield {"messages": messages}
