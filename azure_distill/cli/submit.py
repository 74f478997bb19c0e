"""The verb `submit`: a job, as a pipeline of the Azure ML workspace; and following a run that does not need us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from azure_distill.cli.options import Place, job_argument, json_option, max_cost_option, workspace_options

if TYPE_CHECKING:
    from azure_distill.client import DistillClient
    from azure_distill.plan.plan import Plan
    from azure_distill.spec.job import DistillationJob


@click.command("submit")
@job_argument
@click.option("--watch", "watching", is_flag=True, help="Follow the run until it ends.  Ctrl-C leaves it running.")
@max_cost_option
@workspace_options
@json_option
def submit_command(job: str, watching: bool, max_cost: float | None, place: Place, as_json: bool) -> None:
    """Submit JOB to the Azure ML workspace.  What has not changed since the last time is not sent again."""
    from azure_distill.spec.job import DistillationJob

    wanted = DistillationJob.from_file(job).capped(max_cost)
    client = place.azure_client()
    submit(client, wanted, watching, as_json)


def submit(client: DistillClient, job: DistillationJob | Plan, watching: bool, as_json: bool) -> None:
    """Start a job in Azure, show where, and with `watching` follow it to its end."""
    from azure_distill.cli.render import print_json

    run = client.jobs.create_or_update(job)
    for warning in run.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"run {run.name}", err=True)
    click.echo(run.location, err=True)
    if watching:
        watch_run(client, run.name, as_json)
    elif as_json:
        print_json(run.to_json())
    else:
        click.echo(run.name)


def watch_run(client: DistillClient, name: str, as_json: bool) -> None:
    """Follow a run and leave with the exit code of its outcome; Ctrl-C only ends the watching."""
    from azure_distill.cli.follow import follow
    from azure_distill.cli.render import print_json
    from azure_distill.cli.run import finish

    try:
        run = follow(client.backend, name)
    except KeyboardInterrupt:
        click.echo(f"\nthe run goes on; watch it: azure-distill watch {name}", err=True)
        click.echo(f"stop it: azure-distill cancel {name}", err=True)
        if as_json:
            print_json(client.jobs.get(name).to_json())
        raise click.exceptions.Exit(130) from None
    finish(run, as_json)
