"""The whole way: a job file, submitted by the command line, run by the four components from what was uploaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from leaks import CommandLines, files_with
from loopback_teacher import LoopbackTeacher

from azure_distill.samples import generate
from tests.emulator.fixture import Azure

CANARY = "canary-5f1c0de"
JOB = """\
name: tickets
task_type: classification
labels: [billing, delivery, account, technical, returns]
teacher_model: {{name: gpt-4.1, endpoint: {url}, {auth}, deployment: big, sampling: {{max_tokens: 16}}}}
student_model: nano-llama
training_data: training_data.jsonl
validation_data: validation_data.jsonl
test_data: test_data.jsonl
hyperparameters: {{num_epochs: 1, learning_rate: 1e-3, seed: 1}}
compute: {{student_finetune: {{compute: gpu-cluster}}}}
"""


class Shell:
    """A user's shell in a folder with a job, its rows and the workspace's config.json."""

    def __init__(self, folder: Path, azure: Azure) -> None:
        self.folder, self.azure = folder, azure
        self.environ = {**os.environ, **azure.variables}
        azure.write_config(folder)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "azure_distill", *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Standard output of a verb that ends with `code`."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environ, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def shell(azure: Azure, tmp_path: Path) -> Shell:
    rows = list(generate("classification", 60, 1))
    for name, part in (("training", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        (tmp_path / f"{name}_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return Shell(tmp_path, azure)


def write_job(shell: Shell, url: str, auth: str) -> str:
    (shell.folder / "job.yaml").write_text(JOB.format(url=url, auth=auth))
    return "job.yaml"


def answered(azure: Azure, name: str) -> str:
    """The status in which the step that asks the teacher ends."""
    for step in ("prepare_data", "teacher_inference"):
        while step not in azure.steps(name):
            assert azure.run(name).status != "Failed", azure.run(name).error
            time.sleep(0.05)
        status = azure.wait(azure.steps(name)[step].id)
    return status


@pytest.mark.timeout(900)  # runs of all components; on a busy machine each takes minutes
def test_a_job_runs_in_azure_as_it_runs_here(shell: Shell, home: Path) -> None:
    azure = shell.azure
    azure.workspace.connections["big-teacher"] = ("https://teacher.example", CANARY)
    teaching = LoopbackTeacher(answer=lambda body: "billing", key=CANARY, model="big")
    with teaching as teacher, CommandLines(CANARY) as seen:
        job = write_job(shell, teacher.url, "api_key_env: TEACHER_KEY, connection: big-teacher")
        there = shell.json("submit", job, "--watch")
        asked = len(teacher.requests)
        assert there["status"] == "Completed"
        assert {name: step["status"] for name, step in there["steps"].items()} == dict.fromkeys(
            ("prepare_data", "teacher_inference", "student_finetune", "evaluation"), "Completed"
        )
        shell.environ["TEACHER_KEY"] = CANARY
        here = shell.json("run", job)
        assert len(teacher.requests) == 2 * asked
        again = shell.run("submit", job).split()[-1]
        assert answered(azure, again) == "Completed"
        assert len(teacher.requests) == 2 * asked, "answers that were paid for are asked for again"
        shell.run("cancel", again)
    for role, contender in here["metrics"]["contenders"].items():
        timeless = {name: value for name, value in contender["metrics"].items() if name != "inference_time"}
        assert {name: there["metrics"]["contenders"][role]["metrics"][name] for name in timeless} == timeless
    assert shell.json("download", there["name"], "evaluation.report")["folders"]
    assert list(shell.json("logs", "evaluation")) == list(shell.json("logs", "evaluation", "--azure")) == ["evaluation"]
    report = shell.folder / there["name"] / "evaluation" / "report"
    assert (report / "report.html").stat().st_size > 1000
    assert json.loads((report / "metrics.json").read_text()) == there["metrics"]
    shell.run("register", there["name"], "--name", "tickets-small")
    evaluated = shell.json("evaluate", "tickets-small", "--test-data", "test_data.jsonl", "--azure")
    assert evaluated["metrics"]["contenders"]["student"]["n"] == 10
    assert [str(call) for call in azure.recorder.holding(CANARY)] == []
    assert azure.storage.holding(CANARY.encode()) == []
    assert list(files_with(CANARY, shell.folder, home)) == []
    assert seen.leaks == set()
    assert azure.recorder.unexpected == []


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(shell: Shell) -> None:
    with LoopbackTeacher(answer=lambda body: "billing", latency=60, model="big") as teacher:
        job = write_job(shell, teacher.url, "auth: none")
        process = subprocess.Popen(
            shell.command("submit", job, "--watch"),
            cwd=shell.folder,
            env=shell.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not shell.azure.workspace.runs and process.poll() is None:
            time.sleep(0.1)
        name = next(iter(shell.azure.workspace.runs))
        shell.azure.wait_for(name, "Running")
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert f"azure-distill watch {name}" in said
        assert f"azure-distill cancel {name}" in said
        assert shell.azure.run(name).status == "Running"
        assert shell.json("cancel", name)["status"] == "Canceled"
        shell.run("watch", code=11)  # the newest run is this one: there is none on this machine


def test_components_are_registered_once_and_the_doctor_is_content(shell: Shell) -> None:
    first = shell.run("components", "register").splitlines()
    again = shell.run("components", "register").splitlines()
    assert {line.split(" ")[0] for line in first} == {"+"}
    assert {line.split(" ")[0] for line in again} == {"="}
    assert [line.split()[-2:] for line in first] == [line.split()[-2:] for line in again]
    assert {line.split()[-2] for line in first} == {"component", "environment"}
    findings = {finding["subject"]: finding for finding in shell.json("doctor")}
    assert all(finding["ok"] for finding in findings.values())
    assert "gpu-cluster" in findings["compute"]["told"]
    assert findings["identity"]["told"].startswith("application")
    assert [run["name"] for run in shell.json("list", "--azure")] == []


def test_an_unknown_name_ends_with_5_and_an_unknown_workspace_too(shell: Shell) -> None:
    shell.run("status", "nothing", code=5)
    with_workspace = shell.command("status", "nothing", "--workspace", "no-such-workspace")
    done = subprocess.run(with_workspace, cwd=shell.folder, env=shell.environ, capture_output=True, text=True)
    assert done.returncode == 5
    assert "azure-distill doctor" in done.stderr
