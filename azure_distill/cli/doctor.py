"""The verb `doctor`."""

from __future__ import annotations

import click

from azure_distill.cli.options import Place, json_option, workspace_options

RETIRING = "models"


@click.command("doctor")
@click.argument("job", required=False, type=click.Path())
@workspace_options
@json_option
def doctor_command(job: str | None, place: Place, as_json: bool) -> None:
    """Show which workspace and identity are used and whether they work; for JOB also its compute and models.

    Leaves with the exit code of the first thing that is wrong.
    """
    import os
    from pathlib import Path

    from azure_distill.cli.render import print_json
    from azure_distill.client import DistillClient
    from azure_distill.cloud.doctor import Finding, examine
    from azure_distill.spec.job import DistillationJob

    plan = DistillClient.local().jobs.plan(DistillationJob.from_file(job)) if job else None
    findings = [Finding(RETIRING, warning) for warning in plan.warnings] if plan else []
    flags = {"subscription": place.subscription, "resource_group": place.resource_group, "name": place.workspace}
    for finding in examine(flags, place.auth or "default", os.environ, Path.cwd(), plan):
        findings.append(finding)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            mark = "ok " if finding.exit_code == 0 and finding.subject != RETIRING else "!! "
            click.echo(f"{mark}{finding.subject}: {finding.told}")
            if finding.hint:
                click.echo(f"   {finding.hint}")
    code = next((finding.exit_code for finding in findings if finding.exit_code), 0)
    if code:
        raise click.exceptions.Exit(code)
