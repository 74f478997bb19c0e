"""The client on a workspace: models with lineage and gate, reports, and what Azure's refusals look like."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from azure_distill.client import DistillClient
from azure_distill.errors import (
    ConfigurationError,
    DistillError,
    InvalidJob,
    JobFailed,
    NotFound,
    ServiceUnavailable,
)
from azure_distill.plan.plan import DataPath, DataUri, Literal, Plan, Step, StepOutput
from tests.azure_distill.cloud.conftest import Bench, plan

PREPARE = """\
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
(out / "data_report.json").write_text(json.dumps({"files": {"training_data": {"sha256": "ab" * 32}}}))
"""
TRAIN = """\
import pathlib, sys
(pathlib.Path(sys.argv[1]) / "weights").mkdir()
(pathlib.Path(sys.argv[1]) / "weights" / "model.bin").write_bytes(b"0123")
(pathlib.Path(sys.argv[1]) / "MLmodel").write_text("{}")
"""
EVALUATE = """\
import json, pathlib, sys
out, passed = pathlib.Path(sys.argv[1]), sys.argv[2] == "yes"
accuracy = {"value": 0.75, "low": 0.5, "high": 1.0}
student = {"n": 8, "metrics": {"accuracy": accuracy}, "latency_ms": {"p50": 2.5, "p95": 3}}
metrics = {"contenders": {"student": student}, "gate": {"passed": passed, "checks": []}}
(out / "metrics.json").write_text(json.dumps(metrics))
(out / "report.html").write_text("<p>report</p>")
"""
JOB = {"teacher_model": {"name": "big"}, "student_model": "small", "task_type": "nli"}


def distillation(bench: Bench, gate: str = "yes") -> Plan:
    """A plan that looks like a distillation from outside, with programs that take no time."""

    def component(name: str, output: str, code: str, arguments: str = "", **inputs: str) -> Step:
        ports = {port: {"type": kind} for port, kind in inputs.items()}
        outputs = {output: {"type": "uri_folder"}}
        command = f"python main.py '${{{{outputs.{output}}}}}' {arguments}"
        return Step(name, bench.component(name, command, code, inputs=ports, outputs=outputs), {})

    prepare = component("prepare_data", "data", PREPARE, "'${{inputs.task}}'", task="string")
    train = component("student_finetune", "model", TRAIN, "'${{inputs.data}}'", data="uri_folder")
    evaluate = component(
        "evaluation", "report", EVALUATE, "'${{inputs.gate}}' '${{inputs.model}}'", gate="string", model="uri_folder"
    )
    return Plan(
        "nli",
        JOB,
        (
            Step(prepare.name, prepare.component, {"task": Literal('{"type": "nli"}')}),
            Step(train.name, train.component, {"data": StepOutput("prepare_data", "data")}),
            Step(
                evaluate.name,
                evaluate.component,
                {"gate": Literal(gate), "model": StepOutput("student_finetune", "model")},
            ),
        ),
    )


@pytest.fixture
def client(bench: Bench) -> DistillClient:
    return DistillClient(bench.backend())


def test_a_model_is_registered_with_where_it_comes_from(
    bench: Bench, client: DistillClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.jobs.create_or_update(distillation(bench))
    assert (run.status in ("NotStarted", "Preparing", "Running"), list(run.steps)) == (
        True,
        ["prepare_data", "student_finetune", "evaluation"],
    )
    client.jobs.stream(run.name)
    assert client.models.register(run.name, "small-distilled") == "small-distilled:1"
    child = bench.azure.steps(run.name)["student_finetune"].id
    sent = [json.loads(call.body) for call in bench.azure.recorder.calls if "/models/" in call.path and call.body]
    assert sent[-1]["properties"]["modelUri"] == f"azureml://jobs/{child}/outputs/model"
    (kept,) = client.models.list()
    assert (kept.name, kept.version, kept.run) == ("small-distilled", "1", run.name)
    wanted = {"teacher": "big", "student": "small", "task": {"type": "nli"}, "accuracy": "0.75", "n": "8"}
    assert {key: kept.lineage[key] for key in wanted} == wanted
    assert kept.lineage["data_training_data"] == "ab" * 32
    assert client.models.register(run.name, "small-distilled") == "small-distilled:2"
    monkeypatch.chdir(tmp_path)
    assert client.jobs.report(run.name).read_text() == "<p>report</p>"
    again = client.models.evaluation_plan("small-distilled", bench.file("{}", "test.jsonl"))
    model = again.step("evaluation").inputs["student_model"]
    assert isinstance(model, DataUri)
    assert model.uri.endswith(f"/{child}/model/") or model.uri.endswith(f"/{child}/model")


def test_a_student_is_an_mlflow_model_where_that_is_wanted(bench: Bench, client: DistillClient, tmp_path: Path) -> None:
    run = client.jobs.create_or_update(distillation(bench))
    assert bench.azure.wait(run.name) == "Completed"
    client.models.register(run.name, "small", form="mlflow")
    (kept,) = bench.azure.workspace.versions("models", "small")
    assert kept.properties["modelType"] == "mlflow_model"
    assert kept.properties["tags"]["teacher"] == "big"
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "config.json").write_text("{}")
    with pytest.raises(InvalidJob, match="has no MLmodel"):
        client.models.register(str(tmp_path / "plain"), "plain", form="mlflow")
    assert [model.name for model in client.models.list()] == ["small"]


def test_a_failed_gate_keeps_a_model_out_of_the_registry(bench: Bench, client: DistillClient) -> None:
    run = client.jobs.create_or_update(distillation(bench, gate="no"))
    assert bench.azure.wait(run.name) == "Completed"
    with pytest.raises(JobFailed, match="gate"):
        client.models.register(run.name, "small-distilled")
    assert client.models.list() == []
    assert client.models.register(run.name, "small-distilled", force=True) == "small-distilled:1"


def test_a_registered_model_is_an_input_of_the_next_run(bench: Bench, client: DistillClient, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert client.models.register(str(folder), "mine") == "mine:1"
    step = bench.shell("use", "ls '${{inputs.model}}' > '${{outputs.out}}/names'", {"model": DataUri("azureml:mine:1")})
    name = client.backend.submit(plan(step))
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    assert client.backend.read(name, "use", "out", "names") == b"config.json\n"
    assert client.backend.read(name, "use", "out", "nothing") is None


@pytest.mark.parametrize("permission", ["None", "AccountKey", "Sas"])
def test_outputs_come_by_any_permission_that_a_datastore_gives(
    bench: Bench, client: DistillClient, tmp_path: Path, permission: Any
) -> None:
    bench.azure.workspace.datastore_credentials = permission
    name = client.backend.submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    (folder,) = client.jobs.download(name, tmp_path / "down")
    assert (folder / "upper.txt").read_text() == "A"


def test_a_model_of_a_registry_is_mounted(bench: Bench, client: DistillClient, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    uri = bench.azure.add_registry_model("azureml", "phi", "3", folder)
    latest = uri.replace("versions/3", "labels/latest")
    command = "ls '${{inputs.model}}' '${{inputs.newest}}' > '${{outputs.out}}/names'"
    step = bench.shell("use", command, {"model": DataUri(uri), "newest": DataUri(latest)})
    name = client.backend.submit(plan(step))
    inputs = bench.azure.workspace.jobs[name]["properties"]["jobs"]["use"]["inputs"]
    assert {port["uri"] for port in inputs.values()} == {uri}
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    assert str(client.backend.read(name, "use", "out", "names")).count("config.json") == 2
    missing = bench.shell("use", "ls '${{inputs.model}}'", {"model": DataUri(uri.replace("phi", "psi"))})
    with pytest.raises(InvalidJob, match="in that registry"):
        client.backend.submit(plan(missing))


def test_the_client_of_a_config_file_is_that_workspaces(bench: Bench, tmp_path: Path) -> None:
    bench.azure.write_config(tmp_path)
    (tmp_path / "below").mkdir()
    name = bench.backend().submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert [run.name for run in DistillClient.from_config(tmp_path / "below").jobs.list()] == [name]


def test_an_unknown_asset_is_found_before_the_job_is_sent(bench: Bench, client: DistillClient) -> None:
    step = bench.shell("use", "ls '${{inputs.data}}'", {"data": DataUri("azureml:nowhere:1")})
    with pytest.raises(InvalidJob, match=r"use\.data: there is no data asset or model azureml:nowhere:1"):
        client.backend.submit(plan(step))
    assert not [call for call in bench.azure.recorder.calls if call.method == "PUT" and "/jobs/" in call.path]


def test_an_unknown_cluster_is_refused_in_one_line(bench: Bench, client: DistillClient) -> None:
    step = bench.upper("first", {"text": DataPath(bench.file("a"))}, compute="gpu-clutser")
    with pytest.raises(DistillError) as caught:
        client.backend.submit(plan(step))
    assert "gpu-clutser" in str(caught.value)
    assert caught.value.exit_code == InvalidJob.exit_code
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ConfigurationError), (403, ConfigurationError), (404, NotFound), (503, ServiceUnavailable)],
)
def test_refusals_become_one_line_with_a_remedy(
    bench: Bench, client: DistillClient, status: int, error: type[DistillError]
) -> None:
    bench.azure.faults.answer("GET", "/jobs/", status, times=20)
    started = time.monotonic()
    with pytest.raises(error) as caught:
        client.jobs.get("anything")
    assert time.monotonic() - started < 20
    assert len(str(caught.value).splitlines()) == 1
    assert error is NotFound or caught.value.hint


def test_a_lost_answer_makes_no_second_job(bench: Bench, client: DistillClient) -> None:
    bench.azure.faults.lose("PUT", "/jobs/")
    name = client.backend.submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert bench.azure.wait(name) == "Completed"
    assert [run.name for run in client.jobs.list()] == [name]


def test_the_sdk_adds_nothing_to_what_we_say(
    bench: Bench, client: DistillClient, capfd: pytest.CaptureFixture[str]
) -> None:
    client.backend.submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert capfd.readouterr() == ("", "")


def test_another_programs_job_is_none_of_ours(bench: Bench, client: DistillClient) -> None:
    with pytest.raises(NotFound):
        client.jobs.get("last")
    with pytest.raises(NotFound) as caught:
        client.jobs.get("nothing")
    assert "list --azure" in str(caught.value.hint)
