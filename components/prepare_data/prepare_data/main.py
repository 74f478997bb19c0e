"""The command line, and what happens to the report and the outputs when a run fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from prepare_data.output import Outputs
from prepare_data.prepare import Preparation
from prepare_data.settings import load_settings
from prepare_data.table import Source
from shared.errors import InvalidInput, Problem
from shared.rows import write_json
from shared.tasks import load_task


def main(argv: Sequence[str]) -> None:
    """Prepare the rows; a failure leaves `data_report.json` with the problems and nothing else."""
    arguments = parser().parse_args(argv)
    files = {source: getattr(arguments, source.argument) for source in Source if getattr(arguments, source.argument)}
    outputs = Outputs(arguments.data, arguments.gold)
    refuse_own_outputs(files, outputs)
    for folder in (outputs.data, outputs.gold):
        folder.mkdir(parents=True, exist_ok=True)
    outputs.clear()
    preparation = Preparation(files, outputs)
    try:
        run(preparation, arguments.task, arguments.settings)
    except BaseException:
        outputs.clear()
        if preparation.problems.count:
            write_json(outputs.report, preparation.report.to_json(preparation.problems))
        raise


def run(preparation: Preparation, task: str, settings: str) -> None:
    """Load what the arguments say, prepare and report; raises InvalidInput with every problem found."""
    problems, report = preparation.problems, preparation.report
    chosen_task, chosen_settings = problems.attempt(load_task, task), problems.attempt(load_settings, settings)
    if chosen_task and chosen_settings:
        problems.attempt(preparation.run, chosen_task, chosen_settings)
    problems.raise_any()
    write_json(preparation.outputs.report, report.to_json(problems))
    for warning in (*problems.warnings, *report.warnings()):
        print(f"warning: {warning}", flush=True)
    print(report.summary(), flush=True)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare_data", description="Check, clean and split rows for a distillation.")
    for source in Source:
        parser.add_argument(f"--{source.argument.replace('_', '-')}", type=Path, metavar="FILE")
    parser.add_argument("--task", required=True, metavar="JSON", help="kind of task and its settings")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="columns, splits, duplicates, balance")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="prepared rows and data_report.json")
    parser.add_argument("--gold", type=Path, required=True, metavar="FOLDER", help="prepared gold rows")
    return parser


def refuse_own_outputs(files: dict[Source, Path], outputs: Outputs) -> None:
    """Raise InvalidInput where an input is a file that this run would replace."""
    written = {path.resolve() for path in (*outputs.rows(), outputs.rejected, outputs.report)}
    own = [path for path in files.values() if path.resolve() in written]
    if own:
        hint = "write to another folder"
        raise InvalidInput(*(Problem("is an output of this run too", str(path), hint=hint) for path in own))
