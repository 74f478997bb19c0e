"""The component from its arguments to its three files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.arguments import Arguments, parse
from evaluation.contenders import Outcome, read_answers, run_contenders
from evaluation.document import build_document
from evaluation.figures import quality
from evaluation.heldout import HeldOut, TeacherAnswers, inspect, stored_answers
from evaluation.join import Joined, join
from evaluation.judge import judged, pairs
from evaluation.metrics import Metric, build
from evaluation.page import write_page
from evaluation.settings import ROLES
from evaluation.tracking import track
from shared.errors import AuthError, InvalidInput
from shared.rows import write_json


def main(argv: Sequence[str]) -> None:
    """Evaluate, write metrics.json, predictions.jsonl and report.html, and track the figures."""
    arguments = parse(argv)
    test = inspect(arguments.data)
    stored = stored_answers(arguments.responses, test) if arguments.responses else None
    _check_yardstick(test, arguments, stored)
    _check_judge(arguments)
    arguments.report.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = _run_all(arguments, test, stored, Path(folder))
        metrics = {name: build(name, arguments.task) for name in arguments.settings.quality_metrics}
        joined = _join(arguments, test, stored, outcomes, metrics)
    draws, seed = arguments.settings.bootstrap, arguments.settings.seed
    joined.judgement = _judgement(arguments, test)
    by_role, comparisons = quality(joined, metrics, draws, seed)
    document = build_document(arguments, test, stored, outcomes, joined, by_role, comparisons, metrics)
    write_json(arguments.report / "metrics.json", document)
    write_page(arguments, document, joined, stored)
    track(document)
    for sentence in (*document["summary"], *document["notes"]):
        print(sentence, flush=True)


def _check_yardstick(test: HeldOut, arguments: Arguments, stored: TeacherAnswers | None) -> None:
    asked = any(contender.role == "teacher" and contender.asked for contender in arguments.contenders)
    if not test.references and not asked and not (stored and stored.by_id):
        raise InvalidInput(f"{test.path}: no row has a reference and there is no teacher to compare with")


def _check_judge(arguments: Arguments) -> None:
    name = arguments.settings.judge and arguments.settings.judge.key_env
    if name and not os.environ.get(name):
        raise AuthError(f"the judge's key is wanted in the environment variable {name}: not set")


def _judgement(arguments: Arguments, test: HeldOut) -> dict[str, Any] | None:
    """The judge's figures; None without a judge, or without rows that both student and teacher answered."""
    settings = arguments.settings
    if settings.judge is None:
        return None
    asked = pairs(test, arguments.report / "predictions.jsonl", settings.judge.rows, settings.seed)
    return judged(settings.judge, asked, settings.bootstrap, settings.seed) if asked else None


def _run_all(arguments: Arguments, test: HeldOut, stored: TeacherAnswers | None, folder: Path) -> dict[str, Outcome]:
    """The outcome of every contender by role, in the order of the report."""
    contenders = sorted(arguments.contenders, key=lambda contender: ROLES.index(contender.role))
    local = [contender for contender in contenders if contender.local]
    measured = run_contenders(local, test.path, arguments.task_text, arguments.settings, folder)
    outcomes = {}
    for contender in contenders:
        outcome = measured.get(contender.role, Outcome(contender, {}))
        if not contender.asked and not (stored and stored.by_id):
            outcome = Outcome(contender, {}, "there is no accepted answer to a held-out row")
        elif not contender.asked and outcome.error:  # its stored answers are as good as before
            outcome = Outcome(contender, {"cost_error": outcome.error})
        outcomes[contender.role] = outcome
    lost = [outcome for outcome in outcomes.values() if outcome.error]
    if len(lost) == len(outcomes):
        raise lost[-1].failure()
    return outcomes


def _join(
    arguments: Arguments,
    test: HeldOut,
    stored: TeacherAnswers | None,
    outcomes: Mapping[str, Outcome],
    metrics: Mapping[str, Metric],
) -> Joined:
    answers: dict[str, Iterator[dict[str, Any] | None]] = {}
    for role, outcome in outcomes.items():
        if outcome.answers:
            answers[role] = read_answers(outcome.answers)
        elif not outcome.contender.asked and stored and stored.by_id:
            answers[role] = _stored(test, stored)
    if not test.references and "teacher" not in answers:
        raise outcomes["teacher"].failure()
    path = arguments.report / "predictions.jsonl"
    settings = arguments.settings
    return join(test, answers, arguments.task, metrics, settings.headline, settings.seed, path)


def _stored(test: HeldOut, stored: TeacherAnswers) -> Iterator[dict[str, Any] | None]:
    return (stored.by_id.get(row.id) for row in test)
