"""The cloud backend in an emulated workspace that runs what was uploaded, and small components to submit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from azure_distill.assets.component import Component, load_component
from azure_distill.cloud.backend import CloudBackend
from azure_distill.cloud.workspace import Workspace
from azure_distill.plan.plan import Binding, Plan, Step
from tests.emulator.fixture import Azure, azure, azure_server

__all__ = ["azure", "azure_server"]

OUT = {"out": {"type": "uri_folder"}}
UPPER = """\
import pathlib, sys
text, out = map(pathlib.Path, sys.argv[1:3])
print("reading", text.name, flush=True)
print("progress: 1/1 rows", flush=True)
(out / "upper.txt").write_text(text.read_text().upper() + " ".join(sys.argv[3:]))
"""


@dataclass
class Bench:
    """Where a test makes components, and the backend that runs them."""

    root: Path
    azure: Azure

    def backend(self) -> CloudBackend:
        place = Workspace(self.azure.subscription, self.azure.resource_group, self.azure.workspace.name)
        return CloudBackend(place, self.azure.credential())

    def component(self, name: str, command: str, code: str = "", **more: Any) -> Component:
        folder = self.root / "components" / name
        (folder / "code").mkdir(parents=True, exist_ok=True)
        (folder / "code" / "main.py").write_text(code or "print('hello')\n")
        document = {
            "type": "command",
            "name": f"test_{name}",
            "inputs": {},
            "outputs": OUT,
            "command": command,
            "code": "code",
            "environment": "azureml:azure-distill-cpu@latest",
            **more,
        }
        (folder / "component.yaml").write_text(yaml.safe_dump(document))
        return load_component(folder / "component.yaml")

    def upper(self, name: str, inputs: Mapping[str, Binding], **resources: Any) -> Step:
        """A step that writes `text` in capitals, then `words`, into `out/upper.txt`."""
        component = self.component(
            "upper",
            "python main.py '${{inputs.text}}' '${{outputs.out}}' $[['${{inputs.words}}']]",
            UPPER,
            inputs={"text": {"type": "uri_file"}, "words": {"type": "string", "optional": True}},
        )
        return Step(name, component, inputs, resources)

    def shell(self, name: str, command: str, inputs: Mapping[str, Binding] | None = None, **more: Any) -> Step:
        """A step that runs a shell command; it must write into `${{outputs.out}}` itself."""
        ports = {port: {"type": "uri_folder"} for port in inputs or {}}
        resources = more.pop("resources", {})
        return Step(name, self.component(name, command, inputs=ports, **more), inputs or {}, resources)

    def file(self, text: str, name: str = "text.txt") -> Path:
        path = self.root / name
        path.write_text(text)
        return path


def plan(*steps: Step, **job: Any) -> Plan:
    return Plan("test", job, steps)


@pytest.fixture
def bench(azure: Azure, tmp_path: Path) -> Bench:
    return Bench(tmp_path, azure)
