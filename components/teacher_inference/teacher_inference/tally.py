"""What came of a run: rows kept and rejected, and what they cost; written to usage.json and told at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import InvalidInput, Problem
from shared.rows import SPLITS
from teacher_inference.teacher import Needs
from teacher_inference.usage import Totals

if TYPE_CHECKING:
    from teacher_inference.source import Source

FIELD: dict[Needs, str] = {"labels": "label_logprobs", "tokens": "token_logprobs"}
NAME: dict[Needs, str] = {"labels": "label probabilities", "tokens": "log probabilities of tokens"}


class Tally:
    """Counts of one run's output."""

    def __init__(self, sources: Sequence[Source], needs: Needs) -> None:
        self.sources, self.needs = sources, needs
        self.started = time.monotonic()
        self.total = Totals()
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.fields: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.agreements: list[float] = []

    def keep(self, fields: Mapping[str, Any], missing: str, agreement: float | None) -> None:
        """Count a row that is learnt."""
        self.fields.update(fields.keys())
        if missing:
            self.missing[missing] += 1
        if agreement is not None:
            self.agreements.append(agreement)

    def reject(self, reason: str) -> None:
        self.rejected[reason] += 1

    def usage(self, stopped: str | None = None) -> dict[str, object]:
        """usage.json; see docs/teacher_inference.md.  `stopped` is why a run ended before its questions did."""
        seconds = time.monotonic() - self.started
        meters = [source.meter for source in self.sources]
        meter = sum(meters[1:], meters[0])
        found: dict[str, object] = {
            "teacher": ", ".join(source.teacher.name for source in self.sources),
            "kind": self.sources[0].teacher.kind,
            **meter.to_json(),
            "answered": self.total.answers,
            "rejected": self.rejected.total(),
            "seconds": round(seconds, 3),
            "answers_per_second": round(meter.bought / seconds, 2) if seconds else None,
            "latency_ms": self.total.latency_ms(),
            "total": self.total.to_json(meter.prices),
            "rejected_reasons": dict(self.rejected.most_common()),
            "agreement": round(sum(self.agreements) / len(self.agreements), 4) if self.agreements else None,
        }
        field = FIELD.get(self.needs, "label_logprobs")
        found[field] = {"rows": self.fields[field], "missing": dict(self.missing)}
        return found | ({"stopped": stopped} if stopped else {})

    def report(self) -> None:
        kept = ", ".join(f"{self.accepted[split]} {split}" for split in SPLITS)
        bought, reused = (sum(getattr(source.meter, name) for source in self.sources) for name in ("bought", "reused"))
        print(f"rows written: {kept}; {bought} answers new, {reused} known before")
        for reason, count in self.rejected.most_common():
            print(f"rejected: {count} × {reason}")
        for reason, count in self.missing.most_common():
            print(f"no {NAME.get(self.needs, NAME['labels'])}: {count} × {reason}")

    def check(self) -> None:
        """Refuse an output that no student can learn from."""
        if self.rejected and not self.accepted["train"]:
            reasons = told(self.rejected)
            raise InvalidInput(Problem(f"none of the teacher's answers to the train rows was accepted: {reasons}"))
        if self.needs != "none" and not self.fields[FIELD[self.needs]]:
            reasons = told(self.missing) or "no row was accepted"
            raise InvalidInput(
                Problem(
                    f"the teacher gave {NAME[self.needs]} for no row: {reasons}",
                    hint="choose distillation.method: response, which needs none",
                )
            )


def told(reasons: Counter[str]) -> str:
    return "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(5))
