"""What components run in on Azure ML: pinned whole, loadable by the SDK, and enough for every import of a component."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback_teacher import LoopbackTeacher
from real_environment import PYTHON, installed, pip_lines

from azure_distill.assets.bindings import render
from azure_distill.assets.component import builtin_components
from azure_distill.assets.environment import builtin_environments
from azure_distill.assets.snapshot import take_snapshot

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "environments"
COMPONENTS = builtin_components()
OWN = {"shared", *COMPONENTS}
OPTIONAL = {"vllm"}  # used where an environment of the user's own has it
PIN = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?==(?P<version>[\w.+]+)")
BASE = r"mcr\.microsoft\.com/azureml/[\w.-]+:\d{8}\.v\d+"
# azureml-mlflow takes no later ones
CAPPED = {"mlflow-skinny", "azure-storage-blob", "azure-storage-file-datalake", "python-dateutil"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    """Versions by package; fails for anything that is no pin."""
    found = {}
    for line in lines:
        pin = PIN.fullmatch(line)
        assert pin, f"{line!r} is no pin"
        found[plain(pin["name"])] = pin["version"]
    return found


def conda_pins(name: str) -> dict[str, str]:
    return pins([line for line in pip_lines(FOLDER / name / "conda.yaml") if not line.startswith("--")])


def imported(folder: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name taken from it) of every import of foreign code below a folder, wherever in a file it stands."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found: list[tuple[str, str | None]] = []
            if isinstance(node, ast.Import):
                found = [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found = [(str(node.module), alias.name) for alias in node.names]
            for module, name in found:
                if module.partition(".")[0] not in sys.stdlib_module_names | OWN | OPTIONAL:
                    yield module, name


distributions = functools.cache(importlib.metadata.packages_distributions)


@functools.cache
def providers(module: str) -> set[str]:
    """The packages of this interpreter that hold a module; several may share its first part, as azure's do."""
    candidates = {plain(name) for name in distributions().get(module.partition(".")[0], ())}
    if len(candidates) < 2:
        return candidates
    place = module.replace(".", "/")
    return {
        name
        for name in candidates
        if any(str(file).startswith((f"{place}/", f"{place}.py")) for file in importlib.metadata.files(name) or ())
    }


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_environment_of_a_component_is_pinned(name: str) -> None:
    environment = yaml.safe_load((FOLDER / name / "environment.yaml").read_text())
    assert environment["name"] == f"azure-distill-{name}"
    assert re.fullmatch(BASE, environment["image"])
    assert conda_pins(name)


def test_the_served_teacher_is_pinned_and_not_root() -> None:
    folder = FOLDER / "teacher-vllm" / "context"
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert "vllm" in pins([line for line in lines if not line.startswith("#")])
    docker = (folder / "Dockerfile").read_text()
    assert re.match(rf"FROM {BASE}\n", docker)
    assert re.findall(r"^USER (\w+)", docker, re.MULTILINE)[-1] != "root"


@pytest.mark.parametrize("name", ["cpu", "gpu", "teacher-vllm"])
def test_azure_accepts_the_environment(name: str) -> None:
    from azure.ai.ml import load_environment

    environment = builtin_environments()[f"azure-distill-{name}"]
    loaded = load_environment(environment.path)
    assert loaded.name == environment.name
    assert loaded.image or loaded.build


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_it_has_the_versions_that_the_tests_run_with(name: str) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = pins([line for line in lines if "==" in line and not line.startswith("#")])
    differing = {
        package
        for package, version in conda_pins(name).items()
        if package in tested and tested[package].partition("+")[0] != version.partition("+")[0]
    }
    assert differing == CAPPED


@pytest.mark.parametrize("component", sorted(OWN))
def test_the_gpu_environment_provides_every_import(component: str) -> None:
    given = set(conda_pins("gpu"))
    missing = {module for module, _ in imported(ROOT / "components" / component) if not providers(module) & given}
    assert missing == set()


@pytest.mark.timeout(900)  # on a new machine it is installed first
def test_the_cpu_environment_provides_every_import(cpu_python: Path) -> None:
    """In the real one: each module is imported, and has the name that is taken from it."""
    wanted = sorted({(module, name or "") for part in OWN for module, name in imported(ROOT / "components" / part)})
    assert len(wanted) > 30
    program = """
import importlib, json, sys
for module, name in json.load(sys.stdin):
    found = importlib.import_module(module)
    if name and not hasattr(found, name):
        importlib.import_module(f"{module}.{name}")
assert not any(name.split(".")[0] == "azure_distill" for name in sys.modules)
"""
    run([str(cpu_python), "-c", program], Path("/"), {}, json.dumps(wanted))
    run([str(cpu_python), "-m", "pip", "check"], Path("/"), {})


@pytest.mark.timeout(900)
def test_components_run_in_the_cpu_environment(cpu_python: Path, tmp_path: Path) -> None:
    rows = ROOT / "jobs" / "data" / "nli"
    task = json.dumps({"type": "nli"})
    data = {"training_data": str(rows / "training_data.jsonl"), "test_data": str(rows / "test_data.jsonl")}
    prepared = step(cpu_python, tmp_path, "prepare_data", {**data, "task": task})
    with LoopbackTeacher(answer=lambda body: "neutral", model="big") as teacher:
        endpoint = json.dumps({"url": teacher.url, "model": "big"})
        given = {"data": str(prepared / "data"), "endpoint": endpoint, "task": task}
        answered = step(cpu_python, tmp_path, "teacher_inference", given)
        assert teacher.requests
    assert (answered / "responses" / "train.jsonl").stat().st_size > 0


@pytest.mark.timeout(900)
def test_figures_become_metrics_of_the_run_there(cpu_python: Path, tmp_path: Path) -> None:
    document = {"retention": {"value": 0.5}, "gain": None, "gate": {"passed": True}, "contenders": {}}
    program = """
import importlib.metadata, json, sys
import azureml.mlflow
from evaluation.tracking import track
track(json.load(sys.stdin))
assert [entry.name for entry in importlib.metadata.entry_points(group="mlflow.tracking_store")] == ["azureml"]
"""
    store = tmp_path / "store"
    variables = {"MLFLOW_TRACKING_URI": store.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    variables["PYTHONPATH"] = f"{ROOT / 'components'}:{ROOT / 'components' / 'evaluation'}"
    run([str(cpu_python), "-c", program], tmp_path, variables, json.dumps(document))
    (metric,) = store.rglob("metrics/retention")
    assert metric.read_text().split()[1] == "0.5"


@pytest.fixture(scope="session")
def cpu_python() -> Path:
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        pytest.skip(f"the environment is of Python {PYTHON}")
    return installed(FOLDER / "cpu" / "conda.yaml")


def step(python: Path, folder: Path, name: str, inputs: dict[str, str]) -> Path:
    """Run a component as Azure ML does, from its snapshot alone; returns the folder of its outputs."""
    component = COMPONENTS[name]
    work, outputs = folder / f"{name}-work", folder / name
    take_snapshot(component).copy_to(work)
    for output in component.outputs:
        (outputs / output).mkdir(parents=True)
    values: dict[str, Any] = {port: declared.default for port, declared in component.inputs.items()}
    places = {output: str(outputs / output) for output in component.outputs}
    command = render(component.command, values | inputs, places)
    run(["bash", "-c", command], work, {"PATH": f"{python.parent}:/usr/bin:/bin"})
    return outputs


def run(command: list[str], folder: Path, variables: dict[str, str], given: str = "") -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ}
    done = subprocess.run(command, cwd=folder, env=kept | variables, input=given, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
