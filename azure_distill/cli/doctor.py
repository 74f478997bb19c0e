"""The verb `doctor`."""

from __future__ import annotations

import click

from azure_distill.cli.options import Place, json_option, workspace_options


@click.command("doctor")
@click.argument("job", required=False, type=click.Path())
@click.option("--ask-teacher", "ask", is_flag=True, help="Send JOB's teacher one tiny request, with JOB's key.")
@workspace_options
@json_option
def doctor_command(job: str | None, ask: bool, place: Place, as_json: bool) -> None:
    """Show which workspace and identity are used and whether they work; for JOB also its compute, quota and models.

    Leaves with the exit code of the first thing that is wrong.
    """
    import os
    from pathlib import Path

    from azure_distill.cli.render import print_json
    from azure_distill.client import DistillClient
    from azure_distill.cloud.doctor import examine
    from azure_distill.spec.job import DistillationJob

    if ask and job is None:
        raise click.UsageError("--ask-teacher needs a JOB")
    plan = DistillClient.local().jobs.plan(DistillationJob.from_file(job)) if job else None
    flags = {"subscription": place.subscription, "resource_group": place.resource_group, "name": place.workspace}
    findings = []
    for finding in examine(flags, place.auth or "default", os.environ, Path.cwd(), plan, ask=ask):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.mark}{finding.subject}: {finding.told}")
            if finding.hint:
                click.echo(f"   {finding.hint}")
    if as_json:
        print_json([finding.to_json() for finding in findings])
    code = next((finding.exit_code for finding in findings if finding.exit_code), 0)
    if code:
        raise click.exceptions.Exit(code)
