"""The verb `plan`: what a job would run, and what it would ask the teacher."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from azure_distill.cli.options import job_argument, json_option

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from azure_distill.plan.estimate import Estimate
    from azure_distill.plan.plan import Binding, Plan

SHOWN_PROMPTS = 3
OURS = "azure_distill_"  # components of the project are called so


@click.command("plan")
@job_argument
@json_option
def plan_command(job: str, as_json: bool) -> None:
    """Show the steps that JOB would run, what asking the teacher will take, and the first three prompts.

    Sends nothing. The prompts are whole with --json. Ends with 3 where the data has problems, and lists them.
    """
    from azure_distill.cli.render import print_json, print_problems
    from azure_distill.client import DistillClient
    from azure_distill.errors import InvalidJob, Problem
    from azure_distill.local.backend import LocalBackend
    from azure_distill.local.preview import NoPreview, preview
    from azure_distill.plan.estimate import estimate
    from azure_distill.spec.job import DistillationJob
    from azure_distill.spec.problems import relocate

    backend = LocalBackend()
    wanted = DistillationJob.from_file(job)
    plan = DistillClient(backend).jobs.plan(wanted)
    problems = list[Problem]()
    try:
        asked = preview(plan, backend.home, SHOWN_PROMPTS)
        expected, prompts, reason = estimate(plan, asked), asked["prompts"], None
    except NoPreview as unknown:
        expected, prompts, reason = None, [], str(unknown)
        problems = relocate(unknown.problems, wanted.source)
    if as_json:
        shown = {"estimate": expected and expected.to_json(), "prompts": prompts, "no_estimate": reason}
        print_json(plan.to_json() | shown | {"problems": [problem.to_json() for problem in problems]})
    else:
        _show(plan, expected, prompts, reason)
        print_problems(problems)
    if problems:
        raise click.exceptions.Exit(InvalidJob.exit_code)


def _show(plan: Plan, expected: Estimate | None, prompts: Sequence[Mapping[str, Any]], reason: str | None) -> None:
    from azure_distill.cli.asked import estimate_shown, prompts_shown
    from azure_distill.cli.render import console

    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    screen = console()
    for shown in steps_shown(plan):
        screen.print(shown)
    if expected is None:
        click.echo(f"No estimate: {reason}.")
        return
    for shown in (*prompts_shown(prompts), estimate_shown(expected)):
        screen.print(shown)


def steps_shown(plan: Plan) -> Iterator[RenderableType]:
    """Each step with its inputs, one a line; settings that are left to their defaults are not shown."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from azure_distill.plan.plan import Literal

    width = max(len(port) for step in plan.steps for port in step.inputs)
    for step in plan.steps:
        component = step.component.name.removeprefix(OURS)
        yield Text(step.name, style="bold").append("" if component == step.name else f"  ({component})", style="dim")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="dim", min_width=width)
        table.add_column(overflow="fold")
        for port, binding in step.inputs.items():
            if binding != Literal("{}"):
                table.add_row(port, _value(binding))
        yield Padding(table, (0, 0, 1, 2), expand=False)


def _value(binding: Binding) -> Text:
    from rich.text import Text

    from azure_distill.cli.render import short_path
    from azure_distill.plan.plan import DataPath, StepOutput, binding_json

    match binding:
        case StepOutput(source, output):
            return Text(f"← {source}.{output}", style="cyan")
        case DataPath(path):
            return Text(short_path(path))
        case _:
            return Text(_as_in_a_job(str(binding_json(binding))))


def _as_in_a_job(text: str) -> str:
    """JSON as the job file would have it, in YAML of one line; any other text as it is."""
    import yaml

    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return text
    flow = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return str(flow).strip()
