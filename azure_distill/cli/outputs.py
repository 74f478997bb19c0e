"""What a run leaves behind: download, report."""

from __future__ import annotations

import sys

import click

from azure_distill.cli.options import Place, json_option, place_options, run_argument


@click.command("download")
@run_argument
@click.argument("output", required=False, metavar="[STEP.OUTPUT]")
@click.option("-o", "--to", "target", type=click.Path(file_okay=False), help="Folder to copy into.  [default: RUN]")
@place_options
@json_option
def download_command(run: str, output: str | None, target: str | None, place: Place, as_json: bool) -> None:
    """Copy all outputs of RUN, or only STEP.OUTPUT, into a folder."""
    from azure_distill.cli.render import print_json, short_path

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
    """Compare the models of each RUN (the newest by default) and print where the HTML report lies.

    The report of a run in Azure is downloaded into a folder of the run's name.
    """
    from azure_distill.cli.render import comparison, console, print_json, verdict

    clients = [(place.client(run), run) for run in runs or ("last",)]
    states = [client.jobs.get(run) for client, run in clients]
    reports = {state.name: client.jobs.report(state.name) for (client, _), state in zip(clients, states, strict=True)}
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
