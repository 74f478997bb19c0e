"""What Azure refuses, the emulator refuses, with the same status codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.ai.ml import Input, MLClient, dsl, load_component
from azure.ai.ml.entities import Environment, Model, PipelineJob
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

from tests.emulator import throwaway
from tests.emulator.fixture import Azure
from tests.emulator.names import GROUP, SUBSCRIPTION


@pytest.fixture
def client(azure: Azure) -> MLClient:
    return throwaway.with_environment(azure.client())


def job_of(folder: Path, path: str = "", **given: Any) -> PipelineJob:
    shout = load_component(throwaway.shout(folder))
    text = folder / "words.txt"
    text.write_text("hello ")

    def words() -> None:
        shout(text=Input(type="uri_file", path=path or str(text)), **given)

    job: PipelineJob = dsl.pipeline(default_compute="cpu-cluster")(words)()
    job.experiment_name = "words"
    return job


def resend(azure: Azure, path: str, change: Callable[[dict[str, Any]], None]) -> tuple[int, str]:
    """Send the last PUT to `path` again, its properties changed, to another name; the answer's status and message."""
    call = azure.recorder.matching("PUT", path)[-1]
    body = json.loads(call.body)
    change(body["properties"])
    headers = {name: value for name, value in call.headers.items() if name != "Content-Length"}
    url = f"https://{call.host}{call.path.rstrip('/')}-again?{call.query}"
    answer = requests.put(url, json=body, headers=headers, timeout=30)
    return answer.status_code, answer.json()["error"]["message"]


