"""A run that is broken off: no process stays, its status is true, the next run goes on and pays nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from loopback_teacher import LoopbackTeacher

from azure_distill.samples import generate

COMMAND = [sys.executable, "-m", "azure_distill"]
ROWS = 150
AT_ONCE = 4


@pytest.fixture
def teacher() -> Iterator[LoopbackTeacher]:
    with LoopbackTeacher(answer=lambda body: "A", latency=0.1) as server:
        yield server


@pytest.fixture
def job(tmp_path: Path, teacher: LoopbackTeacher) -> Path:
    rows = "".join(json.dumps(row) + "\n" for row in generate("nlu_qa", ROWS, 4))
    (tmp_path / "rows.jsonl").write_text(rows)
    path = tmp_path / "job.yaml"
    path.write_text(
        f"teacher_model: {{name: teacher, endpoint: '{teacher.url}', auth: none, max_concurrency: {AT_ONCE}}}\n"
        "student_model: nano-llama\ntraining_data: rows.jsonl\ntask_type: nlu_qa\ndata: {validation_split: 0}\n"
    )
    return path


def start(job: Path) -> subprocess.Popen[bytes]:
    arguments = ["run", str(job), "--until", "teacher_inference"]
    return subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def answer(*arguments: str) -> Any:
    done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that mention the state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(home) in line and process.pid != os.getpid():
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, "Canceled"), (signal.SIGTERM, 143, "Canceled"), (signal.SIGKILL, -9, "NotResponding")],
)
def test_a_broken_off_run_is_cleaned_up_and_resumed(
    job: Path, teacher: LoopbackTeacher, home: Path, number: int, code: int, status: str
) -> None:
    running = start(job)
    wait_for(lambda: teacher.answered >= 20)
    running.send_signal(number)
    assert running.wait(30) == code
    wait_for(lambda: not processes_of(home))
    state = answer("status")
    assert state["status"] == status
    assert state["steps"]["prepare_data"]["status"] == "Completed"
    assert state["steps"]["teacher_inference"]["status"] == "Canceled"
    again = answer("run", str(job), "--until", "teacher_inference")
    assert again["status"] == "Completed"
    assert again["steps"]["prepare_data"]["cached"] is True
    # the prompts of this sample all differ; only what was in flight is asked again
    assert ROWS <= len(teacher.requests) <= ROWS + AT_ONCE


def test_cancel_from_another_process(job: Path, teacher: LoopbackTeacher, home: Path) -> None:
    running = start(job)
    wait_for(lambda: teacher.answered >= 10)
    assert answer("cancel")["status"] == "Canceled"
    assert running.wait(30) == 11
    assert processes_of(home) == []
