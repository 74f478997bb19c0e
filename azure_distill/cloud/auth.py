"""Who talks to Azure: DefaultAzureCredential, or one way of signing in that was asked for; signed in once."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from azure_distill.errors import ConfigurationError, choices

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

WAYS = ("default", "cli", "managed-identity", "service-principal", "interactive", "device-code")
PRINCIPAL = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
SECONDS = 8  # that one helper program of a sign-in may take
RENEWED = 300  # seconds before a token's end; the SDK's clients renew theirs then, too
PATIENCE = 10  # seconds in which a way to sign in that has failed is not tried again


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
    return SignedIn(makers[way]())


class SignedIn:
    """A credential that asks for each token once, whoever needs it.

    Each of the SDK's dozen clients asks for a token of its own, and some credentials, as that of `az login`, start a
    program of a second for each.
    """

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential
        self._lock = threading.Lock()
        self._tokens = dict[Any, "AccessToken"]()
        self._failures = dict[Any, tuple[float, Exception]]()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As of any `TokenCredential`; raises what the credential raises."""
        key = scopes, *sorted(options.items())
        with self._lock:
            token = self._tokens.get(key)
            challenged = "claims" in options  # the service wants another than it was shown
            if token is None or challenged or token.expires_on - time.time() < RENEWED:
                token = self._tokens[key] = self._new(key, scopes, options)
            return token

    def _new(self, key: Any, scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessToken:
        when, failure = self._failures.get(key, (0.0, None))
        if failure and time.monotonic() - when < PATIENCE:
            raise failure
        try:
            return self._credential.get_token(*scopes, **options)
        except Exception as error:
            self._failures[key] = time.monotonic(), error
            raise


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
