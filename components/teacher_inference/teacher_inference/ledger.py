"""Between a teacher and the store: nothing is counted or shown before it is on disk."""

from __future__ import annotations

from collections.abc import Sequence

from shared.progress import Progress
from teacher_inference.store import Store
from teacher_inference.teacher import Answer
from teacher_inference.usage import Meter


class Ledger:
    """The sink of a run (see `teacher.Sink`)."""

    def __init__(self, store: Store, meter: Meter, progress: Progress) -> None:
        self.store, self.meter, self.progress = store, meter, progress
        self.failures: dict[str, str] = {}

    def write(self, answers: Sequence[tuple[str, Answer]]) -> None:
        self.store.append(answers)

    def sync(self) -> None:
        self.store.sync()

    def count(self, answers: Sequence[tuple[str, Answer]]) -> None:
        for _, answer in answers:
            self.meter.add(answer)
        self.progress.advance(len(answers), **self.meter.facts())

    def fail(self, key: str, reason: str) -> None:
        self.failures[key] = reason
        self.progress.advance()

    def reuse(self) -> None:
        """A row whose answer is known already: one row less to do."""
        self.progress.total -= 1
