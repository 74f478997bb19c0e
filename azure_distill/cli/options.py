"""Options and arguments that several verbs share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from azure_distill.client import DistillClient
    from azure_distill.cloud.backend import CloudBackend
    from azure_distill.cloud.register import Registrar

Command = TypeVar("Command", bound=Callable[..., Any])
WAYS = ("default", "cli", "managed-identity", "service-principal", "interactive", "device-code")
LAST = "last"
STEPS = ("prepare_data", "teacher_adaptation", "teacher_inference", "gold_finetune", "student_finetune", "evaluation")

json_option = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON value.")
job_argument = click.argument("job", type=click.Path())
max_cost_option = click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DOLLARS",
    help="What asking the teacher may cost in this run: it stops before, and keeps what it bought.",
)
run_argument = click.argument("run", default=LAST)


@dataclass(frozen=True)
class Place:
    """Where to look for a run: what the options of `place_options` say."""

    azure: bool = False
    workspace: str | None = None
    resource_group: str | None = None
    subscription: str | None = None
    auth: str | None = None

    @property
    def asked(self) -> bool:
        """Whether Azure is meant."""
        return self.azure or any((self.workspace, self.resource_group, self.subscription, self.auth))

    def azure_client(self) -> DistillClient:
        """The client of the workspace; raises ConfigurationError."""
        from azure_distill.client import DistillClient

        return DistillClient(self.azure_backend())

    def azure_backend(self) -> CloudBackend:
        """The workspace; raises ConfigurationError."""
        from pathlib import Path

        from azure_distill.cloud.backend import connect

        return connect(Path.cwd(), self.subscription, self.resource_group, self.workspace, self.auth or "default")

    def azure_registrar(self, registry: str | None) -> Registrar:
        """What registers components in the workspace, or in a registry, which needs no workspace."""
        from azure_distill.cloud.auth import make_credential
        from azure_distill.cloud.register import Registrar
        from azure_distill.cloud.registries import Registry

        if registry is None:
            return Registrar(self.azure_backend().session)
        return Registrar(Registry(registry, make_credential(self.auth or "default")))

    def client(self, run: str | None = None) -> DistillClient:
        """Azure's client if asked for, or where `run` is not known here but a workspace is; else this machine's."""
        if self.asked:
            return self.azure_client()
        here = local_client()
        if run is None or not _workspace_is_configured():
            return here
        from azure_distill.errors import NotFound

        try:
            here.jobs.get(run)
        except NotFound:
            return self.azure_client()
        return here


def workspace_options(command: Command) -> Command:
    """Add `place`, the workspace and identity, to a verb that always means Azure."""
    return _place_options(command, ())


def place_options(command: Command) -> Command:
    """Add `place` to a verb that looks on this machine or, asked by any of these options, in Azure."""
    azure = click.option("--azure", is_flag=True, help="Look in the Azure ML workspace, not on this machine.")
    return _place_options(command, (azure,))


def _place_options(command: Command, first: tuple[Any, ...]) -> Command:
    @functools.wraps(command)
    def packed(**values: Any) -> Any:
        names = ("azure", "workspace", "resource_group", "subscription", "auth")
        place = Place(**{name: values.pop(name) for name in names if name in values})
        return command(place=place, **values)

    options: tuple[Any, ...] = (
        *first,
        click.option("-w", "--workspace", metavar="NAME", help="Azure ML workspace.  [default: of config.json]"),
        click.option("-g", "--resource-group", metavar="NAME", help="Its resource group."),
        click.option("--subscription", metavar="ID", help="Its subscription."),
        click.option("--auth", type=click.Choice(WAYS), help="How to sign in.  [default: DefaultAzureCredential]"),
    )
    decorated: Any = packed
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def of_last(run: str, part: str | None) -> tuple[str, str | None]:
    """(run, part): a STEP or STEP.OUTPUT that stands alone is the newest run's; a run's name ends in `_` and a code."""
    return (LAST, run) if part is None and run.partition(".")[0] in STEPS else (run, part)


def local_client() -> DistillClient:
    """The client of this machine's backend."""
    from azure_distill.client import DistillClient

    return DistillClient.local()


def _workspace_is_configured() -> bool:
    import os
    from pathlib import Path

    from azure_distill.cloud.workspace import is_configured

    return is_configured(os.environ, Path.cwd())
