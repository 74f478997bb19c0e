"""A submitted pipeline, read and checked as the service does before it accepts one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.emulator.names import ASSET_NAME, PORT_NAME
from tests.emulator.state import Document, Port, Workspace, user_error

DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model"})
OF_PARENT = re.compile(r"\$\{\{parent\.(inputs|outputs)\.([^}.]+)\}\}")
OF_NODE = re.compile(r"\$\{\{parent\.jobs\.([^}.]+)\.outputs\.([^}.]+)\}\}")
DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
SERVERLESS = "serverless"


@dataclass(frozen=True)
class Produced:
    """An input that is another node's output."""

    node: str
    output: str


Source = str | Port | Produced
"""A literal, data that exists already, or data that a node will make."""


@dataclass(frozen=True)
class Target:
    """Where a node's output goes: `uri` where the job says so, `names` the pipeline outputs that are this one."""

    type: str
    mode: str
    uri: str | None
    names: tuple[str, ...]
    asset: tuple[str, str] | None
    """Name and version under which it is registered once the node has completed."""


@dataclass(frozen=True)
class Node:
    """One step."""

    name: str
    spec: Document
    compute: str
    inputs: dict[str, Source]
    outputs: dict[str, Target]
    document: Document

    @property
    def waits_for(self) -> set[str]:
        return {source.node for source in self.inputs.values() if isinstance(source, Produced)}

    @property
    def timeout(self) -> float | None:
        text = (self.document.get("limits") or {}).get("timeout")
        return seconds(text) if text else None

    def section(self, name: str) -> Mapping[str, Any]:
        return self.document.get(name) or {}


def read(workspace: Workspace, body: Document) -> dict[str, Node]:
    """The nodes of a job's body; raises Refusal with every problem found."""
    properties = body["properties"]
    reader = _Reader(workspace, properties)
    nodes = {name: node for name, job in properties["jobs"].items() if (node := reader.node(name, job))}
    problems = reader.problems or list(_graph_problems(nodes))
    if problems:
        raise user_error("Job is invalid: " + "; ".join(problems))
    return nodes


