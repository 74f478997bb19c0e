"""Azure Resource Manager: the workspace, its datastores, computes, connections, sizes and quota."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from tests.emulator.names import ACCOUNT, DATA_HOST, GROUP, PROVIDER, SUBSCRIPTION, TENANT
from tests.emulator.state import Document, Refusal, Workspace

Handler = Callable[[web.Request, Workspace], Awaitable[web.Response]]
GROUPS = "{groups:resource[Gg]roups}"
WORKSPACE = f"/subscriptions/{SUBSCRIPTION}/{GROUPS}/{GROUP}/providers/{PROVIDER}/workspaces/{{ws}}"
LOCATION = f"/subscriptions/{SUBSCRIPTION}/providers/{PROVIDER}/locations/{{location}}"
SIZES = {
    # name: (family, vCPUs, GPUs, memory in GB)
    "STANDARD_DS3_V2": ("standardDSv2Family", 4, 0, 14),
    "STANDARD_E4DS_V5": ("standardEDSv5Family", 4, 0, 32),
    "STANDARD_D4AS_V4": ("standardDASv4Family", 4, 0, 16),
    "STANDARD_NC24ADS_A100_V4": ("standardNCADSA100v4Family", 24, 1, 220),
}


class Resources:
    """The workspaces of one resource group; other modules add their routes through `route`."""

    def __init__(self, workspaces: Mapping[str, Workspace], quota: Mapping[str, int]) -> None:
        self._workspaces, self._quota = workspaces, quota

    def route(self, app: web.Application, method: str, path: str, handler: Handler, base: str = WORKSPACE) -> None:
        """Serve `path` of every workspace; an unknown workspace is a 404 as ARM words it."""

        async def serve(request: web.Request) -> web.Response:
            return await handler(request, self.find(request.match_info["ws"]))

        app.router.add_route(method, base + path, serve)

    def find(self, name: str) -> Workspace:
        try:
            return self._workspaces[name]
        except KeyError:
            message = f"The Resource '{PROVIDER}/workspaces/{name}' under resource group '{GROUP}' was not found."
            raise Refusal(404, "ResourceNotFound", message) from None

    def install(self, app: web.Application) -> None:
        for method, path, handler in (
            ("GET", "", get_workspace),
            ("GET", "/datastores", list_datastores),
            ("GET", "/datastores/{name}", get_datastore),
            ("POST", "/datastores/{name}/listSecrets", list_datastore_secrets),
            ("GET", "/computes", list_computes),
            ("GET", "/computes/{name}", get_compute),
            ("GET", "/connections", list_connections),
            ("GET", "/connections/{name}", get_connection),
            ("POST", "/connections/{name}/listsecrets", list_connection_secrets),
        ):
            self.route(app, method, path, handler)
        app.router.add_get(f"{LOCATION}/usages", self._usages)
        app.router.add_get(f"{LOCATION}/vmSizes", self._sizes)

    async def _usages(self, request: web.Request) -> web.Response:
        families = {family for family, *_ in SIZES.values()}
        return listed([
            {
                "id": f"{request.path}/{family}",
                "type": f"{PROVIDER}/VM/{family}",
                "amlWorkspaceLocation": request.match_info["location"],
                "unit": "Count",
                "currentValue": 0,
                "limit": self._quota.get(family, 100),
                "name": {"value": family, "localizedValue": family},
            }
            for family in sorted(families)
        ])  # fmt: skip

    async def _sizes(self, _: web.Request) -> web.Response:
        return listed([
            {
                "name": name,
                "family": family,
                "vCPUs": cpus,
                "gpus": gpus,
                "memoryGB": memory,
                "osVhdSizeMB": 1_000_000,
                "maxResourceVolumeMB": 100_000,
                "lowPriorityCapable": True,
                "premiumIO": True,
                "supportedComputeTypes": ["AmlCompute"],
            }
            for name, (family, cpus, gpus, memory) in SIZES.items()
        ])  # fmt: skip


def listed(values: list[Document]) -> web.Response:
    return web.json_response({"value": values})


def resource(workspace: Workspace, kind: str, name: str, properties: Document, **more: Any) -> Document:
    """A child resource of a workspace, as ARM shows one."""
    return {
        "id": f"{workspace.path}/{kind}/{name}",
        "name": name,
        "type": f"{PROVIDER}/workspaces/{kind}",
        "properties": properties,
        **more,
    }


def not_found(kind: str, name: str) -> Refusal:
    return Refusal(404, "UserError", f"Not found {kind} {name}")


async def get_workspace(_: web.Request, workspace: Workspace) -> web.Response:
    group = workspace.path.split("/providers/")[0]
    properties = {
        "friendlyName": workspace.name,
        "workspaceId": workspace.id,
        "discoveryUrl": workspace.discovery_url,
        "mlFlowTrackingUri": f"azureml://{DATA_HOST}/mlflow/v1.0{workspace.path}",
        "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
        "keyVault": f"{group}/providers/Microsoft.KeyVault/vaults/emuvault",
        "tenantId": TENANT,
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    }
    return web.json_response({
        "id": workspace.path,
        "name": workspace.name,
        "type": f"{PROVIDER}/workspaces",
        "location": workspace.location,
        "kind": "Default",
        "tags": {},
        "identity": {"type": "SystemAssigned", "principalId": workspace.id, "tenantId": TENANT},
        "properties": properties,
    })  # fmt: skip


def _datastore(workspace: Workspace, name: str) -> Document:
    if name not in workspace.datastores:
        raise Refusal(404, "UserError", f"Could not find datastore: {name}")
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": ACCOUNT,
        "containerName": workspace.datastores[name],
        "endpoint": "core.windows.net",
        "protocol": "https",
        "isDefault": name == "workspaceblobstore",
        "credentials": {"credentialsType": workspace.datastore_credentials},
        "serviceDataAccessAuthIdentity": "None",
    }
    return resource(workspace, "datastores", name, properties)


async def list_datastores(request: web.Request, workspace: Workspace) -> web.Response:
    stores = [_datastore(workspace, name) for name in workspace.datastores]
    if request.query.get("isDefault", "").lower() == "true":
        stores = [store for store in stores if store["properties"]["isDefault"]]
    return listed(stores)


async def get_datastore(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_datastore(workspace, request.match_info["name"]))


async def list_datastore_secrets(request: web.Request, workspace: Workspace) -> web.Response:
    name = request.match_info["name"]
    _datastore(workspace, name)
    if workspace.datastore_credentials == "None":
        raise Refusal(400, "UserError", f"No secrets for credentials of type None: datastore {name}")
    if workspace.datastore_credentials == "AccountKey":
        return web.json_response({"secretsType": "AccountKey", "key": workspace.storage.key})
    return web.json_response({"secretsType": "Sas", "sasToken": workspace.storage.sas(workspace.datastores[name])})


def _compute(workspace: Workspace, name: str) -> Document:
    if name not in workspace.computes:
        raise Refusal(404, "ComputeNotFound", f"Unknown compute target '{name}'.")
    properties = {
        "computeType": "AmlCompute",
        "provisioningState": "Succeeded",
        "properties": {
            "vmSize": workspace.computes[name],
            "vmPriority": "Dedicated",
            "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT2M"},
            "allocationState": "Steady",
            "osType": "Linux",
        },
    }
    return resource(workspace, "computes", name, properties, location=workspace.location)


async def list_computes(_: web.Request, workspace: Workspace) -> web.Response:
    return listed([_compute(workspace, name) for name in workspace.computes])


async def get_compute(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_compute(workspace, request.match_info["name"]))


def _connection(workspace: Workspace, name: str, *, secret: bool) -> Document:
    if name not in workspace.connections:
        raise not_found("connection", name)
    target, key = workspace.connections[name]
    properties = {
        "authType": "ApiKey",
        "category": "Serverless",
        "target": target,
        "isSharedToAll": True,
        "metadata": {},
        "credentials": {"key": key} if secret else None,
    }
    return resource(workspace, "connections", name, properties)


async def list_connections(_: web.Request, workspace: Workspace) -> web.Response:
    return listed([_connection(workspace, name, secret=False) for name in workspace.connections])


async def get_connection(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_connection(workspace, request.match_info["name"], secret=False))


async def list_connection_secrets(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_connection(workspace, request.match_info["name"], secret=True))
