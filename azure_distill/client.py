"""DistillClient: jobs and models, the same for every backend."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.backend import CANCELED, COMPLETED, TERMINAL, Run
from azure_distill.errors import (
    ConfigurationError,
    InvalidJob,
    JobCanceled,
    JobFailed,
    NotFound,
    Problem,
    choices,
    near,
)
from azure_distill.plan.build import KEY_VARIABLE, build_plan, single_evaluation
from azure_distill.plan.plan import Plan
from azure_distill.spec.job import METRICS, DistillationJob

if TYPE_CHECKING:
    from azure_distill.local.backend import LocalBackend
    from azure_distill.local.models import Model

DISTILLED = "-distilled"


class DistillClient:
    """The way in from Python: `client.jobs` and `client.models`."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.jobs = JobOperations(backend)
        self.models = ModelOperations(backend, self.jobs)

    @classmethod
    def local(cls, home: str | Path | None = None) -> DistillClient:
        """A client that runs jobs on this machine; `home` replaces `AZURE_DISTILL_HOME` and `~/.azure-distill`."""
        from azure_distill.local.backend import LocalBackend

        return cls(LocalBackend(Path(home) if home else None))


class JobOperations:
    """Plan, start, watch and stop distillations."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend

    def plan(self, job: DistillationJob) -> Plan:
        """What the job would run; raises InvalidJob with all of its problems."""
        newest = {model.name: model.path for model in reversed(self._backend.models.list())}
        return build_plan(job, os.environ, newest)

    def create_or_update(self, job: DistillationJob | Plan) -> Run:
        """Start a job and return at once; the run goes on as long as this process lives."""
        plan = self.plan(job) if isinstance(job, DistillationJob) else job
        require_secrets(plan, os.environ)
        return self.get(self._backend.submit(plan))

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
        """Copy all outputs of a run, or one (`STEP.OUTPUT`), below `target`; returns the folders made."""
        run = self.get(name)
        folders = [
            self._backend.download(run.name, step, port, Path(target)) for step, port in select_outputs(run, output)
        ]
        return folders

    def list(self, limit: int = 20) -> list[Run]:
        """The newest runs, newest first."""
        return self._backend.list(limit)


class ModelOperations:
    """Evaluate models and keep the good ones."""

    def __init__(self, backend: LocalBackend, jobs: JobOperations) -> None:
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
        model, task = self._find(model_name)
        if task_type:
            task = {"type": task_type} | ({"labels": labels} if labels else {})
        task = dict(task or {"type": "conversation"})
        path = Path(test_data)
        problems = [] if path.is_file() else [Problem("no such file", str(test_data), field="test_data")]
        for metric in metrics or ():
            if metric not in METRICS[task["type"]]:
                hint = choices(metric, METRICS[task["type"]])
                problems.append(Problem(f"{metric!r} is no metric of {task['type']}", field="metrics", hint=hint))
        if problems:
            raise InvalidJob(problems)
        return single_evaluation(model, model_name, path.resolve(), task, metrics)

    def register(self, run: str, name: str, *, force: bool = False) -> str:
        """Register the student of a completed run, or a model folder; returns `NAME:VERSION`.

        A run whose evaluation gate failed is refused without `force`.
        """
        folder = Path(run)
        if (folder / "config.json").is_file():
            return self._keep(name, folder.resolve(), {"folder": str(folder.resolve())})
        state = self._jobs.get(run)
        raise_unless_completed(state)
        if not force and not gate_passed(state):
            raise JobFailed(
                f"the evaluation gate of {state.name} did not pass", hint="register it all the same: --force"
            )
        model = state.outputs.get("student_finetune", {}).get("model")
        if model is None:
            raise NotFound(f"run {state.name} has no distilled student")
        return self._keep(name, Path(model), self._lineage(state), state.name)

    def list(self) -> list[Model]:
        """All registered models, newest version first."""
        return self._backend.models.list()

    def _keep(self, name: str, folder: Path, lineage: Mapping[str, Any], run: str | None = None) -> str:
        return f"{name}:{self._backend.models.register(name, folder, lineage, run).version}"

    def _lineage(self, run: Run) -> dict[str, Any]:
        """Where a run's student comes from: its job, teacher, data and what it measured."""
        plan = self._backend.plan(run.name)
        prepared = plan["steps"].get("prepare_data", {}).get("inputs", {})
        job = plan["job"]
        teacher = job.get("teacher_model")
        return {
            "job": job,
            "teacher": teacher.get("name") if isinstance(teacher, dict) else teacher,
            "student": job.get("student_model"),
            "task": json.loads(prepared["task"]) if "task" in prepared else None,
            "data": _data_hashes(run),
            "metrics": flat_metrics(run, "student"),
        }

    def _find(self, name: str) -> tuple[Path | str, Mapping[str, Any] | None]:
        """A model's folder or id and the task it was distilled for, by the name that a person would use."""
        from azure_distill.catalog.models import students, teachers
        from azure_distill.spec.checks import HUB_ID, PYPI_ID

        registered = self._backend.models.list()
        if name.partition(":")[0].removesuffix("@latest") in {model.name for model in registered}:
            model = self._backend.models.get(name)
            return model.path, model.lineage.get("task")
        if name.endswith(DISTILLED) and (found := self._newest(name.removesuffix(DISTILLED))):
            return found
        if (Path(name) / "config.json").is_file():
            return Path(name).resolve(), None
        known = students().get(name) or teachers().get(name)
        if known and known.weights:
            return known.weights, None
        if HUB_ID.match(name) or PYPI_ID.match(name):
            return name, None
        names = [*(model.name for model in registered), *students()]
        raise NotFound(f"no model {name!r}", hint=near(name, names) or "see `azure-distill models`")

    def _newest(self, student: str) -> tuple[Path, Mapping[str, Any] | None] | None:
        """The newest completed distillation of a student."""
        for run in self._backend.list(1000):
            model = run.outputs.get("student_finetune", {}).get("model")
            if run.status == COMPLETED and model and (lineage := self._lineage(run))["student"] == student:
                return Path(model), lineage["task"]
        return None


