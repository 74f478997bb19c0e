"""Registries: assets that several workspaces share, behind a front end of their own that answers late."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from tests.emulator import assets
from tests.emulator.names import GROUP, PROVIDER, REGION, REGISTRY_HOST, SUBSCRIPTION, TENANT
from tests.emulator.state import Asset, Document, Refusal, Registry, Workspace, user_error
from tests.emulator.storage import Location

FRONT = "/mferp/managementfrontend"
ROOT = f"{FRONT}/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{PROVIDER}/registries/{{registry}}"
SOURCE = re.compile(r"azureml://locations/[^/]+/workspaces/([^/]+)/(models|environments)/([^/]+)/versions/([^/]+)")
KINDS = "{kind:codes|environments|components|models}"
Handler = Callable[[web.Request, Registry], Awaitable[web.Response]]


class Registries:
    """The registries of one server, and the operations that they have not reported the end of."""

    def __init__(self, registries: Mapping[str, Registry], workspaces: Mapping[str, Workspace]) -> None:
        self._registries, self._workspaces = registries, workspaces

    def install_discovery(self, app: web.Application) -> None:
        app.router.add_get("/registrymanagement/v1.0/registries/{registry}/discovery", self._discover)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 32)
        for method, path, handler in (
            ("GET", f"/{KINDS}", assets.list_containers),
            ("GET", f"/{KINDS}/{{name}}", assets.get_container),
            ("GET", f"/{KINDS}/{{name}}/versions", self._list),
            ("GET", f"/{KINDS}/{{name}}/versions/{{version}}", assets.get_version),
            ("PUT", f"/{KINDS}/{{name}}/versions/{{version}}", self._put),
            ("PUT", "/tempdatarefs/{name}/versions/{version}", self._open_upload),
            ("POST", "/import", self._import),
        ):
            app.router.add_route(method, ROOT + path, self._of(handler))
        app.router.add_get(f"{FRONT}/operations/{{id}}", self._operation)
        return app

    def _of(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            return await handler(request, self._find(request))

        return serve

    def _find(self, request: web.Request) -> Registry:
        name = request.match_info["registry"]
        try:
            return self._registries[name]
        except KeyError:
            raise Refusal(404, "RegistryNotFound", f"Registry {name} was not found.") from None

    async def _discover(self, request: web.Request) -> web.Response:
        return web.json_response({
            "registryName": self._find(request).name,
            "tenantId": TENANT,
            "primaryRegion": REGION,
            "regions": [REGION],
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": GROUP,
            "primaryRegionResourceProviderUri": f"https://{REGISTRY_HOST}/",
        })  # fmt: skip

    async def _list(self, request: web.Request, registry: Registry) -> web.Response:
        """Of an asset that is not there: nothing, where a workspace says that it is not found."""
        if not registry.versions(request.match_info["kind"], request.match_info["name"]):
            return web.json_response({"value": []})
        return await assets.list_versions(request, registry)

    async def _put(self, request: web.Request, registry: Registry) -> web.Response:
        await assets.put_version(request, registry)
        return _accepted()

    async def _open_upload(self, request: web.Request, registry: Registry) -> web.Response:
        """A signed address to upload an asset's files to; 409 where there is such an asset."""
        asset_id = (await request.json())["assetId"]
        if any(registry.find_by_id(kind, asset_id) for kind in ("codes", "models", "environments")):
            raise Refusal(409, "UserError", f"{asset_id} already exists.")
        container = f"upload-{uuid.uuid4()}"
        await asyncio.to_thread(registry.storage.create, container)
        uri = Location(container, "").url.rstrip("/")
        credential = {"credentialType": "SAS", "sasUri": f"{uri}?{registry.storage.sas(container)}"}
        return web.json_response({"blobReferenceForConsumption": {"blobUri": uri, "credential": credential}})

    async def _import(self, request: web.Request, registry: Registry) -> web.Response:
        """Copy an asset of a workspace, with its tags and properties."""
        wanted: Document = (await request.json())["properties"]
        match = SOURCE.fullmatch(wanted["sourceAssetId"])
        workspace = next((found for found in self._workspaces.values() if match and found.id == match[1]), None)
        asset = workspace.find(match[2], match[3], match[4]) if match and workspace else None
        if asset is None or workspace is None:
            raise user_error(f"Could not find {wanted['sourceAssetId']}")
        properties = dict(asset.properties)
        if asset.kind == "models":
            properties["modelUri"] = workspace.locate(properties["modelUri"]).url
        registry.add(Asset(asset.kind, wanted["destinationName"], wanted["destinationVersion"], properties))
        return _accepted()

    async def _operation(self, _: web.Request) -> web.Response:
        return web.Response(status=200)


def _accepted() -> web.Response:
    """Registries answer before they have done what was asked; the end of it is told without a body."""
    address = f"https://{REGISTRY_HOST}{FRONT}/operations/{uuid.uuid4()}"
    return web.Response(status=202, headers={"Location": address, "Retry-After": "0.05"})
