"""Faults befall the unmodified SDK; ways to sign in; nothing leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from azure.ai.ml import MLClient, load_component
from azure.ai.ml.entities import Data, PipelineJob
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from tests.emulator import throwaway
from tests.emulator.azurite import NoAzurite
from tests.emulator.fixture import Azure, require_azurite

JOBS = r"management\.azure\.com/.*/jobs/"


@pytest.fixture
def client(azure: Azure) -> MLClient:
    return throwaway.with_environment(azure.client())


def quick(folder: Path) -> PipelineJob:
    step = load_component(throwaway.shell(folder, "quick", "true"))
    return throwaway.only(step, name="mine")


@pytest.mark.parametrize("action", ["429", "503", "drop", "lose"])
def test_job_is_submitted_once_whatever_befalls_the_call(
    azure: Azure, client: MLClient, tmp_path: Path, action: str
) -> None:
    if action.isdigit():
        azure.faults.answer("PUT", JOBS, int(action), times=1, retry_after=0.2)
    else:
        getattr(azure.faults, action)("PUT", JOBS)
    client.jobs.create_or_update(quick(tmp_path))
    assert azure.wait("mine") == "Completed"
    assert azure.faults.done == 1
    calls = [call.status for call in azure.recorder.matching("PUT", JOBS)]
    assert calls == {"429": [429, 201], "503": [503, 201], "drop": [0, 201], "lose": [0, 200]}[action]
    assert len(azure.steps("mine")) == 1


def test_faults_that_are_not_retried(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    azure.faults.expire_tokens("PUT", JOBS)
    with pytest.raises(ClientAuthenticationError, match="ExpiredAuthenticationToken"):
        client.jobs.create_or_update(quick(tmp_path))
    azure.faults.answer("PUT", JOBS, 403, code="AuthorizationFailed")
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        client.jobs.create_or_update(quick(tmp_path))
    assert azure.workspace.jobs == {}


@pytest.mark.parametrize("credentials", ["Sas", "AccountKey", "None"])
def test_uploads_with_each_kind_of_datastore_credentials(
    azure: Azure, client: MLClient, tmp_path: Path, credentials: str
) -> None:
    azure.workspace.datastore_credentials = credentials  # type: ignore[assignment]
    (tmp_path / "rows.jsonl").write_text("{}\n")
    data = client.data.create_or_update(Data(name="rows", path=str(tmp_path / "rows.jsonl"), type="uri_file"))
    assert azure.storage.read(azure.workspace.locate(data.path)) == b"{}\n"
    secrets = azure.recorder.matching("POST", "listSecrets")
    assert bool(secrets) == (credentials != "None")
    assert azure.recorder.unexpected == []


def test_quota_sizes_and_computes(azure: Azure, client: MLClient) -> None:
    azure.server.quota["standardNCADSA100v4Family"] = 24
    usage = {entry.name["value"]: entry.limit for entry in client.compute.list_usage(location="eastus")}
    assert usage["standardNCADSA100v4Family"] == 24
    assert "STANDARD_D4AS_V4" in [size.name for size in client.compute.list_sizes(location="eastus")]
    assert [compute.name for compute in client.compute.list()] == ["cpu-cluster", "gpu-cluster"]


PROGRAM = (
    "import sys; from azure.ai.ml import MLClient; from azure.identity import DefaultAzureCredential\n"
    "client = MLClient.from_config(DefaultAzureCredential())\n"
    "print(client.workspaces.get(client.workspace_name).discovery_url)\n"
)


def ask(azure: Azure, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Another process with this environment and no more, which asks for the workspace of a config file."""
    azure.write_config(folder)
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    base = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**base, **variables}, timeout=60, check=False
    )


def test_another_process_signs_in_as_a_service_principal(azure: Azure, tmp_path: Path) -> None:
    done = ask(azure, tmp_path, azure.variables)
    assert done.stdout.strip() == azure.workspace.discovery_url, done.stderr
    wrong = {**azure.variables, "AZURE_CLIENT_SECRET": "wrong", "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}
    done = ask(azure, tmp_path, wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert azure.recorder.matching("POST", "/oauth2/v2.0/token")[-1].status == 401
    assert azure.recorder.unexpected == []


def test_another_process_signs_in_with_the_azure_cli(azure: Azure, tmp_path: Path) -> None:
    done = ask(azure, tmp_path, azure.write_cli(tmp_path))
    assert done.stdout.strip() == azure.workspace.discovery_url, done.stderr
    assert azure.recorder.unexpected == []


def test_without_node_tests_are_skipped_but_never_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install Node"):
        require_azurite()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NoAzurite, match="install Node"):
        require_azurite()


def test_no_other_host_is_reached(azure: Azure) -> None:
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("https://example.com/", timeout=5)
    assert azure.recorder.unexpected == ["CONNECT example.com:443"]
