"""Check a job's data files before anything runs, with the very component that will prepare them."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from azure_distill.errors import DistillError, Problem
from azure_distill.local.paths import Home
from azure_distill.local.scratch import run_component
from azure_distill.plan.plan import DataPath, Step

SCRATCH = "azure-distill-"  # temporary folders begin so


def check_data(step: Step, home: Home) -> tuple[list[Problem], list[str]]:
    """(problems, warnings) that `prepare_data` finds in its local files; data in the cloud is not read.

    Works in a temporary folder that is gone afterwards.
    """
    if not is_here(step):
        return [], []
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        _, problems, warnings = prepare(step, home, Path(scratch))
    return problems, warnings


def is_here(step: Step) -> bool:
    """Whether the rows to prepare are files of this machine."""
    return any(isinstance(step.inputs.get(port), DataPath) for port in ("training_data", "test_data"))


def prepare(step: Step, home: Home, folder: Path) -> tuple[dict[str, Path], list[Problem], list[str]]:
    """Prepare the data below `folder`: (output folders, problems, warnings)."""
    outputs, done = run_component(step, {}, folder, home, step.secrets)
    report = outputs["data"] / "data_report.json"
    if not report.exists():
        raise DistillError(f"the data check broke off:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    problems = [
        Problem(p["message"], p.get("file"), p.get("line"), _field_of_job(p.get("field")), p.get("hint"))
        for p in found.get("problems", [])
    ]
    return outputs, problems, list(found.get("warnings", []))


def _field_of_job(field: str | None) -> str | None:
    """What the component calls its settings is `data` in a job."""
    return field and re.sub(r"^settings\b", "data", field)
