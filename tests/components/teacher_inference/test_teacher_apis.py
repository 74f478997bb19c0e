"""Every form of address that an endpoint has, and how its key is sent."""

from __future__ import annotations

import pytest
from loopback_teacher import LoopbackTeacher
from teacher_bench import Bench

from teacher_inference.apis import APIS, address, detect
from teacher_inference.settings import Auth

OPENAI = "https://x.openai.azure.com"
FOUNDRY = "https://x.services.ai.azure.com"
SERVERLESS = "https://x.eastus.models.ai.azure.com"
INFERENCE = "?api-version=2024-05-01-preview"

FORMS = [
    # url, api_version, detected API, where requests go
    ("https://host/v1", None, "openai", "https://host/v1/chat/completions"),
    ("https://host", None, "openai", "https://host/v1/chat/completions"),
    ("https://host/", None, "openai", "https://host/v1/chat/completions"),
    ("https://host/gateway/v1", None, "openai", "https://host/gateway/v1/chat/completions"),
    ("http://127.0.0.1:8000/v1", None, "openai", "http://127.0.0.1:8000/v1/chat/completions"),
    (f"{OPENAI}/openai/v1", None, "azure_openai", f"{OPENAI}/openai/v1/chat/completions"),
    (f"{OPENAI}/openai/v1/", "preview", "azure_openai", f"{OPENAI}/openai/v1/chat/completions?api-version=preview"),
    (OPENAI, None, "azure_openai", f"{OPENAI}/openai/v1/chat/completions"),
    (
        f"{OPENAI}/openai/deployments/gpt",
        "2024-10-21",
        "azure_openai",
        f"{OPENAI}/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
    ),
    (
        OPENAI,
        "2024-10-21",
        "azure_openai",
        f"{OPENAI}/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
    ),
    (f"{FOUNDRY}/openai/v1", None, "azure_openai", f"{FOUNDRY}/openai/v1/chat/completions"),
    (f"{FOUNDRY}/models", None, "foundry", f"{FOUNDRY}/models/chat/completions{INFERENCE}"),
    (FOUNDRY, None, "foundry", f"{FOUNDRY}/models/chat/completions{INFERENCE}"),
    (FOUNDRY, "2025-01-01", "foundry", f"{FOUNDRY}/models/chat/completions?api-version=2025-01-01"),
    (SERVERLESS, None, "serverless", f"{SERVERLESS}/chat/completions{INFERENCE}"),
    (f"{SERVERLESS}/v1", None, "serverless", f"{SERVERLESS}/v1/chat/completions"),
    (f"{FOUNDRY}/anthropic", None, "anthropic", f"{FOUNDRY}/anthropic/v1/messages"),
    (f"{FOUNDRY}/anthropic/v1", None, "anthropic", f"{FOUNDRY}/anthropic/v1/messages"),
    ("https://api.anthropic.com", None, "anthropic", "https://api.anthropic.com/v1/messages"),
    ("https://api.anthropic.com/v1", None, "anthropic", "https://api.anthropic.com/v1/messages"),
]


@pytest.mark.parametrize(("url", "version", "api", "call"), FORMS, ids=[f"{url} {v or ''}" for url, v, *_ in FORMS])
def test_where_requests_go(url: str, version: str | None, api: str, call: str) -> None:
    assert detect(url) == api
    assert address(url, api, "gpt", version).call == call


def test_a_name_within_another_host_is_no_azure() -> None:
    assert detect("https://x.openai.azure.com.evil.example/v1") == "openai"
    assert detect("https://host/x.services.ai.azure.com") == "openai"


def test_an_api_may_be_named_where_the_address_does_not_tell() -> None:
    assert address("https://gateway/claude", "anthropic", "m", None).call == "https://gateway/claude/v1/messages"
    assert address("http://127.0.0.1:11434", "ollama", "m", None).call == "http://127.0.0.1:11434/v1/chat/completions"
    assert address(FOUNDRY, "anthropic", "m", None).call == f"{FOUNDRY}/anthropic/v1/messages"


SERVED = {
    # path behind the host, api_version: path that the server sees, headers with the key
    ("/v1", None): ("/v1/chat/completions", {"Authorization"}),
    ("", None): ("/v1/chat/completions", {"Authorization"}),
    ("/openai/v1", None): ("/openai/v1/chat/completions", {"Authorization", "api-key"}),
    ("/openai/deployments/teacher", "2024-10-21"): (
        "/openai/deployments/teacher/chat/completions?api-version=2024-10-21",
        {"Authorization", "api-key"},
    ),
    ("/anthropic", None): ("/anthropic/v1/messages", {"x-api-key"}),
}


@pytest.mark.parametrize("form", SERVED, ids=map(str, SERVED))
def test_a_run_at_each_form(bench: Bench, form: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    (path, version), (seen, headers) = form, SERVED[form]
    monkeypatch.setenv("MY_KEY", "sk-1")
    bench.write("train", ["a", "b"])
    with LoopbackTeacher(key="sk-1") as server:
        result = bench.run(server, url=server.host + path, api_version=version, auth=Auth("key_env", "MY_KEY"))
    assert len(result.train) == 2
    assert {request.path for request in server.requests} == {seen}
    assert {name for name, value in server.requests[0].headers.items() if "sk-1" in value} == headers


@pytest.mark.parametrize("api", ["foundry", "serverless", "vllm", "llama_cpp", "ollama", "anthropic"])
def test_a_run_with_each_api_by_name(bench: Bench, api: str) -> None:
    bench.write("train", ["a", "b"])
    path = APIS[api].base or "/v1"
    with LoopbackTeacher() as server:
        assert len(bench.run(server, url=server.host + path, api=api).train) == 2
    version = APIS[api].version if path == APIS[api].base else None
    assert server.requests[0].path == f"{path}{APIS[api].call}" + (f"?api-version={version}" if version else "")


def test_the_client_knows_the_same_apis() -> None:
    from typing import get_args

    from azure_distill.spec.job import Api

    assert set(get_args(Api)) == set(APIS)
