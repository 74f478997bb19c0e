"""The names that the emulated Azure goes by: hosts, ids and paths."""

from __future__ import annotations

import re

TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
GROUP = "rg-emulated"
REGION = "eastus"
ACCOUNT = "emustorage"

ARM_HOST = "management.azure.com"
LOGIN_HOST = "login.microsoftonline.com"
DATA_HOST = f"{REGION}.api.azureml.ms"
BLOB_HOST = f"{ACCOUNT}.blob.core.windows.net"
VAULT_HOST = "emuvault.vault.azure.net"
REGISTRY_HOST = f"cert-{REGION}.experiments.azureml.net"
HOSTS = (ARM_HOST, LOGIN_HOST, DATA_HOST, BLOB_HOST, VAULT_HOST, REGISTRY_HOST)

ARM = f"https://{ARM_HOST}"
MACHINE_LEARNING = "https://ml.azure.com"
STORAGE = "https://storage.azure.com"
VAULT = "https://vault.azure.net"

PROVIDER = "Microsoft.MachineLearningServices"
ASSET_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")
PORT_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,254}")


def workspace_path(workspace: str) -> str:
    """The ARM id of a workspace."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{PROVIDER}/workspaces/{workspace}"


def short_id(value: str) -> str:
    """An ARM id without the `azureml:` that the SDK puts before it inside component and job documents."""
    return value.removeprefix("azureml:")
