"""Identities: tokens that the SDK can decode and the emulator verifies, and the places that hand them out."""

from __future__ import annotations

import hmac
import secrets
import time
import uuid
from collections.abc import Collection
from typing import Any

import jwt
from aiohttp import web
from azure.core.credentials import AccessToken

from tests.emulator.names import LOGIN_HOST, TENANT

LIFETIME = 3600


class TokenError(Exception):
    """A token that is refused; the text is Azure's error code."""


class Tokens:
    """Issues and verifies the tokens of one emulator; the client secrets of its identities are fresh ones."""

    def __init__(self) -> None:
        self._key = secrets.token_hex(32)
        self.client_id = str(uuid.uuid4())
        self.client_secret = secrets.token_urlsafe(24)
        self.managed_identity_secret = secrets.token_urlsafe(24)

    def issue(self, resource: str, lifetime: float = LIFETIME) -> AccessToken:
        """A token for a resource such as `https://management.azure.com`; a negative lifetime gives an expired one."""
        now = int(time.time())
        claims = {
            "aud": resource.removesuffix("/"),
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now,
            "nbf": now - 60,
            "exp": int(now + lifetime),
            "tid": TENANT,
            "oid": self.client_id,
            "appid": self.client_id,
        }
        return AccessToken(jwt.encode(claims, self._key, algorithm="HS256"), int(now + lifetime))

    def verify(self, header: str, audiences: Collection[str]) -> None:
        """Raises TokenError unless `Bearer TOKEN` is one of ours, alive and meant for one of the audiences."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenError("AuthenticationFailed")
        try:
            jwt.decode(token, self._key, algorithms=["HS256"], audience=list(audiences))
        except jwt.ExpiredSignatureError:
            raise TokenError("ExpiredAuthenticationToken") from None
        except jwt.InvalidAudienceError:
            raise TokenError("InvalidAuthenticationTokenAudience") from None
        except jwt.InvalidTokenError:
            raise TokenError("InvalidAuthenticationToken") from None


class EmulatorCredential:
    """A credential for tests in this process, with no sign-in; `lifetime` seconds, negative for expired tokens."""

    def __init__(self, tokens: Tokens, lifetime: float = LIFETIME) -> None:
        self._tokens, self._lifetime = tokens, lifetime

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return self._tokens.issue(resource_of(scopes[0]), self._lifetime)


def resource_of(scope: str) -> str:
    return scope.removesuffix("/.default").removesuffix("/")


class SignIn:
    """login.microsoftonline.com for service principals, and the managed identity of a compute node."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def login(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/common/discovery/instance", self._instances)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        return app

    async def managed_identity(self, request: web.Request) -> web.Response:
        """The App Service form: `GET IDENTITY_ENDPOINT?resource=…` with the header `X-IDENTITY-HEADER`."""
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self._tokens.managed_identity_secret):
            return web.json_response({"statusCode": 401, "message": "no identity"}, status=401)
        resource = resource_of(request.query["resource"])
        token = self._tokens.issue(resource)
        return web.json_response({
            "access_token": token.token,
            "expires_on": str(token.expires_on),
            "resource": resource,
            "token_type": "Bearer",
        })  # fmt: skip

    async def _instances(self, _: web.Request) -> web.Response:
        alias = {"preferred_network": LOGIN_HOST, "preferred_cache": LOGIN_HOST, "aliases": [LOGIN_HOST]}
        endpoint = f"https://{LOGIN_HOST}/{TENANT}/v2.0/.well-known/openid-configuration"
        return web.json_response({
            "tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [alias]
        })  # fmt: skip

    async def _configuration(self, request: web.Request) -> web.Response:
        root = f"https://{LOGIN_HOST}/{request.match_info['tenant']}"
        return web.json_response({
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
        })  # fmt: skip

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = form.get("client_id") == self._tokens.client_id and form.get("client_secret") == (
            self._tokens.client_secret
        )
        if not known or request.match_info["tenant"] != TENANT:
            refusal = "AADSTS7000215: Invalid client secret provided."
            return web.json_response({"error": "invalid_client", "error_description": refusal}, status=401)
        token = self._tokens.issue(resource_of(str(form["scope"]).split()[0]))
        return web.json_response({
            "token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME, "access_token": token.token
        })  # fmt: skip
