"""A component as its component.yaml describes it; all that the client knows of the programs that do the work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from azure_distill.errors import InvalidJob, NotFound, Problem, near

NUMBERS = frozenset({"integer", "number", "boolean"})
LITERALS = NUMBERS | {"string"}
FOLDERS = frozenset({"uri_folder", "mlflow_model", "custom_model", "mltable"})
DATA = FOLDERS | {"uri_file"}

Value = str | int | float | bool

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Port:
    """One input or output.  `type` is a literal type (string, integer, number, boolean) or a kind of data."""

    type: str
    optional: bool = False
    default: Value | None = None
    description: str = ""
    enum: tuple[Value, ...] | None = None
    min: float | None = None
    max: float | None = None
    mode: str | None = None

    @property
    def is_data(self) -> bool:
        return self.type in DATA

    def problem(self, value: Value) -> str | None:
        """Why a literal does not fit this port, if it does not."""
        if not _fits(self.type, value):
            return f"is {value!r}, not {_article(self.type)}"
        if self.enum is not None and value not in self.enum:
            return f"is {value!r}, not one of {', '.join(map(str, self.enum))}"
        if not isinstance(value, str):
            if self.min is not None and value < self.min:
                return f"is {value}, less than {self.min}"
            if self.max is not None and value > self.max:
                return f"is {value}, more than {self.max}"
        return None


@dataclass(frozen=True)
class Component:
    """A program with typed inputs and outputs.

    `path` is its component.yaml, `line` where the command stands in it; `code` is the folder that it runs from.
    """

    name: str
    folder: Path
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    command: str
    environment: str
    code: Path
    path: Path
    version: str = "1"
    display_name: str = ""
    description: str = ""
    additional_includes: tuple[Path, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    is_deterministic: bool = True
    line: int | None = field(default=None, compare=False)

    @property
    def kept_outputs(self) -> frozenset[str]:
        """Outputs that live outside of runs and are shared by all of them."""
        return frozenset(name.strip() for name in self.tags.get("kept_outputs", "").split(",") if name.strip())

    @property
    def distribution(self) -> str | None:
        """How its command may run as several processes, `pytorch`: each finds its rank in the environment."""
        return self.tags.get("distribution")


def builtin_components() -> dict[str, Component]:
    """The components that come with the client, by folder name."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "components", package.parent / "components"):
        if folder.is_dir():
            return {path.parent.name: load_component(path) for path in sorted(folder.glob("*/component.yaml"))}
    raise NotFound(f"no components beside {package}", "the installation is incomplete: install azure-distill again")


def load_component(path: Path) -> Component:
    """Read a component.yaml; raises InvalidJob with every problem and its line."""
    path = Path(path).absolute()
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidJob([Problem(f"cannot be read: {error.strerror}", str(path))]) from None
    except UnicodeDecodeError:
        raise InvalidJob([Problem("is not UTF-8 text", str(path))]) from None
    loader = _Loader(source)
    try:
        node = loader.get_single_node()
        document = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = getattr(error, "problem", None) or str(error)
        raise InvalidJob([Problem(f"is not YAML: {message}", str(path), mark.line + 1 if mark else None)]) from None
    finally:
        loader.dispose()
    reader = _Reader(path, node)
    component = reader.component(document)
    if component is None or reader.problems:
        raise InvalidJob(reader.problems)
    return component


KEYS = {
    "$schema", "type", "name", "display_name", "description", "version", "is_deterministic", "inputs", "outputs",
    "code", "additional_includes", "environment", "environment_variables", "command", "tags",
}  # fmt: skip
PORT_KEYS = {"type", "optional", "default", "description", "enum", "min", "max", "mode"}


