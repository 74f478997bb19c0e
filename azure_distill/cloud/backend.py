"""The backend that runs a plan as a pipeline job of an Azure ML workspace."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.backend import COMPLETED, FAILED, TERMINAL, Event, Run, told_failure
from azure_distill.cloud import logs
from azure_distill.cloud.auth import make_credential
from azure_distill.cloud.compute import compute_warnings, on_all_gpus
from azure_distill.cloud.data import ASSET, DataAssets
from azure_distill.cloud.failures import translated
from azure_distill.cloud.follow import Follower
from azure_distill.cloud.models import ModelRegistry
from azure_distill.cloud.noise import quiet
from azure_distill.cloud.pipeline import LINEAGE, make_pipeline, placed, plan_problems
from azure_distill.cloud.register import Registrar, variant
from azure_distill.cloud.runs import Child, by_step, error_message, fill, is_ours, status_word, summary
from azure_distill.cloud.session import Session
from azure_distill.cloud.storage import Place, Storage, parse_place
from azure_distill.cloud.workspace import Workspace, find_workspace
from azure_distill.errors import ConfigurationError, InvalidJob, NotFound, WaitTimeout, choices
from azure_distill.plan.names import new_name
from azure_distill.plan.plan import Plan

if TYPE_CHECKING:
    from azure.ai.ml.entities import PipelineJob
    from azure.core.credentials import TokenCredential

LAST = "last"
LOOKED_THROUGH = 2000  # newest jobs of the workspace among which ours are looked for
CANCEL_POLL, CANCEL_SECONDS = 1.0, 600.0
METRICS = "metrics.json"
GIT = ("azureml.git.commit", "mlflow.source.git.commit")


def connect(
    folder: Path, subscription: str | None, resource_group: str | None, workspace: str | None, auth: str
) -> CloudBackend:
    """The backend of the workspace that arguments, environment or a file above `folder` name; sends nothing yet."""
    flags = {"subscription": subscription, "resource_group": resource_group, "name": workspace}
    return CloudBackend(find_workspace(flags, os.environ, folder), make_credential(auth))


class CloudBackend:
    """Plans as pipeline jobs; see `azure_distill.backend.Backend` for what its methods mean.

    Making one sends nothing.  Every method raises ConfigurationError where Azure refuses the identity, NotFound, and
    ServiceUnavailable when Azure does not answer after retries.
    """

    def __init__(self, workspace: Workspace, credential: TokenCredential) -> None:
        self.session = Session(workspace, credential)
        self.models = ModelRegistry(self.session)
        self._storage = Storage(self.session)
        self._data = DataAssets(self.session)
        self._progress = dict[str, dict[str, str]]()
        self._failed = dict[str, Child]()
        self._metrics = dict[str, dict[str, Any]]()
        self._started = dict[str, Run]()

    def submit(self, plan: Plan) -> str:
        """Register what is new, upload what is new, and send the job; its name is ours, so a retry makes no second."""
        if problems := list(plan_problems(plan)):
            raise InvalidJob(problems)
        plan = on_all_gpus(plan, self._cluster_size)
        components = {variant(component): component for component in map(placed, plan.steps)}
        registrar = Registrar(self.session)
        with quiet(), ThreadPoolExecutor(1) as pool:  # data and components know nothing of each other
            data = pool.submit(self._data.resolve, plan)
            registered = registrar.components(components.values())
            references = [asset.reference for asset in registered if asset.kind == "component"]
            job = make_pipeline(
                plan, new_name(plan.name), dict(zip(components, references, strict=True)), data.result()
            )
        with translated("submit the job"):
            run = summary(self.session.ml.jobs.create_or_update(job))
        self._started[run.name] = run
        run.warnings = [*plan.warnings, *compute_warnings(plan)]
        return run.name

    def started(self, name: str) -> Run:
        return self._started[name]

    def get(self, name: str) -> Run:
        job = self._job(name)
        run = summary(job)
        with translated(f"look at the run {run.name}"):
            children = by_step(self.session.history.children(run.name))
            for step, child in children.items():
                if child.status == FAILED:
                    children[step] = self._explained(child)
            fill(run, children, self._progress.get(run.name, {}))
            run.metrics = self._read_metrics(run)
        return run

    def list(self, limit: int) -> list[Run]:
        """The newest runs without their steps' states; archived jobs are left out."""
        return [summary(job) for job in itertools.islice(self._jobs(), limit)]

    def follow(self, name: str) -> Iterator[Event]:
        name = str(self._job(name).name)
        progress = self._progress.setdefault(name, {})
        with translated(f"follow the run {name}"):
            yield from Follower(self.session.history, name, lambda: self._status(name), progress).events()

    def logs(self, name: str, step: str) -> str:
        run = summary(self._job(name))
        with translated(f"read the log of {step}"):
            child = by_step(self.session.history.children(run.name)).get(step)
            if child is None and step not in run.steps:
                raise NotFound(f"{run.name} has no step {step}", choices(step, run.steps))
            return logs.whole_log(self.session.history, self.session.history.details(child.id)) if child else ""

    def cancel(self, name: str) -> None:
        job = self._job(name)
        if status_word(job.status) in TERMINAL:
            return
        name = str(job.name)
        with translated(f"cancel the run {name}"):
            self.session.ml.jobs.begin_cancel(name)
            deadline = time.monotonic() + CANCEL_SECONDS
            while self._status(name) not in TERMINAL:
                if time.monotonic() > deadline:
                    raise WaitTimeout(f"{name} has been asked to stop and has not yet", f"azure-distill status {name}")
                time.sleep(CANCEL_POLL)

    def download(self, name: str, step: str, output: str, target: Path) -> Path:
        run = self.get(name)
        self._known("step", step, list(run.steps), run)
        outputs = run.outputs.get(step)
        if outputs is None:
            raise NotFound(f"step {step} of {run.name} has no outputs: it is {run.steps[step].status}")
        self._known("output", output, list(outputs), run)
        place = target / step / output
        if place.exists():
            raise ConfigurationError(f"{place} already exists", "choose another folder")
        with translated(f"download {step}.{output}"):
            self._storage.download(self._where(outputs[output]), place)
        return place

    def students(self) -> Mapping[str, Path]:
        """None: a job names a model of the workspace as `azureml:NAME:VERSION`."""
        return {}

    def lineage(self, name: str) -> dict[str, Any]:
        properties = dict(self._job(name).properties or {})
        kept: dict[str, Any] = json.loads(properties.get(LINEAGE) or "{}")
        commit = next((properties[key] for key in GIT if properties.get(key)), None)
        return {"teacher": None, "student": None, "task": None, **kept, "git_commit": commit}

    def distilled(self, student: str) -> Run | None:
        for job in self._jobs():
            if status_word(job.status) == COMPLETED and (job.tags or {}).get("student") == student:
                run = self.get(str(job.name))
                if "model" in run.outputs.get("student_finetune", {}):
                    return run
        return None

    def read(self, name: str, step: str, output: str, file: str) -> bytes | None:
        reference = self.get(name).outputs.get(step, {}).get(output)
        with translated(f"read {step}.{output}"):
            return self._storage.read(self._where(reference), file) if reference else None

    def _jobs(self) -> Iterator[PipelineJob]:
        """Our jobs, newest first, as the service lists them."""
        with translated("list the runs"):
            yield from filter(is_ours, itertools.islice(self.session.ml.jobs.list(), LOOKED_THROUGH))

    def _job(self, name: str) -> PipelineJob:
        if name == LAST:
            job = next(self._jobs(), None)
            if job is None:
                raise NotFound("there is no run in the workspace yet", "start one with `azure-distill submit`")
            name = str(job.name)
        try:
            with translated(f"find the run {name} in the workspace {self.session.workspace.name}"):
                found = self.session.ml.jobs.get(name)
        except NotFound as error:
            raise NotFound(str(error), error.hint or "`azure-distill list --azure` shows its runs") from None
        if not is_ours(found):
            raise NotFound(f"the job {name} was not submitted by azure-distill", "see `azure-distill list --azure`")
        return found

    def _cluster_size(self, name: str) -> str | None:
        with translated(f"look up the cluster {name}"):
            return getattr(self.session.ml.compute.get(name), "size", None)

    def _status(self, name: str) -> str:
        return status_word(self.session.ml.jobs.get(name).status)

    def _explained(self, child: Child) -> Child:
        """A failed step with its own words; it has ended, so they are read once."""
        if child.id not in self._failed:
            details = self.session.history.details(child.id)
            log = logs.whole_log(self.session.history, details)
            words = told_failure(log.splitlines(), "its log ends so:") if log else None
            self._failed[child.id] = replace(child, error=child.error or error_message(details), words=words)
        return self._failed[child.id]

    def _read_metrics(self, run: Run) -> dict[str, Any]:
        reference = run.outputs.get("evaluation", {}).get("report")
        if reference is None:
            return {}
        if reference not in self._metrics:
            content = self._storage.read(self._where(reference), METRICS)
            self._metrics[reference] = json.loads(content) if content else {}
        return self._metrics[reference]

    def _where(self, reference: str) -> Place:
        """Where an output's files lie.  The SDK's own download says nothing when it finds nothing."""
        found = ASSET.fullmatch(reference)
        if found is None:
            return parse_place(reference)
        return parse_place(str(self.session.ml.data.get(found.group(1), found.group(2)).path))

    def _known(self, kind: str, name: str, names: Sequence[str], run: Run) -> None:
        if name not in names:
            raise NotFound(f"{run.name} has no {kind} {name}", choices(name, names))
