"""From a teacher's text to a row to learn, or to the reason why not."""

from __future__ import annotations

from dataclasses import replace

from shared.rows import Row
from shared.tasks import Rejected, Task
from teacher_inference.probabilities import Unknown, answer_probabilities
from teacher_inference.teacher import CUT, FILTERED, REFUSED, Answer, Question

FINISHES = {
    FILTERED: "refused by the content filter",
    REFUSED: "the teacher refused to answer",
    CUT: "cut at max_tokens",
}


def judged(task: Task, row: Row, question: Question, answer: Answer) -> tuple[Row, str | None]:
    """The row with the teacher's answer, and why its label probabilities are missing where they could have been had.

    Raises Rejected when the answer is none.
    """
    if answer.finish in FINISHES:
        raise Rejected(FINISHES[answer.finish])
    extracted = task.extract(answer.text, task.candidates(row.prompt))
    logprobs, missing = None, None
    if question.candidates:
        try:
            logprobs = answer_probabilities(answer, extracted.answer, question.candidates)
        except Unknown as reason:
            missing = str(reason)
    learnt = replace(row, answer=extracted.answer, label_logprobs=logprobs, rationale=extracted.rationale)
    return learnt, missing
