"""The verbs below `components`."""

from __future__ import annotations

import click

from azure_distill.cli.options import Place, json_option, workspace_options


@click.group("components")
def components_command() -> None:
    """The components of azure-distill in Azure Machine Learning."""


@components_command.command("register")
@click.option("--registry", metavar="NAME", help="Into this Azure ML registry, instead of the workspace.")
@workspace_options
@json_option
def register_command(registry: str | None, place: Place, as_json: bool) -> None:
    """Register components and environments under versions made from their content.

    Prints `+ new` or `= unchanged` for each.  `submit` does this by itself in the workspace.
    """
    from azure_distill.assets.component import builtin_components
    from azure_distill.cli.render import print_json

    registrar = place.azure_registrar(registry)
    found = registrar.components(builtin_components().values(), environments=True)
    if as_json:
        print_json([asset.to_json() for asset in found])
        return
    for asset in found:
        click.echo(f"{'+ new      ' if asset.new else '= unchanged'} {asset.kind} {asset.name}:{asset.version}")
