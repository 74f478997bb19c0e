"""What Azure's exceptions mean to a user, in this project's words and exit codes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from azure_distill.errors import ConfigurationError, DistillError, InvalidJob, NotFound, Problem, ServiceUnavailable

SIGN_IN = "sign in with `az login`, or choose another identity with --auth; `azure-distill doctor` shows which is used"
ROLE = "ask for the role AzureML Data Scientist (and Storage Blob Data Contributor) on the workspace"
WHICH = "is it named right? `azure-distill doctor` shows where each name comes from"
LONGEST = 400
FAILED = re.compile("AADSTS|Authentication failed|invalid", re.IGNORECASE)  # not merely unavailable


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise Azure's exceptions as DistillErrors; `doing` says what was tried ("register the component X")."""
    try:
        yield
    except DistillError:
        raise
    except Exception as error:
        raised = _translate(error, doing)
        if raised is None:
            raise
        raise raised from error


def _translate(error: Exception, doing: str) -> DistillError | None:
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    if isinstance(error, ClientAuthenticationError):  # CredentialUnavailableError is one
        return ConfigurationError(f"cannot {doing}: {_identity(error)}", SIGN_IN)
    if isinstance(error, HttpResponseError):
        return _response(error.status_code, _said(error), doing)
    if isinstance(error, AzureError) and hasattr(error, "error_category"):  # MlException, of a module that loads long
        inner = error.inner_exception or error.__cause__
        if isinstance(inner, HttpResponseError):
            return _response(inner.status_code, _said(inner), doing)
        return InvalidJob([Problem(f"cannot {doing}: {_ml_message(error)}")])
    if isinstance(error, AzureError):  # nobody answered, after retries
        return ServiceUnavailable(f"cannot {doing}: {short(str(error.message or error))}", "try again later")
    return None


def _response(status: int | None, said: str, doing: str) -> DistillError:
    message = f"cannot {doing}: {said}"
    if status == 401:
        return ConfigurationError(message, SIGN_IN)
    if status == 403:
        return ConfigurationError(message, ROLE)
    if status == 404:
        return NotFound(message, WHICH if "/workspaces/" in said else None)
    if status is None or status in (408, 429) or status >= 500:
        return ServiceUnavailable(message, "try again later")
    return InvalidJob([Problem(message)])


def _said(error: Exception) -> str:
    """`(Code) message`: the first line that says something."""
    return short(str(getattr(error, "message", None) or error))


def _identity(error: Exception) -> str:
    """Why a credential chain gave up: it lists members that are not set up, and ends at the first that is and fails."""
    text = str(getattr(error, "message", None) or error)
    if "failed to retrieve a token from the included credentials" in text:
        tried = re.findall(r"^\s*(\w+Credential): (.+)$", text, re.MULTILINE)
        told = next((f"{name}: {why}" for name, why in tried if FAILED.search(why)), None)
        return short(told or "no way to sign in worked")
    return short(text)


def _ml_message(error: Exception) -> str:
    """The SDK's validation errors are JSON with one entry a field."""
    text = str(getattr(error, "message", None) or error)
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        value = json.loads(found.group()) if found else {}
    except ValueError:
        value = {}
    errors = value.get("errors") if isinstance(value, dict) else None
    if isinstance(errors, list) and errors:
        told = (f"{entry.get('path', '')}: {entry.get('message', '')}" for entry in errors if isinstance(entry, dict))
        return short("; ".join(told))
    return short(text)


def short(text: str) -> str:
    """One line, not too long, without terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    line = lines[0] if lines else "no reason given"
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
