"""Which workspace and which identity; nothing here needs a server."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from azure.ai.ml.exceptions import ValidationException
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from azure_distill.cloud.auth import SignedIn, describe_token, make_credential
from azure_distill.cloud.failures import short, translated
from azure_distill.cloud.workspace import find_workspace, is_configured
from azure_distill.errors import ConfigurationError, InvalidJob, ServiceUnavailable

CONFIG = {"subscription_id": "s-file", "resource_group": "g-file", "workspace_name": "w-file"}
NOTHING: dict[str, str | None] = {}
NLI = str(Path(__file__).parents[3] / "jobs" / "nli.yaml")


@pytest.mark.parametrize("name", ["config.json", ".azureml/config.json"])
def test_the_nearest_config_upwards_names_the_workspace(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(CONFIG))
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "a" / "config.json").write_text('{"model_type": "llama"}')
    found = find_workspace(NOTHING, {}, below)
    assert (found.subscription, found.resource_group, found.name) == ("s-file", "g-file", "w-file")
    assert found.sources["name"] == str(file)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    environ = {"AZURE_SUBSCRIPTION_ID": "s-env", "AZURE_RESOURCE_GROUP": "g-env"}
    found = find_workspace({"resource_group": "g-flag"}, environ, tmp_path)
    assert (found.subscription, found.resource_group, found.name) == ("s-env", "g-flag", "w-file")
    assert found.sources["subscription"] == "AZURE_SUBSCRIPTION_ID"
    assert found.sources["resource_group"] == "--resource-group"


def test_what_is_missing_is_named_with_the_ways_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_workspace({"name": "w"}, {"AZURE_SUBSCRIPTION_ID": "s"}, tmp_path)
    assert "resource group not given" in str(caught.value)
    assert "--resource-group" in str(caught.value.hint)
    assert not is_configured({}, tmp_path)


def test_a_broken_config_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        find_workspace(NOTHING, {}, tmp_path)


def test_a_service_principal_needs_its_variables() -> None:
    with pytest.raises(ConfigurationError, match="AZURE_CLIENT_SECRET not set"):
        make_credential("service-principal", {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"})
    with pytest.raises(ConfigurationError) as caught:
        make_credential("managed_identity")
    assert "managed-identity" in str(caught.value.hint)


def test_a_token_tells_whose_it_is() -> None:
    def token(**claims: str) -> str:
        return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"

    assert describe_token(token(upn="a@b.c", tid="t1")) == "a@b.c, tenant t1"
    assert describe_token(token(appid="app1")) == "application app1"
    assert describe_token("no token") == "unknown"


def test_a_message_is_one_line_without_colours() -> None:
    assert short("\x1b[31m\n  (Code) It is so.\nCode: Code\n") == "(Code) It is so."
    assert len(short("x" * 5000)) < 500


@pytest.mark.parametrize(
    "verb", [["list", "--azure"], ["doctor"], ["components", "register"], ["logs", "some_run", "--azure"]]
)
def test_without_a_workspace_a_verb_ends_with_a_remedy(verb: list[str], tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AZURE")}
    environ = {**kept, "AZURE_DISTILL_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "azure_distill", *verb], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == ConfigurationError.exit_code, done.stderr
    said = (done.stdout + done.stderr).strip()
    assert "config.json" in said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    "verb",
    [["doctor"], ["list", "--azure"], ["status", "some_run", "--azure"], ["submit", NLI], ["components", "register"]],
)
def test_without_a_way_to_sign_in_a_verb_ends_soon_with_a_remedy(verb: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    refusing = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "IDENTITY_", "MSI_"))}
    environ = {**kept, **refusing, "AZURE_DISTILL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "azure_distill", *verb], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert time.monotonic() - started < 20
    assert done.returncode == ConfigurationError.exit_code, done.stderr
    said = done.stdout + done.stderr
    assert "az login" in said
    assert len(said.strip().splitlines()) <= 3
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("tried", "told"),
    [
        ("EnvironmentCredential: Authentication failed: Unable to connect to proxy", "Unable to connect to proxy"),
        ("AzureCliCredential: AADSTS700082: The refresh token has expired.", "AADSTS700082"),
        ("AzureCliCredential: Azure CLI not found on path", "no way to sign in worked"),
    ],
)
def test_of_a_chain_of_credentials_the_one_that_failed_is_told(tried: str, told: str) -> None:
    chain = "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
    unavailable = "\tWorkloadIdentityCredential: authentication unavailable. The client id is not set.\n"
    with pytest.raises(ConfigurationError, match=told), translated("sign in"):
        raise ClientAuthenticationError(f"{chain}{unavailable}\t{tried}\nTo mitigate this issue, …")


class Slow:
    """A credential that counts how often it is asked, and whose tokens last for so many seconds."""

    def __init__(self, lasts: float, failure: Exception | None = None) -> None:
        self.lasts, self.failure, self.asked = lasts, failure, list[str]()

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        time.sleep(0.02)
        self.asked.append(scopes[0])
        if self.failure:
            raise self.failure
        return AccessToken(f"t{len(self.asked)}", int(time.time() + self.lasts))


def asked_by_many(credential: SignedIn, scope: str = "arm") -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return [token.token for token in pool.map(lambda _: credential.get_token(scope), range(16))]


def test_many_clients_sign_in_once_for_each_audience() -> None:
    slow = Slow(3600)
    credential = SignedIn(slow)
    assert set(asked_by_many(credential)) == {"t1"}
    assert set(asked_by_many(credential, "storage")) == {"t2"}
    assert slow.asked == ["arm", "storage"]


def test_a_token_near_its_end_is_renewed() -> None:
    slow = Slow(200)
    assert len(set(asked_by_many(SignedIn(slow)))) == 16


def test_what_has_failed_is_not_tried_again_at_once() -> None:
    slow = Slow(3600, ClientAuthenticationError("no"))
    credential = SignedIn(slow)
    for _ in range(3):
        with pytest.raises(ClientAuthenticationError):
            credential.get_token("arm")
    assert slow.asked == ["arm"]
    slow.failure = None
    with patch("azure_distill.cloud.auth.PATIENCE", 0):
        assert credential.get_token("arm").token == "t2"


def test_nobody_answering_is_not_the_jobs_fault_and_what_the_sdk_refuses_is() -> None:
    with pytest.raises(ServiceUnavailable, match="cannot look: refused"), translated("look"):
        raise ServiceRequestError("refused", error=ConnectionRefusedError("refused"))
    with pytest.raises(InvalidJob, match="cannot look: too long"), translated("look"):
        raise ValidationException(message="too long", no_personal_data_message="too long")
    with pytest.raises(KeyError), translated("look"):
        raise KeyError("a bug")


def test_a_challenge_is_answered_with_a_new_token() -> None:
    slow = Slow(3600)
    credential = SignedIn(slow)
    assert [credential.get_token("arm", claims="c").token for _ in range(2)] == ["t1", "t2"]
