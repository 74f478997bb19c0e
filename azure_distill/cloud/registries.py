"""Azure ML registries: where several workspaces find the same components, environments and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_distill.cloud.failures import translated
from azure_distill.cloud.noise import quiet, quiet_loggers
from azure_distill.cloud.session import Session

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


class Registry:
    """A registry and who talks to it; its subscription and resource group are found by its name, in one request."""

    def __init__(self, name: str, credential: TokenCredential) -> None:
        from azure.ai.ml import MLClient

        quiet_loggers()
        self.registry = name
        with translated(f"reach the registry {name}"):
            self.ml = MLClient(credential, registry_name=name, show_progress=False)

    def has(self, kind: str, name: str, version: str) -> bool:
        """Whether the registry has this version of one of its `components` or `environments`."""
        from azure.core.exceptions import ResourceNotFoundError

        with translated(f"look up {name}"):
            try:
                getattr(self.ml, kind).get(name, version)
            except ResourceNotFoundError:
                return False
        return True


def share_model(session: Session, name: str, version: str, registry: str) -> str:
    """Copy a model of the workspace, with its tags, to a registry as the next version there; returns its address."""
    there = Registry(registry, session.credential).ml.models
    with translated(f"share the model {name} with the registry {registry}"), quiet():
        taken = [int(model.version) for model in there.list(name) if str(model.version).isdecimal()]
        next_version = str(max(taken, default=0) + 1)
        session.ml.models.share(
            name, version, share_with_name=name, share_with_version=next_version, registry_name=registry
        )
    return f"azureml://registries/{registry}/models/{name}/versions/{next_version}"
