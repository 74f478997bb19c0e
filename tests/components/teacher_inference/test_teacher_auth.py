from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, NamedTuple

import pytest

from shared.errors import AuthError
from teacher_inference.auth import Credential, EntraToken, Key, NoCredential, credential
from teacher_inference.settings import Auth


class Token(NamedTuple):
    token: str
    expires_on: float


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Auth:
    monkeypatch.setenv("MY_KEY", "sk-123")
    return Auth("key_env", "MY_KEY")


def headers(credential: Credential) -> dict[str, str]:
    return asyncio.run(credential.headers())


def test_a_key_is_a_bearer_token_unless_the_api_has_its_own_header(key: Auth) -> None:
    assert headers(credential(key, "https://host/v1", ["Authorization"])) == {"Authorization": "Bearer sk-123"}
    both = headers(credential(key, "https://host/v1", ["Authorization", "api-key"]))
    assert both == {"Authorization": "Bearer sk-123", "api-key": "sk-123"}
    assert headers(credential(key, "https://host/v1", ["x-api-key"])) == {"x-api-key": "sk-123"}


def test_a_connection_stands_in_for_a_variable_that_is_not_set(key: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Auth("key_env", "MY_KEY", "my-connection")
    assert headers(credential(both, "https://host/v1", ["Authorization"])) == {"Authorization": "Bearer sk-123"}
    monkeypatch.delenv("MY_KEY")
    monkeypatch.setattr("teacher_inference.auth.from_connection", {"my-connection": "sk-456"}.__getitem__)
    assert headers(credential(both, "https://host/v1", ["Authorization"])) == {"Authorization": "Bearer sk-456"}


def test_a_key_that_no_header_can_carry_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1\n23")
    with pytest.raises(AuthError, match="MY_KEY") as caught:
        credential(Auth("key_env", "MY_KEY"), "https://host/v1", ["Authorization"])
    assert "sk-1" not in str(caught.value)


def test_scrubbing() -> None:
    assert Key("sk-123", "the key in X", ["x-api-key"]).scrub("wrong key sk-123!") == "wrong key ***!"
    assert NoCredential().scrub("text") == "text"


def test_a_token_is_fetched_once_and_replaced_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("teacher_inference.auth.time.time", lambda: now)
    asked: list[str] = []

    def get_token(scope: str) -> Any:
        asked.append(scope)
        return Token(f"t{len(asked)}", now + 3600)

    tokens = EntraToken("scope", get_token)
    assert [headers(tokens)["Authorization"] for _ in range(3)] == ["Bearer t1"] * 3
    now += 3600 - 299
    assert headers(tokens)["Authorization"] == "Bearer t2"
    assert asked == ["scope", "scope"]


def test_many_requests_renew_a_token_once_and_in_a_thread() -> None:
    threads: list[int] = []

    def get_token(scope: str) -> Any:
        threads.append(threading.get_ident())
        return Token("t", time.time() + 3600)

    async def burst() -> list[dict[str, str]]:
        tokens = EntraToken("scope", get_token)
        return await asyncio.gather(*(tokens.headers() for _ in range(20)))

    assert asyncio.run(burst()) == [{"Authorization": "Bearer t"}] * 20
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_a_token_that_cannot_be_renewed_is_used_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.core.exceptions import ServiceRequestError

    now = 1000.0
    monkeypatch.setattr("teacher_inference.auth.time.time", lambda: now)
    answers: list[Any] = [Token("t1", now + 3600), ServiceRequestError("no network"), Token("t2", now + 7200)]

    def get_token(scope: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    tokens = EntraToken("scope", get_token)
    assert headers(tokens)["Authorization"] == "Bearer t1"
    now += 3600 - 200
    assert [headers(tokens)["Authorization"] for _ in range(2)] == ["Bearer t1"] * 2  # tried once, then again later
    now += 31
    assert headers(tokens)["Authorization"] == "Bearer t2"


def test_a_connection_outside_azure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZUREML_ARM_SUBSCRIPTION", raising=False)
    with pytest.raises(AuthError, match=r"only be read inside an Azure ML job.*api_key_env"):
        credential(Auth("connection", "my-connection"), "https://host/v1", ["Authorization"])


def test_an_identity_that_cannot_sign_in_is_an_auth_error() -> None:
    from azure.core.exceptions import ClientAuthenticationError

    def get_token(scope: str) -> Any:
        raise ClientAuthenticationError("no identity worked\nlong story")

    with pytest.raises(AuthError, match=r"Entra ID gave no token \(no identity worked\)"):
        headers(EntraToken("scope", get_token))
