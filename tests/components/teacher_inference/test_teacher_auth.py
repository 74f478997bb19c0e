from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from shared.errors import AuthError
from teacher_inference.auth import EntraToken, Key, NoCredential, credential
from teacher_inference.settings import Auth


class Token(NamedTuple):
    token: str
    expires_on: float


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Auth:
    monkeypatch.setenv("MY_KEY", "sk-123")
    return Auth("key_env", "MY_KEY")


def test_a_key_is_a_bearer_token(key: Auth) -> None:
    assert credential(key, "https://host/v1").headers() == {"Authorization": "Bearer sk-123"}


@pytest.mark.parametrize(
    "url", ["https://x.openai.azure.com/openai/deployments/d", "https://x.cognitiveservices.azure.com/openai/v1"]
)
def test_azure_gets_it_under_its_own_name_too(key: Auth, url: str) -> None:
    assert credential(key, url).headers()["api-key"] == "sk-123"


def test_a_connection_stands_in_for_a_variable_that_is_not_set(key: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Auth("key_env", "MY_KEY", "my-connection")
    assert credential(both, "https://host/v1").headers() == {"Authorization": "Bearer sk-123"}
    monkeypatch.delenv("MY_KEY")
    monkeypatch.setattr("teacher_inference.auth.from_connection", {"my-connection": "sk-456"}.__getitem__)
    assert credential(both, "https://host/v1").headers() == {"Authorization": "Bearer sk-456"}


def test_only_azures_hosts_get_it_so(key: Auth) -> None:
    for url in ("https://openai.azure.com.evil.example/v1", "https://host/x.openai.azure.com"):
        assert "api-key" not in credential(key, url).headers()


def test_a_key_that_no_header_can_carry_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1\n23")
    with pytest.raises(AuthError, match="MY_KEY") as caught:
        credential(Auth("key_env", "MY_KEY"), "https://host/v1")
    assert "sk-1" not in str(caught.value)


def test_scrubbing() -> None:
    assert Key("sk-123", "the key in X", "host").scrub("wrong key sk-123!") == "wrong key ***!"
    assert NoCredential().scrub("text") == "text"


def test_a_token_is_fetched_once_and_replaced_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("teacher_inference.auth.time.time", lambda: now)
    asked: list[str] = []

    def get_token(scope: str) -> Any:
        asked.append(scope)
        return Token(f"t{len(asked)}", now + 3600)

    tokens = EntraToken("scope", get_token)
    assert [tokens.headers()["Authorization"] for _ in range(3)] == ["Bearer t1"] * 3
    now += 3600 - 299
    assert tokens.headers()["Authorization"] == "Bearer t2"
    assert asked == ["scope", "scope"]


def test_a_connection_outside_azure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZUREML_ARM_SUBSCRIPTION", raising=False)
    with pytest.raises(AuthError, match=r"only be read inside an Azure ML job.*api_key_env"):
        credential(Auth("connection", "my-connection"), "https://host/v1")


def test_an_identity_that_cannot_sign_in_is_an_auth_error() -> None:
    from azure.core.exceptions import ClientAuthenticationError

    def get_token(scope: str) -> Any:
        raise ClientAuthenticationError("no identity worked\nlong story")

    with pytest.raises(AuthError, match=r"Entra ID gave no token \(no identity worked\)"):
        EntraToken("scope", get_token).headers()
