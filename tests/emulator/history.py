"""The data plane: discovery, run history, and where outputs lie."""

from __future__ import annotations

from aiohttp import web

from tests.emulator.arm import WORKSPACE, Handler, Resources, listed
from tests.emulator.jobs import find
from tests.emulator.names import DATA_HOST, REGION
from tests.emulator.state import Document, Port, Refusal, Run, Workspace

TYPES = {"custom_model": "CustomModel", "mlflow_model": "MLFlowModel", "triton_model": "TritonModel"}
HISTORY = f"/history/v1.0{WORKSPACE}"
DISCOVERY = "/discovery/workspaces/{id}"


def install(app: web.Application, resources: Resources) -> None:
    for method, path, handler in (
        ("GET", "/runs/{run}", get_run),
        ("GET", "/runs/{run}/details", get_details),
        ("GET", "/runs/{run}/children", get_children),
        ("POST", "/rundata", get_run_data),
        ("PATCH", "/experiments/{experiment}/runs/{run}", change_run),
    ):
        resources.route(app, method, path, handler, HISTORY)
    for service, collection, kind, key in (
        ("data", "dataversion", "data", "uri"),
        ("modelregistry", "models", "models", "path"),
    ):
        resources.route(
            app, "POST", f"/{collection}/batchGetResolvedUris", _resolver(kind, key), f"/{service}/v1.0{WORKSPACE}"
        )
    app.router.add_get(DISCOVERY, discover)


async def discover(_: web.Request) -> web.Response:
    services = ("api", "history", "modelmanagement", "experimentation", "studio")
    return web.json_response(dict.fromkeys(services, f"https://{DATA_HOST}"))


def _document(workspace: Workspace, run: Run) -> Document:
    shown: Document = {
        "runId": run.id,
        "runUuid": run.id,
        "rootRunId": run.root.id,
        "parentRunId": run.parent.id if run.parent else None,
        "experimentId": run.experiment,
        "displayName": run.name,
        "name": run.name,
        "status": run.status,
        "runType": "azureml.StepRun" if run.parent else "azureml.PipelineRun",
        "dataContainerId": f"dcid.{run.id}",
        "createdUtc": run.created.isoformat(),
        "startTimeUtc": run.started.isoformat() if run.started else None,
        "endTimeUtc": run.ended.isoformat() if run.ended else None,
        "tags": run.tags,
        "properties": run.properties,
        "hidden": run.hidden,
        "target": run.compute,
        "compute": {"target": run.compute} if run.compute else None,
        "inputs": {name: _reference(workspace, run, name, port) for name, port in run.inputs.items()},
        "outputs": {name: _reference(workspace, run, name, port) for name, port in run.outputs.items()},
    }
    if run.error:
        code, message = run.error
        shown["error"] = {"error": {"code": code, "message": message, "details": []}, "time": shown["endTimeUtc"]}
    return shown


def _reference(workspace: Workspace, run: Run, name: str, port: Port) -> Document:
    plane = "models" if port.type in TYPES else "data"
    asset = (
        f"azureml://locations/{REGION}/workspaces/{workspace.id}/{plane}/azureml_{run.id}_output_data_{name}/versions/1"
    )
    return {"assetId": asset, "type": TYPES.get(port.type) or "".join(part.title() for part in port.type.split("_"))}


async def get_run(request: web.Request, workspace: Workspace) -> web.Response:
    return web.json_response(_document(workspace, find(workspace, request.match_info["run"])))


async def get_details(request: web.Request, workspace: Workspace) -> web.Response:
    """The run with a signed address for each of its logs."""
    run = find(workspace, request.match_info["run"])
    folder = workspace.artifacts(run.id)
    sas = workspace.storage.sas(folder.container, "r")
    logs = {path: f"{(folder / path).url}?{sas}" for path in run.logs}
    return web.json_response({**_document(workspace, run), "logFiles": logs, "warnings": []})


async def get_children(request: web.Request, workspace: Workspace) -> web.Response:
    run = find(workspace, request.match_info["run"])
    return listed([_document(workspace, child) for child in workspace.children(run.id)])


async def get_run_data(request: web.Request, workspace: Workspace) -> web.Response:
    run = find(workspace, (await request.json())["runId"])
    return web.json_response({"runMetadata": _document(workspace, run)})


async def change_run(request: web.Request, workspace: Workspace) -> web.Response:
    run = find(workspace, request.match_info["run"])
    change = await request.json()
    run.hidden = bool(change.get("hidden", run.hidden))
    run.name = change.get("displayName") or run.name
    run.tags.update(change.get("tags") or {})
    run.properties.update(change.get("properties") or {})
    return web.json_response(_document(workspace, run))


def _resolver(kind: str, key: str) -> Handler:
    async def resolve(request: web.Request, workspace: Workspace) -> web.Response:
        values = {}
        for asset_id in (await request.json())["values"]:
            name, _, version = asset_id.rsplit("/", 3)[-3:]
            # a model that a run has written but nobody has named is kept as data
            asset = workspace.find(kind, name, version) or workspace.find("data", name, version)
            if asset is None:
                raise Refusal(404, "UserError", f"Could not find {asset_id}")
            uri = asset.properties.get("dataUri") or asset.properties["modelUri"]
            values[asset_id] = {key: uri, "type": asset.properties.get("dataType", "")}
        return web.json_response({"values": values})

    return resolve
