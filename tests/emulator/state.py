"""What an emulated workspace knows: its assets, computes, connections and runs."""

from __future__ import annotations

import datetime
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.emulator.names import DATA_HOST, REGION, workspace_path
from tests.emulator.storage import Location, Storage

Document = dict[str, Any]
Credentials = Literal["Sas", "AccountKey", "None"]
TERMINAL = frozenset({"Completed", "Failed", "Canceled"})
DATASTORE = re.compile(r"azureml://(?:subscriptions/.*/workspaces/[^/]+/)?datastores/([^/]+)/paths/(.*)", re.IGNORECASE)
JOB_OUTPUT = re.compile(r"azureml://jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?")
REGISTRY = re.compile(r"azureml://registries/([^/]+)/(\w+)/([^/]+)/versions/([^/]+)")
ASSET_ID = re.compile(r"/subscriptions/.+/workspaces/[^/]+/(\w+)/([^/]+)/versions/([^/]+)")
SHORT_ID = re.compile(r"azureml:([^/:]+):([^/:]+)")
BLOB = re.compile(r"https://[^/]+\.blob\.core\.windows\.net/([^/]+)/(.*)")


class Refusal(Exception):
    """A request that Azure refuses: HTTP status, its error code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def user_error(message: str) -> Refusal:
    return Refusal(400, "UserError", message)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass
class Asset:
    """One version of a code, environment, component, data or model asset."""

    kind: str
    name: str
    version: str
    properties: Document
    created: datetime.datetime = field(default_factory=now)


@dataclass(frozen=True)
class Port:
    """An input or output of a run that holds data: where it lies and its type, such as `uri_folder`."""

    uri: str
    type: str


@dataclass
class Run:
    """A pipeline, or one of its steps."""

    id: str
    name: str
    """The node's name; a pipeline's display name."""
    parent: Run | None = None
    status: str = "NotStarted"
    created: datetime.datetime = field(default_factory=now)
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    error: tuple[str, str] | None = None
    compute: str = ""
    experiment: str = "Default"
    hidden: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def root(self) -> Run:
        return self.parent.root if self.parent else self


class Workspace:
    """The state of one workspace, with containers of its own in the storage account."""

    def __init__(
        self, name: str, storage: Storage, computes: Mapping[str, str], registries: Mapping[str, Registry]
    ) -> None:
        self.name = name
        self.id = str(uuid.uuid4())
        self.storage = storage
        self.computes = dict(computes)
        """Cluster names and their VM sizes."""
        self.connections: dict[str, tuple[str, str]] = {}
        """Connection names, each with its endpoint and key."""
        self.secrets: dict[str, str] = {}
        """What the key vault holds."""
        self.datastore_credentials: Credentials = "Sas"
        self.datastores = {
            "workspaceblobstore": f"azureml-blobstore-{self.id}",
            "workspaceartifactstore": f"azureml-{self.id}",
        }
        self.assets: dict[tuple[str, str], dict[str, Asset]] = {}
        self.jobs: dict[str, Document] = {}
        """The bodies of the jobs that were PUT."""
        self.runs: dict[str, Run] = {}
        self.registries = registries
        self.lock = threading.RLock()
        for container in self.datastores.values():
            storage.create(container)

    @property
    def path(self) -> str:
        return workspace_path(self.name)

    @property
    def discovery_url(self) -> str:
        return f"https://{DATA_HOST}/discovery/workspaces/{self.id}"

    @property
    def location(self) -> str:
        return REGION

    def artifacts(self, run_id: str) -> Location:
        """Where a run's logs and its `./outputs` lie."""
        return Location(self.datastores["workspaceartifactstore"], f"ExperimentRun/dcid.{run_id}")

    def versions(self, kind: str, name: str) -> list[Asset]:
        """Newest first; empty where there are none."""
        return list(reversed(self.assets.get((kind, name), {}).values()))

    def find(self, kind: str, name: str, version: str) -> Asset | None:
        return self.assets.get((kind, name), {}).get(version)

    def id_of(self, asset: Asset) -> str:
        return f"{self.path}/{asset.kind}/{asset.name}/versions/{asset.version}"

    def find_by_id(self, kind: str, text: str) -> Asset | None:
        """An asset by ARM id, `azureml:NAME:VERSION` or its address in a registry, of one kind."""
        if match := REGISTRY.fullmatch(text):
            registry = self.registries.get(match[1])
            return registry.find(kind, match[3], match[4]) if registry and match[2] == kind else None
        if match := ASSET_ID.fullmatch(text.removeprefix("azureml:")):
            return self.find(kind, match[2], match[3]) if match[1] == kind else None
        if match := SHORT_ID.fullmatch(text):
            return self.find(kind, match[1], match[2])
        return None

    def add(self, asset: Asset) -> None:
        with self.lock:
            self.assets.setdefault((asset.kind, asset.name), {})[asset.version] = asset

    def children(self, run_id: str) -> list[Run]:
        return [run for run in list(self.runs.values()) if run.parent is not None and run.parent.id == run_id]

    def locate(self, uri: str) -> Location:
        """Where the bytes of any kind of address lie; raises Refusal where it names nothing that exists."""
        for pattern, found in (
            (DATASTORE, self._in_datastore),
            (JOB_OUTPUT, self._of_job),
            (BLOB, Location),
        ):
            if match := pattern.fullmatch(uri):
                return found(*match.groups())
        for kind, key in (("data", "dataUri"), ("models", "modelUri")):
            if asset := self.find_by_id(kind, uri):
                return self.locate(asset.properties[key])
        raise user_error(f"Could not find asset: {uri}")

    def is_inside(self, uri: str) -> bool:
        """Whether an address names an asset, a run or a datastore of this workspace (or a registry's model)."""
        try:
            self.locate(uri)
        except Refusal:
            return False
        return True

    def _in_datastore(self, name: str, path: str) -> Location:
        if name not in self.datastores:
            raise user_error(f"Could not find datastore: {name}")
        return Location(self.datastores[name], path)

    def _of_job(self, job: str, output: str, inside: str | None) -> Location:
        run = self.runs.get(job)
        if run is None:
            raise user_error(f"Could not find job: {job}")
        if output == "artifacts":
            return self.artifacts(job) / (inside or "")
        if output not in run.outputs:
            raise user_error(f"Job {job} has no output {output}")
        location = self.locate(run.outputs[output].uri)
        return location / inside if inside else location


class Registry(Workspace):
    """What an emulated registry knows: assets only, under addresses that do not name their subscription."""

    def __init__(self, name: str, storage: Storage, registries: Mapping[str, Registry]) -> None:
        super().__init__(name, storage, {}, registries)

    @property
    def path(self) -> str:
        return f"azureml://registries/{self.name}"
