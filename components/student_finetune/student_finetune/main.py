"""Arguments in, a trained model folder out."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InvalidInput, Problem
from shared.examples import read_examples
from shared.scratch import Recipe
from shared.tasks import Task, load_task
from shared.tracking import Tracker
from shared.weights import locate
from student_finetune.data import Encoder, Located, read_gold_validation, read_training, stream_training
from student_finetune.settings import (
    Distillation,
    Hyperparameters,
    parse_distillation,
    parse_hyperparameters,
    parse_recipe,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from student_finetune.checkpoints import Checkpoints
    from student_finetune.hosted import HostedTeacher


def main(argv: Sequence[str]) -> None:
    arguments = _parse(argv)
    task = load_task(arguments.task)
    recipe = parse_recipe(arguments.recipe) if arguments.recipe is not None else None
    chosen = parse_hyperparameters(arguments.hyperparameters, from_scratch=recipe is not None)
    distillation = parse_distillation(arguments.distillation)
    rows = read_training(arguments.data)
    _check_teacher(rows, distillation, hosted=bool(arguments.teacher_folder or arguments.teacher_id))
    gold = read_gold_validation(arguments.data)

    # torch and transformers are imported from here on
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # imported wherever it lies, it asks for another package
    from student_finetune import ranks

    with ranks.joined():
        _train(arguments, task, recipe, chosen, distillation, rows, gold)


def _train(
    arguments: argparse.Namespace,
    task: Task,
    recipe: Recipe | None,
    chosen: Hyperparameters,
    distillation: Distillation,
    rows: Sequence[Located],
    gold: Sequence[Located],
) -> None:
    from student_finetune import ranks, students
    from student_finetune.align import Aligner
    from student_finetune.callbacks import Finish
    from student_finetune.record import write_record
    from student_finetune.signals import make_objective
    from student_finetune.train import train
    from student_finetune.validation import make_validation

    if recipe:
        student = students.from_recipe(recipe, rows, task, chosen.seed)
    else:
        student = students.from_weights(locate(arguments.student_folder, arguments.student_id), chosen)
    aligner = Aligner(student.tokenizer)
    teacher = _hosted(arguments, student.tokenizer, task, distillation)
    objective = make_objective(distillation, student.tokenizer, aligner, teacher)
    encoder = Encoder(student.tokenizer, chosen.max_length, objective.signals)
    examples = encoder.encode_all(stream_training(arguments.data))
    aligner.check(str(arguments.data / "train.jsonl"))
    validation = make_validation(gold, task, Encoder(student.tokenizer, chosen.max_length), student.tokenizer)
    checkpoints = _checkpoints(arguments, chosen)
    with (
        Finish() as finish,
        students.complete_or_nothing(arguments.model) as folder,
        _tracker(chosen, distillation) as tracker,
    ):
        history = train(student, examples, objective, chosen, validation, folder, checkpoints, tracker)
        finish.begin()
        if ranks.is_main():
            parameters = students.save(student, folder, chosen)
            name = arguments.student_id or (arguments.student_folder and arguments.student_folder.name)
            write_record(
                folder,
                name,
                recipe,
                chosen,
                distillation,
                len(examples),
                arguments.data,
                student,
                history,
                parameters,
                aligner.coverage,
            )
    if checkpoints and ranks.is_main():
        checkpoints.clear()


@contextmanager
def _tracker(chosen: Hyperparameters, distillation: Distillation) -> Iterator[Tracker]:
    """The main process' MLflow run, with the settings; the others' figures go nowhere."""
    from student_finetune import ranks

    tracker = Tracker()
    if not ranks.is_main():
        yield tracker
        return
    with tracker:
        tracker.settings(asdict(chosen) | {"method": json.dumps(distillation.to_json())})
        yield tracker


def _checkpoints(arguments: argparse.Namespace, chosen: Hyperparameters) -> Checkpoints | None:
    """Those of trainings with the same code, settings, rows, weights and number of processes."""
    from student_finetune import ranks
    from student_finetune.checkpoints import Checkpoints, code_hash, key_of, weights_hash
    from student_finetune.record import data_hash, versions

    if not arguments.checkpoints:
        return None
    facts = {name: value for name, value in vars(arguments).items() if name not in ("model", "checkpoints", "data")}
    facts = {name: weights_hash(value) if isinstance(value, Path) else value for name, value in facts.items()}
    facts |= {"hyperparameters": asdict(replace(chosen, checkpoint_minutes=None)), "data": data_hash(arguments.data)}
    return Checkpoints(
        arguments.checkpoints, key_of(facts | {"code": code_hash(), "world": ranks.world()} | versions())
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="student_finetune", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--student-folder", type=Path)
    parser.add_argument("--student-id")
    parser.add_argument("--recipe")
    parser.add_argument("--teacher-folder", type=Path)
    parser.add_argument("--teacher-id")
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--hyperparameters", default="{}")
    parser.add_argument("--distillation", default="{}")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path)
    arguments = parser.parse_args(argv)
    given = [arguments.student_folder, arguments.student_id, arguments.recipe]
    if sum(value is not None for value in given) != 1:
        raise InvalidInput("give one of --student-folder, --student-id and --recipe")
    return arguments


def _check_teacher(rows: Sequence[Located], distillation: Distillation, *, hosted: bool) -> None:
    """Methods need what the teacher left in the rows; rows without it are counted."""
    needed = {"label_logits": "label_logprobs"} | ({} if hosted else {"logits": "token_logprobs"})
    for method, field in needed.items():
        if method not in distillation.shares:
            continue
        without = sum(getattr(located.row, field) is None for located in rows)
        if without == len(rows):
            hint = "a teacher that gives probabilities, or the method `response`"
            message = f"{method} needs rows with {field}"
            raise InvalidInput(Problem(message, rows[0].file, None, "distillation.method", hint))
        if without:
            print(f"{without} of {len(rows)} rows have no {field} and are learnt as text", flush=True)


def _hosted(
    arguments: argparse.Namespace, student: PreTrainedTokenizerBase, task: Task, distillation: Distillation
) -> HostedTeacher | None:
    from student_finetune.hosted import HostedTeacher

    if "logits" not in distillation.shares or not (arguments.teacher_folder or arguments.teacher_id):
        return None
    source = locate(arguments.teacher_folder, arguments.teacher_id)
    examples = read_examples(arguments.gold, distillation.few_shot)
    return HostedTeacher.load(source, student, task, examples, distillation.few_shot)
