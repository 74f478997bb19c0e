"""Check a plan's data files before anything runs, with the very component that will prepare them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from azure_distill.assets.bindings import render
from azure_distill.assets.snapshot import take_snapshot
from azure_distill.errors import DistillError, Problem
from azure_distill.local.paths import Home
from azure_distill.local.process import environment
from azure_distill.plan.plan import DataPath, Literal, Plan, Step

STEP = "prepare_data"


def check_data(plan: Plan, home: Home) -> tuple[list[Problem], list[str]]:
    """(problems, warnings) that `prepare_data` finds in the plan's local files; data in the cloud is not read.

    Works in a temporary folder that is gone afterwards.
    """
    step = plan.step(STEP)
    if not any(isinstance(step.inputs.get(port), DataPath) for port in ("training_data", "test_data")):
        return [], []
    with tempfile.TemporaryDirectory(prefix="azure-distill-") as scratch:
        work = Path(scratch) / "work"
        outputs = {port: Path(scratch) / port for port in step.component.outputs}
        for folder in outputs.values():
            folder.mkdir()
        take_snapshot(step.component).copy_to(work)
        done = _run(step, outputs, work, home)
        report = outputs["data"] / "data_report.json"
        if not report.exists():
            raise DistillError(f"the data check broke off:\n{done.stderr.strip()[-2000:]}")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    problems = [
        Problem(p["message"], p.get("file"), p.get("line"), p.get("field"), p.get("hint"))
        for p in found.get("problems", [])
    ]
    return problems, list(found.get("warnings", []))


def _run(step: Step, outputs: dict[str, Path], work: Path, home: Home) -> subprocess.CompletedProcess[str]:
    values: dict[str, Any] = {name: port.default for name, port in step.component.inputs.items()}
    for port, binding in step.inputs.items():
        match binding:
            case Literal(value):
                values[port] = value
            case DataPath(path):
                values[port] = str(path)
    command = render(step.component.command, values, {port: str(folder) for port, folder in outputs.items()})
    return subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", command],
        cwd=work,
        env=environment(home, {}, step.component.environment_variables, step.secrets),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
