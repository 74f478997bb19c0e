"""A failed gate: the run ends with 10 and says why, and its student is registered by force only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from azure_distill.assets.component import load_component
from azure_distill.cli.run import run_plan
from azure_distill.client import DistillClient
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Literal, Plan, Step, StepOutput

TRAIN = "echo '{}' > '${{outputs.model}}/config.json'"
EVALUATE = "printf %s '${{inputs.metrics}}' > '${{outputs.report}}/metrics.json'"
FIGURE = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 40}


def step(folder: Path, name: str, output: str, command: str, **inputs: Literal | StepOutput) -> Step:
    ports = {port: "string" if isinstance(binding, Literal) else "uri_folder" for port, binding in inputs.items()}
    spec = {
        "type": "command",
        "name": name,
        "inputs": {port: {"type": kind} for port, kind in ports.items()},
        "outputs": {output: {"type": "uri_folder"}},
        "command": command,
        "environment": "azureml:probe@latest",
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(spec))
    return Step(name, load_component(path), inputs)


def plan(folder: Path, bound: float) -> Plan:
    """A student of 60 % accuracy, and a gate that asks for `bound`."""
    check = {"check": f"accuracy >= {bound}", "value": 0.6, "passed": bound <= 0.6}
    student = {"name": "s", "status": "ok", "n": 40, "metrics": {"accuracy": FIGURE}}
    metrics = {"contenders": {"student": student}, "gate": {"passed": check["passed"], "checks": [check]}}
    model = StepOutput("student_finetune", "model")
    steps = (
        step(folder, "student_finetune", "model", TRAIN),
        step(
            folder,
            "evaluation",
            "report",
            EVALUATE + " # ${{inputs.model}}",
            metrics=Literal(json.dumps(metrics)),
            model=model,
        ),
    )
    return Plan("gated", {}, steps)


def register(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "azure_distill", "register", "last", "--name", "mine", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("bound", "code"), [(0.5, 0), (0.9, 10)])
def test_a_run_ends_with_the_gates_verdict_and_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bound: float, code: int
) -> None:
    with pytest.raises(click.exceptions.Exit) as ended:
        run_plan(DistillClient(LocalBackend()), plan(tmp_path, bound), False)
    assert ended.value.exit_code == code
    verdict = "FAILED" if code else "passed"
    told = capsys.readouterr()
    assert f"Gate: accuracy >= {bound}: {verdict} (0.6)" in told.out
    assert ("its gate did not pass: accuracy >= 0.9" in told.err) is bool(code)


def test_the_student_of_a_failed_gate_is_kept_and_registered_by_force_only(tmp_path: Path) -> None:
    client = DistillClient(LocalBackend())
    with pytest.raises(click.exceptions.Exit):
        run_plan(client, plan(tmp_path, 0.9), False)
    model = Path(client.jobs.get("last").outputs["student_finetune"]["model"])
    assert (model / "config.json").is_file()
    refused = register()
    assert refused.returncode == 10
    assert "did not pass: accuracy >= 0.9" in refused.stderr
    assert "--force" in refused.stderr
    assert client.models.list() == []
    forced = register("--force")
    assert forced.returncode == 0, forced.stderr
    assert forced.stdout == "registered mine:1\n"