def require_secrets(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError when a secret that the plan names is not in the environment."""
    for name in sorted({secret for step in plan.steps for secret in step.secrets}):
        if not environ.get(name):
            hint = "set it, or name another one: teacher_model.api_key_env"
            if name == KEY_VARIABLE:
                hint = "set it, or name where the key lives: teacher_model.api_key_env, or auth: none"
            raise ConfigurationError(f"the teacher's key is wanted in the environment variable {name}: not set", hint)


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


def gate_passed(run: Run) -> bool:
    """Whether the evaluation's gate passed, or there is none."""
    return bool((run.metrics.get("gate") or {}).get("passed", True))


def select_outputs(run: Run, output: str | None) -> list[tuple[str, str]]:
    """(step, output) pairs of a run: all, those of `STEP`, or `STEP.OUTPUT`; raises NotFound."""
    pairs = [(step, port) for step, ports in run.outputs.items() for port in ports]
    if output is None:
        return pairs
    found = [(step, port) for step, port in pairs if output in (step, f"{step}.{port}")]
    if not found:
        names = [f"{step}.{port}" for step, port in pairs]
        raise NotFound(f"run {run.name} has no output {output!r}", hint=choices(output, names))
    return found


def _data_hashes(run: Run) -> dict[str, str]:
    """The SHA-256 of each data file of a run, by its role."""
    folder = run.outputs.get("prepare_data", {}).get("data")
    report = Path(folder) / "data_report.json" if folder else None
    if report is None or not report.exists():
        return {}
    files = json.loads(report.read_text(encoding="utf-8")).get("files", {})
    return {name: facts["sha256"] for name, facts in files.items() if isinstance(facts, dict) and "sha256" in facts}


def flat_metrics(run: Run, role: str) -> dict[str, Any]:
    """The metrics of one contender as plain numbers; `inference_time` is the median in milliseconds."""
    contender = run.metrics.get("contenders", {}).get(role, {})
    flat: dict[str, Any] = {name: metric["value"] for name, metric in contender.get("metrics", {}).items()}
    latency = contender.get("latency_ms") or {}
    if latency.get("p50") is not None:
        flat["inference_time"] = latency["p50"]
    return flat | {"n": contender.get("n"), "run": run.name}
