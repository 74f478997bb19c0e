"""`azure-distill report`: one run's models, or several runs' students."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from azure_distill.assets.component import load_component
from azure_distill.cli.outputs import report_command
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Literal, Plan, Step

COMPONENT = """\
type: command
name: evaluation
inputs: {metrics: {type: string}}
outputs: {report: {type: uri_folder}}
command: python main.py '${{inputs.metrics}}' '${{outputs.report}}'
code: code
environment: azureml:probe@latest
"""
MAIN = """\
import pathlib, sys
(pathlib.Path(sys.argv[2]) / "metrics.json").write_text(sys.argv[1])
(pathlib.Path(sys.argv[2]) / "report.html").write_text("<p>")
"""


def metrics(accuracy: float, digest: str = "d1", **more: Any) -> dict[str, Any]:
    figure = {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "n": 40}
    student = {"name": "s", "status": "ok", "n": 40, "metrics": {"accuracy": figure}, "parameters": 135_000_000}
    return {
        "contenders": {"teacher": student | {"name": "t"}, "student": student},
        "gain": {"value": 0.25},
        "retention": {"value": 0.9},
        "gate": {"passed": accuracy > 0.7, "checks": [{"check": "accuracy > 0.7", "value": accuracy, "passed": True}]},
        "provenance": {"test_sha256": digest},
        "summary": ["The gain is real."],
    } | more


def evaluated(folder: Path, *documents: dict[str, Any]) -> list[str]:
    """A completed run for each metrics.json."""
    (folder / "code").mkdir()
    (folder / "code" / "main.py").write_text(MAIN)
    (folder / "component.yaml").write_text(COMPONENT)
    backend, names = LocalBackend(), []
    for document in documents:
        step = Step("evaluation", load_component(folder / "component.yaml"), {"metrics": Literal(json.dumps(document))})
        names.append(backend.submit(Plan("probe", {}, (step,))))
        for _ in backend.follow(names[-1]):
            pass
    return names


def report(*arguments: str) -> str:
    done = CliRunner().invoke(report_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_run_shows_its_models_and_what_the_figures_mean(tmp_path: Path) -> None:
    evaluated(tmp_path, metrics(0.8))
    text = report()
    assert "teacher" in text
    assert "distilled student" in text
    assert "The gain is real." in text
    assert text.count("report: ") == 1


def test_several_runs_stand_in_one_table_a_line_a_student(tmp_path: Path) -> None:
    first, second, failed = evaluated(
        tmp_path,
        metrics(0.8),
        metrics(0.6, retention=None),
        metrics(0.1, contenders={"student": {"status": "failed", "error": "no weights", "metrics": {}}}),
    )
    lines = report(first, second, failed).splitlines()
    assert sum("ACCURACY" in line for line in lines) == 1
    shown = {line.split()[0]: line for line in lines if line and line.split()[0] in (first, second, failed)}
    figures = "40 0.800 [0.700, 0.900] – – – 135M – 0.250 0.900 passed"
    assert " ".join(shown[first].split()[1:]) == figures
    assert shown[second].split()[-3:] == ["0.250", "–", "FAILED"]
    assert shown[failed].split()[1] == "failed"
    assert f"{failed}: the student could not be evaluated: no weights" in lines
    assert sum(line.startswith("report: ") for line in lines) == 3
    assert not any("different test rows" in line for line in lines)


def test_runs_measured_on_different_rows_are_said_to_be_incomparable(tmp_path: Path) -> None:
    assert "different test rows" in report(*evaluated(tmp_path, metrics(0.8), metrics(0.6, "d2")))


def test_the_same_run_twice_is_one_run(tmp_path: Path) -> None:
    (name,) = evaluated(tmp_path, metrics(0.8))
    assert "distilled student" in report(name, name)


def test_json_lists_the_runs_whole(tmp_path: Path) -> None:
    names = evaluated(tmp_path, metrics(0.8), metrics(0.6))
    found = json.loads(report("--json", *names))
    assert [each["run"] for each in found] == names
    assert found[1]["metrics"]["contenders"]["student"]["metrics"]["accuracy"]["value"] == 0.6
