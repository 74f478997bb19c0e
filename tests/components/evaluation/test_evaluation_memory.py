"""Ten times the rows do not take ten times the memory: rows and answers pass by, only numbers stay."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.heldout import inspect
from evaluation.join import join
from evaluation.metrics import build
from evaluation.worker import CHUNK, write_answers
from shared.rows import Row, read_rows
from shared.tasks import load_task

TASK = load_task('{"type": "classification", "labels": ["yes", "no"]}')
LONG = "so " * 700


def held_out(folder: Path, rows: int) -> Path:
    folder.mkdir()
    with (folder / "test.jsonl").open("w") as file:
        for place in range(rows):
            turns = [{"role": "user", "content": f"{place} {LONG}"}, {"role": "assistant", "content": "yes"}]
            file.write(json.dumps({"id": str(place), "reference": "yes", "messages": turns}) + "\n")
    return folder


def peak(folder: Path) -> int:
    """The most bytes that joining the rows with two models' answers takes."""
    test = inspect(folder)
    metrics = {name: build(name, TASK) for name in ("accuracy", "macro_f1")}

    def answers() -> Iterator[dict[str, Any]]:
        return ({"answer": "no"} for row in test)

    tracemalloc.start()
    join(test, {"teacher": answers(), "student": answers()}, TASK, metrics, "accuracy", 0, folder / "predictions.jsonl")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_ten_times_the_rows_are_joined_in_about_the_same_memory(tmp_path: Path) -> None:
    few, many = peak(held_out(tmp_path / "few", 1000)), peak(held_out(tmp_path / "many", 10_000))
    assert (many - few) / 9000 < 250  # bytes a row; a row has 2,200


def test_a_model_answers_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Echo:
        """Answers with the id, and remembers how many rows it was given."""

        task = TASK

        def timed(self, rows: list[Row], progress: Any) -> tuple[list[Any], float]:
            held.append(len(rows))
            return [type("Answer", (), {"text": row.id, "probabilities": None}) for row in rows], 0.5

    monkeypatch.setattr("evaluation.likelihood.likelihoods", lambda asker, rows: [None] * len(rows))
    test, answers = held_out(tmp_path / "data", 1300) / "test.jsonl", tmp_path / "answers.jsonl"
    asker: Any = Echo()
    assert write_answers(answers, asker, test, 1300) == (0.5 * len(held), 0)
    assert max(held) <= CHUNK
    assert [json.loads(line)["id"] for line in answers.open()] == [row.id for row in read_rows(test)]
