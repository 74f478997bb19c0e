"""`data_report.json`: what came in, what was dropped, what went where, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prepare_data.clean import Drop, Fate
from prepare_data.problems import Problems
from prepare_data.readers import FileFacts
from prepare_data.table import Source, Table

IMBALANCE = 3.0


@dataclass
class Report:
    """Filled in step by step, so that a run that fails reports what it knew."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: Counter[Fate] = field(default_factory=Counter)

    def add_file(self, source: Source, path: Path, facts: FileFacts, rows: int) -> None:
        self.files[source.argument] = {"file": str(path), "rows": rows, "bytes": facts.bytes, "sha256": facts.sha256}

    def count(self, drops: list[Drop]) -> None:
        self.dropped = Counter(drop.fate for drop in drops)

    def add_split(self, name: str, table: Table, rows: list[int]) -> None:
        tokens = np.array(table.tokens)[rows]
        p50, p95 = (int(value) for value in np.percentile(tokens, [50, 95], method="higher")) if rows else (0, 0)
        self.splits[name] = {
            "rows": len(rows),
            "references": sum(table.answers[row] != 0 for row in rows),
            "labels": label_counts(table, rows) if table.with_labels else None,
            "tokens": {"p50": p50, "p95": p95, "max": int(tokens.max(initial=0)), "total": int(tokens.sum())},
        }

    def warnings(self) -> Iterator[str]:
        """What is allowed and yet probably not meant."""
        lost, rows = self.dropped.total(), sum(split["rows"] for split in self.splits.values())
        if lost > rows > 0:
            yield f"most rows are left out: {lost} of {lost + rows} ({self._dropped()})"
        conflicts = self.dropped[Fate.CONFLICT]
        if conflicts:
            yield f"rows that repeat a prompt with another answer: {conflicts} (the first answer was kept)"
        counts = self.splits.get("train", {}).get("labels") or {}
        rarest, commonest = min(counts.values(), default=0), max(counts.values(), default=0)
        if commonest > IMBALANCE * rarest:
            label = max(counts, key=lambda name: counts[name])
            ratio = f"{commonest / rarest:.1f} times as many"
            yield f"the label {label!r} has {ratio} training rows as the rarest: consider data.balance: true"
        test = self.splits.get("test")
        if test and test["references"] < test["rows"]:
            missing = test["rows"] - test["references"]
            yield f"test rows without a reference answer to measure by: {missing} of {test['rows']}"

    def to_json(self, problems: Problems) -> dict[str, Any]:
        listed = [problem.to_json() for problem in problems.listed]
        return {
            "valid": not problems.count,
            "files": self.files,
            "splits": self.splits,
            **{fate.value: self.dropped[fate] for fate in Fate},
            "problem_count": problems.count,
            "problems": listed,
            "warnings": [*problems.warnings, *self.warnings()],
        }

    def summary(self) -> str:
        """One line for a person."""
        rows = ", ".join(f"{name} {split['rows']}" for name, split in self.splits.items())
        dropped = self._dropped()
        return f"rows: {rows}" + (f" · left out: {dropped}" if dropped else "")

    def _dropped(self) -> str:
        counts = [(self.dropped[fate], fate.value.replace("_", " ")) for fate in Fate]
        return ", ".join(f"{count} {name}" for count, name in counts if count)


def label_counts(table: Table, rows: list[int]) -> dict[str, int]:
    """{label: rows}, by name; rows without a reference are not counted."""
    names = list(table.label_names)
    counts = Counter(names[table.labels[row]] for row in rows if table.labels[row] >= 0)
    return dict(sorted(counts.items()))


def reason(drop: Drop, paths: dict[Source, Path], table: Table) -> str:
    """Why a row was dropped, in words, without anything that it says."""
    if drop.other is None:
        if drop.fate is Fate.OVERLONG:
            return f"longer than max_tokens: about {table.tokens[drop.row]} tokens"
        return "balance: its label has more training rows than the rarest label"
    place = f"{paths[Source(table.sources[drop.other])]}:{table.lines[drop.other]}"
    if drop.fate is Fate.CONFLICT:
        return f"conflict: the prompt of {place} with another answer"
    kind = "repeats" if drop.similarity == 1 else "nearly repeats"
    alike = "" if drop.fate is not Fate.NEAR and drop.similarity == 1 else f" (similarity {drop.similarity:.3f})"
    return f"{'leak: ' if drop.fate is Fate.LEAK else ''}{kind} {place}{alike}"
