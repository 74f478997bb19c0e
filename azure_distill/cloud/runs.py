"""A pipeline job of the workspace as a Run: its steps, their times and errors, where their outputs lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure_distill.backend import (
    CANCELED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PREPARING,
    QUEUED,
    RUNNING,
    TERMINAL,
    Run,
    StepState,
)
from azure_distill.cloud.failures import short
from azure_distill.cloud.pipeline import MARK, STEPS

if TYPE_CHECKING:
    from azure.ai.ml.entities import PipelineJob

BACKEND = "azure"
EXIT = re.compile(r"(?:exited with (?:status )?|exit |status )code:? *(\d+)", re.IGNORECASE)
PASSED_ON = frozenset({3, 4, 5, 13})  # exit codes of components that mean the same for the whole run
FAILURE, CANCELLATION = 10, 11
# words of run history that the job itself never shows
WORDS = {
    "Unapproved": QUEUED,
    "Starting": PREPARING,
    "Provisioning": PREPARING,
    "Finalizing": RUNNING,
    "Finished": COMPLETED,
    "Bypassed": COMPLETED,
}
REUSED = ("azureml.reusedpipelinerunid", "azureml.reusedrunid")
ASSET = re.compile(r".*/data/(.+)/versions/([^/]+)")
OUTPUT = re.compile(r"azureml_(.+)_output_data_(.+)")


@dataclass(frozen=True)
class Child:
    """What run history knows of one step; `error` are the service's words about it, `words` the step's own."""

    id: str
    name: str
    status: str
    created: str
    seconds: float | None
    reused: str | None
    error: str | None
    outputs: Mapping[str, str]
    words: str | None = None


def read_child(entry: Mapping[str, Any]) -> Child:
    """A step of run history's JSON."""
    properties = entry.get("properties") or {}
    outputs = {
        str(name): found
        for name, output in (entry.get("outputs") or {}).items()
        if isinstance(output, Mapping) and (found := output_reference(str(output.get("assetId") or "")))
    }
    return Child(
        id=str(entry["runId"]),
        name=str(entry.get("displayName") or entry.get("name") or entry["runId"]),
        status=status_word(entry.get("status")),
        created=str(entry.get("createdUtc") or ""),
        seconds=_seconds(entry.get("startTimeUtc"), entry.get("endTimeUtc")),
        reused=next((str(properties[key]) for key in REUSED if properties.get(key)), None),
        error=error_message(entry),
        outputs=outputs,
    )


def error_message(entry: Mapping[str, Any]) -> str | None:
    """What the service says about a failed run."""
    message = ((entry.get("error") or {}).get("error") or {}).get("message")
    return str(message) if message else None


def by_step(entries: Iterator[dict[str, Any]]) -> dict[str, Child]:
    """The newest child of each step: a preempted one may have been started again."""
    children = sorted((read_child(entry) for entry in entries), key=lambda child: child.created)
    return {child.name: child for child in children}


def status_word(status: Any) -> str:
    """Azure's own word, whether the SDK gives it as a text or as a member of an enum."""
    word = str(getattr(status, "value", status) or NOT_STARTED)
    return WORDS.get(word, word)


def output_reference(asset: str) -> str | None:
    """`azureml:NAME:VERSION` of an asset's id; good as an input of another job."""
    found = ASSET.fullmatch(asset)
    return f"azureml:{found.group(1)}:{found.group(2)}" if found else None


def job_output(reference: str) -> str | None:
    """`azureml://jobs/JOB/outputs/OUTPUT` of a step's output asset, which is how a model tells where it is from."""
    found = OUTPUT.fullmatch(reference.removeprefix("azureml:").rpartition(":")[0])
    return f"azureml://jobs/{found.group(1)}/outputs/{found.group(2)}" if found else None


def is_ours(job: Any) -> bool:
    return job is not None and MARK in (getattr(job, "tags", None) or {})


def summary(job: PipelineJob) -> Run:
    """The run without its steps' states, which cost more requests."""
    created = getattr(job.creation_context, "created_at", None)
    steps = [name for name in str((job.tags or {}).get(STEPS, "")).split(",") if name]
    status = status_word(job.status)
    return Run(
        name=str(job.name),
        status=status,
        backend=BACKEND,
        location=str(job.studio_url or ""),
        created=created.isoformat() if isinstance(created, datetime) else str(created or ""),
        steps={name: StepState(COMPLETED if status == COMPLETED else NOT_STARTED) for name in steps},
    )


def fill(run: Run, children: Mapping[str, Child], progress: Mapping[str, str]) -> None:
    """Add the steps' states and outputs, and what went wrong; `progress` is each step's last progress line."""
    for name in [*run.steps, *(name for name in children if name not in run.steps)]:
        child = children.get(name)
        if child is None:
            run.steps[name] = StepState(CANCELED if run.status in (FAILED, CANCELED) else NOT_STARTED)
            continue
        state = StepState(child.status, cached=child.reused, seconds=child.seconds)
        if child.status == FAILED:
            state.error = child.words or (short(child.error) if child.error else "see its log")
            state.exit_code = exit_code(child.error)
        elif child.status == RUNNING:
            state.progress = progress.get(name)
        run.steps[name] = state
        if child.status == COMPLETED:
            run.outputs[name] = dict(child.outputs)
    _conclude(run)


def _conclude(run: Run) -> None:
    if run.status not in TERMINAL:
        return
    failed = {name: state for name, state in run.steps.items() if state.status == FAILED}
    if run.status == COMPLETED:
        run.exit_code = 0
    elif run.status == CANCELED:
        run.exit_code = CANCELLATION
    else:
        codes = (state.exit_code for state in failed.values())
        run.exit_code = next((code for code in codes if code in PASSED_ON), FAILURE)
        run.error = "\n".join(f"{name}: {state.error}" for name, state in failed.items()) or None


def exit_code(error: str | None) -> int | None:
    """The exit code of the step's command, out of the service's sentence about it."""
    found = EXIT.search(error or "")
    return int(found.group(1)) if found else None


def _seconds(start: Any, end: Any) -> float | None:
    try:
        return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)
    except (TypeError, ValueError):
        return None
