"""One signed-in connection to a workspace: the SDK's client, plain REST and run history, each made when first used."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from azure_distill.cloud import rest
from azure_distill.cloud.failures import translated
from azure_distill.cloud.history import History
from azure_distill.cloud.noise import quiet_loggers
from azure_distill.cloud.workspace import Workspace

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential

ABSENT = 404
VERSION = "2024-10-01"  # of the REST interface


class Session:
    """A workspace and who talks to it."""

    registry: str | None = None

    def __init__(self, workspace: Workspace, credential: TokenCredential) -> None:
        self.workspace, self.credential = workspace, credential
        self._resources = rest.make_client(rest.MANAGEMENT, credential)
        self._importing = threading.Lock()
        self._ml: MLClient | None = None
        quiet_loggers()

    @property
    def ml(self) -> MLClient:
        """The SDK's client; making it sends nothing.

        One thread imports the SDK and others wait: two that import its modules at once can end in a deadlock.
        """
        with self._importing:
            if self._ml is None:
                import azure.ai.ml.entities  # noqa: F401
                from azure.ai.ml import MLClient

                quiet_loggers()
                place = self.workspace
                names = place.subscription, place.resource_group, place.name
                self._ml = MLClient(self.credential, *names, show_progress=False)
            return self._ml

    def has(self, kind: str, name: str, version: str) -> bool:
        """Whether the workspace has this version of one of its `components`, `environments` or `data`.

        Does not wait for the SDK, whose import takes longer than many such questions.
        """
        url = f"{rest.MANAGEMENT}{self.workspace.path}/{kind}/{name}/versions/{version}?api-version={VERSION}"
        with translated(f"look up {name}"):
            response = rest.get(self._resources, url)
            if response.status_code == ABSENT:
                return False
            response.raise_for_status()
        return True

    @cached_property
    def history(self) -> History:
        """What the workspace knows of steps and logs; finding its address takes two requests."""
        with translated(f"reach the workspace {self.workspace}"):
            found = self.ml.workspaces.get(self.workspace.name)
            return History.discover(str(found.discovery_url), self.workspace, self.credential)
