"""The component as it is run: a process, its exit code, what it prints and what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).resolve().parents[3] / "components"


def command(folder: Path, training: Path, *more: str) -> list[str]:
    outputs = ["--data", str(folder / "data"), "--gold", str(folder / "gold")]
    program = [sys.executable, "-m", "prepare_data", "--task", '{"type": "conversation"}']
    return [*program, "--training-data", str(training), *outputs, *more]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{COMPONENTS / 'prepare_data'}{os.pathsep}{COMPONENTS}"}


def write_rows(path: Path, count: int) -> None:
    talks = ({"messages": [{"role": "user", "content": f"secret{number}"}]} for number in range(count))
    path.write_text("".join(json.dumps(talk) + "\n" for talk in talks))


def test_success_prints_a_summary_and_writes_the_documented_report(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, 20)
    done = subprocess.run(command(tmp_path, source), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "rows: train 16, validation 2, test 2"
    assert "secret" not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads((tmp_path / "data" / "data_report.json").read_text())
    assert list(report) == [
        *("valid", "files", "splits", "overlong", "leaks", "conflicts", "duplicates", "near_duplicates", "balanced"),
        *("problem_count", "problems", "warnings"),
    ]
    facts = {"file": str(source), "rows": 20, "bytes": source.stat().st_size}
    assert report["files"] == {"training_data": {**facts, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}}
    assert report["splits"]["validation"] == {
        "rows": 2,
        "references": 0,
        "labels": None,
        "tokens": {"p50": 2, "p95": 2, "max": 2, "total": 4},
    }
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        *("data_report.json", "rejected.jsonl", "test.jsonl", "train.jsonl", "validation.jsonl")
    ]


def test_failure_is_exit_code_3_and_clears_what_an_earlier_run_left(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, 20)
    subprocess.run(command(tmp_path, source), env=environment(), check=True, capture_output=True)
    with source.open("a") as file:
        file.write("secret nonsense\n" * 30)
    done = subprocess.run(command(tmp_path, source), env=environment(), capture_output=True, text=True)
    assert done.returncode == 3
    errors = done.stderr.splitlines()
    assert errors[0] == f"error: {source}:21: is not JSON: Expecting value at column 1"
    assert errors[20:] == ["error: … and 10 more"]
    assert "secret" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.jsonl", "data_report.json"]


def test_numpy_is_the_heaviest_import(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, 20)
    call = f"main({command(tmp_path, source)[3:]!r})"
    program = [sys.executable, "-c", f"import sys; from prepare_data.main import main; {call}; print(*sys.modules)"]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"pyarrow", "pandas", "torch", "transformers", "datasets", "scipy"}


def test_a_terminated_run_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, 60_000)
    process = subprocess.Popen(command(tmp_path, source), env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # the first line of progress: it is at work
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.jsonl"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_rows(source, 3_000)
    limited = ["bash", "-c", 'ulimit -f 130; exec "$@"', "bash", *command(tmp_path, source)]  # blocks of 1 KiB
    done = subprocess.run(limited, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.jsonl"]
