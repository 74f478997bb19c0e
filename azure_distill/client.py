"""DistillClient: jobs and models, the same for every backend.

What reads jobs is imported where a job is read: looking at runs needs no pydantic, and is quicker without.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.backend import CANCELED, COMPLETED, TERMINAL, Backend, Form, Model, Run
from azure_distill.catalog.models import students, teachers
from azure_distill.errors import (
    InvalidJob,
    JobCanceled,
    JobFailed,
    NotFound,
    Problem,
    choices,
    near,
)
from azure_distill.plan.plan import Binding, DataPath, DataUri, Literal, Plan

if TYPE_CHECKING:
    from azure_distill.spec.job import DistillationJob

DISTILLED = "-distilled"


class DistillClient:
    """The way in from Python: `client.jobs` and `client.models`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.jobs = JobOperations(backend)
        self.models = ModelOperations(backend, self.jobs)

    @classmethod
    def from_config(
        cls,
        folder: str | Path = ".",
        *,
        subscription: str | None = None,
        resource_group: str | None = None,
        workspace: str | None = None,
        auth: str = "default",
    ) -> DistillClient:
        """A client of an Azure ML workspace: that of the arguments, of the environment or of a config.json.

        The file is looked for in `folder` and above it.  Raises ConfigurationError; sends nothing yet.
        """
        from azure_distill.cloud.backend import connect

        return cls(connect(Path(folder).resolve(), subscription, resource_group, workspace, auth))

    @classmethod
    def local(cls, home: str | Path | None = None) -> DistillClient:
        """A client that runs jobs on this machine; `home` replaces `AZURE_DISTILL_HOME` and `~/.azure-distill`."""
        from azure_distill.local.backend import LocalBackend

        return cls(LocalBackend(Path(home) if home else None))


class JobOperations:
    """Plan, start, watch and stop distillations."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def plan(self, job: DistillationJob) -> Plan:
        """What the job would run; raises InvalidJob with all of its problems."""
        from azure_distill.plan.build import build_plan

        return build_plan(job, os.environ, self._backend.students())

    def create_or_update(self, job: DistillationJob | Plan) -> Run:
        """Start a job and return at once; a run on this machine goes on as long as this process lives."""
        if isinstance(job, Plan):
            return self._backend.started(self._backend.submit(job))
        from azure_distill.spec.problems import relocate

        try:
            return self.create_or_update(self.plan(job))
        except InvalidJob as error:
            raise InvalidJob(relocate(error.problems, job.source)) from None

    def get(self, name: str) -> Run:
        """A run as it stands; `last` is the newest.  Raises NotFound."""
        return self._backend.get(name)

    def stream(self, name: str) -> None:
        """Print the run's log lines until it ends; raises JobFailed or JobCanceled unless it Completed."""
        for event in self._backend.follow(name):
            if event.line is not None:
                print(f"[{event.step}] {event.line}")
        raise_unless_completed(self.get(name))

    def cancel(self, name: str) -> None:
        """Stop a run and wait until it has stopped."""
        self._backend.cancel(name)

    def download(self, name: str, target: str | Path, output: str | None = None) -> list[Path]:
        """Copy all outputs of a run, or one (`STEP.OUTPUT`), below `target`; returns the folders made.

        What all runs share (the teachers' answers, checkpoints) is copied only where it is named.
        """
        run = self.get(name)
        folders = [
            self._backend.download(run.name, step, port, Path(target)) for step, port in select_outputs(run, output)
        ]
        return folders

    def report(self, name: str) -> Path:
        """The HTML report of a run; that of a run in Azure is first downloaded into a folder of the run's name."""
        run = self.get(name)
        place = run.outputs.get("evaluation", {}).get("report")
        if place is None:
            why = "it did not come to an evaluation" if run.status == COMPLETED else f"it is {run.status}"
            raise NotFound(f"run {run.name} has no report: {why}", f"azure-distill status {run.name}")
        folder = Path(place) if run.backend == "local" else Path(run.name) / "evaluation" / "report"
        if not folder.exists():
            self._backend.download(run.name, "evaluation", "report", Path(run.name))
        return folder / "report.html"

    def list(self, limit: int = 20) -> list[Run]:
        """The newest runs, newest first."""
        return self._backend.list(limit)


