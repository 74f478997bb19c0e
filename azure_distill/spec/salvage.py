"""What is sound of a job file that is not sound in all of its fields, so that one look finds what else is wrong."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from azure_distill.errors import InvalidJob, Problem
from azure_distill.spec.checks import check_parts
from azure_distill.spec.job import DistillationJob
from azure_distill.spec.problems import place_of
from azure_distill.spec.yaml_source import Place, Source, read_yaml

TEACHER, STUDENT = "smollm2-135m-instruct", "nano-llama"
# valid models in the place of missing ones: files and rows can be checked whatever the models are
STAND_INS: dict[Place, str] = {
    ("teacher_model",): TEACHER,
    ("teacher_model", "name"): TEACHER,
    ("student_model",): STUDENT,
}


def salvage(
    path: Path, problems: Sequence[Problem], registered: frozenset[str] = frozenset()
) -> tuple[DistillationJob | None, list[Problem]]:
    """(the sound part of a job file with these `problems`, all problems that can be told from it).

    The job is None where the file cannot be read, or its task or training data is not known.
    """
    try:
        job = _sound(read_yaml(path), path)
    except InvalidJob:
        job = None
    if job is None:
        return None, list(problems)
    found = check_parts(job, registered)
    if any((problem.field or "").startswith("teacher_model") for problem in problems):
        # what was wrong may be the endpoint or the path, without which its name means nothing
        found = [problem for problem in found if problem.field != "teacher_model.name"]
    return job, [*problems, *found]


def _sound(source: Source, path: Path) -> DistillationJob | None:
    values = copy.deepcopy(source.value)
    while True:
        try:
            return DistillationJob.of_source(Source(source.file, values, source.lines), path)
        except ValidationError as error:
            faults = {place_of(item["loc"]): item["type"] for item in error.errors(include_url=False)}
            # backwards, as what follows a removed item of a list moves up
            if not all(_mend(values, place, fault) for place, fault in reversed(faults.items())):
                return None


def _mend(values: dict[str, Any], place: Place, fault: str) -> bool:
    """Take out what is at fault, or put in what is missing; False where the job cannot do without it."""
    if fault == "missing":
        if place not in STAND_INS:
            return False
        _inside(values, place[:-1])[place[-1]] = STAND_INS[place]
        return True
    while place:
        *around, last = place
        parent: Any = _inside(values, around)
        there = parent if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ()
        if last in there:
            del parent[last]
            return True
        place = tuple(around)
    return False


def _inside(values: Any, place: Sequence[str | int]) -> Any:
    """What stands at a place of nested values; None where that is nothing."""
    for key in place:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values
