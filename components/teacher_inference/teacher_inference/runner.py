"""One run: buy what is missing, then write the rows from the store.

Buying and writing are apart, so a row is only ever written from answers that are on disk, the output's order is that
of the data, and a run that was killed goes on where it stopped.  Memory holds keys, never rows or answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TextIO

from shared.errors import ComponentError
from shared.progress import Progress
from shared.rows import SPLITS, Row, write_json, write_rows
from shared.tasks import Extracted, Rejected
from teacher_inference.judge import Judge
from teacher_inference.questions import Questions, is_asked
from teacher_inference.selection import Policy, Usable
from teacher_inference.source import Source
from teacher_inference.tally import Tally
from teacher_inference.teacher import Draws, Question


class Runner:
    """Asks teachers all questions and writes responses, rejections and usage.

    A row's answers are those of all `sources` together.
    """

    def __init__(self, questions: Questions, sources: Sequence[Source], policy: Policy, judge: Judge) -> None:
        self.questions, self.sources, self.policy, self.judge = questions, sources, policy, judge
        self.task = questions.task
        self.tally = Tally(sources, judge.needs)

    def run(self, responses: Path) -> None:
        responses.mkdir(parents=True, exist_ok=True)
        try:
            self._buy()
        except (ComponentError, SystemExit) as error:
            reason = "stopped by a signal" if isinstance(error, SystemExit) else str(error)
            write_json(responses / "usage.json", self.tally.usage(stopped=reason))
            raise
        with (responses / "rejected.jsonl").open("w", encoding="utf-8") as rejected:
            for split in SPLITS:
                self.tally.accepted[split] = write_rows(responses / f"{split}.jsonl", self._rows(split, rejected))
        write_json(responses / "usage.json", self.tally.usage())
        self.tally.report()
        self.tally.check()

    def _buy(self) -> None:
        total = sum(self.policy.count(split) * self.questions.count(split) for split in SPLITS)
        unit = "rows" if self.policy.samples == 1 else "answers"
        for source in self.sources:
            with Progress(total, unit) as progress:
                try:
                    source.buy(self._wanted(), progress)
                except (ComponentError, SystemExit):
                    progress.print()
                    raise

    def _wanted(self) -> Iterator[Draws]:
        for split, row in self.questions.asked():
            yield self._draws(self.questions.question(row), self.policy.count(split))

    def _draws(self, question: Question, count: int) -> Draws:
        return Draws(question, count, self.policy.re_asks)

    def _rows(self, split: str, rejected: TextIO) -> Iterator[Row]:
        for row in self.questions.rows(split):
            if not is_asked(split, row):
                yield row
                continue
            try:
                yield from self._learnt(split, row)
            except Rejected as reason:
                self.tally.reject(str(reason))
                record = {"id": row.id, "split": split, "reason": str(reason)}
                rejected.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _learnt(self, split: str, row: Row) -> Iterator[Row]:
        """The row with each answer that is kept; raises Rejected with the first answer's reason when none is."""
        question = self.questions.question(row)
        found = self._usable(question, self.policy.count(split))
        for number, one in enumerate(self.policy.select(self.task, split, row, question, found)):
            yield self._row(row if number == 0 else replace(row, id=f"{row.id}#{number}"), question, one)

    def _usable(self, question: Question, count: int) -> list[Usable]:
        found: list[Usable] = []
        reasons: list[str] = []
        for answer, read in chain(*(source.answers(self._draws(question, count)) for source in self.sources)):
            if answer is not None:
                self.tally.total.add(answer)
            if answer is not None and isinstance(read, Extracted):
                found.append(Usable(answer, read))
            else:
                reasons.append(str(read))
        if not found:
            raise Rejected(reasons[0])
        return found

    def _row(self, row: Row, question: Question, one: Usable) -> Row:
        fields, missing = self.judge.probabilities(question, one.answer, one.extracted)
        self.tally.keep(fields, missing, one.agreement)
        rationale = one.extracted.rationale if self.task.settings.keep_rationale else None
        learnt = self.task.learnt(one.extracted)
        return replace(row, answer=learnt, rationale=rationale, agreement=one.agreement, **fields)