class ModelOperations:
    """Evaluate models and keep the good ones."""

    def __init__(self, backend: Backend, jobs: JobOperations) -> None:
        self._backend, self._jobs = backend, jobs

    def evaluate(
        self,
        model_name: str,
        test_data: str | Path,
        metrics: list[str] | None = None,
        task_type: str | None = None,
        labels: list[str] | None = None,
    ) -> dict[str, Any]:
        """The metrics of one model on rows with answers: `{"accuracy": 0.93, …, "run": NAME}`.

        The task is the one the model was distilled for; for any other model it is `task_type`, or conversation.
        """
        plan = self.evaluation_plan(model_name, test_data, metrics, task_type, labels)
        run = self._jobs.create_or_update(plan)
        for _ in self._backend.follow(run.name):
            pass
        run = self._jobs.get(run.name)
        raise_unless_completed(run)
        return flat_metrics(run, "student")

    def evaluation_plan(
        self,
        model_name: str,
        test_data: str | Path,
        metrics: list[str] | None = None,
        task_type: str | None = None,
        labels: list[str] | None = None,
    ) -> Plan:
        """The plan behind `evaluate`; raises InvalidJob and NotFound."""
        from azure_distill.plan.build import single_evaluation
        from azure_distill.spec.checks import is_remote
        from azure_distill.spec.job import METRICS

        model, task = self._find(model_name)
        if task_type:
            task = {"type": task_type} | ({"labels": labels} if labels else {})
        doubts = () if task else (f"{model_name} is evaluated as a conversation: no other task is known or given",)
        task = dict(task or {"type": "conversation"})
        data: DataPath | DataUri = DataPath(Path(test_data).resolve())
        problems = []
        if is_remote(str(test_data)):
            data = DataUri(str(test_data))
        elif not Path(test_data).is_file():
            problems.append(Problem("no such file", str(test_data), field="test_data"))
        for metric in metrics or ():
            if metric not in METRICS[task["type"]]:
                hint = choices(metric, METRICS[task["type"]])
                problems.append(Problem(f"{metric!r} is no metric of {task['type']}", field="metrics", hint=hint))
        if problems:
            raise InvalidJob(problems)
        return replace(single_evaluation(model, model_name, data, task, metrics), warnings=doubts)

    def register(self, run: str, name: str, *, force: bool = False, form: Form = "custom") -> str:
        """Register the student of a completed run, or a model folder; returns `NAME:VERSION`.

        A run whose evaluation gate failed is refused without `force`.  With the form "mlflow" what is registered is an
        MLflow model, as every student is one.
        """
        if is_folder(run):
            folder = Path(run).resolve()
            return self._keep(name, folder, {"folder": str(folder)}, None, form)
        state = self._jobs.get(run)
        raise_unless_completed(state)
        if not force and not gate_passed(state):
            message = f"the evaluation gate of {state.name} did not pass: {failed_checks(state)}"
            raise JobFailed(message, hint="register it all the same: --force")
        model = state.outputs.get("student_finetune", {}).get("model")
        if model is None:
            raise NotFound(f"run {state.name} has no distilled student")
        return self._keep(name, model, self._lineage(state), state.name, form)

    def share(self, model: str, registry: str) -> str:
        """Copy a registered `NAME:VERSION` to an Azure ML registry, where other workspaces find it.

        Returns its address there, `azureml://registries/…`, which a job may name as teacher or student.
        """
        name, _, version = model.rpartition(":")
        return self._backend.models.share(name, version, registry)

    def list(self) -> list[Model]:
        """All registered models, newest version first."""
        return self._backend.models.list()

    def _keep(self, name: str, source: Path | str, lineage: Mapping[str, Any], run: str | None, form: Form) -> str:
        return f"{name}:{self._backend.models.register(name, source, lineage, run, form).version}"

    def _lineage(self, run: Run) -> dict[str, Any]:
        """Where a run's student comes from: its job, teacher, data and what it measured."""
        measured = {"data": self._data_hashes(run), "metrics": flat_metrics(run, "student")}
        return self._backend.lineage(run.name) | measured

    def _data_hashes(self, run: Run) -> dict[str, str]:
        """The SHA-256 of each data file of a run, by its role."""
        report = self._backend.read(run.name, "prepare_data", "data", "data_report.json")
        files = json.loads(report).get("files", {}) if report else {}
        return {name: facts["sha256"] for name, facts in files.items() if isinstance(facts, dict) and "sha256" in facts}

    def _find(self, name: str) -> tuple[Binding, Mapping[str, Any] | None]:
        """A model's place and the task it was distilled for, by the name that a person would use."""
        from azure_distill.spec.checks import HUB_ID, PYPI_ID, is_remote

        registered = self._backend.models.names()
        if name.partition(":")[0].removesuffix("@latest") in registered:
            model = self._backend.models.get(name)
            return _place(model.path), model.lineage.get("task")
        if name.endswith(DISTILLED) and (run := self._backend.distilled(name.removesuffix(DISTILLED))):
            source = run.outputs["student_finetune"]["model"]
            place = source if is_remote(source) else Path(source)
            return _place(place), self._backend.lineage(run.name)["task"]
        if is_folder(name):
            return DataPath(Path(name).resolve()), None
        if is_remote(name):
            return DataUri(name), None
        known = students().get(name) or teachers().get(name)
        if known and known.weights:
            return Literal(known.weights), None
        if known:
            kind = "a student made from scratch" if name in students() else "reached at an endpoint"
            raise NotFound(f"{name} is {kind} and has no weights to evaluate", "name a registered model, or a folder")
        if HUB_ID.match(name) or PYPI_ID.match(name):
            return Literal(name), None
        raise NotFound(f"no model {name!r}", near(name, [*registered, *students()]) or "see `azure-distill models`")


