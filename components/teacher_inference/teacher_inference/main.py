"""The command line: `python -m teacher_inference …` (see component.yaml)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from shared.errors import ComponentError, InvalidInput, Problem
from shared.examples import read_examples
from shared.rows import write_json
from shared.tasks import LabelTask, Task, load_task
from shared.tasks.text import Math
from teacher_inference.preview import FILE, preview
from teacher_inference.questions import Questions
from teacher_inference.selection import Policy
from teacher_inference.settings import EndpointSettings, Limits, Sampling
from teacher_inference.teacher import Needs, Teacher
from teacher_inference.usage import Meter

T = TypeVar("T")


@dataclass(frozen=True)
class Arguments:
    """The checked command line."""

    data: Path
    gold: Path | None
    endpoint: EndpointSettings | None
    teacher_folder: Path | None
    teacher_id: str | None
    task: Task
    sampling: Sampling
    limits: Limits
    needs: Needs
    preview: int | None
    responses: Path
    answers: Path


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    sampling, task = arguments.sampling, arguments.task
    examples = read_examples(arguments.gold, sampling.few_shot)
    questions = Questions(arguments.data, task, examples, sampling.few_shot)
    policy = Policy.of(task, sampling.samples, sampling.selection, sampling.re_asks)
    if arguments.preview is None:
        run(arguments, questions, policy)
    else:
        arguments.responses.mkdir(parents=True, exist_ok=True)
        write_json(arguments.responses / FILE, preview(questions, policy, arguments.preview))


def run(arguments: Arguments, questions: Questions, policy: Policy) -> None:
    """Ask what is missing and write the rows."""
    # a preview does with the standard library
    from teacher_inference.judge import Judge
    from teacher_inference.runner import Runner
    from teacher_inference.source import Source
    from teacher_inference.store import Store

    meter = Meter(arguments.endpoint.prices if arguments.endpoint else None)
    teacher = make_teacher(arguments, meter)
    judge = Judge(arguments.task, arguments.needs)
    store = Store(arguments.answers, teacher.name, teacher.origin)
    try:
        Runner(questions, [Source(teacher, store, judge, meter)], policy, judge).run(arguments.responses)
    finally:
        store.close()


def make_teacher(arguments: Arguments, meter: Meter) -> Teacher:
    if arguments.endpoint is None:
        from teacher_inference.hosted import HostedTeacher

        return HostedTeacher(arguments.teacher_folder, arguments.teacher_id, arguments.sampling)
    from teacher_inference.endpoint import EndpointTeacher

    return EndpointTeacher(arguments.endpoint, arguments.sampling, arguments.limits, meter, arguments.needs)


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments as values; raises InvalidInput with all problems of all arguments."""
    given = _parser().parse_args(argv)
    problems: list[Problem] = []
    endpoint = _checked(EndpointSettings.from_json, given.endpoint, problems) if given.endpoint else None
    task = _checked(load_task, given.task, problems)
    sampling = _checked(Sampling.from_json, given.sampling, problems)
    limits = _checked(Limits.from_json, given.limits, problems)
    if sum(map(bool, (given.endpoint, given.teacher_folder, given.teacher_id))) != 1:
        problems.append(Problem("exactly one of --endpoint, --teacher-folder and --teacher-id is needed"))
    if not given.data.is_dir():
        problems.append(Problem("is no folder", str(given.data)))
    if task and sampling:
        problems.extend(_impossible(task, sampling, given.probabilities, hosted=endpoint is None))
    if problems or not (task and sampling and limits):
        raise InvalidInput(*problems)
    return Arguments(
        data=given.data,
        gold=given.gold,
        endpoint=endpoint,
        teacher_folder=given.teacher_folder,
        teacher_id=given.teacher_id,
        task=task,
        sampling=sampling,
        limits=limits,
        needs=given.probabilities,
        preview=given.preview,
        responses=given.responses,
        answers=given.answers,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m teacher_inference", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--endpoint")
    parser.add_argument("--teacher-folder", type=Path)
    parser.add_argument("--teacher-id")
    parser.add_argument("--task", required=True)
    parser.add_argument("--sampling", default="{}")
    parser.add_argument("--limits", default="{}")
    parser.add_argument("--probabilities", choices=get_args(Needs), default="none")
    parser.add_argument("--preview", type=int)
    parser.add_argument("--responses", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    return parser


def _checked(read: Callable[[str], T], text: str, problems: list[Problem]) -> T | None:
    try:
        return read(text)
    except ComponentError as error:
        problems.extend(error.problems)
        return None


def _impossible(task: Task, sampling: Sampling, needs: Needs, hosted: bool) -> Iterator[Problem]:
    """What a task, its sampling and its method cannot have together."""
    hint = "choose distillation.method: response, which needs none"
    reasoned = task.reasoning_instruction() is not None
    if needs == "labels" and not isinstance(task, LabelTask):
        yield Problem(f"a {task.name} task has no labels, so no label probabilities", field="task.type", hint=hint)
    elif needs != "none" and reasoned:
        reason = "the probabilities of an answer cannot be had after a chain of thought"
        yield Problem(reason, field="task.chain_of_thought", hint=hint)
    if needs == "tokens" and hosted:
        yield Problem("only an endpoint gives log probabilities of tokens; the student reads a hosted teacher itself")
    if hosted and sampling.samples > 1 and isinstance(task, LabelTask) and not reasoned:
        message = "a hosted teacher gives the exact probabilities of all labels: one sample is enough"
        yield Problem(message, field="sampling.samples")
    if sampling.selection in ("majority", "gold") and not isinstance(task, LabelTask | Math):
        yield Problem(f"needs answers that can be compared, those of {task.name} cannot", field="sampling.selection")
