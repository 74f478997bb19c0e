"""Where a model comes from, in the words that its registration keeps."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def lineage(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Job, teacher, student, task and hashes of a plan in its JSON form.

    `prompt_hash` changes with anything that changes what the teacher is asked for a row.
    """
    job = plan["job"]
    inputs = {name: step.get("inputs", {}) for name, step in plan["steps"].items()}
    prepared, asked = inputs.get("prepare_data", {}), inputs.get("teacher_inference", {})
    teacher = job.get("teacher_model")
    return {
        "git_commit": plan.get("git_commit"),
        "job": job,
        "teacher": teacher.get("name") if isinstance(teacher, dict) else teacher,
        "student": job.get("student_model"),
        "task": json.loads(prepared["task"]) if "task" in prepared else None,
        "job_hash": _hash(job),
        "prompt_hash": _hash([asked.get("task"), asked.get("sampling")]) if asked else None,
    }


def git_commit(folder: Path) -> str | None:
    """The commit that a folder's repository stands at; None outside of one."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
