"""One step: everything it sees comes out of storage, everything it leaves behind goes there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.emulator import process
from tests.emulator.azurite import free_port
from tests.emulator.command import render
from tests.emulator.names import GROUP, SUBSCRIPTION
from tests.emulator.pipeline import Node, Target
from tests.emulator.state import Asset, Port, Run, Workspace
from tests.emulator.storage import Location

MODELS = frozenset({"custom_model", "mlflow_model", "triton_model"})
SYSTEM_LOG = "system_logs/lifecycler/execution-wrapper.log"
SHOWN = 1000  # characters of a failed step's log in its error


class StepFailed(Exception):
    """Azure's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class StepCanceled(Exception):
    """Stopped before its end; the text says why, and is empty where somebody asked for it."""


@dataclass(frozen=True)
class Machine:
    """A compute node: where steps get their folders, their `bin` with Python, and the variables of all steps."""

    folder: Path
    bin: Path
    variables: Mapping[str, str]


class Step:
    """Runs one node as `run`; `inputs` are its literals and the places of its data."""

    def __init__(
        self, workspace: Workspace, node: Node, run: Run, inputs: Mapping[str, str | Port], machine: Machine
    ) -> None:
        self._workspace, self._storage, self._node, self._run = workspace, workspace.storage, node, run
        self._inputs, self._machine = inputs, machine
        self._folder = machine.folder / run.id
        self._work = self._folder / "wd"

    def execute(self) -> None:
        """Raises StepFailed or StepCanceled."""
        self._run.status = "Preparing"
        self._work.mkdir(parents=True)
        try:
            self._log(SYSTEM_LOG, b"")
            self._log(SYSTEM_LOG, f"preparing {self._node.name}\n".encode())
            self._download_code()
            inputs = self._download_inputs()
            outputs, held = self._make_outputs()
            try:
                self._run_command(inputs, outputs)
            finally:
                self._upload_artifacts()
                self._upload(outputs, held, mounted=True)
            self._run.status = "Finalizing"
            self._upload(outputs, held, mounted=False)
            register_outputs(self._workspace, self._node, self._run)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _download_code(self) -> None:
        code = self._node.spec.get("code")
        asset = self._workspace.find_by_id("codes", code) if code else None
        if asset:
            self._storage.download(self._workspace.locate(asset.properties["codeUri"]), self._work)

    def _download_inputs(self) -> dict[str, str]:
        """Each input as it stands in the command: a literal, or the path of a file or folder."""
        values: dict[str, str] = {}
        for name, value in self._inputs.items():
            if isinstance(value, str):
                values[name] = value
                continue
            location = self._workspace.locate(value.uri)
            path = self._folder / "inputs" / name
            if self._node.spec["inputs"][name]["type"] == "uri_file":
                path = path / Path(location.path).name
            else:
                path.mkdir(parents=True)
            produced = value.uri in {port.uri for run in self._siblings() for port in run.outputs.values()}
            if not self._storage.download(location, path) and not (produced and path.is_dir()):
                message = f"Input {name}: there is nothing at {value.uri}"
                raise StepFailed("UserError", f'{{"NonCompliant":"DataAccessError(NotFound)"}} {message}')
            values[name] = str(path)
        return values

    def _siblings(self) -> list[Run]:
        return list(self._workspace.runs.values())

    def _make_outputs(self) -> tuple[dict[str, Path], dict[str, list[str]]]:
        """The paths to write to, and what a mount at a place that is not new holds already."""
        paths: dict[str, Path] = {}
        held: dict[str, list[str]] = {}
        for name, target in self._node.outputs.items():
            port = Port(self._uri(name, target), target.type)
            self._run.outputs[name] = port
            path = self._folder / "outputs" / name
            (path.parent if target.type == "uri_file" else path).mkdir(parents=True, exist_ok=True)
            if target.uri and target.mode == "rw_mount":
                location = self._workspace.locate(port.uri)
                held[name] = self._storage.names(location)
                self._storage.download(location, path)
            paths[name] = path
        return paths, held

    def _uri(self, name: str, target: Target) -> str:
        run = self._run
        if target.uri:
            return target.uri.replace("${{name}}", run.id).replace("${{output_name}}", name)
        end = "" if target.type == "uri_file" else "/"
        return f"azureml://datastores/workspaceblobstore/paths/azureml/{run.id}/{name}{end}"

    def _run_command(self, inputs: Mapping[str, str], outputs: Mapping[str, Path]) -> None:
        paths = {name: str(path) for name, path in outputs.items()}
        defaults = {
            name: str(port["default"])
            for name, port in (self._node.spec.get("inputs") or {}).items()
            if port.get("default") is not None
        }
        values = {**defaults, **inputs}
        command = render(self._node.spec["command"], values, paths)
        processes = self._processes(self._variables(values, paths))
        for rank in processes:
            self._log(f"user_logs/{rank.log.name}", b"")
        if self._run.cancel.is_set():
            raise StepCanceled
        self._run.status = "Running"
        end = time.monotonic() + (self._node.timeout or float("inf"))
        code = process.run(
            command,
            self._work,
            processes,
            lambda: self._run.cancel.is_set() or time.monotonic() > end,
            lambda rank, data: self._log(f"user_logs/{rank.log.name}", data),
        )
        if code is None:
            limit = (self._node.document.get("limits") or {}).get("timeout")
            raise StepCanceled("" if self._run.cancel.is_set() else f"The job took longer than its limit, {limit}.")
        if code:
            failed = next((rank for rank in processes if rank.popen and rank.popen.returncode == code), processes[0])
            tail = failed.log.read_bytes()[-SHOWN:].decode("utf-8", "replace")
            raise StepFailed(
                "UserError",
                f"Execution failed. User process '/bin/bash' exited with status code {code}. Please check log file "
                f"'user_logs/{failed.log.name}' for error details. Error: {tail}",
            )

    def _processes(self, variables: Mapping[str, str]) -> list[process.Process]:
        """One process; with a distribution, one for each rank."""
        logs = self._folder / "logs"
        logs.mkdir()
        distribution = self._node.section("distribution")
        if not distribution:
            return [process.Process(logs / "std_log.txt", variables)]
        per_node = int(distribution.get("process_count_per_instance") or 1)
        nodes = int(self._node.section("resources").get("instance_count") or 1)
        port = str(free_port())
        return [
            process.Process(
                logs / f"std_log_process_{rank}.txt",
                {
                    **variables,
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank % per_node),
                    "NODE_RANK": str(rank // per_node),
                    "WORLD_SIZE": str(per_node * nodes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": port,
                },
            )
            for rank in range(per_node * nodes)
        ]

    def _variables(self, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{self._machine.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self._machine.variables,
            "AZUREML_RUN_ID": self._run.id,
            "AZUREML_ROOT_RUN_ID": self._run.root.id,
            "AZUREML_ARM_SUBSCRIPTION": SUBSCRIPTION,
            "AZUREML_ARM_RESOURCEGROUP": GROUP,
            "AZUREML_ARM_WORKSPACE_NAME": self._workspace.name,
            "AZUREML_ARM_PROJECT_NAME": self._run.experiment,
            **{f"AZURE_ML_INPUT_{name}": value for name, value in inputs.items()},
            **{f"AZURE_ML_OUTPUT_{name}": value for name, value in outputs.items()},
            **{key: str(value) for key, value in self._node.section("environment_variables").items()},
        }

    def _log(self, path: str, data: bytes) -> None:
        self._storage.append(self._workspace.artifacts(self._run.id) / path, data)
        if path not in self._run.logs:
            self._run.logs.append(path)

    def _upload_artifacts(self) -> None:
        if (self._work / "outputs").is_dir():
            self._storage.upload(self._work / "outputs", self._workspace.artifacts(self._run.id) / "outputs")

    def _upload(self, paths: Mapping[str, Path], held: Mapping[str, list[str]], *, mounted: bool) -> None:
        """What was written to a mount is kept whatever becomes of the step; the rest only if it completes."""
        for name, path in paths.items():
            if (self._node.outputs[name].mode == "rw_mount") != mounted or not path.exists():
                continue
            location = self._workspace.locate(self._run.outputs[name].uri)
            self._storage.upload(path, location)
            for old in held.get(name, []):
                if not (path / old.removeprefix(location.path.rstrip("/")).lstrip("/")).exists():
                    self._storage.delete(Location(location.container, old))


def register_outputs(workspace: Workspace, node: Node, run: Run) -> None:
    """Hand a completed step's outputs to its pipeline, and make each of them an asset that can be looked up."""
    for name, target in node.outputs.items():
        port = run.outputs[name]
        for owner, shown in [(run, name), *((run.root, outer) for outer in target.names)]:
            owner.outputs[shown] = port
            register_output(workspace, f"azureml_{owner.id}_output_data_{shown}", "1", port)
        if target.asset:
            register_output(workspace, *target.asset, port, job=run.root.id)


def register_output(workspace: Workspace, name: str, version: str, port: Port, job: str = "") -> None:
    """An output as an asset that can be looked up: a model where it is declared as one and named, data otherwise."""
    if job and port.type in MODELS:
        properties = {
            "modelUri": port.uri,
            "modelType": port.type,
            "jobName": job,
            "flavors": {},
            "stage": "Development",
        }
        workspace.add(Asset("models", name, version, properties))
        return
    workspace.add(Asset("data", name, version, {"dataUri": port.uri, "dataType": port.type, "isArchived": False}))
