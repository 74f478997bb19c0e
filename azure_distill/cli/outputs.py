"""What a run leaves behind: download, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from azure_distill.cli.options import json_option, local_client, run_argument

if TYPE_CHECKING:
    from azure_distill.backend import Run


@click.command("download")
@run_argument
@click.argument("output", required=False, metavar="[STEP.OUTPUT]")
@click.option("-o", "--to", "target", type=click.Path(file_okay=False), help="Folder to copy into.  [default: RUN]")
@json_option
def download_command(run: str, output: str | None, target: str | None, as_json: bool) -> None:
    """Copy all outputs of RUN, or only STEP.OUTPUT, into a folder."""
    from azure_distill.cli.render import print_json, short_path

    client = local_client()
    name = client.jobs.get(run).name
    folders = client.jobs.download(name, target or name, output)
    if as_json:
        print_json({"run": name, "folders": [str(folder) for folder in folders]})
        return
    for folder in folders:
        click.echo(short_path(folder))


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN]…")
@click.option("--open", "browse", is_flag=True, help="Open the report in a browser.")
@json_option
def report_command(runs: tuple[str, ...], browse: bool, as_json: bool) -> None:
    """Compare the models of each RUN (the newest by default) and print where the HTML report lies."""
    from azure_distill.cli.render import comparison, console, print_json, verdict

    client = local_client()
    states = [client.jobs.get(run) for run in runs or ("last",)]
    reports = {state.name: report_file(state) for state in states}
    if as_json:
        print_json([{"run": s.name, "report": str(reports[s.name]), "metrics": s.metrics} for s in states])
        return
    screen = console()
    for state in states:
        if len(states) > 1:
            screen.print(state.name, style="bold")
        screen.print(comparison(state.metrics))
        for line in verdict(state.metrics):
            screen.print(line, markup=False, soft_wrap=not screen.is_terminal)
        print(f"\nreport: {reports[state.name]}", file=sys.stdout)
        if browse:
            click.launch(str(reports[state.name]))


def report_file(run: Run) -> Path:
    """The HTML report of a run; raises NotFound."""
    from azure_distill.errors import NotFound

    folder = run.outputs.get("evaluation", {}).get("report")
    if folder is None:
        raise NotFound(f"run {run.name} has no report: it is {run.status}", hint=f"azure-distill status {run.name}")
    return Path(folder) / "report.html"
