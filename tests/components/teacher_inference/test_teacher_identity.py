"""Whose identity a step in Azure ML has: the machine's, or that of the user who submitted it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from teacher_inference.auth import azure_credential


class OnBehalf(BaseHTTPRequestHandler):
    """What Azure ML runs beside a step with `identity: user`: tokens of the user, for a resource."""

    def do_GET(self) -> None:
        (resource,) = parse_qs(urlsplit(self.path).query)["resource"]
        token = {"token": f"user-for-{resource}", "expires_on": int(time.time()) + 3600, "token_type": "Bearer"}
        body = json.dumps({**token, "access_token": token["token"], "resource": resource}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def on_behalf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), OnBehalf)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OBO_ENDPOINT", f"http://127.0.0.1:{server.server_port}/token")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("on_behalf")
def test_a_step_of_a_users_identity_asks_as_the_user() -> None:
    token = azure_credential().get_token("https://vault.azure.net/.default")
    assert token.token == "user-for-https://vault.azure.net"


def test_any_other_step_asks_as_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OBO_ENDPOINT", raising=False)
    assert type(azure_credential()).__name__ == "DefaultAzureCredential"
