"""Azure ML registries: where several workspaces find the same components, environments and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_distill.cloud.failures import translated
from azure_distill.cloud.noise import quiet, quiet_loggers
from azure_distill.cloud.session import Session

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential


def connect_registry(name: str, credential: TokenCredential) -> MLClient:
    """The SDK's client of a registry; its subscription and resource group are found by its name, in one request."""
    from azure.ai.ml import MLClient

    quiet_loggers()
    with translated(f"reach the registry {name}"):
        return MLClient(credential, registry_name=name, show_progress=False)


def share_model(session: Session, name: str, version: str, registry: str) -> str:
    """Copy a model of the workspace, with its tags, to a registry as the next version there; returns its address."""
    there = connect_registry(registry, session.credential).models
    with translated(f"share the model {name} with the registry {registry}"), quiet():
        taken = [int(model.version) for model in there.list(name) if str(model.version).isdecimal()]
        next_version = str(max(taken, default=0) + 1)
        session.ml.models.share(
            name, version, share_with_name=name, share_with_version=next_version, registry_name=registry
        )
    return f"azureml://registries/{registry}/models/{name}/versions/{next_version}"
