"""Azure's REST interfaces by azure.core alone: signed in, with its retries, and without the SDK's long import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse

MANAGEMENT = "https://management.azure.com"
SCOPE = f"{MANAGEMENT}/.default"


def make_client(base: str, credential: TokenCredential | None = None) -> PipelineClient[Any, Any]:
    """A client of one service; without a credential, of links that carry their own permission.

    It logs nothing, because of such links.
    """
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy

    signed = [BearerTokenCredentialPolicy(credential, SCOPE)] if credential else []
    return PipelineClient(base, policies=[RetryPolicy(), *signed])


def get(client: PipelineClient[Any, Any], url: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The answer, whatever its status; raises azure.core's exceptions when there is none after retries."""
    from azure.core.rest import HttpRequest

    response: HttpResponse = client.send_request(HttpRequest("GET", url, headers=headers))
    return response
