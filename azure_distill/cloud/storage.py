"""Reading what steps wrote: blobs of a datastore, by the workspace's key, a SAS or the user's own identity."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.cloud.session import Session
from azure_distill.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient

DATASTORE = re.compile(r"azureml://(?:.*/)?datastores/([^/]+)/paths/(.*)")
WORKERS = 8
LASTS = 1800.0  # seconds; the permission that a datastore gives is good for an hour
FOLDER_MARK = "hdi_isfolder"


@dataclass(frozen=True)
class Place:
    """A file or folder in a datastore; `path` has no slash at its ends."""

    datastore: str
    path: str


def parse_place(uri: str) -> Place:
    """The place that an `azureml://…/datastores/D/paths/P` names; raises NotFound for any other address."""
    found = DATASTORE.fullmatch(uri)
    if found is None:
        raise NotFound(f"{uri} lies in no datastore of the workspace")
    return Place(found.group(1), found.group(2).strip("/"))


class Storage:
    """The datastores of one workspace; remembers each one's permission for a while."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._containers = dict[str, tuple[float, "ContainerClient"]]()

    def read(self, place: Place, file: str) -> bytes | None:
        """One file below a place; None when there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            data: bytes = self._container(place.datastore).download_blob(f"{place.path}/{file}").readall()
        except ResourceNotFoundError:
            return None
        return data

    def download(self, place: Place, target: Path) -> None:
        """Copy all files of a place into the new folder `target`, whole or not at all; each one's size is checked."""
        blobs = list(self._blobs(place))
        if not blobs:
            raise NotFound(f"{place.datastore}/{place.path} holds no files")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            draft.chmod(0o755)
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda blob: self._fetch(place, blob, draft), blobs))
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _fetch(self, place: Place, blob: BlobProperties, draft: Path) -> None:
        name = blob.name.removeprefix(place.path).lstrip("/") or blob.name.rpartition("/")[2]
        path = draft / name
        if not path.resolve().is_relative_to(draft.resolve()):
            raise ConfigurationError(f"the blob {blob.name} would be written outside of its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            self._container(place.datastore).download_blob(blob.name).readinto(stream)
        if path.stat().st_size != blob.size:
            raise ConfigurationError(f"{blob.name} came with {path.stat().st_size} bytes of {blob.size}", "try again")

    def _blobs(self, place: Place) -> Iterator[BlobProperties]:
        """The files at or below a place; `a/model` has nothing to do with `a/model2`."""
        for blob in self._container(place.datastore).list_blobs(name_starts_with=place.path, include=["metadata"]):
            inside = blob.name == place.path or blob.name.startswith(f"{place.path}/")
            if inside and FOLDER_MARK not in (blob.metadata or {}):
                yield blob

    def _container(self, datastore: str) -> ContainerClient:
        opened, container = self._containers.get(datastore, (0.0, None))
        if container is None or time.monotonic() - opened > LASTS:
            container = self._open(datastore)
            self._containers[datastore] = (time.monotonic(), container)
        return container

    def _open(self, datastore: str) -> ContainerClient:
        from azure.ai.ml.entities import AzureBlobDatastore
        from azure.storage.blob import ContainerClient

        store = self._session.ml.datastores.get(datastore, include_secrets=True)
        if not isinstance(store, AzureBlobDatastore):
            raise ConfigurationError(f"the datastore {datastore} is {store.type}; only blob storage can be read")
        secrets: Any = store.credentials
        permission = getattr(secrets, "account_key", None) or getattr(secrets, "sas_token", None)
        account = f"{store.protocol or 'https'}://{store.account_name}.blob.{store.endpoint or 'core.windows.net'}"
        return ContainerClient(account, store.container_name, credential=permission or self._session.credential)
