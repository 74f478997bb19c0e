"""What the doctor finds in a workspace, a job and its teacher, and what it says to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from loopback_teacher import LoopbackTeacher

from azure_distill.client import DistillClient
from azure_distill.cloud.doctor import Finding, examine
from azure_distill.spec.job import DistillationJob
from tests.emulator.fixture import Azure

ROWS = str(Path(__file__).parents[3] / "jobs" / "data" / "nli" / "training_data.jsonl")
FLAGS: dict[str, str | None] = {}
CANARY = "canary-77ab"


def findings(azure: Azure, folder: Path, ask: bool = False, **job: Any) -> dict[str, list[Finding]]:
    """The doctor's findings by subject, for a job with these fields."""
    azure.write_config(folder)
    teacher = {"name": "big", "endpoint": "https://teacher.example/v1", "auth": "none"}
    values = {"teacher_model": teacher, "student_model": "phi-4-mini", "training_data": ROWS, "task_type": "nli"}
    plan = DistillClient.local(folder).jobs.plan(DistillationJob(**values | job))
    found = dict[str, list[Finding]]()
    for finding in examine(FLAGS, "default", os.environ, folder, plan, ask=ask):
        found.setdefault(finding.subject, []).append(finding)
    return found


def test_quota_is_told_for_each_size_and_what_is_missing_too(azure: Azure, tmp_path: Path) -> None:
    azure.server.quota["standardNCADSA100v4Family"] = 12
    compute = {
        "default": {"instance_type": "Standard_E4ds_v5"},
        "student_finetune": {"instance_type": "Standard_NC24ads_A100_v4"},
        "teacher_inference": {"instance_type": "Standard_E5"},
        "evaluation": {"compute": "gpu-cluster"},
    }
    found = findings(azure, tmp_path, compute=compute)["quota"]
    told = {finding.told.partition(":")[0]: finding for finding in found}
    assert told.keys() == {"prepare_data", "teacher_inference", "student_finetune"}
    assert told["prepare_data"].told.endswith(
        "4 vCPUs of the family standardEDSv5Family (STANDARD_E4DS_V5); 100 are free"
    )
    assert (told["student_finetune"].exit_code, "24 vCPUs" in told["student_finetune"].told) == (4, True)
    assert "12 are free" in told["student_finetune"].told
    assert "Quotas" in str(told["student_finetune"].hint)
    assert (told["teacher_inference"].exit_code, "does not offer" in told["teacher_inference"].told) == (5, True)


def test_an_unknown_cluster_and_an_unknown_connection_are_found(azure: Azure, tmp_path: Path) -> None:
    teacher = {"name": "big", "endpoint": "https://teacher.example/v1", "connection": "big-teacher"}
    compute = {"student_finetune": {"compute": "gpu-clutser"}}
    found = findings(azure, tmp_path, teacher_model=teacher, compute=compute)
    (cluster,) = [finding for finding in found["compute"] if not finding.warning]
    assert (cluster.exit_code, cluster.hint) == (5, "did you mean 'gpu-cluster'?")
    (connection,) = found["connection"]
    assert (connection.exit_code, "docs/azure.md" in str(connection.hint)) == (5, True)
    azure.workspace.connections["big-teacher"] = ("https://teacher.example", CANARY)
    (connection,) = findings(azure, tmp_path, teacher_model=teacher)["connection"]
    assert (connection.exit_code, connection.told) == (0, "big-teacher, for https://teacher.example")
    assert azure.recorder.matching("POST", "listsecrets") == []


def test_a_retired_teacher_and_a_key_of_this_machine_are_found_without_any_request(
    azure: Azure, tmp_path: Path
) -> None:
    teacher = {"name": "deepseek-v3", "endpoint": "https://teacher.example/v1", "api_key_env": "KEY"}
    found = findings(azure, tmp_path, teacher_model=teacher)
    (retired,) = found["models"]
    assert (retired.warning, retired.exit_code) == (True, 0)
    assert "azure-distill models" in str(retired.hint)
    assert [finding.exit_code for finding in found["job"]] == [3]
    assert all(not finding.exit_code or finding.hint for group in found.values() for finding in group)


def test_the_teacher_is_asked_only_on_demand_by_the_jobs_key(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.workspace.connections["big-teacher"] = ("https://teacher.example", CANARY)
    with LoopbackTeacher(answer=lambda body: "OK.", key=CANARY, model="big") as server:
        teacher = {"name": "big", "endpoint": server.url, "api_key_env": "MY_KEY", "connection": "big-teacher"}
        assert "teacher" not in findings(azure, tmp_path, teacher_model=teacher)
        assert len(server.requests) == 0
        (asked,) = findings(azure, tmp_path, ask=True, teacher_model=teacher)["teacher"]
        assert (asked.exit_code, "by the key of the connection big-teacher" in asked.told) == (0, True)
        assert len(server.requests) == 1
        monkeypatch.setenv("MY_KEY", "wrong-canary")
        (asked,) = findings(azure, tmp_path, ask=True, teacher_model=teacher)["teacher"]
        assert (asked.exit_code, "by the key in MY_KEY: 401" in asked.told) == (4, True)
        assert "canary" not in asked.told
        azure.workspace.secrets["teacher"] = CANARY
        vault = {"name": "big", "endpoint": server.url, "key_vault": "https://emuvault.vault.azure.net/secrets/teacher"}
        (asked,) = findings(azure, tmp_path, ask=True, teacher_model=vault)["teacher"]
        assert (asked.exit_code, "by the secret at https://emuvault" in asked.told) == (0, True)
        gone = teacher | {"endpoint": "http://127.0.0.1:9/v1"}
        (asked,) = findings(azure, tmp_path, ask=True, teacher_model=gone)["teacher"]
        assert (asked.exit_code, "nobody answers" in asked.told) == (13, True)
    hosted = findings(azure, tmp_path, ask=True, teacher_model="smollm2-135m-instruct")
    assert hosted["teacher"][0].told.startswith("hosted by the job")


def test_without_a_workspace_the_teacher_is_asked_with_a_key_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [name for name in os.environ if name.startswith("AZURE")]:
        monkeypatch.delenv(variable)
    with LoopbackTeacher(answer=lambda body: "OK.", key=CANARY, model="big") as server:
        teacher = {"name": "big", "endpoint": server.url, "api_key_env": "MY_KEY", "connection": "big-teacher"}
        job = DistillationJob(
            teacher_model=teacher, student_model="phi-4-mini", training_data=str(ROWS), task_type="nli"
        )
        plan = DistillClient.local(tmp_path).jobs.plan(job)
        for environ, exit_code, told in (({"MY_KEY": CANARY}, 0, "by the key in MY_KEY"), ({}, 4, "not asked")):
            found = list(examine(FLAGS, "default", environ, tmp_path, plan, ask=True))
            assert "workspace" in [finding.subject for finding in found if finding.exit_code]
            (asked,) = [finding for finding in found if finding.subject == "teacher"]
            assert (asked.exit_code, told in asked.told) == (exit_code, True), asked
        assert len(server.requests) == 1