class _Reader:
    def __init__(self, workspace: Workspace, properties: Document) -> None:
        self._workspace, self._job = workspace, properties
        self.problems: list[str] = []
        experiment = properties.get("experimentName") or "Default"
        if not ASSET_NAME.fullmatch(experiment):
            self.problems.append(f"experiment name {experiment!r} is invalid")
        for name in [*(properties.get("inputs") or {}), *(properties.get("outputs") or {})]:
            if not PORT_NAME.fullmatch(name):
                self.problems.append(f"{name!r} is no valid input or output name")
        for name, given in (properties.get("inputs") or {}).items():
            if given.get("uri"):
                self._data(f"inputs.{name}", given["uri"])

    def node(self, name: str, job: Document) -> Node | None:
        if not PORT_NAME.fullmatch(name):
            self.problems.append(f"{name!r} is no valid node name")
        component = self._workspace.find_by_id("components", job.get("componentId") or "")
        if component is None:
            self.problems.append(f"jobs.{name}: could not find component {job.get('componentId')}")
            return None
        spec = component.properties["componentSpec"]
        inputs = {
            key: source for key, given in (job.get("inputs") or {}).items() if (source := self._input(name, key, given))
        }
        self._check_inputs(name, spec, inputs)
        return Node(name, spec, self._compute(name, job), inputs, self._outputs(name, spec, job), job)

    def _compute(self, name: str, job: Document) -> str:
        default = (self._job.get("settings") or {}).get("default_compute")
        wanted = job.get("computeId") or job.get("compute") or self._job.get("computeId") or default
        if not wanted:
            self.problems.append(f"jobs.{name}: no compute, and no default compute")
            return ""
        compute = str(wanted).rsplit("/", 1)[-1].removeprefix("azureml:")
        if compute != SERVERLESS and compute not in self._workspace.computes:
            self.problems.append(f"jobs.{name}: Unknown compute target '{compute}'.")
        return compute

    def _input(self, node: str, name: str, given: Any) -> Source | None:
        value = given.get("value") if isinstance(given, dict) else given
        if value is None:
            uri = given.get("uri")
            return self._data(f"jobs.{node}.inputs.{name}", uri, given.get("job_input_type", "")) if uri else None
        text = str(value)
        if match := OF_NODE.fullmatch(text):
            return Produced(match[1], match[2])
        if match := OF_PARENT.fullmatch(text):
            found = (self._job.get("inputs") or {}).get(match[2])
            if found is None:
                self.problems.append(f"jobs.{node}.inputs.{name}: the job has no input {match[2]}")
                return None
            if found.get("uri"):
                return Port(found["uri"], str(found.get("jobInputType", "")))
            return None if found.get("value") is None else str(found["value"])
        return text

    def _data(self, where: str, uri: str, kind: str = "") -> Port:
        if not self._workspace.is_inside(uri):
            self.problems.append(f"{where}: Could not find {uri}")
        return Port(uri, kind)

    def _check_inputs(self, node: str, spec: Document, inputs: dict[str, Source]) -> None:
        declared = spec.get("inputs") or {}
        for name in inputs.keys() - declared.keys():
            self.problems.append(f"jobs.{node}: component {spec['name']} has no input {name}")
        for name, port in declared.items():
            value = inputs.get(name)
            where = f"jobs.{node}.inputs.{name}"
            if value is None:
                if not _true(port.get("optional")) and port.get("default") is None:
                    self.problems.append(f"{where}: required, but not given")
            elif (port["type"] in DATA_TYPES) == isinstance(value, str):
                self.problems.append(f"{where}: expected {port['type']}")
            elif isinstance(value, str) and (problem := _literal_problem(port, value)):
                self.problems.append(f"{where}: {problem}")

    def _outputs(self, node: str, spec: Document, job: Document) -> dict[str, Target]:
        declared = spec.get("outputs") or {}
        given = job.get("outputs") or {}
        for name in given.keys() - declared.keys():
            self.problems.append(f"jobs.{node}: component {spec['name']} has no output {name}")
        return {name: self._target(node, name, port, given.get(name) or {}) for name, port in declared.items()}

    def _target(self, node: str, name: str, port: Document, given: Document) -> Target:
        names: tuple[str, ...] = ()
        settings = {
            "mode": given.get("mode"),
            "uri": given.get("uri"),
            "name": given.get("name"),
            "version": given.get("version"),
        }
        if match := OF_PARENT.fullmatch(str(given.get("value", ""))):
            outer = (self._job.get("outputs") or {}).get(match[2])
            if outer is None:
                self.problems.append(f"jobs.{node}.outputs.{name}: the job has no output {match[2]}")
                outer = {}
            names = (match[2],)
            settings = {
                "name": outer.get("assetName"),
                "version": outer.get("assetVersion"),
                **_set(outer, "mode", "uri"),
            }
        uri = settings.get("uri")
        if uri and not self._workspace.is_inside(uri.split("${{")[0]):
            self.problems.append(f"jobs.{node}.outputs.{name}: Could not find {uri}")
        asset = (str(settings["name"]), str(settings.get("version") or "1")) if settings.get("name") else None
        mode = settings.get("mode") or port.get("mode") or "rw_mount"
        return Target(port["type"], "upload" if mode.lower() == "upload" else "rw_mount", uri, names, asset)


def seconds(text: str) -> float:
    """An ISO 8601 duration."""
    match = DURATION.fullmatch(text)
    if not match:
        raise user_error(f"{text!r} is no duration")
    days, hours, minutes, rest = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def _set(document: Document, *keys: str) -> Document:
    return {key: document[key] for key in keys if document.get(key)}


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _literal_problem(port: Document, value: str) -> str | None:
    """What is wrong with a literal, by the type, range and choices that the component declares."""
    kind = port["type"].lower()
    if port.get("enum") and value not in [str(choice) for choice in port["enum"]]:
        return f"{value!r} is none of {port['enum']}"
    if kind == "boolean":
        return None if value.lower() in ("true", "false") else f"{value!r} is no boolean"
    if kind not in ("integer", "number"):
        return None
    try:
        number = int(value) if kind == "integer" else float(value)
    except ValueError:
        return f"{value!r} is no {kind}"
    if port.get("min") is not None and number < float(port["min"]):
        return f"{value} is less than {port['min']}"
    if port.get("max") is not None and number > float(port["max"]):
        return f"{value} is more than {port['max']}"
    return None


def _graph_problems(nodes: dict[str, Node]) -> Iterator[str]:
    for node in nodes.values():
        for name, source in node.inputs.items():
            if isinstance(source, Produced) and (
                source.node not in nodes or source.output not in nodes[source.node].outputs
            ):
                yield f"jobs.{node.name}.inputs.{name}: there is no {source.node}.outputs.{source.output}"
    done: set[str] = set()
    while ready := {name for name, node in nodes.items() if name not in done and node.waits_for <= done}:
        done |= ready
    if left := nodes.keys() - done:
        yield f"the nodes wait for each other: {', '.join(sorted(left))}"
