"""The models that are compared, and running each in a process of its own.

A process each: its peak memory is its own, and one that dies takes nothing from the others.  They run one after the
other, because two at once would disturb each other's latency.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.settings import Settings
from shared.errors import AuthError, ComponentError, InvalidInput, NotFound, ServiceUnavailable

ERRORS: tuple[type[ComponentError], ...] = (InvalidInput, AuthError, NotFound, ServiceUnavailable)


@dataclass(frozen=True)
class Contender:
    """One model.  `folder` or `model_id` name its weights; a teacher behind an endpoint has neither.

    `scratch` is set on an untrained student that is made again from the trained one's folder.  `asked` is false for
    a teacher whose answers are stored: only the cost of running it is measured.
    """

    role: str
    name: str
    folder: str | None = None
    model_id: str | None = None
    scratch: bool = False
    asked: bool = True

    @property
    def local(self) -> bool:
        return bool(self.folder or self.model_id)


@dataclass(frozen=True)
class Job:
    """What a worker process is told, as JSON on its command line; it writes `answers` and `result`."""

    contender: Contender
    test: str
    task: str
    answers: str
    result: str
    seed: int
    max_new_tokens: int
    latency_rows: int

    @staticmethod
    def from_json(text: str) -> Job:
        value = json.loads(text)
        return Job(contender=Contender(**value.pop("contender")), **value)


@dataclass(frozen=True)
class Outcome:
    """What became of a contender: its measured cost, or the reason why there is none."""

    contender: Contender
    cost: dict[str, Any]
    error: str | None = None
    exit_code: int = 1
    answers: Path | None = None

    def failure(self) -> ComponentError:
        """The error to end with when no contender is left."""
        kind = next((kind for kind in ERRORS if kind.exit_code == self.exit_code), ComponentError)
        return kind(f"{self.contender.name}: {self.error}")


def run_contenders(
    contenders: Sequence[Contender], test: Path, task: str, settings: Settings, folder: Path
) -> dict[str, Outcome]:
    """Answers and cost of each contender by its role, by worker processes that write into `folder`."""
    if not contenders:
        return {}
    jobs = [_job(contender, test, task, settings, folder) for contender in contenders]
    code = _run([sys.executable, "-m", "evaluation.workers", *(json.dumps(asdict(job)) for job in jobs)])
    return {job.contender.role: _outcome(job, code) for job in jobs}


def ended(code: int) -> str:
    """How a process that left no result came to its end."""
    if code < 0:
        return f"its process was ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return f"its process ended with exit code {code}"


def _job(contender: Contender, test: Path, task: str, settings: Settings, folder: Path) -> Job:
    return Job(
        contender=contender,
        test=str(test),
        task=task,
        answers=str(folder / f"{contender.role}.jsonl"),
        result=str(folder / f"{contender.role}.json"),
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        latency_rows=settings.latency_rows,
    )


def _outcome(job: Job, code: int) -> Outcome:
    """What the contender's process left; `code` is that of the process that starts them all."""
    contender, result = job.contender, Path(job.result)
    if not result.exists():
        return Outcome(contender, {}, ended(code))
    value = json.loads(result.read_text(encoding="utf-8"))
    if "error" in value:
        return Outcome(contender, {}, value["error"], value["exit_code"])
    return Outcome(contender, value, answers=Path(job.answers) if contender.asked else None)


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """A worker's answers, `{"id", "answer", "probabilities", "valid", "likelihood"}`, in the order of the rows."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def environment() -> dict[str, str]:
    """This process's environment, in which a process that it starts finds the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _run(command: list[str]) -> int:
    """Run the workers to their end; they do not outlive this process being told to stop."""
    # threads that sleep while they wait: spinning ones ruin each other's latency on a shared machine
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"} | environment()
    with subprocess.Popen(command, env=waiting, stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # which it passes on to the worker that is at work
            raise
