"""The Plan: what a backend executes, and what `azure-distill plan` prints.  One object, so they cannot differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure_distill.assets.component import Component


@dataclass(frozen=True)
class Literal:
    """A value written into the command."""

    value: str | int | float | bool


@dataclass(frozen=True)
class DataPath:
    """A file or folder on this machine."""

    path: Path


@dataclass(frozen=True)
class DataUri:
    """Data or a model that only the cloud can reach: `azureml:…`, a datastore or a registry URI."""

    uri: str


@dataclass(frozen=True)
class StepOutput:
    """What an earlier step wrote."""

    step: str
    output: str


Binding = Literal | DataPath | DataUri | StepOutput


@dataclass(frozen=True)
class Step:
    """One run of a component.

    `resources` is what the job's `compute` says of this step; `secrets` names environment variables whose values the
    component reads at run time (names only: a value never enters a plan), `connections` the workspace's connections
    that hold the same in Azure, by variable.  `environment` stands there in the place of the component's own, and
    `kept` says where those of its kept outputs lie that are not at their usual place.
    """

    name: str
    component: Component
    inputs: Mapping[str, Binding]
    resources: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    connections: Mapping[str, str] = field(default_factory=dict)
    environment: str | None = None
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def processes(self) -> int:
        """How many processes it runs as on Azure ML, over all of its machines."""
        return int(self.resources.get("instance_count", 1)) * int(self.resources.get("processes_per_instance", 1))

    @property
    def needs(self) -> set[str]:
        """Names of the steps whose outputs this one reads."""
        return {binding.step for binding in self.inputs.values() if isinstance(binding, StepOutput)}

    def to_json(self) -> dict[str, Any]:
        return {
            "component": self.component.name,
            "inputs": {port: binding_json(binding) for port, binding in self.inputs.items()},
            "outputs": {port: output.type for port, output in self.component.outputs.items()},
            "environment": self.environment or self.component.environment,
            "resources": dict(self.resources),
            "distribution": self.component.distribution if self.processes > 1 else None,
            "kept": dict(self.kept),
            "secrets": list(self.secrets),
            "connections": dict(self.connections),
        }


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can run, made from `job` (its JSON form, defaults filled in)."""

    name: str
    job: Mapping[str, Any]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def until(self, name: str) -> Plan:
        """The same plan, up to and including one step and what it needs."""
        wanted, queue = set[str](), [name]
        while queue:
            wanted.add(current := queue.pop())
            queue.extend(self.step(current).needs - wanted)
        return Plan(self.name, self.job, tuple(s for s in self.steps if s.name in wanted), self.warnings)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "job": dict(self.job),
            "steps": {step.name: step.to_json() for step in self.steps},
            "warnings": list(self.warnings),
        }


def binding_json(binding: Binding) -> Any:
    """A binding as people and programs read it: the value, the path, the URI or `${{parent.jobs.S.outputs.O}}`."""
    match binding:
        case Literal(value):
            return value
        case DataPath(path):
            return str(path)
        case DataUri(uri):
            return uri
        case StepOutput(step, output):
            return f"${{{{parent.jobs.{step}.outputs.{output}}}}}"
