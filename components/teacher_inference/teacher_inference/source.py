"""One teacher and what it has answered: which samples of a question are known, and which are still to be bought."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from shared.progress import Progress
from shared.tasks import Extracted, Rejected
from teacher_inference.judge import Judge, useless
from teacher_inference.store import Store
from teacher_inference.teacher import Answer, Ask, Draws, Question, Teacher, request_key
from teacher_inference.usage import Meter


class Source:
    """A teacher with its store of answers, and why some of its questions got none."""

    def __init__(self, teacher: Teacher, store: Store, judge: Judge, meter: Meter) -> None:
        self.teacher, self.store, self.judge, self.meter = teacher, store, judge, meter
        self.failures: dict[str, str] = {}

    def key(self, question: Question, sample: int) -> str:
        return request_key(self.teacher, question, sample)

    def answers(self, draws: Draws) -> Iterator[tuple[Answer | None, Extracted | Rejected]]:
        """What came of each sample of a question, in order: an answer and what it says, or the reason why not."""
        for sample in draws:
            key = self.key(draws.question, sample)
            answer = self.store.get(key)
            if answer is None:
                yield None, Rejected(self.failures.get(key, "not answered"))
                continue
            read = self.judge.read(draws.question, answer)
            yield answer, read
            if useless(answer, read):
                draws.extend()

    def buy(self, wanted: Iterator[Draws], progress: Progress) -> None:
        """Ask the teacher for all samples that are wanted and not known; what is bought is kept, come what may."""
        purchase = Purchase(self, wanted, progress)
        self.teacher.ask(purchase, purchase)


class Purchase:
    """The questions that one teacher is still to be asked, and the sink of its answers.

    Each request is bought once, whatever number of rows share it.  A useless answer brings another sample of its
    question as soon as it is on disk.  In memory are the keys that were handed out and the questions on their way.
    """

    def __init__(self, source: Source, wanted: Iterator[Draws], progress: Progress) -> None:
        self.source, self.meter, self.progress = source, source.meter, progress
        self._asked: set[bytes] = set()
        self._first = (ask for draws in wanted for ask in self._missing(draws))
        self._again: deque[Ask] = deque()

    def take(self) -> Ask | None:
        return self._again.popleft() if self._again else next(self._first, None)

    def write(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        self.source.store.append([(ask.key, answer) for ask, answer in answers])

    def sync(self) -> None:
        self.source.store.sync()

    def count(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        for ask, answer in answers:
            self.meter.add(answer)
            if self._another(ask.draws, answer):
                self._again.extend(self._missing(ask.draws))
        self.progress.facts.clear()
        self.progress.advance(len(answers), **self.meter.facts())

    def fail(self, ask: Ask, reason: str) -> None:
        self.source.failures[ask.key] = reason
        self.progress.advance()

    def _missing(self, draws: Draws) -> Iterator[Ask]:
        """The next samples of a question that nobody has bought yet."""
        for sample in draws:
            key = self.source.key(draws.question, sample)
            known = key in self.source.store
            if known or bytes.fromhex(key) in self._asked:
                self.meter.reused += 1
                self.meter.stored += known
                self.progress.total -= 1
                if known and draws.spare:
                    self._another(draws, self.source.store.get(key))
                continue
            self._asked.add(bytes.fromhex(key))
            self.meter.asked_again += sample >= draws.first
            yield Ask(key, draws.question, sample, draws)

    def _another(self, draws: Draws, answer: Answer | None) -> bool:
        """Whether an answer is useless and the question worth another try."""
        if not draws.spare or answer is None:
            return False
        again = useless(answer, self.source.judge.read(draws.question, answer)) and draws.extend()
        self.progress.total += again
        return again
