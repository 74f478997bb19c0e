"""Options and arguments that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from azure_distill.client import DistillClient

json_option = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON value.")
job_argument = click.argument("job", type=click.Path())
run_argument = click.argument("run", default="last")


def local_client() -> DistillClient:
    """The client of this machine's backend."""
    from azure_distill.client import DistillClient

    return DistillClient.local()
