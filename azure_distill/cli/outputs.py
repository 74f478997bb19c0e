"""What a run leaves behind: download, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from azure_distill.cli.options import json_option, local_client, run_argument

if TYPE_CHECKING:
    from rich.table import Table

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
    """Compare the models of a RUN (the newest by default), or the students of several; print where the reports lie."""
    from azure_distill.cli.render import console, print_json

    client = local_client()
    states = [client.jobs.get(run) for run in runs or ("last",)]
    reports = {state.name: report_file(state) for state in states}
    if as_json:
        print_json([{"run": s.name, "report": str(reports[s.name]), "metrics": s.metrics} for s in states])
        return
    for line in _one(states[0]) if len(reports) == 1 else _several(states):
        console().print(line, markup=False)
    print()
    for report in reports.values():
        print(f"report: {report}")
        if browse:
            click.launch(str(report))


def _one(run: Run) -> list[Table | str]:
    from azure_distill.cli.render import comparison, verdict

    return [comparison(run.metrics), *verdict(run.metrics)]


def _several(runs: Sequence[Run]) -> list[Table | str]:
    from azure_distill.cli.render import comparison_of_runs, same_test_rows

    metrics = {run.name: run.metrics for run in runs}
    warning = "The runs were measured on different test rows: their figures cannot be compared."
    return [comparison_of_runs(metrics), *([] if same_test_rows(metrics) else [warning])]


def report_file(run: Run) -> Path:
    """The HTML report of a run; raises NotFound."""
    from azure_distill.errors import NotFound

    folder = run.outputs.get("evaluation", {}).get("report")
    if folder is None:
        raise NotFound(f"run {run.name} has no report: it is {run.status}", hint=f"azure-distill status {run.name}")
    return Path(folder) / "report.html"
