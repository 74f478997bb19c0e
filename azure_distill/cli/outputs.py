"""What a run leaves behind: download, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from azure_distill.cli.options import Place, json_option, of_last, place_options, run_argument

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from azure_distill.backend import Run


@click.command("download")
@run_argument
@click.argument("output", required=False, metavar="[STEP.OUTPUT]")
@click.option("-o", "--to", "target", type=click.Path(file_okay=False), help="Folder to copy into.  [default: RUN]")
@place_options
@json_option
def download_command(run: str, output: str | None, target: str | None, place: Place, as_json: bool) -> None:
    """Copy all outputs of RUN, or only STEP.OUTPUT, into a folder; `download STEP.OUTPUT` is of the newest run.

    What all runs share, `teacher_inference.answers` and `student_finetune.checkpoints`, is copied only by its name.
    """
    from azure_distill.cli.render import print_json, short_path

    run, output = of_last(run, output)
    client = place.client(run)
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
@place_options
@json_option
def report_command(runs: tuple[str, ...], browse: bool, place: Place, as_json: bool) -> None:
    """Compare the models of a RUN (the newest by default), or the students of several; print where the reports lie.

    The report of a run in Azure is downloaded into a folder of the run's name.
    """
    from azure_distill.cli.figures import tell
    from azure_distill.cli.render import console, print_json

    clients = [(place.client(run), run) for run in runs or ("last",)]
    states = [client.jobs.get(run) for client, run in clients]
    reports = {state.name: client.jobs.report(state.name) for (client, _), state in zip(clients, states, strict=True)}
    if as_json:
        print_json([{"run": s.name, "report": str(reports[s.name]), "metrics": s.metrics} for s in states])
        return
    screen = console()
    for line in _one(states[0], screen) if len(reports) == 1 else _several(states, screen):
        if isinstance(line, str):
            tell(line, screen)
        else:
            screen.print(line)
    print()
    for report in reports.values():
        print(f"report: {report}")
        if browse:
            click.launch(str(report))


def _one(run: Run, screen: Console) -> list[Table | str]:
    from azure_distill.cli.figures import comparison, verdict

    return [comparison(run.metrics, screen), *verdict(run.metrics)]


def _several(runs: Sequence[Run], screen: Console) -> list[Table | str]:
    from azure_distill.cli.figures import comparison_of_runs, failures, same_test_rows

    metrics = {run.name: run.metrics for run in runs}
    warning = "The runs were measured on different test rows: their figures cannot be compared."
    doubts = failures(metrics) + ([] if same_test_rows(metrics) else [warning])
    return [comparison_of_runs(metrics, screen), *doubts]
