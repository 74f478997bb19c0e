"""One step of a run: bind its inputs, look it up, else run it, and see that it did what it says."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from azure_distill.assets.bindings import render, text
from azure_distill.assets.component import FOLDERS, Component
from azure_distill.assets.snapshot import Snapshot, take_snapshot
from azure_distill.backend import CANCELED, COMPLETED, FAILED, PREPARING, QUEUED, RUNNING, told_failure
from azure_distill.errors import DistillError
from azure_distill.local.cache import Parts, StepCache, Stopped, make_parts
from azure_distill.local.files import describe, remove_tree, tail, write_json
from azure_distill.local.manifest import (
    LinkFound,
    Manifest,
    file_hash,
    make_read_only,
    remembering_hasher,
    stamps,
    take,
)
from azure_distill.local.paths import Home, RunPaths, StepPaths
from azure_distill.local.process import environment, exit_text, run_command
from azure_distill.local.runs import StepRecord, now
from azure_distill.plan.plan import DataPath, Literal, Step, StepOutput

Value = str | int | float | bool
LOW_SPACE = 1 << 20  # bytes; with less, a step that failed probably failed of it


class StepFailed(Exception):
    """What went wrong, in words; `code` is the command's exit code where it ran."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Context:
    """What all steps of one run share.  `grace` is how long a step may take to stop, in seconds."""

    home: Home
    run: RunPaths
    forced: frozenset[str]
    grace: float
    stop: threading.Event


@dataclass(frozen=True)
class Bound:
    """A step's inputs and outputs on this machine; `values` has every declared input, None where it is unset."""

    values: Mapping[str, Value | None]
    data: Mapping[str, Path]
    outputs: Mapping[str, Path]


def bind(step: Step, home: Home, run: RunPaths) -> Bound:
    """Where a step's data lies and what its literals are."""
    values: dict[str, Value | None] = {name: port.default for name, port in step.component.inputs.items()}
    data = dict[str, Path]()
    for name, binding in step.inputs.items():
        match binding:
            case Literal(value):
                values[name] = value
            case DataPath(path):
                data[name] = path.absolute()
            case StepOutput(upstream, output):
                data[name] = run.step(upstream).output(output)
    values |= {name: str(path) for name, path in data.items()}
    kept = step.component.kept_outputs
    here = run.step(step.name)
    outputs = {name: home.kept(name) if name in kept else here.output(name) for name in step.component.outputs}
    return Bound(values, data, outputs)


