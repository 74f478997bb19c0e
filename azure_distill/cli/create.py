"""Before a run: init and validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from azure_distill.cli.options import job_argument, json_option

if TYPE_CHECKING:
    from azure_distill.errors import Problem

TASKS = ("nli", "conversation", "nlu_qa", "math", "summarization", "classification")
# what the data is checked by; where it is wrong itself, the rows would only be blamed for it
TOLD_TO_DATA = {"task_type", "labels", "data", "prompt_settings"}


@click.command("init")
@click.option("--task", type=click.Choice(TASKS), default="classification", show_default=True)
@click.argument("folder", type=click.Path(file_okay=False))
@json_option
def init_command(task: str, folder: str, as_json: bool) -> None:
    """Write a job file and a few hundred sample rows into FOLDER; they run as they stand."""
    from pathlib import Path

    from azure_distill.cli.render import print_json, short_path
    from azure_distill.samples.write import write_sample

    files = write_sample(task, Path(folder))
    job = next(file for file in files if file.suffix == ".yaml")
    if as_json:
        print_json({"job": str(job), "files": [str(file) for file in files]})
        return
    for file in files:
        click.echo(f"wrote {short_path(file)}")
    click.echo(f"next: azure-distill run {short_path(job)}")


@click.command("validate")
@job_argument
@json_option
def validate_command(job: str, as_json: bool) -> None:
    """Check JOB and its data files; list every problem with its file and line."""
    from azure_distill.cli.render import print_json, print_problems
    from azure_distill.errors import InvalidJob

    problems, warnings = find_problems(job)
    if as_json:
        print_json({"valid": not problems, "problems": [p.to_json() for p in problems], "warnings": warnings})
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        print_problems(problems)
        if not problems:
            click.echo(f"{job}: valid")
    if problems:
        raise click.exceptions.Exit(InvalidJob.exit_code)


def find_problems(path: str) -> tuple[list[Problem], list[str]]:
    """(problems, warnings) of a job file and, as far as the job can be made out, of its data."""
    from pathlib import Path

    from azure_distill.client import DistillClient
    from azure_distill.errors import InvalidJob
    from azure_distill.local.backend import LocalBackend
    from azure_distill.local.data_check import check_data
    from azure_distill.plan.build import data_step
    from azure_distill.spec.job import DistillationJob
    from azure_distill.spec.problems import relocate
    from azure_distill.spec.salvage import salvage

    backend, warnings = LocalBackend(), list[str]()
    job: DistillationJob | None
    try:
        job = DistillationJob.from_file(path)
    except InvalidJob as error:
        job, problems = salvage(Path(path), error.problems, frozenset(backend.students()))
    else:
        try:
            problems, warnings = [], [*DistillClient(backend).jobs.plan(job).warnings]
        except InvalidJob as error:
            problems = error.problems
    told = {(problem.field or "").partition(".")[0] for problem in problems}
    if job is None or told & TOLD_TO_DATA:
        return problems, warnings
    of_data, warned = check_data(data_step(job), backend.home)
    return [*problems, *relocate(of_data, job.source)], [*warnings, *warned]
