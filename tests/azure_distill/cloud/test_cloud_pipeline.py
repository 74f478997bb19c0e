"""Plans as the job that is sent: nothing here needs a server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from azure.ai.ml import load_component as azure_component

from azure_distill.assets.bindings import render
from azure_distill.assets.component import builtin_components
from azure_distill.client import DistillClient
from azure_distill.cloud.backend import CloudBackend
from azure_distill.cloud.compute import on_all_gpus
from azure_distill.cloud.data import Where, content_version
from azure_distill.cloud.pipeline import make_pipeline, placed, plan_problems
from azure_distill.cloud.register import Variant, variant
from azure_distill.cloud.workspace import Workspace
from azure_distill.errors import InvalidJob
from azure_distill.local.paths import Home
from azure_distill.local.step import bind
from azure_distill.plan.arguments import as_json
from azure_distill.plan.build import build_plan
from azure_distill.plan.plan import Binding, DataPath, DataUri, Literal, Plan, Step
from azure_distill.samples.write import Sizes, write_rows
from azure_distill.spec.job import DistillationJob

JOBS = Path(__file__).parents[3] / "jobs"
VERSION = "0123"


def references(plan: Plan) -> tuple[dict[Variant, str], dict[Where, str]]:
    """What a workspace would answer: any version, any data."""
    components = {variant(placed(step)): f"azureml:{step.component.name}:{VERSION}" for step in plan.steps}
    data = [b for step in plan.steps for b in step.inputs.values() if isinstance(b, DataPath | DataUri)]
    return components, {where: f"azureml:data:{index}" for index, where in enumerate(data)}


def sent(plan: Plan) -> dict[str, Any]:
    """The body of the request, as JSON."""
    job = make_pipeline(plan, "run_1", *references(plan))
    properties: dict[str, Any] = json.loads(json.dumps(job._to_rest_object().as_dict()))["properties"]
    return properties


def example(path: Path, folder: Path) -> Plan:
    if path.stem == "customer_support":  # its rows are made by a program beside it
        path = Path(shutil.copy(path, folder))
        write_rows("conversation", folder / "data" / "customer_support", Sizes(20, 5, 5, 0))
    if path.stem == "bbc_topics":  # its data is fetched by a script, not committed
        path = Path(shutil.copy(path, folder))
        write_rows("classification", folder / "data" / "bbc_topics", Sizes(20, 5, 5, 5))
    return build_plan(DistillationJob.from_file(path), {})


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_commands_in_azure_are_the_commands_here(path: Path, tmp_path: Path) -> None:
    plan = example(path, tmp_path)
    nodes = sent(plan)["jobs"]
    home = Home.locate(tmp_path / "home")
    assert list(nodes) == [step.name for step in plan.steps]
    for step in plan.steps:
        bound = bind(step, home, home.run("run"))
        here = render(step.component.command, named(bound.values, bound.data), dict.fromkeys(bound.outputs, "OUT"))
        there = render(azure_component(step.component.path).command, received(step, nodes[step.name]), outputs(step))
        assert here == there


def named(values: Mapping[str, Any], data: Mapping[str, Path]) -> dict[str, Any]:
    """The values of a step with its data by port instead of by path."""
    return {**values, **{port: f"DATA-{port}" for port in data}}


def received(step: Step, node: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the service puts into a command: what the node says, else the component's default."""
    values: dict[str, Any] = {name: port.default for name, port in step.component.inputs.items()}
    for name, given in node["inputs"].items():
        bound = "uri" in given or given["value"].startswith("${{parent.")
        values[name] = f"DATA-{name}" if bound else given["value"]
    return values


def outputs(step: Step) -> dict[str, str]:
    return dict.fromkeys(step.component.outputs, "OUT")


def small(**resources: Any) -> Plan:
    component = builtin_components()["prepare_data"]
    inputs: dict[str, Binding] = {"training_data": DataUri("azureml:rows:1"), "task": as_json({"type": "nli"})}
    return Plan("small", {"description": "few rows"}, (Step("prepare_data", component, inputs, resources),))


def test_a_step_runs_on_serverless_compute_or_on_the_cluster_that_is_named() -> None:
    serverless = sent(small(instance_type="Standard_E4ds_v5", tier="spot", timeout=90, shm_size="2g", identity="user"))[
        "jobs"
    ]["prepare_data"]
    assert serverless["computeId"] == "serverless"
    assert serverless["resources"] == {"instance_type": "Standard_E4ds_v5", "shm_size": "2g"}
    assert serverless["queue_settings"] == {"job_tier": "Spot"}
    assert serverless["limits"]["timeout"] == "PT1M30S"
    assert serverless["identity"] == {"identity_type": "UserIdentity"}
    cluster = sent(small(compute="gpu-cluster"))["jobs"]["prepare_data"]
    assert cluster["computeId"] == "gpu-cluster"
    assert not cluster.keys() & {"resources", "queue_settings", "limits", "identity", "distribution"}


def test_several_machines_need_a_component_that_can_be_distributed() -> None:
    plan = small(instance_count=2, processes_per_instance=4)
    (problem,) = plan_problems(plan)
    assert problem.field == "compute.prepare_data"
    (step,) = plan.steps
    able = replace(step, component=replace(step.component, tags={"distribution": "pytorch"}))
    plan = replace(plan, steps=(able,))
    assert not list(plan_problems(plan))
    node = sent(plan)["jobs"]["prepare_data"]
    assert node["distribution"] == {"distribution_type": "PyTorch", "process_count_per_instance": 4}
    assert node["resources"]["instance_count"] == 2


