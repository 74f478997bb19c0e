"""One run: buy what is missing, then write the rows from the store.

Buying and writing are apart, so a row is only ever written from an answer that is on disk, the output's order is
that of the data, and a run that was killed goes on where it stopped.  Memory holds keys, never rows or answers.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from shared.errors import InvalidInput, Problem
from shared.progress import Progress
from shared.rows import SPLITS, Row, write_json, write_rows
from shared.tasks import Rejected
from teacher_inference.judge import judged
from teacher_inference.ledger import Ledger
from teacher_inference.questions import Questions, is_asked
from teacher_inference.store import Store
from teacher_inference.teacher import Ask, Teacher, request_key
from teacher_inference.usage import Meter, Totals


class Runner:
    """Asks a teacher all questions and writes responses, rejections and usage."""

    def __init__(self, questions: Questions, teacher: Teacher, store: Store, meter: Meter, probabilities: bool) -> None:
        self.questions, self.teacher, self.store, self.meter = questions, teacher, store, meter
        self.probabilities = probabilities
        self.failures: dict[str, str] = {}
        self.totals = Totals()
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.with_probabilities = 0
        self.missing_probabilities: Counter[str] = Counter()

    def run(self, responses: Path) -> None:
        started = time.monotonic()
        self._buy()
        responses.mkdir(parents=True, exist_ok=True)
        with (responses / "rejected.jsonl").open("w", encoding="utf-8") as rejected:
            for split in SPLITS:
                self.accepted[split] = write_rows(responses / f"{split}.jsonl", self._rows(split, rejected))
        write_json(responses / "usage.json", self._usage(time.monotonic() - started))
        self._report()
        self._check()

    def _buy(self) -> None:
        total = sum(1 for _ in self.questions.asked())
        with Progress(total, "rows") as progress:
            ledger = Ledger(self.store, self.meter, progress)
            self.failures = ledger.failures
            self.teacher.ask(self._missing(ledger), ledger)

    def _missing(self, ledger: Ledger) -> Iterator[Ask]:
        """What is not in the store, each request once."""
        asked: set[bytes] = set()
        for row in self.questions.asked():
            question = self.questions.question(row)
            key = request_key(self.teacher, question)
            if bytes.fromhex(key) in asked or key in self.store:
                self.meter.reused += 1
                ledger.reuse()
                continue
            asked.add(bytes.fromhex(key))
            yield Ask(key, question)

    def _rows(self, split: str, rejected: TextIO) -> Iterator[Row]:
        for row in self.questions.rows(split):
            if not is_asked(split, row):
                yield row
                continue
            try:
                yield self._judged(row)
            except Rejected as reason:
                self.rejected[str(reason)] += 1
                record = {"id": row.id, "split": split, "reason": str(reason)}
                rejected.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _judged(self, row: Row) -> Row:
        question = self.questions.question(row)
        key = request_key(self.teacher, question)
        answer = self.store.get(key)
        if answer is None:
            raise Rejected(self.failures.get(key, "not answered"))
        self.totals.add(answer)
        learnt, missing = judged(self.questions.task, row, question, answer)
        if learnt.label_logprobs is not None:
            self.with_probabilities += 1
        elif missing:
            self.missing_probabilities[missing] += 1
        return learnt

    def _usage(self, seconds: float) -> dict[str, object]:
        rejected = self.rejected.total()
        return {
            "teacher": self.teacher.name,
            "kind": self.teacher.kind,
            "requests": self.meter.requests,
            "retries": self.meter.retries,
            "throttled": self.meter.throttled,
            "reused": self.meter.reused,
            "answered": self.totals.answers,
            "rejected": rejected,
            "prompt_tokens": self.meter.prompt_tokens,
            "completion_tokens": self.meter.completion_tokens,
            "seconds": round(seconds, 3),
            "cost": self.meter.cost,
            "latency_ms": self.totals.latency_ms(),
            "total": self.totals.to_json(self.meter.prices),
            "rejected_reasons": dict(self.rejected.most_common()),
            "label_logprobs": {"rows": self.with_probabilities, "missing": dict(self.missing_probabilities)},
        }

    def _report(self) -> None:
        kept = ", ".join(f"{self.accepted[split]} {split}" for split in SPLITS)
        print(f"rows written: {kept}; {self.meter.bought} answers new, {self.meter.reused} known before")
        for reason, count in self.rejected.most_common():
            print(f"rejected: {count} × {reason}")
        for reason, count in self.missing_probabilities.most_common():
            print(f"no label probabilities: {count} × {reason}")

    def _check(self) -> None:
        """Refuse an output that no student can learn from."""
        if self.rejected and not self.accepted["train"]:
            reasons = "; ".join(f"{count} × {reason}" for reason, count in self.rejected.most_common(5))
            raise InvalidInput(Problem(f"none of the teacher's answers to the train rows was accepted: {reasons}"))
        if self.probabilities and not self.with_probabilities:
            reasons = "; ".join(f"{count} × {reason}" for reason, count in self.missing_probabilities.most_common(5))
            raise InvalidInput(
                Problem(
                    f"the teacher gave label probabilities for no row: {reasons or 'no row was accepted'}",
                    hint="choose distillation.method: response, which needs none",
                )
            )
