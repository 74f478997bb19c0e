"""Codes, environments, components, data and models: versions that never change once they are registered."""

from __future__ import annotations

import asyncio
import re
import uuid

import yaml
from aiohttp import web

from tests.emulator.arm import Resources, listed, not_found, resource
from tests.emulator.names import ASSET_NAME, PORT_NAME, short_id
from tests.emulator.state import Asset, Document, Refusal, Workspace, user_error
from tests.emulator.storage import Location

KINDS = "{kind:codes|environments|components|data|models}"
SINGULAR = {
    "codes": "Code",
    "environments": "Environment",
    "components": "Component",
    "data": "Data",
    "models": "Model",
}
MUTABLE = frozenset({"tags", "description", "isArchived", "properties", "stage", "autoDeleteSetting"})
PLACEHOLDER = re.compile(r"\$\{\{\s*(inputs|outputs)\.([^}\s.]+)(?:\.path)?\s*\}\}")


def install(app: web.Application, resources: Resources) -> None:
    for method, path, handler in (
        ("GET", f"/{KINDS}", list_containers),
        ("GET", f"/{KINDS}/{{name}}", get_container),
        ("GET", f"/{KINDS}/{{name}}/versions", list_versions),
        ("GET", f"/{KINDS}/{{name}}/versions/{{version}}", get_version),
        ("PUT", f"/{KINDS}/{{name}}/versions/{{version}}", put_version),
        ("POST", f"/{KINDS}/{{name}}/versions/{{version}}/startPendingUpload", start_upload),
    ):
        resources.route(app, method, path, handler)


def document(workspace: Workspace, asset: Asset) -> Document:
    """An asset as ARM shows it."""
    time = asset.created.isoformat()
    system = {"createdAt": time, "createdBy": "emulator", "createdByType": "User", "lastModifiedAt": time}
    shown = resource(workspace, asset.kind, asset.version, asset.properties, systemData=system)
    return {**shown, "id": workspace.id_of(asset), "type": f"{shown['type']}/versions"}


def _container(workspace: Workspace, kind: str, name: str) -> Document:
    versions = workspace.versions(kind, name)
    if not versions:
        raise not_found(f"{SINGULAR[kind]} container", name)
    numbers = [int(asset.version) for asset in versions if asset.version.isdigit()]
    properties = {
        "latestVersion": versions[0].version,
        "nextVersion": str(max(numbers, default=0) + 1),
        "isArchived": False,
        "dataType": versions[0].properties.get("dataType"),
    }
    return resource(workspace, kind, name, properties)


async def list_containers(request: web.Request, workspace: Workspace) -> web.Response:
    kind = request.match_info["kind"]
    return listed([_container(workspace, kind, name) for found, name in list(workspace.assets) if found == kind])


async def get_container(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_container(workspace, request.match_info["kind"], request.match_info["name"]))


async def list_versions(request: web.Request, workspace: Workspace) -> web.Response:
    """Newest first.  Codes are looked up by content across all names, since the SDK asks under a name just made."""
    kind, name = request.match_info["kind"], request.match_info["name"]
    if kind == "codes" and "hash" in request.query:
        found = [
            asset
            for (of_kind, _), versions in list(workspace.assets.items())
            for asset in versions.values()
            if of_kind == kind and asset.properties.get("properties", {}).get("hash_sha256") == request.query["hash"]
        ]
    else:
        found = workspace.versions(kind, name)
        if not found:
            raise not_found(f"{SINGULAR[kind]} container", name)
    top = int(request.query.get("$top", "1000"))
    return listed([document(workspace, asset) for asset in found[:top]])


async def get_version(request: web.Request, workspace: Workspace) -> web.Response:
    kind, name, version = (request.match_info[key] for key in ("kind", "name", "version"))
    asset = workspace.find(kind, name, version)
    if asset is None:
        raise not_found(SINGULAR[kind], f"{name}:{version}")
    return web.json_response(document(workspace, asset))


async def start_upload(request: web.Request, workspace: Workspace) -> web.Response:
    """A container of its own, and a signed address that opens only that one."""
    container = f"upload-{uuid.uuid4()}"
    await asyncio.to_thread(workspace.storage.create, container)
    uri = Location(container, "").url.rstrip("/")
    sas = workspace.storage.sas(container)
    credential = {"credentialType": "SAS", "sasUri": f"{uri}?{sas}"}
    reference = {"blobUri": uri, "credential": credential, "storageAccountArmId": None}
    return web.json_response({
        "pendingUploadId": str(uuid.uuid4()),
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": reference,
    })  # fmt: skip