def student(**compute: Any) -> Step:
    """The training step of a job with so much `compute`."""
    job = DistillationJob(
        teacher_model={"name": "big", "endpoint": "https://teacher.example/v1", "auth": "none"},
        student_model="phi-4-mini",
        training_data=str(JOBS / "data" / "nli" / "training_data.jsonl"),
        task_type="nli",
        compute={"student_finetune": compute},
    )
    return build_plan(job, {}).step("student_finetune")


def test_a_machine_that_the_catalog_knows_runs_one_process_a_gpu() -> None:
    step = student(instance_type="Standard_NC96ads_A100_v4", instance_count=2)
    assert (step.processes, step.to_json()["distribution"]) == (8, "pytorch")
    node = sent(Plan("p", {}, (replace(step, inputs={}),)))["jobs"]["student_finetune"]
    assert node["distribution"] == {"distribution_type": "PyTorch", "process_count_per_instance": 4}
    assert node["resources"] == {"instance_type": "Standard_NC96ads_A100_v4", "instance_count": 2}
    single = student(instance_type="Standard_NC24ads_A100_v4")
    assert single.to_json()["distribution"] is None
    assert "distribution" not in sent(Plan("p", {}, (replace(single, inputs={}),)))["jobs"]["student_finetune"]


def test_of_a_cluster_the_workspace_knows_the_gpus() -> None:
    sizes = {"wide": "STANDARD_NC80ADIS_H100_V5", "unknown": None}
    plan = Plan("p", {}, tuple(student(compute=name) for name in sizes))
    assert [step.processes for step in on_all_gpus(plan, sizes.get).steps] == [2, 1]
    given = Plan("p", {}, (student(compute="wide", processes_per_instance=1),))
    assert on_all_gpus(given, sizes.get) == given


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_job_that_runs_here_can_be_submitted(path: Path, tmp_path: Path) -> None:
    assert list(plan_problems(example(path, tmp_path))) == []


def test_a_key_of_this_machine_is_refused_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "job.yaml").write_text(
        "task_type: nli\nstudent_model: phi-4-mini\ntraining_data: rows.jsonl\n"
        "teacher_model:\n  name: big\n  endpoint: https://teacher.example/v1\n  api_key_env: MY_KEY\n"
        "evaluation: {judge: {endpoint: 'https://judge.example/v1', model: j, api_key_env: JUDGE_KEY}}\n"
    )
    client = DistillClient(CloudBackend(Workspace("s", "g", "w"), Mock()))
    with pytest.raises(InvalidJob) as caught:
        client.jobs.create_or_update(DistillationJob.from_file(tmp_path / "job.yaml"))
    teacher, judge = caught.value.problems
    assert (teacher.file, teacher.line, teacher.field) == (str(tmp_path / "job.yaml"), 7, "teacher_model.api_key_env")
    assert "MY_KEY" in teacher.message
    assert "connection: NAME" in str(teacher.hint)
    assert (judge.line, judge.field) == (8, "evaluation.judge.api_key_env")
    assert "connection: NAME" in str(judge.hint)


def test_answers_are_kept_where_the_next_job_finds_them(tmp_path: Path) -> None:
    kept = sent(example(JOBS / "nli.yaml", tmp_path))["jobs"]["teacher_inference"]["outputs"]["answers"]
    assert kept["mode"] == "ReadWriteMount"
    assert kept["uri"] == "azureml://datastores/workspaceblobstore/paths/azure-distill/answers/"


def test_answers_are_kept_where_the_job_says(tmp_path: Path) -> None:
    place = "azureml://datastores/shared/paths/answers/big"
    plan = example(JOBS / "nli.yaml", tmp_path)
    steps = [
        replace(step, kept={"answers": place}) if "answers" in step.component.outputs else step for step in plan.steps
    ]
    assert sent(replace(plan, steps=tuple(steps)))["jobs"]["teacher_inference"]["outputs"]["answers"]["uri"] == place


def test_a_literal_is_no_binding_of_azures() -> None:
    value = as_json({"system_prompt": "write ${{parent.inputs.x}} and it's fine"})
    assert "${{" not in str(value.value)
    assert "'" not in str(value.value)
    assert json.loads(str(value.value)) == {"system_prompt": "write ${{parent.inputs.x}} and it's fine"}


def test_a_literal_that_does_not_fit_is_found_before_anything_is_sent() -> None:
    (step,) = small().steps
    plan = Plan("small", {}, (replace(step, inputs={**step.inputs, "task": Literal("it's")}),))
    assert [problem.field for problem in plan_problems(plan)] == ["prepare_data.task"]


def test_a_version_is_of_content_and_suffix(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", "x"), ("b.jsonl", "x"), ("a.csv", "x"), ("c.jsonl", "y")):
        (tmp_path / name).write_text(text)
    first, same, suffix, other = (content_version(tmp_path / n) for n in ("a.jsonl", "b.jsonl", "a.csv", "c.jsonl"))
    assert first == same
    assert len({first, suffix, other}) == 3
    whole = content_version(tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "d.csv")
    assert content_version(tmp_path) != whole
