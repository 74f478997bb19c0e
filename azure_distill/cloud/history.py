"""Run history: the REST interface behind the studio, which knows a job's steps and where their logs lie.

`jobs.stream` of the SDK shows a pipeline's own log only and ends without an error for a canceled job; this reads the
steps' logs, and of them only what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from azure_distill.cloud import rest
from azure_distill.cloud.workspace import Workspace

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

NOTHING_NEW = 416  # the range asked for begins at the end of the file
GONE = (403, 404)  # a link that has expired, or a log that does not exist yet


class History:
    """Run history of one workspace; raises azure.core's exceptions after its retries."""

    def __init__(self, api: str, workspace: Workspace, credential: TokenCredential) -> None:
        self._root = f"{api}/history/v1.0{workspace.path}"
        self._client = rest.make_client(api, credential)
        self._open = rest.make_client(api)  # log links carry their own permission

    @classmethod
    def discover(cls, url: str, workspace: Workspace, credential: TokenCredential) -> History:
        """The run history whose address the workspace's discovery document names."""
        response = rest.get(rest.make_client(url), url)
        response.raise_for_status()
        return cls(response.json()["api"], workspace, credential)

    def children(self, run: str) -> Iterator[dict[str, Any]]:
        """The steps of a pipeline run, in no order."""
        url: str | None = f"{self._root}/runs/{run}/children"
        while url:
            page = self._get(url)
            yield from page.get("value", [])
            url = page.get("nextLink")

    def details(self, run: str) -> dict[str, Any]:
        """One run's status, error and `logFiles`, which maps a path to a link that is good for a while."""
        return self._get(f"{self._root}/runs/{run}/details")

    def read_log(self, url: str, offset: int) -> bytes | None:
        """The bytes of a log from `offset` on; None when the link does not work (any more)."""
        headers = {"Range": f"bytes={offset}-", "x-ms-version": "2021-08-06"}
        response = rest.get(self._open, url, headers)
        if response.status_code == NOTHING_NEW:
            return b""
        if response.status_code in GONE:
            return None
        response.raise_for_status()
        body: bytes = response.content
        return body if response.status_code == 206 else body[offset:]

    def _get(self, url: str) -> dict[str, Any]:
        response = rest.get(self._client, url)
        response.raise_for_status()
        value: dict[str, Any] = response.json()
        return value
