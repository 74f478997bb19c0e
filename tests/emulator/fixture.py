"""The fixtures `azure_server` and `azure`: import both into a conftest.py to give its tests an emulated Azure."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.emulator.azurite import NoAzurite, install
from tests.emulator.faults import Faults
from tests.emulator.names import GROUP, SUBSCRIPTION, TENANT
from tests.emulator.recorder import Recorder
from tests.emulator.server import Server
from tests.emulator.state import TERMINAL, Asset, Run, Workspace
from tests.emulator.storage import Location, Storage
from tests.emulator.tokens import LIFETIME, EmulatorCredential

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SIGN_IN = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
CLI = """#!{}
import json, sys, time, urllib.request
if sys.argv[1:3] != ["account", "get-access-token"]:
    sys.exit("the emulated az can only give tokens")
resource = sys.argv[sys.argv.index("--resource") + 1]
request = urllib.request.Request("{}?resource=" + resource, headers={{"X-IDENTITY-HEADER": "{}"}})
answer = json.load(urllib.request.urlopen(request))
ends = int(answer["expires_on"])
local = time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(ends))
names = {{"subscription": "{}", "tenant": "{}", "tokenType": "Bearer"}}
print(json.dumps({{"accessToken": answer["access_token"], "expires_on": ends, "expiresOn": local, **names}}))
"""
FAST = {"AZUREML_RUN_POLLING_INTERVAL_MIN": "1", "AZUREML_RUN_POLLING_INTERVAL_MAX": "1"}


@dataclass(frozen=True)
class Azure:
    """A workspace of its own for one test, to which this process and every command it starts are led."""

    server: Server
    workspace: Workspace

    @property
    def subscription(self) -> str:
        return SUBSCRIPTION

    @property
    def resource_group(self) -> str:
        return GROUP

    @property
    def recorder(self) -> Recorder:
        return self.server.recorder

    @property
    def faults(self) -> Faults:
        return self.server.faults

    @property
    def storage(self) -> Storage:
        return self.server.storage

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a signed-in user's shell (already set in this process): for commands started by hand."""
        tokens = self.server.tokens
        sign_in = dict(zip(SIGN_IN, (TENANT, tokens.client_id, tokens.client_secret), strict=True))
        return {**self.server.client_variables, **sign_in, **FAST}

    def credential(self, lifetime: float = LIFETIME) -> EmulatorCredential:
        """An identity for clients made in this process; a negative lifetime gives expired tokens."""
        return EmulatorCredential(self.server.tokens, lifetime)

    def client(self) -> MLClient:
        """The SDK's own client, unmodified."""
        from azure.ai.ml import MLClient

        return MLClient(self.credential(), SUBSCRIPTION, GROUP, self.workspace.name)

    def write_config(self, folder: Path) -> Path:
        """The `config.json` that the Azure portal offers for download."""
        file = folder / "config.json"
        names = {"subscription_id": SUBSCRIPTION, "resource_group": GROUP, "workspace_name": self.workspace.name}
        file.write_text(json.dumps(names))
        return file

    def write_cli(self, folder: Path) -> dict[str, str]:
        """Put an `az` that is signed in into `folder`; returns the variables with which commands find and use it."""
        identity = self.server.identity_variables
        program = folder / "az"
        program.touch(mode=0o755)
        program.write_text(CLI.format(sys.executable, *identity.values(), SUBSCRIPTION, TENANT))
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        return {**self.server.client_variables, "PATH": path, "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential"}

    def add_registry_model(self, registry: str, name: str, version: str, source: Path) -> str:
        """Put a local folder into a registry; returns its `azureml://registries/…` address."""
        place = self.server.add_registry(registry)
        location = Location(place.datastores["workspaceblobstore"], f"{name}/{version}")
        self.storage.upload(source, location)
        properties = {"modelUri": location.url, "modelType": "custom_model", "flavors": {}}
        asset = Asset("models", name, version, properties)
        place.add(asset)
        return place.id_of(asset)

    def run(self, name: str) -> Run:
        """A pipeline's or a step's run, as the service knows it."""
        return self.workspace.runs[name]

    def steps(self, job: str) -> dict[str, Run]:
        """The steps of a pipeline that have been started, by node."""
        return {run.name: run for run in self.workspace.children(job)}

    def wait(self, job: str, seconds: float = 60.0) -> str:
        """The status in which a job ends; looks at the service itself, so nothing is recorded."""
        return self.wait_for(job, *TERMINAL, seconds=seconds)

    def wait_for(self, run: str, *statuses: str, seconds: float = 60.0) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.workspace.runs.get(run)
            if found and found.status in statuses:
                return found.status
            time.sleep(0.02)
        raise AssertionError(f"{run} is not {' or '.join(statuses)} after {seconds:g} s")

    def log(self, run: str, path: str = "user_logs/std_log.txt") -> str:
        """A run's log so far."""
        return self.storage.read(self.workspace.artifacts(run) / path).decode()


def require_azurite() -> None:
    """Skip the test without node and npm, but never where CI counts on it."""
    try:
        install()
    except NoAzurite as reason:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One emulated Azure for all tests that need it."""
    require_azurite()
    server = Server(tmp_path_factory.mktemp("azure"))
    yield server
    server.stop()


@pytest.fixture
def azure(azure_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """A fresh workspace; the recorder, the faults and the environment begin and end with the test."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "AZUREML_", "IDENTITY_", "MSI_"))]:
        if name != "AZURE_DISTILL_HOME":
            monkeypatch.delenv(name)
    azure = Azure(azure_server, azure_server.add_workspace())
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its first request
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)
    azure_server.recorder.clear()
    yield azure
    azure_server.faults.clear()
    azure_server.stop_jobs()
    azure_server.quota.clear()
    azure_server.registries.clear()
