"""Runs the steps of a plan in their order, as many at a time as allowed, until all ended or somebody says stop."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from dataclasses import asdict
from graphlib import TopologicalSorter

from azure_distill.backend import CANCEL_REQUESTED, CANCELED, COMPLETED, FAILED, NOT_STARTED, RUNNING
from azure_distill.local.files import describe, read_json, write_json
from azure_distill.local.manifest import Manifest
from azure_distill.local.runs import StepRecord
from azure_distill.local.step import Context, StepRun
from azure_distill.plan.plan import Plan, Step, StepOutput

POLL = 0.1  # seconds between looks at whether another process asked the run to stop
PASSED_ON = frozenset({3, 4, 5, 13})  # exit codes of components that mean the same for the whole run
FAILURE, CANCELLATION = 10, 11


class Execution(threading.Thread):
    """A run under way.  It is no daemon: a program that only submits waits at its end for the run's end."""

    def __init__(self, context: Context, plan: Plan, jobs: int, lock: int) -> None:
        super().__init__(name=f"run {context.run.name}")
        self.context, self.plan, self.jobs, self.lock = context, plan, jobs, lock
        self.records = {step.name: StepRecord(component=step.component.name) for step in plan.steps}
        self.manifests = dict[StepOutput, Manifest]()
        self.ended = queue.SimpleQueue[StepRun]()

    def run(self) -> None:
        try:
            self._state(status=RUNNING)
            self._steps()
            self._skip_the_rest()
        except Exception as error:  # a full disk, most likely; the run's end must be told whatever it was
            message = (
                describe(error) if isinstance(error, OSError) else f"internal error: {type(error).__name__}: {error}"
            )
            self._end(FAILED, message, FAILURE)
        else:
            self._conclude()
        finally:
            os.close(self.lock)

    def _steps(self) -> None:
        order = {step.name: place for place, step in enumerate(self.plan.steps)}
        sorter = TopologicalSorter({step.name: step.needs for step in self.plan.steps})
        sorter.prepare()
        ready, active = list[str](), 0
        while True:
            ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
            while ready and active < self.jobs and not self.context.stop.is_set():
                self._start(self.plan.step(ready.pop(0)))
                active += 1
            if not active:
                return
            try:
                done = self.ended.get(timeout=POLL)
            except queue.Empty:
                self._look_for_cancel()
                continue
            active -= 1
            self.records[done.step.name] = done.record
            if done.record.status == COMPLETED:
                for output, manifest in done.manifests.items():
                    self.manifests[StepOutput(done.step.name, output)] = manifest
                sorter.done(done.step.name)
            self._look_for_cancel()

    def _start(self, step: Step) -> None:
        run = StepRun(self.context, step, dict(self.manifests))

        def work() -> None:
            try:
                run.run()
            except Exception as error:  # its record could not be written
                run.record.status = FAILED
                run.record.error = describe(error) if isinstance(error, OSError) else f"internal error: {error}"
            finally:
                self.ended.put(run)

        threading.Thread(target=work, name=f"step {step.name}").start()

    def _look_for_cancel(self) -> None:
        if not self.context.stop.is_set() and self.context.run.cancel.exists():
            self.context.stop.set()
            with contextlib.suppress(OSError):
                self._state(status=CANCEL_REQUESTED)

    def _skip_the_rest(self) -> None:
        causes = {name: {name} for name, record in self.records.items() if record.status == FAILED}
        for step in self.plan.steps:
            record = self.records[step.name]
            if record.status == NOT_STARTED:
                causes[step.name] = set[str]().union(*(causes.get(need, ()) for need in step.needs))
                record.status = CANCELED
                record.error = f"not run: {', '.join(sorted(found))} failed" if (found := causes[step.name]) else None
                write_json(self.context.run.step(step.name).state, asdict(record))

    def _conclude(self) -> None:
        failed = {name: record for name, record in self.records.items() if record.status == FAILED}
        if failed:
            codes = (record.exit_code for record in failed.values())
            code = next((code for code in codes if code in PASSED_ON), FAILURE)
            self._end(FAILED, "\n".join(f"{name}: {record.error}" for name, record in failed.items()), code)
        elif any(record.status == CANCELED for record in self.records.values()):
            self._end(CANCELED, None, CANCELLATION)
        else:
            self._end(COMPLETED, None, 0)

    def _end(self, status: str, error: str | None, code: int) -> None:
        """Write the run's end down; on a full disk with the space that was put aside for it."""
        paths = self.context.run
        with contextlib.suppress(OSError):
            paths.reserve.unlink(missing_ok=True)
        for name, record in self.records.items():
            with contextlib.suppress(OSError):
                if (read_json(paths.step(name).state) or {}).get("status") != record.status:
                    write_json(paths.step(name).state, asdict(record))
        with contextlib.suppress(OSError):
            self._state(status=status, error=error, exit_code=code)

    def _state(self, **changes: object) -> None:
        state = read_json(self.context.run.state) or {}
        write_json(self.context.run.state, {**state, **changes})
