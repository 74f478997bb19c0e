"""The APIs that a teacher may stand behind: how each is addressed, and what it can be asked.  One table.

An address that is a bare host is completed; any other is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

# by which part of a request an answer is held to a set of labels, or to JSON
Constraint = Literal["json_schema", "output_config", "structured_outputs", "guided", "grammar"]


@dataclass(frozen=True)
class Api:
    """One kind of endpoint.

    `base` completes a bare host; `version` is the `api-version` that such an address needs.  `key_headers` carry a
    key (a token of Entra ID is always a bearer token).  `constraints` and `top_logprobs` are tried in order: the next
    where an endpoint refuses one, none in the end.
    """

    base: str = "/v1"
    call: str = "/chat/completions"
    version: str | None = None
    key_headers: tuple[str, ...] = ("Authorization",)
    headers: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ("json_schema",)
    top_logprobs: tuple[int, ...] = (20, 5)


BOTH = ("Authorization", "api-key")  # which of the two a model in Foundry reads depends on how it is deployed
INFERENCE = "2024-05-01-preview"

APIS: Mapping[str, Api] = {
    "openai": Api(),
    "azure_openai": Api("/openai/v1", key_headers=BOTH),
    "foundry": Api("/models", version=INFERENCE, key_headers=BOTH),
    "serverless": Api("", version=INFERENCE, key_headers=BOTH),
    "anthropic": Api(
        "/anthropic/v1",
        "/messages",
        key_headers=("x-api-key",),
        headers={"anthropic-version": "2023-06-01"},
        constraints=("output_config",),
        top_logprobs=(),
    ),
    "vllm": Api(constraints=("structured_outputs", "guided", "json_schema")),
    "llama_cpp": Api(constraints=("grammar", "json_schema")),
    "ollama": Api(),
}

HOSTS: Mapping[str, str] = {
    ".openai.azure.com": "azure_openai",
    ".cognitiveservices.azure.com": "azure_openai",
    ".services.ai.azure.com": "foundry",
    ".models.ai.azure.com": "serverless",
    ".inference.ai.azure.com": "serverless",
    "api.anthropic.com": "anthropic",
}


@dataclass(frozen=True)
class Address:
    """Where requests go.  `base` names the endpoint to the user and in request keys, `call` is what is posted to."""

    base: str
    call: str


def detect(url: str) -> str:
    """The API that an address speaks, as far as the address tells; most others are like OpenAI's."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if path.endswith(("/anthropic", "/anthropic/v1")):
        return "anthropic"
    if "/openai/" in f"{path}/":
        return "azure_openai"
    return next((api for end, api in HOSTS.items() if host.endswith(end)), "openai")


def address(url: str, name: str, model: str, api_version: str | None) -> Address:
    """The whole address of an endpoint of the API `name`."""
    api, parts = APIS[name], urlsplit(url)
    path = parts.path.rstrip("/")
    if not path:
        path = f"/openai/deployments/{model}" if name == "azure_openai" and api_version else api.base
        path = "/v1" if parts.hostname == "api.anthropic.com" else path
    elif name == "anthropic" and not path.endswith("/v1"):
        path += "/v1"
    version = api_version or (api.version if path == api.base else None)
    base = f"{parts.scheme}://{parts.netloc}{path}"
    return Address(base, f"{base}{api.call}" + (f"?api-version={version}" if version else ""))
