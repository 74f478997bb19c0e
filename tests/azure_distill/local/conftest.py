"""Small real components, plans of them, and a backend in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from azure_distill.assets.component import Component, load_component
from azure_distill.backend import Run
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Binding, Literal, Plan, Step

OUT = {"out": {"type": "uri_folder"}}


@dataclass
class Bench:
    """Where a test makes components and runs them."""

    root: Path
    home: Path
    grace: float = 5.0
    jobs: int = 1
    backends: list[LocalBackend] = field(default_factory=list)

    def component(
        self,
        name: str,
        command: str,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        files: dict[str, str] | None = None,
        **extra: Any,
    ) -> Component:
        folder = self.root / "components" / name
        (folder / "code").mkdir(parents=True, exist_ok=True)
        for path, words in (files or {"main.py": "print('hello')\n"}).items():
            (folder / "code" / path).write_text(words)
        document = {
            "type": "command",
            "name": name,
            "inputs": inputs or {},
            "outputs": OUT if outputs is None else outputs,
            "command": command,
            "code": "code",
            "environment": "azureml:probe@latest",
            **extra,
        }
        (folder / "component.yaml").write_text(yaml.safe_dump(document))
        return load_component(folder / "component.yaml")

    def step(self, name: str, command: str, bindings: Mapping[str, Binding] | None = None, **extra: Any) -> Step:
        """A step of a component of its own: literals are strings, everything else is a folder."""
        bindings = bindings or {}
        inputs = {port: {"type": "string" if isinstance(b, Literal) else "uri_folder"} for port, b in bindings.items()}
        secrets, resources = extra.pop("secrets", ()), extra.pop("resources", {})
        component = self.component(name, command, extra.pop("inputs", inputs), **extra)
        return Step(name, component, bindings, resources, secrets)

    def backend(self, *force: str) -> LocalBackend:
        backend = LocalBackend(self.home, jobs=self.jobs, force=frozenset(force), grace=self.grace)
        self.backends.append(backend)
        return backend

    def run(self, *steps: Step, force: tuple[str, ...] = (), name: str = "") -> Run:
        backend = self.backend(*force)
        return backend.wait(backend.submit(plan(*steps, name=name)))

    def submit(self, *steps: Step) -> tuple[LocalBackend, str]:
        backend = self.backend()
        return backend, backend.submit(plan(*steps))


def plan(*steps: Step, name: str = "") -> Plan:
    return Plan(name, {"job": "probe"}, steps)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, tmp_path / "home")
    yield bench
    for backend in bench.backends:
        for execution in backend.executions.values():
            execution.context.stop.set()
            execution.join()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true; fails after a generous while."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError("it did not come to pass")

    return wait


@pytest.fixture
def alive() -> Callable[[str], list[int]]:
    """The processes whose command line holds a mark, zombies not counted."""

    def find(mark: str) -> list[int]:
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            command = process.info["cmdline"] or []
            if any(mark in word for word in command) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["pid"])
        return found

    return find


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a Python program in a process of its own, as a user's client would be."""
    started = list[subprocess.Popen[str]]()

    def start(program: str) -> subprocess.Popen[str]:
        path = tmp_path / f"client{len(started)}.py"
        path.write_text(program)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PYTHONPATH": ":".join(map(str, sys.path)), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
