"""Short forms of what benchmarks/kill_teacher.py and benchmarks/teacher_memory.py show at length."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def told(script: str, *arguments: str) -> Any:
    paths = os.pathsep.join(str(ROOT / part) for part in ("components/teacher_inference", "components"))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_eight_kills_lose_nothing_and_repeat_what_was_in_flight() -> None:
    found = told("kill_teacher.py", "--kills", "8", "--rows", "150", "--concurrency", "6")
    assert (found["lost"], found["answered"]) == (0, 150)
    assert found["kills_that_cost"] > 3  # else the test shows little
    assert found["most_by_one_kill"] <= 6
    assert found["repeated"] <= 6 * found["kills_that_cost"]


def test_memory_does_not_grow_with_what_the_rows_say() -> None:
    few, many = (told("teacher_memory.py", "--rows", rows, "--words", "1600") for rows in ("500", "5000"))
    # 4,500 prompts more of 8 kB each would be 36 MB; keys and places of 100,000 rows have to fit into 250 MB
    assert many["peak_mb"] - few["peak_mb"] < 12
    assert many["peak_mb"] < 100
