"""Watching runs: status, watch, logs, list, cancel."""

from __future__ import annotations

import sys

import click

from azure_distill.cli.options import Place, json_option, of_last, place_options, run_argument


@click.command("status")
@run_argument
@place_options
@json_option
def status_command(run: str, place: Place, as_json: bool) -> None:
    """Show where RUN stands (the newest one by default).

    A RUN that is not known here is looked for in the Azure ML workspace, if one is configured.
    """
    from azure_distill.cli.render import console, print_error, print_json, step_table

    state = place.client(run).jobs.get(run)
    if as_json:
        print_json(state.to_json())
        return
    click.echo(f"{state.name}: {state.status}")
    console().print(step_table(state))
    if state.error:
        print_error(state.error)


@click.command("watch")
@run_argument
@place_options
@json_option
def watch_command(run: str, place: Place, as_json: bool) -> None:
    """Follow RUN until it ends; leaves with the exit code of its outcome.  Ctrl-C leaves the run alone."""
    from azure_distill.cli.submit import watch_run

    client = place.client(run)
    watch_run(client, client.jobs.get(run).name, as_json)


@click.command("logs")
@run_argument
@click.argument("step", required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run ends.")
@place_options
@json_option
def logs_command(run: str, step: str | None, following: bool, place: Place, as_json: bool) -> None:
    """Show the log of RUN, or of one STEP of it; `logs STEP` is of the newest run."""
    from azure_distill.cli.render import print_json
    from azure_distill.errors import NotFound, choices

    run, step = of_last(run, step)
    client = place.client(run)
    state = client.jobs.get(run)
    if step is not None and step not in state.steps:
        raise NotFound(f"run {state.name} has no step {step!r}", hint=choices(step, state.steps))
    steps = [step] if step else list(state.steps)
    if as_json:
        print_json({name: client.backend.logs(state.name, name) for name in steps})
    elif following:
        for event in client.backend.follow(state.name):
            if event.line is not None and event.step in steps:
                click.echo(event.line if step else f"[{event.step}] {event.line}")
    else:
        for name in steps:
            for line in client.backend.logs(state.name, name).splitlines():
                click.echo(line if step else f"[{name}] {line}")


@click.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@place_options
@json_option
def list_command(limit: int, place: Place, as_json: bool) -> None:
    """List the newest runs, newest first."""
    from rich.table import Table
    from rich.text import Text

    from azure_distill.cli.render import STYLES, console, moment, print_json

    runs = place.client().jobs.list(limit)
    if as_json:
        print_json([run.to_json() for run in runs])
        return
    if not runs:
        click.echo("no runs yet: azure-distill init DIR writes a job to begin with", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("RUN", "STATUS", "CREATED", "STEPS"):
        table.add_column(name, no_wrap=True)
    for run in runs:
        done = sum(state.status == "Completed" for state in run.steps.values())
        table.add_row(
            run.name,
            Text(run.status, style=STYLES.get(run.status, "")),
            moment(run.created),
            f"{done}/{len(run.steps)}",
        )
    console().print(table)


@click.command("cancel")
@run_argument
@place_options
@json_option
def cancel_command(run: str, place: Place, as_json: bool) -> None:
    """Stop RUN and wait until it has stopped.  An ended run stays as it is."""
    from azure_distill.cli.render import print_json

    client = place.client(run)
    name = client.jobs.get(run).name
    client.jobs.cancel(name)
    state = client.jobs.get(name)
    if as_json:
        print_json(state.to_json())
    else:
        print(f"{state.name}: {state.status}", file=sys.stdout)