def test_unknown_workspace_compute_and_assets(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    elsewhere = MLClient(azure.credential(), SUBSCRIPTION, GROUP, "nowhere")
    with pytest.raises(ResourceNotFoundError, match="workspaces/nowhere"):
        elsewhere.workspaces.get("nowhere")
    with pytest.raises(ResourceNotFoundError, match="Unknown compute target 'tpu'"):
        client.compute.get("tpu")
    with pytest.raises(ResourceNotFoundError):
        client.components.get("nothing", version="1")
    with pytest.raises(ResourceNotFoundError):
        client.jobs.get("nothing")
    with pytest.raises(ResourceNotFoundError):
        client.connections.get("nothing")


def test_unknown_default_compute(client: MLClient, tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.settings.default_compute = "tpu"
    with pytest.raises(HttpResponseError, match="Unknown compute target 'tpu'"):
        client.jobs.create_or_update(job)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("azureml:nothing:1", "Could not find .*nothing"),
        ("azureml://datastores/elsewhere/paths/x", "Could not find azureml://datastores/elsewhere"),
        ("azureml://registries/azureml/models/none/versions/1", "Could not find"),
    ],
)
def test_unknown_data(client: MLClient, tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(HttpResponseError, match=message):
        client.jobs.create_or_update(job_of(tmp_path, path))


def test_data_that_is_not_there_fails_the_step(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    path = "azureml://datastores/workspaceblobstore/paths/no/such.txt"
    name = client.jobs.create_or_update(job_of(tmp_path, path)).name
    assert azure.wait(name) == "Failed"
    (step,) = azure.steps(name).values()
    assert step.error is not None
    assert "NotFound" in step.error[1]


def test_literal_out_of_range(client: MLClient, tmp_path: Path) -> None:
    with pytest.raises(HttpResponseError, match="times: 12 is more than 9"):
        client.jobs.create_or_update(job_of(tmp_path, times=12))


def test_every_problem_of_a_body_is_named(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    def spoil(properties: dict[str, Any]) -> None:
        (node,) = properties["jobs"].values()
        node["inputs"]["loud"] = {"job_input_type": "literal", "value": "1"}
        del node["inputs"]["text"]
        node["outputs"] = {"whispered": {"job_output_type": "uri_folder"}}
        properties["experimentName"] = "no blanks, please"

    client.jobs.create_or_update(job_of(tmp_path))
    status, message = resend(azure, "/jobs/", spoil)
    assert status == 400
    for problem in ("no input loud", "text: required", "no output whispered", "'no blanks, please' is invalid"):
        assert problem in message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${{parent.jobs.ghost.outputs.x}}", "there is no ghost.outputs.x"),
        ("${{parent.jobs.shout.outputs.shouted}}", "wait for each other: shout"),
        ("${{parent.inputs.ghost}}", "the job has no input ghost"),
        ("hello", "text: expected uri_file"),
    ],
)
def test_bindings_that_lead_nowhere(azure: Azure, client: MLClient, tmp_path: Path, value: str, message: str) -> None:
    def spoil(properties: dict[str, Any]) -> None:
        properties["jobs"]["shout"]["inputs"]["text"] = {"job_input_type": "literal", "value": value}

    client.jobs.create_or_update(job_of(tmp_path))
    status, refusal = resend(azure, "/jobs/", spoil)
    assert status == 400
    assert message in refusal


def test_unknown_component(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    def spoil(properties: dict[str, Any]) -> None:
        node = properties["jobs"]["shout"]
        node["componentId"] = node["componentId"].rsplit("/", 1)[0] + "/9"

    client.jobs.create_or_update(job_of(tmp_path))
    status, message = resend(azure, "/jobs/", spoil)
    assert (status, "could not find component" in message) == (400, True)


def test_registered_versions_never_change(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    plain = Environment(name="plain", version="1", image="mcr.microsoft.com/any:1", tags={"seen": "twice"})
    assert client.environments.create_or_update(plain).tags == {"seen": "twice"}
    with pytest.raises(HttpResponseError, match="already registered and cannot be changed"):
        client.environments.create_or_update(Environment(name="plain", version="1", image="mcr.microsoft.com/any:2"))
    component = load_component(throwaway.shell(tmp_path, "once", "true"))
    client.components.create_or_update(component)
    client.components.create_or_update(load_component(throwaway.shell(tmp_path, "once", "true")))
    with pytest.raises(ResourceExistsError, match="already registered and cannot be changed"):
        client.components.create_or_update(load_component(throwaway.shell(tmp_path, "once", "false")))


def test_component_with_unknown_environment_or_port(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    file = throwaway.component(tmp_path, "lost", "true", environment="azureml:nothing:1")
    with pytest.raises(HttpResponseError, match="could not find environment"):
        client.components.create_or_update(load_component(file))
    client.components.create_or_update(load_component(throwaway.shell(tmp_path, "found", "true")))

    def spoil(properties: dict[str, Any]) -> None:
        properties["componentSpec"]["command"] = "echo ${{inputs.ghost}}"

    status, message = resend(azure, "/components/", spoil)
    assert (status, "inputs.ghost, which is not declared" in message) == (400, True)


def test_job_names(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    step = load_component(throwaway.shell(tmp_path, "quick", "true"))
    client.jobs.create_or_update(throwaway.only(step, name="mine"))
    azure.wait("mine")
    client.jobs.create_or_update(throwaway.only(step, name="mine"))
    other = load_component(throwaway.shell(tmp_path, "other", "false"))
    with pytest.raises(HttpResponseError, match="A job with this name already exists"):
        client.jobs.create_or_update(throwaway.only(other, name="mine"))
    with pytest.raises(HttpResponseError, match="no valid job name"):
        client.jobs.create_or_update(throwaway.only(step, name="not mine"))


def test_model_without_bytes(client: MLClient) -> None:
    with pytest.raises(HttpResponseError, match="Could not find job: ghost"):
        client.models.create_or_update(Model(name="none", path="azureml://jobs/ghost/outputs/model"))


def test_tokens_are_verified(azure: Azure) -> None:
    expired = MLClient(azure.credential(-10), SUBSCRIPTION, GROUP, azure.workspace.name)
    with pytest.raises(ClientAuthenticationError, match="ExpiredAuthenticationToken"):
        expired.workspaces.get(azure.workspace.name)
