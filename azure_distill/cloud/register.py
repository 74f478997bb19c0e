"""Components and environments under versions made from their content: what is unchanged is neither built nor sent."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from azure_distill.assets.component import Component
from azure_distill.assets.environment import Environment, builtin_environments
from azure_distill.assets.snapshot import Snapshot, take_snapshot
from azure_distill.cloud.failures import translated
from azure_distill.cloud.noise import quiet

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

DIGITS = 20  # of a version: 80 bits
CONFLICT = 409
Variant = tuple[str, str]
"""A component's name and environment: one plan may run the same component in several environments."""
NAMED = re.compile(r"azureml:([\w.-]+)@latest")


@dataclass(frozen=True)
class Registered:
    """One asset and whether it had to be made."""

    kind: str
    name: str
    version: str
    new: bool
    registry: str | None = None

    @property
    def reference(self) -> str:
        return reference(self.kind, self.name, self.version, self.registry)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Versioned:
    """A component with its files, its version and the environment that it runs in."""

    component: Component
    snapshot: Snapshot
    environment: Environment | None
    version: str

    def environment_reference(self, registry: str | None) -> str:
        if self.environment is None:
            return self.component.environment
        return reference("environment", self.environment.name, environment_version(self.environment), registry)


def reference(kind: str, name: str, version: str, registry: str | None) -> str:
    """How jobs and other assets name an asset of the workspace, or of a registry."""
    if registry is None:
        return f"azureml:{name}:{version}"
    return f"azureml://registries/{registry}/{kind}s/{name}/versions/{version}"


def variant(component: Component) -> Variant:
    return component.name, component.environment


def environment_version(environment: Environment) -> str:
    return environment.hash[:DIGITS]


def versioned(component: Component, environments: Mapping[str, Environment]) -> Versioned:
    """The component as it is now.  What only describes it (names, descriptions) makes no new version."""
    match = NAMED.fullmatch(component.environment)
    environment = environments.get(match.group(1)) if match else None
    snapshot = take_snapshot(component)
    described = {
        "inputs": {name: _without_description(asdict(port)) for name, port in component.inputs.items()},
        "outputs": {name: _without_description(asdict(port)) for name, port in component.outputs.items()},
        "command": component.command,
        "environment": environment.hash if environment else component.environment,
        "environment_variables": dict(component.environment_variables),
        "is_deterministic": component.is_deterministic,
        "code": snapshot.hash,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return Versioned(component, snapshot, environment, digest[:DIGITS])


class AssetStore(Protocol):
    """A workspace or a registry: where assets are looked up and made."""

    @property
    def registry(self) -> str | None:
        """Its name, if it is a registry."""

    @property
    def ml(self) -> MLClient:
        """The SDK's client."""

    def has(self, kind: str, name: str, version: str) -> bool:
        """Whether it has this version of one of its `components` or `environments`."""


class Registrar:
    """Sees that components and environments exist in a workspace or a registry."""

    def __init__(self, store: AssetStore) -> None:
        self._store = store
        self._registry = store.registry

    def components(self, components: Iterable[Component], *, environments: bool = False) -> list[Registered]:
        """The environments of components that are new, then every component; one request for what is there already.

        With `environments` also those of components that are there.
        """
        known = builtin_environments()
        wanted = {variant(component): versioned(component, known) for component in components}
        with ThreadPoolExecutor(1) as pool:  # on one connection: another costs as much as ten requests
            found = pool.map(self._has_component, wanted.values())
            _ = self._store.ml  # the SDK is imported meanwhile
            there = dict(zip(wanted, found, strict=True))
        missing = [item for key, item in wanted.items() if not there[key]]
        needed = {
            item.environment.name: item.environment
            for item in (wanted.values() if environments else missing)
            if item.environment
        }
        registered = [self.environment(environment) for environment in needed.values()]
        with quiet():
            for item in missing:
                self._create(item)
        for (name, where), item in wanted.items():
            registered.append(Registered("component", name, item.version, not there[name, where], self._registry))
        return registered

    def environment(self, environment: Environment) -> Registered:
        """One environment; its image is built by Azure ML when a job first needs it."""
        from azure.ai.ml import load_environment

        version = environment_version(environment)
        there = self._store.has("environments", environment.name, version)
        if not there:
            with translated(f"register the environment {environment.name}"):
                made = load_environment(environment.path, params_override=[{"version": version}])
                self._store.ml.environments.create_or_update(made)
        return Registered("environment", environment.name, version, not there, self._registry)

    def _has_component(self, item: Versioned) -> bool:
        return self._store.has("components", item.component.name, item.version)

    def _create(self, item: Versioned) -> None:
        """Upload exactly the files that the version was made from, and register the component that runs in them."""
        from azure.ai.ml import load_component
        from azure.core.exceptions import HttpResponseError

        component = item.component
        with tempfile.TemporaryDirectory() as folder, translated(f"register the component {component.name}"):
            code = Path(folder) / component.name
            item.snapshot.copy_to(code)
            changes: list[dict[str, Any]] = [
                {"version": item.version},
                {"code": str(code)},
                {"additional_includes": []},
                {"environment": item.environment_reference(self._registry)},
            ]
            made = load_component(component.path, params_override=changes)
            try:
                self._store.ml.components.create_or_update(made)
            except HttpResponseError as error:
                if error.status_code != CONFLICT:
                    raise
                # the same content, registered at the same time
                self._store.ml.components.get(component.name, item.version)


def _without_description(port: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in port.items() if key != "description"}
