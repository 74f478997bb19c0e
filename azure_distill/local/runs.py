"""Runs as they stand on disk: made, listed, read, and set right when the process that ran them is gone."""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from azure_distill.backend import (
    CANCELED,
    COMPLETED,
    NOT_RESPONDING,
    NOT_STARTED,
    PREPARING,
    RUNNING,
    TERMINAL,
    Run,
    StepState,
    told_progress,
)
from azure_distill.errors import ConfigurationError, NotFound, choices
from azure_distill.local.files import describe, read_json, staging, tail, try_lock, write_json
from azure_distill.local.paths import Home, RunPaths
from azure_distill.plan.lineage import git_commit
from azure_distill.plan.names import new_name
from azure_distill.plan.plan import Plan

LAST = "last"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
RESERVE = 1 << 16
GONE = "the process that ran it ended; run the job again to resume"


@dataclass
class StepRecord(StepState):
    """A step.json: the step's state and what explains it.  `outputs` are paths below the home,
    `hashes` the outputs' content hashes.
    """

    component: str = ""
    command: str | None = None
    key: str | None = None
    started: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


class RunStore:
    """The runs below one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def create(self, plan: Plan, ignored: Sequence[str]) -> tuple[RunPaths, int]:
        """A new run, not yet started, and the lock that says its owner lives; raises ConfigurationError."""
        try:
            with staging(self.home.runs) as folder:
                draft = RunPaths(folder)
                write_json(draft.plan, plan.to_json() | {"git_commit": git_commit(Path.cwd())})
                for step in plan.steps:
                    draft.step(step.name).folder.mkdir()
                    write_json(draft.step(step.name).state, asdict(StepRecord(component=step.component.name)))
                draft.reserve.write_bytes(os.urandom(RESERVE))
                lock = try_lock(draft.lock)
                assert lock is not None
                name = self._place(draft, plan, ignored)
        except OSError as error:
            raise ConfigurationError(f"cannot write below {self.home.root}: {describe(error)}") from None
        return self.home.run(name), lock

    def _place(self, draft: RunPaths, plan: Plan, ignored: Sequence[str]) -> str:
        while True:
            name = new_name(plan.name)
            state = {
                "name": name,
                "created": now(),
                "status": PREPARING,
                "error": None,
                "exit_code": None,
                "owner": {"pid": os.getpid(), "host": socket.gethostname()},
                "steps": [step.name for step in plan.steps],
                "warnings": [*plan.warnings, *ignored],
            }
            write_json(draft.state, state)
            try:
                draft.folder.rename(self.home.run(name).folder)
            except OSError:
                if not self.home.run(name).folder.exists():
                    raise
            else:
                return name

    def find(self, name: str) -> RunPaths:
        """The run's folder; `last` is the newest run.  Raises NotFound."""
        if name == LAST:
            for run in self.newest_first():
                return run
            raise NotFound("there is no run yet", "start one with `azure-distill run`")
        paths = self.home.run(name)
        if NAME.fullmatch(name) and read_json(paths.state) is not None:
            return paths
        raise NotFound(f"there is no run {name}", choices(name, [run.name for run in self.newest_first()][:20]))

    def newest_first(self) -> Iterator[RunPaths]:
        found = list[tuple[str, str]]()
        for folder in self.home.runs.iterdir():
            if NAME.fullmatch(folder.name) and (state := read_json(folder / "run.json")):
                found.append((str(state.get("created")), folder.name))
        return (self.home.run(name) for _, name in sorted(found, reverse=True))

    def read(self, paths: RunPaths) -> Run:
        """The run as it stands."""
        state = self.state(paths)
        steps = {str(name): self.step(paths, str(name)) for name in state["steps"]}
        outputs = {
            name: {output: str(self.home.root / place) for output, place in step.outputs.items()}
            for name, step in steps.items()
            if step.status == COMPLETED
        }
        return Run(
            name=paths.name,
            status=str(state["status"]),
            backend="local",
            location=str(paths.folder),
            created=str(state["created"]),
            steps={name: _shown(step, paths.step(name).log) for name, step in steps.items()},
            outputs=outputs,
            metrics=_metrics(outputs),
            error=state.get("error"),
            exit_code=state.get("exit_code"),
            warnings=list(state.get("warnings", [])),
        )

    def state(self, paths: RunPaths) -> dict[str, Any]:
        """Its run.json; that of a run whose process is gone is first set right."""
        state = self._stored(paths)
        if state["status"] not in TERMINAL and (probe := self._ownerless(paths)) is not None:
            try:
                state = self._bury(paths)
            finally:
                os.close(probe)
        return state

    def _stored(self, paths: RunPaths) -> dict[str, Any]:
        state = read_json(paths.state)
        if state is None:
            raise NotFound(f"there is no run {paths.name} any more")
        return state

    def step(self, paths: RunPaths, name: str) -> StepRecord:
        record = read_json(paths.step(name).state) or {}
        known = {item.name for item in fields(StepRecord)}
        return StepRecord(**{key: value for key, value in record.items() if key in known})

    def _ownerless(self, paths: RunPaths) -> int | None:
        """A descriptor to close when nobody runs this run; None while somebody does."""
        try:
            return try_lock(paths.lock, shared=True)
        except OSError:  # a read-only or vanished folder tells nothing: believe what stands in it
            return None

    def _bury(self, paths: RunPaths) -> dict[str, Any]:
        state = self._stored(paths)
        if state["status"] in TERMINAL:  # it ended between the look at its state and the look at its lock
            return state
        canceled = paths.cancel.exists()
        state |= {"status": CANCELED, "exit_code": 11} if canceled else {"status": NOT_RESPONDING, "exit_code": 10}
        state["error"] = None if canceled else GONE
        try:
            for name in state["steps"]:
                step = self.step(paths, name)
                if step.status not in TERMINAL:
                    step.error = step.error or (None if step.status == NOT_STARTED else GONE)
                    step.status = CANCELED
                    write_json(paths.step(name).state, asdict(step))
            paths.reserve.unlink(missing_ok=True)
            write_json(paths.state, state)
        except OSError:  # a full disk: the answer is right all the same, and found again next time
            pass
        return state


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _shown(step: StepRecord, log: Path) -> StepState:
    state = StepState(**{item.name: getattr(step, item.name) for item in fields(StepState)})
    if state.status == RUNNING:
        state.progress = next(filter(None, map(told_progress, reversed(tail(log)))), None)
    return state


def _metrics(outputs: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The metrics.json of the last step that wrote one."""
    for places in reversed(outputs.values()):
        for place in places.values():
            try:
                value = json.loads((Path(place) / "metrics.json").read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(value, dict):
                return value
    return {}
