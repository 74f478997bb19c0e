"""One signed-in connection to a workspace: the SDK's client, and run history, both made when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from azure_distill.cloud.failures import translated
from azure_distill.cloud.history import History
from azure_distill.cloud.noise import quiet_loggers
from azure_distill.cloud.workspace import Workspace

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential


class Session:
    """A workspace and who talks to it."""

    def __init__(self, workspace: Workspace, credential: TokenCredential) -> None:
        self.workspace, self.credential = workspace, credential
        quiet_loggers()

    @cached_property
    def ml(self) -> MLClient:
        """The SDK's client; making it sends nothing.

        To be made before threads use the SDK: two that import its modules at once can end in a deadlock of imports.
        """
        import azure.ai.ml.entities  # noqa: F401
        from azure.ai.ml import MLClient

        quiet_loggers()
        place = self.workspace
        return MLClient(self.credential, place.subscription, place.resource_group, place.name, show_progress=False)

    @cached_property
    def history(self) -> History:
        """What the workspace knows of steps and logs; finding its address takes two requests."""
        with translated(f"reach the workspace {self.workspace}"):
            found = self.ml.workspaces.get(self.workspace.name)
            return History.discover(str(found.discovery_url), self.workspace, self.credential)