async def put_version(request: web.Request, workspace: Workspace) -> web.Response:
    kind, name, version = (request.match_info[key] for key in ("kind", "name", "version"))
    properties: Document = (await request.json())["properties"]
    if not ASSET_NAME.fullmatch(name) or not ASSET_NAME.fullmatch(version):
        raise user_error(
            f"{SINGULAR[kind]} name {name!r} or version {version!r} is invalid: only letters, digits, '-', '_' and '.'"
        )
    await asyncio.to_thread(CHECKS[kind], workspace, properties)
    with workspace.lock:
        existing = workspace.find(kind, name, version)
        if existing is None:
            asset = Asset(kind, name, version, properties)
            workspace.add(asset)
            return web.json_response(document(workspace, asset), status=201)
        anonymous = properties.get("isAnonymous")  # named by its content, as the SDK sees it: whoever came first stays
        if not anonymous and _fixed(existing.properties) != _fixed(properties):
            message = f"{SINGULAR[kind]} {name} with version {version} is already registered and cannot be changed."
            raise Refusal(409, "UserError", message)
        if not anonymous:
            existing.properties.update({key: properties[key] for key in MUTABLE & properties.keys()})
        return web.json_response(document(workspace, existing))


def _fixed(properties: Document) -> Document:
    return {key: value for key, value in properties.items() if key not in MUTABLE and value is not None}


def _check_code(workspace: Workspace, properties: Document) -> None:
    location = workspace.locate(properties["codeUri"])
    if not workspace.storage.names(location):
        raise user_error(f"There is nothing at {properties['codeUri']}")


def _check_environment(_: Workspace, properties: Document) -> None:
    if not properties.get("image") and not properties.get("build"):
        raise user_error("An environment needs an image or a build context.")
    try:
        conda = yaml.safe_load(properties.get("condaFile") or "{}")
    except yaml.YAMLError as error:
        raise user_error(f"The conda file is not valid YAML: {error}") from None
    if not isinstance(conda, dict):
        raise user_error("The conda file is no mapping.")
    properties.setdefault("osType", "Linux")
    properties.setdefault("environmentType", "UserCreated")


def _check_component(workspace: Workspace, properties: Document) -> None:
    spec = properties["componentSpec"]
    name = spec.get("name", "")
    ports = {"inputs": spec.get("inputs") or {}, "outputs": spec.get("outputs") or {}}
    for kind, named in ports.items():
        for port in named:
            if not PORT_NAME.fullmatch(port):
                raise user_error(f"Component {name}: {kind}.{port} is no valid name.")
    for kind, port in PLACEHOLDER.findall(spec.get("command", "")):
        if port not in ports[kind]:
            raise user_error(f"Component {name}: its command names {kind}.{port}, which is not declared.")
    for key, kind in (("code", "codes"), ("environment", "environments")):
        wanted = spec.get(key)
        if key == "environment" and str(wanted).startswith("azureml://registries/azureml/"):
            continue  # Microsoft's own environments are taken on trust
        if wanted and workspace.find_by_id(kind, wanted) is None:
            raise user_error(f"Component {name}: could not find {key} {short_id(wanted)}.")


def _check_data(workspace: Workspace, properties: Document) -> None:
    workspace.locate(properties["dataUri"])


def _check_model(workspace: Workspace, properties: Document) -> None:
    """The bytes must be there already; the answer names where they lie."""
    given = properties["modelUri"]
    location = workspace.locate(given)
    names = workspace.storage.names(location)
    if not names:
        raise user_error(f"There is no model at {given}")
    folder = location.path.rstrip("/")
    if properties.get("modelType") == "mlflow_model" and f"{folder}/MLmodel" not in names:
        raise user_error(f"The model at {given} has no MLmodel file.")
    if given.startswith("azureml://jobs/"):
        properties["jobName"] = given.split("/")[3]
        properties["modelUri"] = _datastore_uri(workspace, location)
    properties.update(flavors=properties.get("flavors") or {}, stage=properties.get("stage") or "Development")


def _datastore_uri(workspace: Workspace, location: Location) -> str:
    names = {container: name for name, container in workspace.datastores.items()}
    if location.container not in names:
        return location.url
    path = workspace.path.replace("/providers/Microsoft.MachineLearningServices", "").lstrip("/")
    return f"azureml://{path}/datastores/{names[location.container]}/paths/{location.path}"


CHECKS = {
    "codes": _check_code,
    "environments": _check_environment,
    "components": _check_component,
    "data": _check_data,
    "models": _check_model,
}
