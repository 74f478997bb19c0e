"""Who talks to Azure: DefaultAzureCredential, or one way of signing in that was asked for."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from azure_distill.errors import ConfigurationError, choices

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

WAYS = ("default", "cli", "managed-identity", "service-principal", "interactive", "device-code")
MANAGEMENT = "https://management.azure.com/.default"
PRINCIPAL = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
SECONDS = 8  # that one helper program of a sign-in may take


def make_credential(way: str = "default", environ: Mapping[str, str] = os.environ) -> TokenCredential:
    """The credential of a way of signing in; raises ConfigurationError when it cannot work."""
    from azure import identity

    principal = identity.EnvironmentCredential
    makers: dict[str, Callable[[], TokenCredential]] = {
        "default": lambda: identity.DefaultAzureCredential(process_timeout=SECONDS),
        "cli": lambda: identity.AzureCliCredential(process_timeout=SECONDS),
        "managed-identity": lambda: identity.ManagedIdentityCredential(client_id=environ.get("AZURE_CLIENT_ID")),
        "service-principal": principal,
        "interactive": identity.InteractiveBrowserCredential,
        "device-code": identity.DeviceCodeCredential,
    }
    if way not in makers:
        raise ConfigurationError(f"there is no way to sign in called {way!r}", choices(way, WAYS))
    missing = [name for name in PRINCIPAL if not environ.get(name)]
    if way == "service-principal" and missing and not environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
        raise ConfigurationError(f"no service principal: {', '.join(missing)} not set", "set them")
    return makers[way]()


def describe_token(token: str) -> str:
    """Whose token it is, in words; its claims are read, not checked."""
    claims = _claims(token)
    who = claims.get("upn") or claims.get("unique_name") or claims.get("preferred_username")
    if who is None and (app := claims.get("appid") or claims.get("azp")):
        who = f"application {app}"
    tenant = claims.get("tid")
    return f"{who or claims.get('oid') or 'unknown'}" + (f", tenant {tenant}" if tenant else "")


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