def _place(path: Path | str) -> Binding:
    return DataPath(path) if isinstance(path, Path) else DataUri(path)


def is_folder(name: str) -> bool:
    """Whether a model is named by its folder on this machine."""
    return (Path(name) / "config.json").is_file()


def raise_unless_completed(run: Run) -> None:
    """Raise JobCanceled or JobFailed (with the run's own exit code) unless the run Completed."""
    if run.status == COMPLETED:
        return
    if run.status == CANCELED:
        raise JobCanceled(f"run {run.name} was canceled")
    if run.status not in TERMINAL:
        raise JobFailed(f"run {run.name} is {run.status}")
    error = JobFailed(f"run {run.name} ended {run.status}: {run.error or 'see its logs'}")
    error.exit_code = run.exit_code or JobFailed.exit_code
    raise error


def failed_checks(run: Run) -> str:
    """What the evaluation's gate asked for in vain."""
    checks = (run.metrics.get("gate") or {}).get("checks", ())
    return ", ".join(check["check"] for check in checks if not check["passed"]) or "see its report"


def gate_passed(run: Run) -> bool:
    """Whether the evaluation's gate passed, or there is none."""
    return bool((run.metrics.get("gate") or {}).get("passed", True))


def select_outputs(run: Run, output: str | None) -> list[tuple[str, str]]:
    """(step, output) pairs of a run: all its own, those of `STEP`, or `STEP.OUTPUT`; raises NotFound."""
    from azure_distill.assets.component import builtin_components

    shared = frozenset[str]().union(*(component.kept_outputs for component in builtin_components().values()))
    pairs = [(step, port) for step, ports in run.outputs.items() for port in ports]
    own = [(step, port) for step, port in pairs if port not in shared]
    if output is None:
        return own
    found = [pair for pair in pairs if output == ".".join(pair)] or [pair for pair in own if output == pair[0]]
    if not found:
        names = [f"{step}.{port}" for step, port in pairs]
        raise NotFound(f"run {run.name} has no output {output!r}", hint=choices(output, names))
    return found


def flat_metrics(run: Run, role: str) -> dict[str, Any]:
    """The metrics of one contender as plain numbers; `inference_time` is the median in milliseconds."""
    contender = run.metrics.get("contenders", {}).get(role, {})
    flat: dict[str, Any] = {name: metric["value"] for name, metric in contender.get("metrics", {}).items()}
    latency = contender.get("latency_ms") or {}
    if latency.get("p50") is not None:
        flat["inference_time"] = latency["p50"]
    return flat | {"n": contender.get("n"), "run": run.name}
