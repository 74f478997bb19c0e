"""The command line, checked: which contenders, which task, which settings."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.contenders import Contender
from evaluation.heldout import read_json
from evaluation.settings import Settings, load_settings
from evaluation.wording import ROLE_NAMES
from shared.errors import ComponentError, InvalidInput, NotFound, Problem
from shared.tasks import Task, load_task
from shared.weights import locate

SCRATCH = "scratch"
NAMED = {  # by folder or by id
    "student": "the distilled student",
    "baseline": "the untrained student",
    "other": "any further model",
    "teacher": "a hosted teacher",
}


@dataclass(frozen=True)
class Arguments:
    """`task_text` is the task's JSON as it was given, for the worker processes; `command` is what was
    called, with capitals in the place of this machine's folders."""

    data: Path
    responses: Path | None
    report: Path
    task: Task
    task_text: str
    settings: Settings
    contenders: tuple[Contender, ...]
    command: str


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments of the component; raises ComponentError with every problem of the models at once."""
    given = _parser().parse_args(argv)
    task = load_task(given.task)
    settings = load_settings(given.settings, task)
    problems = _contradictions(given)
    if problems:
        raise InvalidInput(*problems)
    contenders = tuple(_contenders(given, settings))
    missing = [problem for contender in contenders for problem in _missing_folder(contender)]
    if missing:
        raise NotFound(*missing)
    return Arguments(given.data, given.responses, given.report, task, given.task, settings, contenders, _command(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluation", description="Compare models on the held-out rows.")
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data; its test.jsonl is held out")
    parser.add_argument("--responses", type=Path, help="folder of teacher_inference: the teacher's answers")
    for role, what in NAMED.items():
        parser.add_argument(f"--{role}-model", type=Path, help=f"folder of {what}")
        parser.add_argument(f"--{role}-id", help=f"hub or pypi id of {what}")
    parser.add_argument("--gold-model", type=Path, help="folder of the student trained on the gold rows alone")
    parser.add_argument("--task", required=True, help="JSON: the kind of task and its settings")
    parser.add_argument("--settings", default="{}", help="JSON: metrics, gate, names, lineage, …")
    parser.add_argument("--report", type=Path, required=True, help="output folder")
    return parser


def _command(given: argparse.Namespace) -> str:
    words = ["python -m evaluation"]
    for name, value in vars(given).items():
        if value is not None:
            words.append(
                f"--{name.replace('_', '-')} {name.upper() if isinstance(value, Path) else shlex.quote(value)}"
            )
    return " ".join(words)


def _contradictions(given: argparse.Namespace) -> list[Problem]:
    problems = [
        Problem(f"--{role}-model and --{role}-id are both given: choose one")
        for role in NAMED
        if getattr(given, f"{role}_model") and getattr(given, f"{role}_id")
    ]
    if given.baseline_id == SCRATCH and not given.student_model:
        problems.append(Problem(f"--baseline-id {SCRATCH} needs --student-model, to make that one again untrained"))
    if not any(value for key, value in vars(given).items() if key.endswith(("_model", "_id", "responses"))):
        problems.append(Problem("no model is given", hint="--student-model, --student-id, --responses, …"))
    return problems


def _contenders(given: argparse.Namespace, settings: Settings) -> list[Contender]:
    found = []
    if given.responses or given.teacher_model or given.teacher_id:
        known = read_json(given.responses / "usage.json").get("teacher") if given.responses else None
        teacher = _contender("teacher", given.teacher_model, given.teacher_id, settings, known, not given.responses)
        found.append(teacher)
    if given.baseline_id == SCRATCH:
        name = settings.names.get("baseline") or ROLE_NAMES["baseline"]
        found.append(Contender("baseline", name, folder=str(given.student_model), scratch=True))
    elif given.baseline_model or given.baseline_id:
        found.append(_contender("baseline", given.baseline_model, given.baseline_id, settings))
    if given.gold_model:
        found.append(_contender("gold_only", given.gold_model, None, settings))
    if given.other_model or given.other_id:
        found.append(_contender("other", given.other_model, given.other_id, settings))
    if given.student_model or given.student_id:
        found.append(_contender("student", given.student_model, given.student_id, settings))
    return found


def _contender(
    role: str,
    folder: Path | None,
    model_id: str | None,
    settings: Settings,
    known: str | None = None,
    asked: bool = True,
) -> Contender:
    name = settings.names.get(role) or known or model_id or ROLE_NAMES[role]
    return Contender(role, name, str(folder) if folder else None, model_id, asked=asked)


def _missing_folder(contender: Contender) -> list[Problem]:
    if not contender.folder:
        return []
    try:
        locate(Path(contender.folder), None)
    except ComponentError as error:
        return error.problems
    return []
