"""Which Azure ML workspace is meant: flags, then environment variables, then a config.json found upwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure_distill.errors import ConfigurationError

FILES = ("config.json", ".azureml/config.json")
VARIABLES = {
    "subscription": ("AZUREML_SUBSCRIPTION_ID", "AZUREML_ARM_SUBSCRIPTION", "AZURE_SUBSCRIPTION_ID"),
    "resource_group": ("AZUREML_RESOURCE_GROUP", "AZUREML_ARM_RESOURCEGROUP", "AZURE_RESOURCE_GROUP"),
    "name": ("AZUREML_WORKSPACE_NAME", "AZUREML_ARM_WORKSPACE_NAME", "AZURE_WORKSPACE_NAME"),
}
FLAGS = {"subscription": "--subscription", "resource_group": "--resource-group", "name": "--workspace"}
KEYS = {"subscription": "subscription_id", "resource_group": "resource_group", "name": "workspace_name"}


@dataclass(frozen=True)
class Workspace:
    """One workspace; `sources` says of each of its three names where it was found."""

    subscription: str
    resource_group: str
    name: str
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        """Its resource id."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )

    def __str__(self) -> str:
        return f"{self.name} in {self.resource_group} of subscription {self.subscription}"


def find_workspace(flags: Mapping[str, str | None], environ: Mapping[str, str], folder: Path) -> Workspace:
    """The workspace that `flags` (`subscription`, `resource_group`, `name`), `environ` and files above `folder` name.

    Raises ConfigurationError when one of the three is nowhere.
    """
    configured, file = _config(folder)
    values, sources = dict[str, str](), dict[str, str]()
    for part, variables in VARIABLES.items():
        variable = next((name for name in variables if environ.get(name)), None)
        if given := flags.get(part):
            values[part], sources[part] = given, FLAGS[part]
        elif variable:
            values[part], sources[part] = environ[variable], variable
        elif found := configured.get(KEYS[part]):
            values[part], sources[part] = str(found), str(file)
    if missing := [part for part in VARIABLES if part not in values]:
        raise ConfigurationError(_missing(missing, sources), _remedy(missing))
    return Workspace(**values, sources=sources)


def is_configured(environ: Mapping[str, str], folder: Path) -> bool:
    """Whether a workspace is named without any flag."""
    try:
        find_workspace({}, environ, folder)
    except ConfigurationError:
        return False
    return True


def _config(folder: Path) -> tuple[Mapping[str, Any], Path | None]:
    """The nearest config.json that names a workspace; other programs call their files so too."""
    for place in (folder, *folder.parents):
        for name in FILES:
            path = place / name
            if not path.is_file():
                continue
            try:
                value = json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"{path} cannot be read: {error}", "mend or remove it") from None
            if isinstance(value, dict) and KEYS["name"] in value:
                return value, path
    return {}, None


def _missing(missing: list[str], sources: Mapping[str, str]) -> str:
    names = {"subscription": "subscription", "resource_group": "resource group", "name": "workspace"}
    known = [f"{names[part]} from {source}" for part, source in sources.items()]
    found = f" (found: {', '.join(known)})" if known else ""
    return f"no Azure ML workspace: {' and '.join(names[part] for part in missing)} not given{found}"


def _remedy(missing: list[str]) -> str:
    flags = " ".join(FLAGS[part] for part in missing)
    variables = ", ".join(VARIABLES[part][0] for part in missing)
    return f"put the workspace's config.json here or above, or set {variables}, or give {flags}"
