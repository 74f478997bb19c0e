"""What `run` says while it runs, where there is no terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from azure_distill.samples import generate


@pytest.fixture
def job(tmp_path: Path) -> Path:
    rows = [*generate("classification", 80, 1)]
    for name, part in (("train", rows[:50]), ("test", rows[50:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    path = tmp_path / "job.yaml"
    path.write_text(
        "teacher_model: smollm2-135m-instruct\nstudent_model: nano-llama\ntraining_data: train.jsonl\n"
        "test_data: test.jsonl\ntask_type: classification\nlabels: [billing, delivery, account, technical, returns]\n"
    )
    return path


def told(job: Path) -> list[str]:
    command = [sys.executable, "-m", "azure_distill", "run", str(job), "--until", "prepare_data"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()


def test_warnings_of_a_step_are_told(job: Path) -> None:
    train = job.parent / "train.jsonl"
    row = json.loads(train.read_text().splitlines()[0])
    row["messages"][-1]["content"] = "returns" if row["messages"][-1]["content"] != "returns" else "billing"
    with train.open("a") as file:
        file.write(json.dumps(row) + "\n")
    assert any(
        line.startswith("[prepare_data] warning: rows that repeat a prompt with another answer: 1")
        for line in told(job)
    )


def test_a_failed_step_is_told_in_a_line_and_all_of_it_at_the_end(job: Path) -> None:
    (job.parent / "train.jsonl").write_text("no\nno\n")
    lines = told(job)
    first = next(line for line in lines if line.startswith("[prepare_data] Failed"))
    assert first.endswith("train.jsonl:1: is not JSON: Expecting value at column 1 …")
    assert [line.rpartition("/")[2] for line in lines if "train.jsonl:2" in line] == [
        "train.jsonl:2: is not JSON: Expecting value at column 1"
    ]
