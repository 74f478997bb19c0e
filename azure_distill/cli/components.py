"""The verbs below `components`."""

from __future__ import annotations

import click

from azure_distill.cli.options import Place, json_option, workspace_options


@click.group("components")
def components_command() -> None:
    """The components of azure-distill in the Azure ML workspace."""


@components_command.command("register")
@workspace_options
@json_option
def register_command(place: Place, as_json: bool) -> None:
    """Register components and environments under versions made from their content.

    Prints `+ new` or `= unchanged` for each.  `submit` does this by itself.
    """
    from azure_distill.assets.component import builtin_components
    from azure_distill.cli.render import print_json

    found = place.azure_backend().register(builtin_components().values())
    if as_json:
        print_json([asset.to_json() for asset in found])
        return
    for asset in found:
        click.echo(f"{'+ new      ' if asset.new else '= unchanged'} {asset.kind} {asset.name}:{asset.version}")
