"""Blobs as the emulated service itself reaches them: straight at Azurite, past the recorder and the faults."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.emulator.azurite import Azurite
from tests.emulator.names import ACCOUNT, BLOB_HOST

SAS_HOURS = 4


@dataclass(frozen=True)
class Location:
    """A blob, or a folder of blobs."""

    container: str
    path: str

    @property
    def url(self) -> str:
        return f"https://{BLOB_HOST}/{self.container}/{self.path}"

    def __truediv__(self, name: str) -> Location:
        return Location(self.container, f"{self.path.rstrip('/')}/{name}".lstrip("/"))


class Storage:
    """One storage account."""

    def __init__(self, azurite: Azurite) -> None:
        self.key = azurite.key
        self._client = BlobServiceClient(azurite.url, credential={"account_name": ACCOUNT, "account_key": azurite.key})

    def create(self, container: str) -> None:
        self._client.create_container(container)

    def sas(self, container: str, permissions: str = "racwdl") -> str:
        """The query of a signed address that opens one container."""
        now = datetime.datetime.now(datetime.UTC)
        signed: str = generate_container_sas(
            ACCOUNT,
            container,
            account_key=self.key,
            permission=ContainerSasPermissions.from_string(permissions),
            start=now - datetime.timedelta(minutes=5),
            expiry=now + datetime.timedelta(hours=SAS_HOURS),
        )
        return signed

    def names(self, location: Location) -> list[str]:
        """The blobs at or under a location, by their names in the container."""
        return [name for name in self._listed(location) if name == location.path or self._under(name, location)]

    def containers(self) -> Iterator[str]:
        for container in self._client.list_containers():
            yield str(container.name)

    def read(self, location: Location) -> bytes:
        """A blob's bytes; raises FileNotFoundError."""
        try:
            content: bytes = self._client.get_blob_client(location.container, location.path).download_blob().readall()
        except ResourceNotFoundError:
            raise FileNotFoundError(location.url) from None
        return content

    def write(self, location: Location, content: bytes) -> None:
        self._client.get_blob_client(location.container, location.path).upload_blob(content, overwrite=True)

    def append(self, location: Location, content: bytes) -> None:
        """Add to an append blob, as Azure ML writes a log; made where it is missing."""
        blob = self._client.get_blob_client(location.container, location.path)
        if not content:
            blob.create_append_blob()
            return
        blob.append_block(content)

    def delete(self, location: Location) -> None:
        self._client.get_blob_client(location.container, location.path).delete_blob()

    def download(self, location: Location, target: Path) -> bool:
        """Copy a blob to the file `target`, or what lies under a folder into the folder; False where nothing lies."""
        names = self.names(location)
        if names == [location.path]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(location))
            return True
        for name in names:
            if name != location.path:
                inside = name.removeprefix(location.path.rstrip("/")).lstrip("/")
                file = target / inside
                if not file.resolve().is_relative_to(target.resolve()):
                    raise ValueError(f"blob {name!r} leads out of its folder")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.read(Location(location.container, name)))
        return bool(names)

    def upload(self, source: Path, location: Location) -> None:
        """Copy a file to a blob, or a folder's files under a location."""
        if source.is_file():
            self.write(location, source.read_bytes())
            return
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self.write(location / file.relative_to(source).as_posix(), file.read_bytes())

    def holding(self, text: bytes) -> list[Location]:
        """Every blob that holds `text`, to look for what must not be stored."""
        return [
            Location(container, name)
            for container in self.containers()
            for name in self._listed(Location(container, ""))
            if text in self.read(Location(container, name))
        ]

    def _listed(self, location: Location) -> list[str]:
        container = self._client.get_container_client(location.container)
        try:
            return [str(name) for name in container.list_blob_names(name_starts_with=location.path.rstrip("/"))]
        except ResourceNotFoundError:
            return []

    @staticmethod
    def _under(name: str, location: Location) -> bool:
        folder = location.path.rstrip("/")
        return not folder or name.startswith(f"{folder}/")
