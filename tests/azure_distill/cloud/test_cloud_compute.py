"""Where steps run: what `compute` says arrives in the job that is sent, and nonsense is refused before."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from loopback_teacher import LoopbackTeacher

from azure_distill.errors import InvalidJob
from azure_distill.plan.build import build_plan
from azure_distill.plan.plan import DataPath, Step
from azure_distill.samples import generate
from azure_distill.spec.job import DistillationJob
from tests.azure_distill.cloud.conftest import Bench, plan

IDENTITY = "6f1c0f5e-2f0a-4a38-9d0b-0d5d4f4f7a11"


def ranks(bench: Bench, **resources: Any) -> Step:
    """A step that can be distributed; each process leaves a file of its rank's name."""
    command = "touch '${{outputs.out}}/rank'\"${RANK-none}-of-${WORLD_SIZE-none}\""
    return bench.shell("ranks", command, tags={"distribution": "pytorch"}, resources=resources)


def node(bench: Bench, name: str, step: str) -> dict[str, Any]:
    """A step of the job as the service received it."""
    received: dict[str, Any] = bench.azure.workspace.jobs[name]["properties"]["jobs"][step]
    return received


def test_all_that_a_step_asks_for_is_in_the_job(bench: Bench) -> None:
    wanted = {"instance_type": "Standard_E4ds_v5", "tier": "spot", "timeout": 600, "shm_size": "2g"}
    step = bench.upper("first", {"text": DataPath(bench.file("a"))}, **wanted, identity="managed", client_id=IDENTITY)
    name = bench.backend().submit(plan(step))
    received = node(bench, name, "first")
    assert received["computeId"].rpartition("/")[2] == "serverless"
    assert received["resources"] == {"instance_type": "Standard_E4ds_v5", "shm_size": "2g"}
    assert received["queue_settings"] == {"job_tier": "Spot"}
    assert received["limits"]["timeout"] == "PT10M"
    assert received["identity"] == {"identity_type": "Managed", "client_id": IDENTITY}
    assert bench.azure.wait(name) == "Completed"


def test_several_processes_find_their_ranks(bench: Bench) -> None:
    backend = bench.backend()
    name = backend.submit(plan(ranks(bench, instance_count=2, processes_per_instance=2)))
    received = node(bench, name, "ranks")
    assert received["distribution"] == {"distribution_type": "PyTorch", "process_count_per_instance": 2}
    assert received["resources"]["instance_count"] == 2
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    assert [backend.read(name, "ranks", "out", f"rank{rank}-of-4") for rank in range(4)] == [b""] * 4


def test_a_cluster_of_several_gpus_is_used_whole(bench: Bench) -> None:
    bench.azure.workspace.computes["wide"] = "STANDARD_NC80ADIS_H100_V5"
    name = bench.backend().submit(plan(ranks(bench, compute="wide")))
    assert node(bench, name, "ranks")["distribution"]["process_count_per_instance"] == 2
    assert bench.azure.wait(name) == "Completed"
    name = bench.backend().submit(plan(ranks(bench, compute="gpu-cluster")))
    assert not node(bench, name, "ranks").get("distribution")


def test_one_component_runs_in_two_environments(bench: Bench) -> None:
    first = bench.upper("first", {"text": DataPath(bench.file("a"))})
    second = replace(first, name="second", environment="azureml:azure-distill-gpu@latest")
    name = bench.backend().submit(plan(first, second))
    components = [
        bench.azure.workspace.find_by_id("components", node(bench, name, s)["componentId"]) for s in ("first", "second")
    ]
    specs = [component.properties["componentSpec"] for component in components if component]
    assert [spec["name"] for spec in specs] == ["test_upper", "test_upper"]
    assert ["azure-distill-gpu" in spec["environment"] for spec in specs] == [False, True]
    assert specs[0]["version"] != specs[1]["version"]
    assert bench.azure.wait(name) == "Completed"


def test_the_shipped_training_runs_as_several_processes(bench: Bench) -> None:
    rows = bench.file("".join(json.dumps(row) + "\n" for row in generate("classification", 40, 1)), "rows.jsonl")
    with LoopbackTeacher(answer=lambda body: "billing", model="big") as teacher:
        job = DistillationJob(
            teacher_model={"name": "big", "endpoint": teacher.url, "auth": "none"},
            student_model="nano-llama",
            training_data=str(rows),
            task_type="classification",
            labels=["billing", "delivery", "account", "technical", "returns"],
            hyperparameters={"num_epochs": 1, "seed": 1},
            compute={"student_finetune": {"processes_per_instance": 2}},
        )
        name = bench.backend().submit(build_plan(job, {}))
        while "student_finetune" not in bench.azure.steps(name):
            assert bench.azure.run(name).status != "Failed", bench.azure.run(name).error
            time.sleep(0.1)
        trained = bench.azure.steps(name)["student_finetune"]
        assert bench.azure.wait(trained.id, seconds=200) == "Completed", trained.error
    logs = [log for log in trained.logs if log.startswith("user_logs/")]
    assert sorted(logs) == ["user_logs/std_log_process_0.txt", "user_logs/std_log_process_1.txt"]
    model = bench.azure.workspace.locate(trained.outputs["model"].uri)
    assert json.loads(bench.azure.storage.read(model / "training.json"))["processes"] == 2


def test_machines_that_a_component_cannot_use_are_refused_before_anything_is_sent(bench: Bench) -> None:
    step = bench.upper("first", {"text": DataPath(bench.file("a"))}, instance_count=2)
    with pytest.raises(InvalidJob, match=r"compute\.first: test_upper runs as one process on one machine"):
        bench.backend().submit(plan(step))
    assert bench.azure.recorder.calls == []
