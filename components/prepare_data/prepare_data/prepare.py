"""The order of it all: read and check, clean, split, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from prepare_data.clean import LEAKS, Cleaning, Drop, Fate, clean
from prepare_data.output import Outputs, deal
from prepare_data.problems import Problems
from prepare_data.readers import FileFacts, file_facts, open_problem, read_records
from prepare_data.report import Report, reason
from prepare_data.rows import to_row
from prepare_data.settings import Settings
from prepare_data.split import GOLD, split
from prepare_data.table import Source, Table
from shared.errors import InvalidInput, Problem
from shared.progress import Progress
from shared.rows import SPLITS, write_jsonl
from shared.tasks import LabelTask, Task

UNANSWERED = Problem("has no answer for a teacher to learn or to be shown", hint="end it with the assistant's message")
LONG_ROW = 32_768  # tokens, estimated; a row beyond has more probably slipped in than been meant


class Preparation:
    """One run: its files, and the report and the problems as far as it came."""

    def __init__(self, files: dict[Source, Path], outputs: Outputs) -> None:
        self.files, self.outputs = files, outputs
        self.report, self.problems = Report(), Problems()

    def run(self, task: Task, settings: Settings) -> None:
        """Write the prepared rows, or collect the problems; a problem after which nothing can follow is raised."""
        if settings.balance and not isinstance(task, LabelTask):
            raise InvalidInput(Problem(f"a {task.name} row has no label to balance by", field="settings.balance"))
        facts = self._open()
        with Table(settings.max_tokens, isinstance(task, LabelTask), settings.near_duplicates is not None) as table:
            self._read(table, facts, task, settings)
            state = clean(table, settings.near_duplicates)
            self.report.count(state.drops)
            self.problems.warnings.extend(self._long_rows(state))
            if settings.leakage == "error":
                self.problems.extend(self._leak(drop, table) for drop in state.drops if drop.fate is Fate.LEAK)
            self._require_rows(state)
            if not self.problems.count:
                self._write(state, split(state, frozenset(self.files), settings))

    def _open(self) -> dict[Source, FileFacts]:
        """Facts of the files that can be read."""
        if not self.files.keys() & {Source.TRAINING, Source.TEST}:
            raise InvalidInput("training_data or test_data is needed")
        facts = {}
        for source, path in self.files.items():
            problem = open_problem(path)
            if problem:
                self.problems.add(replace(problem, field=source.argument))
            else:
                facts[source] = file_facts(path)
        same = {
            other: one
            for one, other in combinations(facts, 2)
            if one in LEAKS[other] and facts[one].sha256 == facts[other].sha256
        }
        for other, one in same.items():
            message = f"is the same file as {one.argument}"
            self.problems.add(Problem(message, str(self.files[other]), field=other.argument))
        return {source: fact for source, fact in facts.items() if source not in same}

    def _read(self, table: Table, facts: dict[Source, FileFacts], task: Task, settings: Settings) -> None:
        with Progress(sum(fact.lines for fact in facts.values()), "lines") as progress:
            before = 0
            for source, fact in facts.items():
                path, problems, rows = self.files[source], self.problems.count, len(table)
                for line, value in read_records(path, settings.columns, self.problems):
                    progress.advance(before + line - progress.done)
                    try:
                        row = to_row(value, settings.columns, task)
                        if source is Source.GOLD and row.reference is None:
                            raise InvalidInput(UNANSWERED)
                        table.add(row, source, line)
                    except InvalidInput as error:
                        self.problems.extend(replace(flaw, file=str(path), line=line) for flaw in error.problems)
                if len(table) == rows and self.problems.count == problems:
                    self.problems.add(Problem("has no rows", str(path)))
                self.report.add_file(source, path, fact, len(table) - rows)
                before += fact.lines
            progress.advance(before - progress.done)

    def _long_rows(self, state: Cleaning) -> Iterator[str]:
        tokens = np.array(state.table.tokens)
        long = np.flatnonzero(state.kept & (tokens > LONG_ROW))
        if len(long):
            row = int(long[tokens[long].argmax()])
            place = f"{self.files[Source(state.table.sources[row])]}:{state.table.lines[row]}"
            yield (
                f"rows of more than {LONG_ROW:,} tokens: {len(long)}, the longest is {place} with about "
                f"{tokens[row]:,} (data.max_tokens drops such rows)"
            )

    def _leak(self, drop: Drop, table: Table) -> Problem:
        assert drop.other is not None
        stands = "stands" if drop.similarity == 1 else f"nearly (similarity {drop.similarity:.3f}) stands"
        other, path = self.files[Source(table.sources[drop.other])], self.files[Source(table.sources[drop.row])]
        shown = other.name if other.name != path.name else other
        hint = "take it out of one of them, or set data.leakage: drop"
        return Problem(
            f"{stands} in {shown}:{table.lines[drop.other]} too", str(path), table.lines[drop.row], hint=hint
        )

    def _require_rows(self, state: Cleaning) -> None:
        left = {Source(state.table.sources[row]) for row in state.kept.nonzero()[0].tolist()}
        if not self.problems.count:  # else the rows are missing because they are wrong
            lost = [path for source, path in self.files.items() if source not in left]
            self.problems.extend(Problem("has no row left after cleaning", str(path)) for path in lost)

    def _write(self, state: Cleaning, splits: list[str]) -> None:
        table, names = state.table, [name for name in SPLITS if name in splits]
        for name in (*names, GOLD):
            rows = [row for row, home in enumerate(splits) if home == name]
            if rows:
                self.report.add_split(name, table, rows)
        self.report.count(state.drops)
        write_jsonl(
            self.outputs.rejected,
            (
                {
                    "file": str(self.files[Source(table.sources[drop.row])]),
                    "line": table.lines[drop.row],
                    "id": table.id(drop.row),
                    "reason": reason(drop, self.files, table),
                }
                for drop in sorted(state.drops, key=lambda drop: drop.row)
            ),
        )
        deal(table.json_lines(), splits, {name: self.outputs.split(name) for name in (*names, GOLD)})
