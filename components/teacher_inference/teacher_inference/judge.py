"""From a teacher's text to something to learn, or to the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.tasks import Extracted, Rejected, Task
from teacher_inference.probabilities import Unknown, answer_probabilities, answer_tokens
from teacher_inference.teacher import BROKEN, CALLED, CUT, FILTERED, REFUSED, Answer, Needs, Question

FINISHES = {
    FILTERED: "refused by the content filter",
    REFUSED: "the teacher refused to answer",
    CUT: "cut at max_tokens",
    BROKEN: "the endpoint broke off",
    CALLED: "the teacher called a tool",
}


class Judge:
    """Reads answers as the task wants them; `needs` says which log probabilities the method learns from."""

    def __init__(self, task: Task, needs: Needs) -> None:
        self.task, self.needs = task, needs

    def read(self, question: Question, answer: Answer) -> Extracted | Rejected:
        """What an answer says, or why it is none."""
        if answer.finish in FINISHES:
            return Rejected(FINISHES[answer.finish])
        try:
            return self.task.extract(answer.text, question.candidates)
        except Rejected as reason:
            return reason

    def probabilities(self, question: Question, answer: Answer, extracted: Extracted) -> tuple[dict[str, Any], str]:
        """The row's fields of log probabilities; and, where they could have been had, why they are missing."""
        fields: dict[str, Any] = {}
        missing = ""
        if question.direct:
            fields, missing = _known(
                "label_logprobs", lambda: answer_probabilities(answer, extracted.answer, question.candidates)
            )
        if self.needs == "tokens":
            tokens, missing = _known("token_logprobs", lambda: answer_tokens(answer, extracted.answer))
            fields |= tokens
        return fields, missing


def useless(answer: Answer, read: Extracted | Rejected) -> bool:
    """Whether another sample of the same question may be better; a filtered prompt stays one."""
    return isinstance(read, Rejected) and answer.finish != FILTERED


def _known(field: str, read: Callable[[], Any]) -> tuple[dict[str, Any], str]:
    try:
        return {field: read()}, ""
    except Unknown as reason:
        return {}, str(reason)
