"""What every backend can do, in one vocabulary: status words, what steps say, run descriptions, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from azure_distill.errors import InvalidJob, Problem
from azure_distill.plan.plan import Plan

# Azure's own words; every backend uses these and no others.
NOT_STARTED, QUEUED, PREPARING, RUNNING = "NotStarted", "Queued", "Preparing", "Running"
CANCEL_REQUESTED = "CancelRequested"
COMPLETED, FAILED, CANCELED, NOT_RESPONDING = "Completed", "Failed", "Canceled", "NotResponding"
TERMINAL = frozenset({COMPLETED, FAILED, CANCELED, NOT_RESPONDING})


# How a step's log speaks to us: `error:` lines say what went wrong, a problem each, `progress:` lines how far it is,
# `warning:` lines what a person should know whatever comes of it.
ERROR, PROGRESS, WARNING = "error:", "progress:", "warning:"
SHOWN_ERRORS, SHOWN_LINES, LONGEST_TEXT = 10, 5, 2000


def told_failure(log: Iterable[str], ending: str | None = None) -> str:
    """What a step's log says of its failure: its first own errors, else how it ended and its last lines."""
    lines = [line.strip() for line in log if line.strip()]
    errors = [line.removeprefix(ERROR).strip() for line in lines if line.startswith(ERROR)]
    if errors:
        more = [f"… and {len(errors) - SHOWN_ERRORS} more in its log"] if len(errors) > SHOWN_ERRORS else []
        return "\n".join(errors[:SHOWN_ERRORS] + more)[:LONGEST_TEXT]
    rest = [line for line in lines if not line.startswith(PROGRESS)][-SHOWN_LINES:]
    return "\n".join([ending, *rest] if ending else rest)[-LONGEST_TEXT:]


def told_progress(line: str) -> str | None:
    """What a line of a log says of the step's progress; None for any other line."""
    return line.removeprefix(PROGRESS).strip() if line.startswith(PROGRESS) else None


@dataclass
class StepState:
    """Where one step of a run stands.

    `cached` names the run whose outputs were taken over.  `reason` says why the step ran ("first run", "code changed
    (train.py)").  `seconds` is wall time.  `progress` is the last progress line, `error` what went wrong.
    """

    status: str = NOT_STARTED
    cached: str | None = None
    reason: str | None = None
    seconds: float | None = None
    exit_code: int | None = None
    error: str | None = None
    progress: str | None = None


@dataclass
class Run:
    """A run as every verb shows it.

    `location` is the run's folder or its page in the studio; `outputs` are paths or URIs; `metrics` is the
    evaluation's metrics.json once there is one; `warnings` are the plan's, and what the backend ignores of it.
    """

    name: str
    status: str
    backend: str
    location: str
    created: str
    steps: dict[str, StepState] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    exit_code: int | None = None
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The `--json` answer of `run`, `submit` and `status`."""
        place = "run_dir" if self.backend == "local" else "studio_url"
        return {
            "name": self.name,
            "status": self.status,
            "backend": self.backend,
            place: self.location,
            "created": self.created,
            "steps": {
                name: {
                    "status": step.status,
                    "cached": step.cached is not None,
                    "from_run": step.cached,
                    "reason": step.reason,
                    "seconds": step.seconds,
                    "error": step.error,
                }
                for name, step in self.steps.items()
            },
            "outputs": self.outputs,
            "metrics": self.metrics,
            "error": self.error,
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class Event:
    """Something new in a run that is followed: a changed step (`line` None), or one line of its log."""

    step: str
    line: str | None = None


Form = Literal["custom", "mlflow"]
"""What a model is registered as: any folder, or one that MLflow can load."""
MLMODEL = "MLmodel"


def no_mlmodel(source: Path | str) -> InvalidJob:
    """The refusal to register a folder without an MLmodel as MLflow's."""
    hint = "students trained by azure-distill have one; any other folder can be registered with --format custom"
    return InvalidJob([Problem(f"{source} is no MLflow model: it has no {MLMODEL}", hint=hint)])


@dataclass(frozen=True)
class Model:
    """A registered model: `path` is its folder here or its URI, `lineage` what its maker told of where it is from."""

    name: str
    version: int | str
    path: Path | str
    created: str
    run: str | None
    lineage: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "created": self.created,
            "run": self.run,
            "lineage": dict(self.lineage),
        }


class Models(Protocol):
    """A backend's model registry."""

    def register(
        self, name: str, source: Path | str, lineage: Mapping[str, Any], run: str | None = None, form: Form = "custom"
    ) -> Model:
        """Keep a folder, or an output of `run` as its `outputs` name it, as the next version of `name`.

        Raises InvalidJob where a `form` of "mlflow" is wanted of a folder that has no MLmodel.
        """

    def share(self, name: str, version: str, registry: str) -> str:
        """Copy a version to an Azure ML registry; returns its address there.  Raises ConfigurationError."""

    def names(self) -> set[str]:
        """The names of all models."""

    def get(self, name: str) -> Model:
        """`NAME` and `NAME@latest` are the newest version, `NAME:2` is the second.  Raises NotFound."""

    def list(self) -> list[Model]:
        """Registered models, newest first."""


class Backend(Protocol):
    """What the client and the verbs need of a place where plans run; implemented by `local` and by `cloud`."""

    @property
    def models(self) -> Models:
        """The models registered there."""

    def submit(self, plan: Plan) -> str:
        """Start the plan; returns the run's name at once.  Raises InvalidJob or ConfigurationError before that."""

    def started(self, name: str) -> Run:
        """A run of this object's `submit` as it was then; costs no request."""

    def students(self) -> Mapping[str, Path]:
        """Registered models that a job may name as teacher or student: `NAME` is the newest version."""

    def lineage(self, name: str) -> dict[str, Any]:
        """Where a run's student comes from: see `azure_distill.plan.lineage`."""

    def distilled(self, student: str) -> Run | None:
        """The newest completed run that distilled this student."""

    def read(self, name: str, step: str, output: str, file: str) -> bytes | None:
        """One file of a run's output; None when there is none."""

    def get(self, name: str) -> Run:
        """The run as it stands; raises NotFound.  `last` names the newest run."""

    def list(self, limit: int) -> list[Run]:
        """The newest runs, newest first."""

    def follow(self, name: str) -> Iterator[Event]:
        """Events from the run's beginning until it ends."""

    def logs(self, name: str, step: str) -> str:
        """A step's log so far."""

    def cancel(self, name: str) -> None:
        """Ask the run to stop and wait until it has; canceling an ended run changes nothing."""

    def download(self, name: str, step: str, output: str, target: Path) -> Path:
        """Copy an output into a new folder below `target`; returns that folder, verified to hold files."""
