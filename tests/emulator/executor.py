"""Runs submitted pipelines: order by bindings, reuse of what ran before, failure and cancellation."""

from __future__ import annotations

import json
import threading
import traceback
import uuid
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tests.emulator.pipeline import Node, Produced
from tests.emulator.state import TERMINAL, Document, Port, Refusal, Run, Workspace, now
from tests.emulator.step import Machine, Step, StepCanceled, StepFailed, register_outputs

EXECUTION_LOG = "logs/azureml/executionlogs.txt"
LOOK = 0.1  # seconds between looks at whether a pipeline was canceled


class Executor:
    """A thread for each pipeline, at most `parallel` of its steps at once."""

    def __init__(self, machine: Machine, parallel: int = 2) -> None:
        self._machine, self._parallel = machine, parallel
        self._reusable: dict[tuple[str, str], Run] = {}
        self._threads: list[tuple[threading.Thread, Run]] = []
        self._lock = threading.Lock()  # jobs come from the server's thread, `stop` from the tests'

    def submit(self, workspace: Workspace, run: Run, job: Document, nodes: Mapping[str, Node]) -> None:
        """Start a pipeline whose body has been accepted."""
        pipeline = _Pipeline(workspace, run, job, nodes, self._machine, self._reusable)
        thread = threading.Thread(target=pipeline.execute, args=[self._parallel], name=run.id, daemon=True)
        with self._lock:
            self._threads.append((thread, run))
            thread.start()

    def stop(self) -> None:
        """Cancel everything and wait until no process is left."""
        with self._lock:
            stopped, self._threads = self._threads, []
        for _, run in stopped:
            run.cancel.set()
        for thread, _ in stopped:
            thread.join()


class _Pipeline:
    def __init__(
        self,
        workspace: Workspace,
        run: Run,
        job: Document,
        nodes: Mapping[str, Node],
        machine: Machine,
        reusable: dict[tuple[str, str], Run],
    ) -> None:
        self._workspace, self._run, self._nodes = workspace, run, nodes
        self._settings = job["properties"].get("settings") or {}
        self._machine, self._reusable = machine, reusable
        self._runs: dict[str, Run] = {}
        self._failures: list[str] = []

    def execute(self, parallel: int) -> None:
        run = self._run
        run.status, run.started = "Running", now()
        self._log("")
        self._log(f"pipeline {run.id} started\n")
        try:
            with ThreadPoolExecutor(parallel) as pool:
                self._execute(pool)
        except Exception:  # a fault of the emulator must be seen as one, not as a pipeline that never ends
            self._failures.append(f"the emulator failed: {traceback.format_exc()}")
        self._log(f"pipeline {run.id} ended\n")
        with self._workspace.lock:
            run.status = "Canceled" if run.cancel.is_set() else "Failed" if self._failures else "Completed"
            run.ended = now()
            if run.status == "Failed":
                run.error = ("UserError", "Pipeline has failed child jobs. " + "; ".join(self._failures))

    def _execute(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[None], Run] = {}
        while True:
            if self._run.cancel.is_set() or (self._failures and not self._goes_on):
                for child in running.values():
                    child.cancel.set()
            else:
                for node in self._ready():
                    child = self._child(node)
                    running[pool.submit(self._step, node, child)] = child
            if not running:
                return
            for future in wait(running, LOOK, FIRST_COMPLETED).done:
                child = running.pop(future)
                future.result()
                if child.status != "Completed" and not self._run.cancel.is_set():
                    self._failures.append(f"{child.name}: {child.error[1] if child.error else child.status}")

    @property
    def _goes_on(self) -> bool:
        return str(self._settings.get("continue_on_step_failure")).lower() == "true"

    def _ready(self) -> list[Node]:
        done = {name for name, run in self._runs.items() if run.status == "Completed"}
        return [node for node in self._nodes.values() if node.name not in self._runs and node.waits_for <= done]

    def _child(self, node: Node) -> Run:
        child = Run(str(uuid.uuid4()), node.name, self._run, compute=node.compute, experiment=self._run.experiment)
        child.properties = {"azureml.nodeid": uuid.uuid4().hex[:8], "azureml.pipelinerunid": self._run.id}
        child.tags = {key: str(value) for key, value in node.section("tags").items()}
        self._workspace.runs[child.id] = self._runs[node.name] = child
        return child

    def _step(self, node: Node, child: Run) -> None:
        child.started = now()
        child.status = "Queued"
        status = "Completed"
        inputs = self._inputs(node)
        child.inputs = {name: value for name, value in inputs.items() if isinstance(value, Port)}
        key = (self._workspace.id, self._key(node, inputs))
        try:
            if (earlier := self._reusable.get(key)) and self._may_reuse(node):
                self._reuse(node, child, earlier)
            else:
                Step(self._workspace, node, child, inputs, self._machine).execute()
                self._reusable[key] = child
        except StepCanceled as canceled:
            status = "Canceled"
            child.error = ("JobTimedOut", str(canceled)) if str(canceled) else None
        except StepFailed as failed:
            status, child.error = "Failed", (failed.code, failed.message)
        except Refusal as refusal:
            status, child.error = "Failed", (refusal.code, refusal.message)
        except Exception:
            status, child.error = "Failed", ("EmulatorError", traceback.format_exc())
        child.ended = now()
        self._log(f"{node.name} {status}\n")
        child.status = status

    def _inputs(self, node: Node) -> dict[str, str | Port]:
        return {
            name: self._runs[source.node].outputs[source.output] if isinstance(source, Produced) else source
            for name, source in node.inputs.items()
        }

    def _key(self, node: Node, inputs: Mapping[str, str | Port]) -> str:
        """What a step's result depends on, as Azure sees it: the component, the literals and the places of the data."""
        places = {name: value if isinstance(value, str) else value.uri for name, value in inputs.items()}
        targets = {name: target.uri for name, target in node.outputs.items()}
        fixed = [node.document.get(part) for part in ("componentId", "environment_variables", "distribution")]
        return json.dumps([fixed, places, targets], sort_keys=True)

    def _may_reuse(self, node: Node) -> bool:
        forced = str(self._settings.get("force_rerun")).lower() == "true"
        return not forced and str(node.spec.get("is_deterministic", True)).lower() == "true"

    def _reuse(self, node: Node, child: Run, earlier: Run) -> None:
        child.properties.update({"azureml.isreused": "true", "azureml.reusedrunid": earlier.id})
        child.outputs = {name: earlier.outputs[name] for name in node.outputs}
        register_outputs(self._workspace, node, child)

    def _log(self, text: str) -> None:
        self._workspace.storage.append(self._workspace.artifacts(self._run.id) / EXECUTION_LOG, text.encode())
        if EXECUTION_LOG not in self._run.logs:
            self._run.logs.append(EXECUTION_LOG)


def cancel(workspace: Workspace, run: Run) -> bool:
    """Ask a run to stop; False where it has ended already."""
    with workspace.lock:
        if run.status in TERMINAL:
            return False
        run.status = "CancelRequested"
        run.cancel.set()
        return True
