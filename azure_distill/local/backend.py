"""The backend that runs a plan on this machine."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azure_distill.backend import CANCELED, COMPLETED, NOT_RESPONDING, TERMINAL, Event, Run
from azure_distill.errors import ConfigurationError, NotFound, choices
from azure_distill.local.check import check_plan, ignored, require_secrets
from azure_distill.local.executor import CANCELLATION, Execution
from azure_distill.local.files import describe, read_json, staging, write_json
from azure_distill.local.follow import Follower
from azure_distill.local.manifest import walk
from azure_distill.local.models import ModelStore
from azure_distill.local.paths import Home, RunPaths
from azure_distill.local.runs import RunStore
from azure_distill.local.step import Context
from azure_distill.plan.lineage import lineage
from azure_distill.plan.plan import Plan

POLL = 0.1
GRACE = 10.0
ALL_STEPS = "*"


class LocalBackend:
    """Runs plans as processes on this machine; see `azure_distill.backend.Backend` for what its methods mean.

    `jobs` is how many steps may run at a time.  `force` names steps that run although their outputs are known; `*` is
    all of them.  `grace` is how many seconds a step has to stop by itself.

    What only the cloud cares about (compute, tier, distribution) is ignored and listed in the run's warnings.
    """

    def __init__(
        self, home: Path | None = None, jobs: int = 1, force: frozenset[str] = frozenset(), grace: float = GRACE
    ) -> None:
        self.home = Home.locate(home)
        self.jobs, self.force, self.grace = max(1, jobs), force, grace
        self.runs = RunStore(self.home)
        self.models = ModelStore(self.home)
        self.executions = dict[str, Execution]()

    def submit(self, plan: Plan) -> str:
        """Start the plan in a thread of this process; raises InvalidJob, NotFound or ConfigurationError first."""
        check_plan(plan, self.home)
        require_secrets(plan, os.environ)
        names = [step.name for step in plan.steps]
        for name in sorted(self.force - {ALL_STEPS}):
            if name not in names:
                raise NotFound(f"there is no step {name} to force", choices(name, names))
        forced = frozenset(names) if ALL_STEPS in self.force else self.force
        paths, lock = self.runs.create(plan, ignored(plan))
        context = Context(self.home, paths, forced, self.grace, threading.Event())
        execution = Execution(context, plan, self.jobs, lock)
        self.executions[paths.name] = execution
        execution.start()
        return paths.name

    def started(self, name: str) -> Run:
        return self.get(name)

    def get(self, name: str) -> Run:
        return self.runs.read(self.runs.find(name))

    def list(self, limit: int) -> list[Run]:
        return [self.runs.read(paths) for paths in itertools.islice(self.runs.newest_first(), limit)]

    def follow(self, name: str) -> Iterator[Event]:
        return Follower(self.runs, self.runs.find(name)).events()

    def wait(self, name: str, timeout: float | None = None) -> Run:
        """The run once it has ended, or as it stands after `timeout` seconds."""
        paths = self.runs.find(name)
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.runs.state(paths)["status"] not in TERMINAL:
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(POLL)
        return self.runs.read(paths)

    def logs(self, name: str, step: str) -> str:
        paths = self.runs.find(name)
        self._known("step", step, self.runs.state(paths)["steps"], paths)
        try:
            return paths.step(step).log.read_bytes().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def students(self) -> Mapping[str, Path]:
        models = list(reversed(self.models.list()))  # of a name without a version, the newest counts
        return {name: Path(m.path) for m in models for name in (m.name, f"{m.name}:{m.version}")}

    def lineage(self, name: str) -> dict[str, Any]:
        paths = self.runs.find(name)
        plan = read_json(paths.plan)
        if plan is None:
            raise NotFound(f"the plan of run {paths.name} is damaged")
        return lineage(plan)

    def distilled(self, student: str) -> Run | None:
        runs = (self.runs.read(paths) for paths in self.runs.newest_first())
        return next((run for run in runs if _distilled(run) and self.lineage(run.name)["student"] == student), None)

    def read(self, name: str, step: str, output: str, file: str) -> bytes | None:
        place = self.get(name).outputs.get(step, {}).get(output)
        try:
            return (Path(place) / file).read_bytes() if place else None
        except FileNotFoundError:
            return None

    def cancel(self, name: str) -> None:
        paths = self.runs.find(name)
        state = self.runs.state(paths)
        if state["status"] == NOT_RESPONDING:
            write_json(paths.state, {**state, "status": CANCELED, "exit_code": CANCELLATION, "error": None})
        if state["status"] in TERMINAL:
            return
        try:
            paths.cancel.touch()
        except OSError as error:
            raise ConfigurationError(f"the run cannot be told to stop: {describe(error)}") from None
        self.wait(paths.name)

    def download(self, name: str, step: str, output: str, target: Path) -> Path:
        run = self.get(name)
        paths = self.runs.find(run.name)
        self._known("step", step, list(run.steps), paths)
        outputs = run.outputs.get(step)
        if outputs is None:
            raise NotFound(f"step {step} of {run.name} has no outputs: it is {run.steps[step].status}")
        self._known("output", output, list(outputs), paths)
        place = target / step / output
        if place.exists():
            raise ConfigurationError(f"{place} already exists", "choose another folder")
        try:
            _copy(Path(outputs[output]), place)
        except OSError as error:
            raise ConfigurationError(f"the output cannot be copied: {describe(error)}") from None
        return place

    def _known(self, kind: str, name: str, names: Sequence[str], paths: RunPaths) -> None:
        if name not in names:
            raise NotFound(f"{paths.name} has no {kind} {name}", choices(name, names))


def _distilled(run: Run) -> bool:
    return run.status == COMPLETED and "model" in run.outputs.get("student_finetune", {})


def _copy(source: Path, place: Path) -> None:
    """Copy an output's files into a new folder, whole or not at all; the copies belong to the user and are writable."""
    files = [path for path, _ in walk(source) if not path.endswith("/")]
    if not files:
        raise NotFound(f"{source} holds no files")
    with staging(place.parent) as draft:
        for path in files:
            copy = draft / (source.name if path == "." else path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, copy)
        draft.rename(place)
