"""Tasks answered by one label: NLI, multiple choice and the user's own classification."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import InvalidInput, Problem
from shared.rows import Message
from shared.tasks.base import LabelTask, Settings, find_label, squash


class Nli(LabelTask):
    """Does the premise entail the hypothesis, contradict it, or neither?"""

    name = "nli"
    labels = ("entailment", "contradiction", "neutral")
    instruction = (
        "Decide whether the premise entails the hypothesis, contradicts it, or neither. "
        "Answer with exactly one word: entailment, contradiction or neutral."
    )

    def candidates(self, prompt: Sequence[Message]) -> tuple[str, ...]:
        return self.labels


class Classification(LabelTask):
    """The user's own label set."""

    name = "classification"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if len({squash(label) for label in settings.labels}) < 2:
            raise InvalidInput(Problem("needs at least two different labels", field="labels"))
        self.instruction = "Answer with exactly one of these labels: " + ", ".join(settings.labels) + "."

    def candidates(self, prompt: Sequence[Message]) -> tuple[str, ...]:
        return self.settings.labels


OPTION = re.compile(r"^\s*\(?([A-Z])[).:]\s+(.+?)\s*$", re.MULTILINE)


class NluQa(LabelTask):
    """A multiple-choice question; its options stand on lines of their own: `A) …`, `(B) …`, `C. …`, `D: …`."""

    name = "nlu_qa"
    instruction = "Answer the multiple-choice question with the letter of the right option and nothing else."

    def candidates(self, prompt: Sequence[Message]) -> tuple[str, ...]:
        return tuple(self.options(prompt))

    def options(self, prompt: Sequence[Message]) -> dict[str, str]:
        """{letter: text} of the options in the last user message."""
        return dict(OPTION.findall(prompt[-1]["content"]))

    def check(self, prompt: Sequence[Message], reference: str | None) -> list[str]:
        if len(self.candidates(prompt)) < 2:
            return ["the question has fewer than two options (one a line: `A) …`)"]
        return super().check(prompt, reference)

    def normal_answer(self, text: str, candidates: Sequence[str]) -> str:
        # "B", "(B)", "B) because", "The answer is B."; a lone "A" inside a sentence is an article, not a choice
        lead = re.match(r"\W*([A-Z])(?:\W|$)", text)
        if lead and lead[1] in candidates and not re.match(r"\W*A\s+[a-z]", text):
            return lead[1]
        said = re.findall(r"(?:answer|option|choice)(?:\s+is)?\W+([A-Z])(?!\w)", text, re.IGNORECASE)
        letters = {letter.upper() for letter in said} & set(candidates)
        return letters.pop() if len(letters) == 1 else super().normal_answer("", candidates)

    def is_correct(self, answer: str, reference: str, candidates: Sequence[str] = ()) -> bool:
        return answer == reference or (find_label(answer, [reference]) == reference and len(answer) < 4)
