"""One tiny request to a job's teacher, with the key or identity that the job names: is it there, and may we ask it?"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from azure_distill.cloud.session import Session
from azure_distill.errors import ConfigurationError, NotFound, ServiceUnavailable
from azure_distill.plan.plan import Literal, Plan

COGNITIVE = "https://cognitiveservices.azure.com/.default"
VAULT = "https://vault.azure.net/.default"
TOKENS, SECONDS = 16, 60  # an answer's length and the time to wait for it
LENGTHS = ("max_tokens", "max_completion_tokens")  # the names that endpoints have for the first
REFUSED = {401: ConfigurationError, 403: ConfigurationError, 404: NotFound}
SAID = 200
ANTHROPIC = re.compile(r"/anthropic(/v1)?/?$")


def ask_teacher(session: Session | None, plan: Plan, environ: Mapping[str, str]) -> str:
    """What came of asking, in words; raises DistillError where the teacher cannot be asked so."""
    binding = plan.step("teacher_inference").inputs.get("endpoint")
    if not isinstance(binding, Literal):
        return "hosted by the job itself, there is nothing to ask"
    endpoint: dict[str, Any] = json.loads(str(binding.value))
    key, source = _key(session, endpoint["auth"], environ)
    headers = _headers(key, source == "Entra ID", _is_claude(endpoint))
    started = time.monotonic()
    for length in LENGTHS:
        status, said = _post(endpoint, headers, length)
        if status != 400 or LENGTHS[1] not in said:
            break
    what = f"{endpoint['model']} at {endpoint['url']}"
    if status == 200:
        return f"{what} answers in {time.monotonic() - started:.1f} s, by {source}"
    if status == 429:
        return f"{what} is there and busy (429), by {source}"
    raised = REFUSED.get(status, ServiceUnavailable if status >= 500 or not status else ConfigurationError)
    said = said.replace(key, "***") if key else said
    raise raised(f"{what} refuses a request by {source}: {status or ''} {said}".replace(":  ", ": "), _remedy(status))


def _key(session: Session | None, auth: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The secret, and where it is from: the variable where it is set, else the connection."""
    if auth["kind"] == "none":
        return None, "nobody"
    if auth["kind"] == "key_env" and (key := environ.get(auth["name"])):
        return key.strip(), f"the key in {auth['name']}"
    if session is None:
        raise ConfigurationError(
            "not asked: its key cannot be had without the workspace", "set the variable of its key"
        )
    if auth["kind"] == "entra":
        return session.credential.get_token(COGNITIVE).token, "Entra ID"
    if auth["kind"] == "key_vault":
        return _secret(session, auth["url"]), f"the secret at {auth['url']}"
    if name := auth.get("connection"):
        found: Any = session.ml.connections.get(name, populate_secrets=True)
        secret = getattr(found.credentials, "key", None) or getattr(found, "api_key", None)
        if secret:
            return str(secret), f"the key of the connection {name}"
        raise ConfigurationError(f"the connection {name} holds no key", "make one of the type api_key: docs/azure.md")
    raise ConfigurationError(f"{auth['name']} is not set: there is no key to ask with", "set it, or name a connection")


def _secret(session: Session, url: str) -> str:
    """The value of a Key Vault secret."""
    token = session.credential.get_token(VAULT).token
    request = urllib.request.Request(f"{url}?api-version=7.4", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return str(json.load(answer)["value"]).strip()
    except (OSError, ValueError, KeyError) as error:  # an HTTPError is an OSError
        hint = "your identity needs the role Key Vault Secrets User"
        raise ConfigurationError(f"the secret at {url} cannot be read: {error}", hint) from None


def _is_claude(endpoint: Mapping[str, Any]) -> bool:
    """Whether the endpoint speaks Anthropic's Messages API, as the teacher's component tells it."""
    api = endpoint.get("api")
    return bool(api == "anthropic" or (api is None and ANTHROPIC.search(endpoint["url"])))


def _headers(key: str | None, token: bool, claude: bool) -> dict[str, str]:
    found = {"Content-Type": "application/json"} | ({"anthropic-version": "2023-06-01"} if claude else {})
    if key and claude and not token:
        return found | {"x-api-key": key}
    return found | ({"Authorization": f"Bearer {key}"} if key else {}) | ({"api-key": key} if key and not token else {})


def _post(endpoint: Mapping[str, Any], headers: Mapping[str, str], length: str) -> tuple[int, str]:
    """Status and beginning of the answer; status 0 where nobody answers."""
    url = str(endpoint["url"]).rstrip("/")
    url = f"{url.removesuffix('/v1')}/v1/messages" if _is_claude(endpoint) else f"{url}/chat/completions"
    if version := endpoint.get("api_version"):
        url += f"?api-version={version}"
    body = {"model": endpoint["model"], "messages": [{"role": "user", "content": "Say OK."}], length: TOKENS}
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        return error.code, " ".join(error.read(4096).decode("utf-8", "replace").split())[:SAID]
    except (urllib.error.URLError, OSError) as error:
        return 0, f"nobody answers ({getattr(error, 'reason', error)})"


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "a key of another resource? an identity without the role Cognitive Services User?"
    if status == 404:
        return "teacher_model.endpoint ends before /chat/completions; deployment: is the name in your resource"
    return "look at teacher_model.endpoint and deployment"
