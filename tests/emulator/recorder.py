"""What the emulator was asked: every call, whole, for assertions."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from tests.emulator.names import ARM_HOST, BLOB_HOST, DATA_HOST


@dataclass(frozen=True)
class Call:
    """One request and the status of its answer; `status` is 0 where the connection was dropped instead."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def is_rest(self) -> bool:
        """A call of the control or data plane of Azure ML: neither a blob nor a token."""
        return self.host in (ARM_HOST, DATA_HOST)

    @property
    def is_upload(self) -> bool:
        """A PUT that carries a blob's bytes (not its metadata, nor a container)."""
        return self.host == BLOB_HOST and self.method == "PUT" and "comp=metadata" not in self.query

    def text(self) -> str:
        """Everything that was sent, to look for what must not be in it."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        url = urllib.parse.unquote(f"{self.host}{self.path}?{self.query}")
        return f"{self.method} {url}\n{headers}\n\n{self.body.decode('utf-8', 'replace')}"

    def __str__(self) -> str:
        return f"{self.status} {self.method} {self.host}{self.path}"


class Recorder:
    """The calls since the last `clear`, in the order of their answers."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.unexpected: list[str] = []
        """Calls that the emulator has no answer for, and hosts that the proxy refused."""

    def clear(self) -> None:
        self.calls.clear()
        self.unexpected.clear()

    def matching(self, method: str, path: str) -> list[Call]:
        """The calls with this method whose `HOST/PATH` holds the regular expression `path`."""
        return [call for call in self.calls if call.method == method and re.search(path, call.host + call.path)]

    @property
    def rest(self) -> list[Call]:
        return [call for call in self.calls if call.is_rest]

    @property
    def uploads(self) -> list[Call]:
        return [call for call in self.calls if call.is_upload]

    def holding(self, text: str) -> list[Call]:
        """The calls that carried `text` anywhere: address, headers or body."""
        return [call for call in self.calls if text in call.text()]