class StepRun:
    """Runs one step; `upstream` are the manifests of the outputs it reads."""

    def __init__(self, context: Context, step: Step, upstream: Mapping[StepOutput, Manifest]) -> None:
        self.context, self.step, self.upstream = context, step, upstream
        self.paths: StepPaths = context.run.step(step.name)
        self.cache = StepCache(context.home)
        self.record = StepRecord(component=step.component.name)
        self.manifests: Mapping[str, Manifest] = {}

    @property
    def component(self) -> Component:
        return self.step.component

    def run(self) -> StepRecord:
        """Run it to its end; whatever goes wrong stands in the record."""
        started = time.monotonic()
        self.update(status=PREPARING, started=now())
        try:
            self._run()
            self.record.hashes = {name: manifest.hash for name, manifest in self.manifests.items()}
            self.record.status = COMPLETED
        except Stopped:
            self.record.status = CANCELED
        except StepFailed as error:
            self._fail(str(error), error.code)
        except OSError as error:
            self._fail(describe(error))
        except DistillError as error:
            self._fail(f"{error} ({error.hint})" if error.hint else str(error))
        except Exception as error:
            self._fail(f"internal error: {type(error).__name__}: {error}")
            self._log(traceback.format_exc())
        self.update(seconds=round(time.monotonic() - started, 3))
        return self.record

    def update(self, **changes: object) -> None:
        for name, value in changes.items():
            setattr(self.record, name, value)
        write_json(self.paths.state, asdict(self.record))

    def _run(self) -> None:
        bound = bind(self.step, self.context.home, self.context.run)
        snapshot = take_snapshot(self.component)
        before = {name: stamps(path) for name, path in bound.data.items()}
        parts = self._parts(bound, snapshot)
        self.record.key = parts.key
        self.record.command = render(self.component.command, bound.values, _strings(bound.outputs))
        root = self.context.home.root
        self.record.outputs = {name: str(path.relative_to(root)) for name, path in bound.outputs.items()}
        self.update(status=QUEUED)
        with self.cache.lock(parts.key, self.context.stop):
            if not self._restore(parts.key):
                self._compute(bound, snapshot, parts, before)

    def _parts(self, bound: Bound, snapshot: Snapshot) -> Parts:
        literals = {
            name: text(value) for name, value in bound.values.items() if value is not None and name not in bound.data
        }
        hasher = remembering_hasher(self.context.home.hashes)
        data = dict[str, str]()
        for name, path in bound.data.items():
            binding = self.step.inputs[name]
            if isinstance(binding, StepOutput):
                data[name] = self.upstream[binding].hash
            else:  # programs tell a file's format by its suffix
                data[name] = take(path, hasher).hash + ("" if path.is_dir() else path.suffix)
        return make_parts(self.component, snapshot, literals, data)

    def _restore(self, key: str) -> bool:
        if self.step.name in self.context.forced or not self.component.is_deterministic:
            return False
        hit = self.cache.restore(key, self.context.run.name, self.paths)
        if hit is None:
            return False
        self.manifests = hit.manifests
        self.record.cached = hit.origin
        return True

    def _compute(
        self, bound: Bound, snapshot: Snapshot, parts: Parts, before: Mapping[str, dict[str, tuple[int, int]]]
    ) -> None:
        forced = self.step.name in self.context.forced
        self.record.reason = "forced" if forced else self.cache.reason(self.component, self.step.name, parts)
        self.cache.remember(self.component, self.step.name, parts, RUNNING)
        try:
            self._execute(bound, snapshot)
            self._check_inputs(bound, before)
            self.manifests = self._check_outputs(bound)
        except Exception as error:
            with contextlib.suppress(OSError):  # what went wrong first is what counts
                status = CANCELED if isinstance(error, Stopped) else FAILED
                self.cache.remember(self.component, self.step.name, parts, status)
            raise
        self.cache.store(parts.key, self.context.run.name, self.step.name, self.manifests)
        self.cache.remember(self.component, self.step.name, parts, COMPLETED)
        remove_tree(self.paths.work)

    def _execute(self, bound: Bound, snapshot: Snapshot) -> None:
        snapshot.copy_to(self.paths.work)
        for name, path in bound.outputs.items():
            if self.component.outputs[name].type in FOLDERS:
                path.mkdir(parents=True, exist_ok=True)
        variables = {"AZUREML_RUN_ID": f"{self.context.run.name}.{self.step.name}"}
        variables |= {"AZUREML_ROOT_RUN_ID": self.context.run.name}
        for kind, paths in (("INPUT", bound.data), ("OUTPUT", bound.outputs)):
            for name, path in paths.items():
                variables |= dict.fromkeys((f"AZURE_ML_{kind}_{name}", f"AZURE_ML_{kind}_{name.upper()}"), str(path))
        visible = environment(self.context.home, variables, self.component.environment_variables, self.step.secrets)
        self.update(status=RUNNING)
        if self.context.stop.is_set():
            raise Stopped
        command = str(self.record.command)
        code = run_command(command, self.paths.work, self.paths.log, visible, self.context.stop, self.context.grace)
        self.record.exit_code = code
        if self.context.stop.is_set():
            raise Stopped
        if code:
            raise StepFailed(self._why(code), code)

    def _why(self, code: int) -> str:
        """The step's own words; a full disk may have kept it from writing any."""
        said = told_failure(tail(self.paths.log), exit_text(code))
        if shutil.disk_usage(self.paths.folder).free < LOW_SPACE:
            return f"the disk that holds {self.context.home.root} is full\n{said}"
        return said

    def _check_inputs(self, bound: Bound, before: Mapping[str, dict[str, tuple[int, int]]]) -> None:
        for name, path in bound.data.items():
            if stamps(path) != before[name]:
                raise StepFailed(f"its input {name} changed while it ran: {path}; inputs are read-only")

    def _check_outputs(self, bound: Bound) -> dict[str, Manifest]:
        manifests = dict[str, Manifest]()
        for name, path in bound.outputs.items():
            if name in self.component.kept_outputs:
                continue
            if not path.exists():
                raise StepFailed(f"it ended without its output {name}: {path} is missing")
            try:
                manifests[name] = take(path, file_hash, links=False)
            except LinkFound as error:
                raise StepFailed(f"its output {name} holds {error.filename}, which {error.strerror}") from None
            if manifests[name].empty:
                raise StepFailed(f"it ended without its output {name}: {path} is empty")
            make_read_only(path, manifests[name])
        return manifests

    def _fail(self, message: str, code: int | None = None) -> None:
        self.record.status, self.record.error = FAILED, message
        self.record.exit_code = code

    def _log(self, words: str) -> None:
        with self.paths.log.open("a", encoding="utf-8") as log:
            log.write(words)


def _strings(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in paths.items()}
