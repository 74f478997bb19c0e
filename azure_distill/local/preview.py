"""What the teacher would be asked: the job's own data, prepared and turned into questions by the components' code.

Nothing is sent, no weights are read, and no key is needed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azure_distill.errors import DistillError, InvalidJob, Problem
from azure_distill.local.data_check import SCRATCH, is_here, prepare
from azure_distill.local.paths import Home
from azure_distill.local.scratch import run_component
from azure_distill.plan.plan import Binding, DataPath, Plan, Step, StepOutput

STEP = "teacher_inference"
ERROR = "error: "  # begins each of a component's complaints


class NoPreview(Exception):
    """Why it cannot be said what the teacher would be asked; `problems` where the job's data is to blame."""

    def __init__(self, reason: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(reason)
        self.problems = list(problems)


def preview(plan: Plan, home: Home, shown: int) -> dict[str, Any]:
    """The component's preview (see docs/teacher_inference.md) with `shown` questions; raises NoPreview."""
    data_step = plan.step("prepare_data")
    if not is_here(data_step) or any(not isinstance(data, DataPath) for data in _files(data_step)):
        raise NoPreview("the data is in the cloud and not read here")
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        folder = Path(scratch)
        prepared, problems, _ = prepare(data_step, home, folder / "data")
        if problems:
            raise NoPreview(f"the data has {len(problems)} problem{'s'[: len(problems) > 1]}", problems)
        step = plan.step(STEP)
        inputs: dict[str, Any] = {"preview": shown}
        for port, binding in step.inputs.items():
            if isinstance(binding, StepOutput):
                # an adapted teacher has no weights yet; they are not looked at
                inputs[port] = str(prepared.get(binding.output, folder))
        outputs, done = run_component(step, inputs, folder / "asked", home)
        if done.returncode == InvalidJob.exit_code:
            told = [line.removeprefix(ERROR) for line in done.stderr.splitlines() if line.startswith(ERROR)]
            raise NoPreview("the questions cannot be made", [Problem(line) for line in told])
        if done.returncode:
            raise DistillError(f"the questions cannot be made:\n{done.stderr.strip()[-2000:]}")
        found: dict[str, Any] = json.loads((outputs["responses"] / "preview.json").read_text(encoding="utf-8"))
        return found


def _files(step: Step) -> list[Binding]:
    ports = ("training_data", "validation_data", "test_data", "gold_data")
    return [step.inputs[port] for port in ports if port in step.inputs]
