"""The process that starts the contenders' processes: none takes another with it, none outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from evaluation import worker, workers
from evaluation.contenders import Contender, Job, environment


def job(folder: Path, role: str, task: str) -> Job:
    answers, result = folder / f"{role}.jsonl", folder / f"{role}.json"
    return Job(Contender(role, role, folder="x"), str(folder / "test.jsonl"), task, str(answers), str(result), 0, 8, 2)


def text(of: Job) -> str:
    return json.dumps(asdict(of))


def test_one_that_is_killed_takes_nothing_from_the_next(
    tmp_path: Path, label_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = job(tmp_path, "baseline", label_task), job(tmp_path, "student", label_task)
    answer = worker.main

    def main(said: str) -> None:
        if said == text(first):
            os.kill(os.getpid(), signal.SIGKILL)
        answer(said)

    monkeypatch.setattr(worker, "main", main)
    workers.main([text(first), text(second)])
    killed, done = (json.loads(Path(of.result).read_text()) for of in (first, second))
    assert killed == {"error": "its process was ended by signal 9 (out of memory?)", "exit_code": 1}
    assert "test.jsonl" in done["error"]  # there are no rows, and it has lived to say so


@pytest.mark.parametrize("copies", [True, False])
def test_none_outlives_a_process_that_is_told_to_stop(tmp_path: Path, label_task: str, copies: bool) -> None:
    os.mkfifo(tmp_path / "test.jsonl")  # nobody writes into it: whoever opens it waits
    driver = repr(()) if copies else repr((str(tmp_path),))
    program = f"from evaluation import workers; import sys; workers.GPU_DRIVERS = {driver}; workers.main(sys.argv[1:])"
    command = [sys.executable, "-c", program, text(job(tmp_path, "student", label_task))]
    process = psutil.Process(subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE).pid)
    while not (children := process.children()):
        assert process.is_running()
        time.sleep(0.05)
    process.terminate()
    gone, alive = psutil.wait_procs([process, *children], timeout=30)
    assert (len(gone), alive) == (2, [])
    assert not (tmp_path / "student.json").exists()