class _Reader:
    """Checks one document and gathers its problems with their lines."""

    def __init__(self, path: Path, node: yaml.Node | None) -> None:
        self.path, self.problems = path, list[Problem]()
        self.lines = dict(_lines(node, ())) if node is not None else {}
        for where, line in _duplicates(node, ()) if node is not None else ():
            self.problems.append(Problem("stands here twice", str(path), line, ".".join(where)))

    def component(self, document: Any) -> Component | None:
        if not isinstance(document, dict):
            self.bad((), "is not a mapping")
            return None
        self.unknown_keys((), document, KEYS)
        if document.get("type", "command") != "command":
            self.bad(("type",), f"is {document['type']!r}; only command components run here")
        folder = self.path.parent
        code = self.folder(("code",), folder / str(document.get("code", ".")))
        inputs, outputs = self.ports("inputs", document), self.ports("outputs", document)
        tags = self.strings(("tags",), document.get("tags", {}))
        component = Component(
            name=self.text(document, "name"),
            folder=folder,
            inputs=inputs,
            outputs=outputs,
            command=self.text(document, "command"),
            environment=self.text(document, "environment"),
            code=code,
            path=self.path,
            version=str(document.get("version", "1")),
            display_name=str(document.get("display_name", "")),
            description=str(document.get("description", "")),
            additional_includes=self.includes(folder, document.get("additional_includes", [])),
            environment_variables=self.strings(("environment_variables",), document.get("environment_variables", {})),
            tags=tags,
            is_deterministic=document.get("is_deterministic", True) is not False,
            line=self.lines.get(("command",)),
        )
        if component.distribution not in (None, "pytorch"):
            self.bad(("tags", "distribution"), f"is {component.distribution!r}; only pytorch is known")
        for name in sorted(component.kept_outputs - outputs.keys()):
            self.bad(("tags", "kept_outputs"), f"names {name}, which is no output")
        return component

    def ports(self, section: str, document: dict[Any, Any]) -> dict[str, Port]:
        ports = document.get(section) or {}
        if not isinstance(ports, dict):
            self.bad((section,), "is not a mapping")
            return {}
        known = LITERALS | DATA if section == "inputs" else DATA
        return {str(name): self.port((section, str(name)), port, known) for name, port in ports.items()}

    def port(self, where: tuple[str, ...], value: Any, known: frozenset[str]) -> Port:
        if not where[-1].isidentifier() or not where[-1].isascii():
            self.bad(where, "a name has letters, digits and _ only")
        if not isinstance(value, dict):
            self.bad(where, "is not a mapping")
            return Port("string")
        self.unknown_keys(where, value, PORT_KEYS)
        if value.get("type") not in known:
            self.bad((*where, "type"), f"is {value.get('type')!r}, not one of {', '.join(sorted(known))}")
        enum = value.get("enum")
        port = Port(
            type=str(value.get("type")),
            optional=value.get("optional", False) is True,
            default=value.get("default"),
            description=str(value.get("description", "")),
            enum=tuple(enum) if isinstance(enum, list) else None,
            min=value.get("min"),
            max=value.get("max"),
            mode=value.get("mode"),
        )
        if port.default is not None and (problem := port.problem(port.default)):
            self.bad((*where, "default"), problem)
        return port

    def includes(self, folder: Path, value: Any) -> tuple[Path, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.bad(("additional_includes",), "is not a list of paths")
            return ()
        found = tuple(Path(folder / item).resolve() for item in value)
        for path, item in zip(found, value, strict=True):
            if not path.exists():
                self.bad(("additional_includes",), f"{item} does not exist")
        return found

    def folder(self, where: tuple[str, ...], path: Path) -> Path:
        if not path.is_dir():
            self.bad(where, f"{path} is not a folder")
        return path.resolve()

    def text(self, document: dict[Any, Any], key: str) -> str:
        value = document.get(key)
        if not isinstance(value, str) or not value.strip():
            self.bad((key,), "is missing" if value is None else "is not a text")
            return ""
        return value.strip()

    def strings(self, where: tuple[str, ...], value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            self.bad(where, "is not a mapping")
            return {}
        return {str(key): str(item) for key, item in value.items()}

    def unknown_keys(self, where: tuple[str, ...], value: dict[Any, Any], known: set[str]) -> None:
        for key in value:
            if key not in known:
                self.bad((*where, str(key)), "is not known here", near(str(key), known))

    def bad(self, where: tuple[str, ...], message: str, hint: str | None = None) -> None:
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), None)
        self.problems.append(Problem(message, str(self.path), line, ".".join(where) or None, hint))


def _lines(node: yaml.Node, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of every key, by its path from the top."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*where, str(key.value))
            yield inside, key.start_mark.line + 1
            yield from _lines(value, inside)


def _duplicates(node: yaml.Node, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            inside = (*where, str(key.value))
            if key.value in seen:
                yield inside, key.start_mark.line + 1
            seen.add(key.value)
            yield from _duplicates(value, inside)


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case _:
            return False


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "integer" else f"a {kind}"
