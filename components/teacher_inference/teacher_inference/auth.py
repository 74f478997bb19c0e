"""The endpoint's secret: fetched at run time, sent in a header, kept nowhere."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from shared.errors import AuthError, NotFound, Problem, ServiceUnavailable
from teacher_inference.settings import Auth

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com/.default"
MACHINE_LEARNING = "https://ml.azure.com/.default"
VAULT = "https://vault.azure.net/.default"
WORKSPACE = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
EARLY = 300.0  # seconds before its end at which a token is replaced
AGAIN = 30.0  # seconds after which a token that could not be replaced is tried again


class Credential(Protocol):
    """Gives the header of each request."""

    @property
    def source(self) -> str:
        """Where the secret comes from, for messages: "the key in TEACHER_API_KEY"."""

    async def headers(self) -> dict[str, str]: ...

    def scrub(self, text: str) -> str:
        """`text` without the secret."""


class NoCredential:
    """An endpoint that asks for nothing."""

    source = "a request without a key"

    async def headers(self) -> dict[str, str]:
        return {}

    def scrub(self, text: str) -> str:
        return text


class Key:
    """A fixed secret, sent in each of the headers `names`."""

    def __init__(self, secret: str, source: str, names: Sequence[str]) -> None:
        if not secret.isascii() or not secret.isprintable():
            raise AuthError(f"{source} holds characters that no HTTP header can carry")
        self._secret, self.source = secret, source
        self._headers = {name: f"Bearer {secret}" if name == "Authorization" else secret for name in names}

    async def headers(self) -> dict[str, str]:
        return self._headers

    def scrub(self, text: str) -> str:
        return text.replace(self._secret, "***")


class EntraToken:
    """A token of Microsoft Entra ID, replaced before it ends, in a thread: requests on their way go on."""

    source = "the Entra ID token of this identity"

    def __init__(self, scope: str, get_token: Callable[[str], Any] | None = None) -> None:
        self._scope = scope
        self._get_token = get_token or azure_credential().get_token
        self._token, self._ends, self._renew_at = "", 0.0, 0.0
        self._renewing = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        if time.time() > self._renew_at:
            async with self._renewing:
                if time.time() > self._renew_at:
                    await asyncio.to_thread(self._renew)
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        try:
            token = _azure(lambda: self._get_token(self._scope), "Entra ID gave no token")
        except AuthError:
            if time.time() > self._ends:
                raise
            self._renew_at = time.time() + AGAIN  # the old one still holds
            return
        self._token, self._ends = token.token, token.expires_on
        self._renew_at = self._ends - EARLY

    def scrub(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text


def credential(auth: Auth, url: str, key_headers: Sequence[str]) -> Credential:
    """The credential that a job names; raises AuthError, with what to do, where it cannot be had."""
    host = urlsplit(url).hostname or ""
    if auth.connection and not os.environ.get(auth.where):
        auth = Auth("connection", auth.connection)
    if auth.kind == "none":
        return NoCredential()
    if auth.kind == "entra":
        return EntraToken(MACHINE_LEARNING if host.endswith(".inference.ml.azure.com") else COGNITIVE_SERVICES)
    read = {"key_env": from_environment, "connection": from_connection, "key_vault": from_key_vault}[auth.kind]
    named = {"key_env": "the key in {}", "connection": "the key of the connection {}", "key_vault": "the secret at {}"}
    source = named[auth.kind].format(auth.where)
    secret = read(auth.where).strip()
    if not secret:
        raise AuthError(f"{source} is empty")
    return Key(secret, source, key_headers)


def from_environment(name: str) -> str:
    secret = os.environ.get(name, "")
    if not secret.strip():
        state = "empty" if name in os.environ else "not set"
        raise AuthError(Problem(f"the environment variable {name} is {state}", hint="it must hold the teacher's key"))
    return secret


def from_connection(name: str) -> str:
    """The key of a connection of the Azure ML workspace that this job runs in."""
    subscription, group, workspace = (os.environ.get(variable) for variable in WORKSPACE)
    if not (subscription and group and workspace):
        raise AuthError(
            Problem(
                f"the connection {name} can only be read inside an Azure ML job",
                hint="elsewhere name an environment variable with api_key_env",
            )
        )
    try:
        from azure.ai.ml import MLClient
    except ImportError:
        raise AuthError(f"the connection {name} needs the package azure-ai-ml") from None
    client = MLClient(azure_credential(), subscription, group, workspace)
    connection = _azure(
        lambda: client.connections.get(name, populate_secrets=True), f"the connection {name} cannot be read"
    )
    found = getattr(connection, "credentials", None)
    return str(getattr(found, "key", None) or getattr(connection, "api_key", None) or "")


def from_key_vault(url: str) -> str:
    """The value of a Key Vault secret, `https://VAULT.vault.azure.net/secrets/NAME[/VERSION]`."""
    token = _azure(lambda: azure_credential().get_token(VAULT), "Entra ID gave no token for Key Vault")
    request = urllib.request.Request(f"{url}?api-version=7.4", headers={"Authorization": f"Bearer {token.token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.load(response)["value"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise NotFound(f"there is no secret at {url}") from None
        raise AuthError(f"Key Vault refused to give {url} ({error.code})") from None
    except (OSError, ValueError, KeyError) as error:
        raise ServiceUnavailable(f"Key Vault did not give {url}: {type(error).__name__}") from None


def azure_credential() -> Any:
    """The identity that this process runs as; in a step with `identity: user`, that of who submitted it."""
    if os.environ.get("OBO_ENDPOINT"):
        from azure.ai.ml.identity import AzureMLOnBehalfOfCredential

        return AzureMLOnBehalfOfCredential()
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise AuthError("signing in to Azure needs the package azure-identity") from None
    return DefaultAzureCredential()


def _azure(call: Callable[[], Any], failure: str) -> Any:
    """An Azure call whose failure is the user's to mend; the SDK's own message names the identities it tried."""
    from azure.core.exceptions import AzureError

    try:
        return call()
    except AzureError as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise AuthError(Problem(failure, hint=reason[:300])) from None
