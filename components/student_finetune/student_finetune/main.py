"""Arguments in, a trained model folder out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InvalidInput, Problem
from shared.scratch import Recipe
from shared.tasks import Task, load_task
from shared.weights import locate
from student_finetune.data import Encoder, Located, read_gold_validation, read_training
from student_finetune.settings import (
    Distillation,
    Hyperparameters,
    parse_distillation,
    parse_hyperparameters,
    parse_recipe,
)

if TYPE_CHECKING:
    from student_finetune.checkpoints import Checkpoints


def main(argv: Sequence[str]) -> None:
    arguments = _parse(argv)
    task = load_task(arguments.task)
    recipe = parse_recipe(arguments.recipe) if arguments.recipe is not None else None
    chosen = parse_hyperparameters(arguments.hyperparameters, from_scratch=recipe is not None)
    distillation = parse_distillation(arguments.distillation)
    rows = read_training(arguments.data)
    _check_teacher(rows, distillation)
    gold = read_gold_validation(arguments.data)

    # torch and transformers are imported from here on
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
    from student_finetune.losses import Objective
    from student_finetune.record import write_record
    from student_finetune.train import train
    from student_finetune.validation import make_validation

    if recipe:
        student = students.from_recipe(recipe, rows, task, chosen.seed)
    else:
        student = students.from_weights(locate(arguments.student_folder, arguments.student_id), chosen)
    with_teacher = distillation.method == "label_logits"
    encoder = Encoder(student.tokenizer, chosen.max_length, teacher=with_teacher)
    examples = encoder.encode_all(rows)
    objective = Objective(distillation.temperature, distillation.weight) if with_teacher else Objective()
    validation = make_validation(gold, task, encoder, student.tokenizer)
    checkpoints = _checkpoints(arguments, chosen)
    with students.complete_or_nothing(arguments.model) as folder:
        history = train(student, examples, objective, chosen, validation, folder, checkpoints)
        if ranks.is_main():
            students.save(student, folder)
            name = arguments.student_id or (arguments.student_folder and arguments.student_folder.name)
            write_record(folder, name, recipe, chosen, distillation, len(examples), arguments.data, student, history)
    if checkpoints and ranks.is_main():
        checkpoints.clear()


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


def _check_teacher(rows: Sequence[Located], distillation: Distillation) -> None:
    """`label_logits` needs teacher probabilities; rows without them are counted."""
    if distillation.method != "label_logits":
        return
    without = sum(located.row.label_logprobs is None for located in rows)
    if without == len(rows):
        hint = "a teacher that gives probabilities, or the method `response`"
        raise InvalidInput(
            Problem("label_logits needs rows with label_logprobs", rows[0].file, None, "distillation.method", hint)
        )
    if without:
        print(f"{without} of {len(rows)} rows have no label probabilities and are learnt as text", flush=True)
