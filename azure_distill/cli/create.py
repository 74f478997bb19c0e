"""Before a run: init, validate, plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from azure_distill.cli.options import job_argument, json_option

if TYPE_CHECKING:
    from azure_distill.errors import Problem
    from azure_distill.plan.plan import Plan

TASKS = ("nli", "conversation", "nlu_qa", "math", "summarization", "classification")
SHOWN_PROMPTS = 3
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


@click.command("plan")
@job_argument
@json_option
def plan_command(job: str, as_json: bool) -> None:
    """Show the steps that JOB would run, what asking the teacher will take, and the first three prompts.

    Sends nothing. The prompts are whole with --json.
    """
    from azure_distill.cli.asked import estimate_lines, prompts_shown
    from azure_distill.cli.render import console, print_json
    from azure_distill.client import DistillClient
    from azure_distill.local.backend import LocalBackend
    from azure_distill.local.preview import NoPreview, preview
    from azure_distill.plan.estimate import estimate
    from azure_distill.spec.job import DistillationJob

    backend = LocalBackend()
    plan = DistillClient(backend).jobs.plan(DistillationJob.from_file(job))
    try:
        asked = preview(plan, backend.home, SHOWN_PROMPTS)
        expected, prompts, reason = estimate(plan, asked), asked["prompts"], None
    except NoPreview as unknown:
        expected, prompts, reason = None, [], str(unknown)
    if as_json:
        told = {"estimate": expected and expected.to_json(), "prompts": prompts, "no_estimate": reason}
        print_json(plan.to_json() | told)
        return
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    show_plan(plan)
    if expected is None:
        click.echo(f"\nNo estimate: {reason}.")
        return
    for panel in prompts_shown(prompts):
        console().print(panel)
    for line in estimate_lines(expected):
        click.echo(line)


def show_plan(plan: Plan) -> None:
    """A table of steps with their inputs, one a line."""
    from rich.table import Table
    from rich.text import Text

    from azure_distill.cli.render import console, short_path
    from azure_distill.plan.plan import DataPath, StepOutput, binding_json

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("STEP", "COMPONENT", "INPUT", "VALUE"):
        table.add_column(name, no_wrap=name != "VALUE")
    for step in plan.steps:
        head: tuple[Any, ...] = (Text(step.name, style="bold"), step.component.name)
        for port, binding in step.inputs.items():
            match binding:
                case StepOutput(source, output):
                    value = Text(f"← {source}.{output}", style="cyan")
                case DataPath(path):
                    value = Text(short_path(path))
                case _:
                    value = Text(str(binding_json(binding)), style="dim")
            table.add_row(*head, port, value)
            head = ("", "")
    console().print(table)
