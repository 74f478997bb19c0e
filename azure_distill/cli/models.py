"""Models: evaluate one, register one, list what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from azure_distill.cli.create import TASKS
from azure_distill.cli.options import Place, json_option, place_options, run_argument

if TYPE_CHECKING:
    from rich.table import Table

    from azure_distill.backend import Form, Model

FORMS = ("custom", "mlflow")
FULL_WIDTH = 110
REACHED = {"endpoint": "endpoint", "hosted": "hosted", "both": "endpoint or hosted"}


@click.command("evaluate")
@click.argument("model")
@click.option("--test-data", required=True, type=click.Path(), help="Rows whose last message is the answer.")
@click.option("--metric", "metrics", multiple=True, help="A metric; several are allowed.  [default: the task's]")
@click.option("--task", type=click.Choice(TASKS), help="Of a model not distilled here.  [default: conversation]")
@click.option("--label", "labels", multiple=True, help="A label of a classification; several are allowed.")
@place_options
@json_option
def evaluate_command(
    model: str,
    test_data: str,
    metrics: tuple[str, ...],
    task: str | None,
    labels: tuple[str, ...],
    place: Place,
    as_json: bool,
) -> None:
    """Evaluate MODEL: a registered name, STUDENT-distilled, a folder, a catalog name or a Hugging Face id."""
    from azure_distill.cli.run import run_plan
    from azure_distill.cli.submit import submit

    client = place.client()
    plan = client.models.evaluation_plan(model, test_data, list(metrics) or None, task, list(labels) or None)
    if place.asked:
        submit(client, plan, True, as_json)
    else:
        run_plan(client, plan, as_json)


@click.command("register")
@run_argument
@click.option("--name", required=True, help="The name to register under; the version counts up.")
@click.option("--force", is_flag=True, help="Register although the evaluation's gate did not pass.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="custom",
    show_default=True,
    help="As a folder of files, or as an MLflow model, which every student is too.",
)
@click.option("--registry", metavar="NAME", help="Then copy it to this Azure ML registry, for other workspaces.")
@place_options
@json_option
def register_command(
    run: str, name: str, force: bool, form: Form, registry: str | None, place: Place, as_json: bool
) -> None:
    """Register the student of RUN (the newest by default), or a model folder.

    The student of a run in Azure is registered in its workspace.
    """
    from azure_distill.cli.render import print_json
    from azure_distill.client import is_folder

    if registry:
        place.azure_registrar(registry)  # an unknown one is told before anything is registered
    client = place.azure_client() if registry else place.client(None if is_folder(run) else run)
    registered = client.models.register(run, name, force=force, form=form)
    shared = client.models.share(registered, registry) if registry else None
    if as_json:
        model, _, version = registered.rpartition(":")
        print_json({"name": model, "version": version, "shared": shared})
        return
    click.echo(f"registered {registered}")
    if shared:
        click.echo(f"shared {shared}")


@click.command("models")
@place_options
@json_option
def models_command(place: Place, as_json: bool) -> None:
    """List known teachers and students, and the models registered here (or with --azure there)."""
    from dataclasses import asdict

    from azure_distill.catalog.models import students, teachers
    from azure_distill.cli.render import console, print_json

    registered = place.client().models.list()
    catalogs = {"teachers": teachers(), "students": students()}
    if as_json:
        known = {kind: [asdict(model) for model in models.values()] for kind, models in catalogs.items()}
        print_json(known | {"registered": [model.to_json() for model in registered]})
        return
    screen = console()
    for kind, models in catalogs.items():
        screen.print(catalog_table(kind, models.values(), screen.width))
        screen.print()
    if registered:
        screen.print(registered_table(registered))


def catalog_table(kind: str, models: Any, width: int) -> Table:
    """Known models, until when and how they are reached; in a narrow window without their full names."""
    from datetime import date

    from rich.table import Table
    from rich.text import Text

    from azure_distill.cli.figures import count

    full = width >= FULL_WIDTH
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    titles = [kind.upper(), *(["MODEL"] if full else []), "PARAMETERS", "CONTEXT", "RETIRES"]
    for title in titles:
        table.add_column(title, justify="right" if title in ("PARAMETERS", "CONTEXT") else "left", no_wrap=True)
    table.add_column("REACHED" if kind == "teachers" else "WEIGHTS")  # the only one that gives way
    for model in models:
        reached = REACHED.get(model.access) if kind == "teachers" else model.weights or "made from scratch"
        retires = Text(str(model.retires_on or ""), style="yellow" if model.retirement(date.today()) else "dim")
        name = [model.name, *([model.display_name] if full else [])]
        last = Text(reached or "", style="dim", no_wrap=True, overflow="ellipsis")
        table.add_row(*name, count(model.parameters), count(model.context), retires, last)
    return table


def registered_table(models: list[Model]) -> Table:
    """Registered models with where they come from."""
    from rich.table import Table

    from azure_distill.cli.render import moment

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("REGISTERED", "VERSION", "CREATED", "TEACHER", "RUN"):
        table.add_column(name, no_wrap=True)
    for model in models:
        row = (model.name, model.version, moment(model.created), model.lineage.get("teacher"), model.run)
        table.add_row(*(str(cell or "") for cell in row))
    return table
