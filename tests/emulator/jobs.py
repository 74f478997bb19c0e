"""Jobs as ARM shows them: submit, look, list, cancel."""

from __future__ import annotations

import asyncio
import copy

from aiohttp import web

from tests.emulator import executor, pipeline
from tests.emulator.arm import LOCATION, Resources, resource
from tests.emulator.executor import Executor
from tests.emulator.names import ARM, ASSET_NAME, MACHINE_LEARNING, PROVIDER, REGION, SUBSCRIPTION
from tests.emulator.state import TERMINAL, Document, Refusal, Run, Workspace, user_error
from tests.emulator.tokens import TokenError, Tokens

PAGE = 20
CHANGEABLE = frozenset({"description", "tags", "displayName", "properties", "isArchived", "status", "services"})
EXISTS = (
    "A job with this name already exists. If you are trying to create a new job, use a different name. If you are "
    "trying to update an existing job, the existing job's settings cannot be changed. Only description, tags, "
    "displayName, properties, and isArchived can be updated."
)


class Jobs:
    """The jobs of every workspace; accepted pipelines go to the executor."""

    def __init__(self, runner: Executor, tokens: Tokens) -> None:
        self._executor, self._tokens = runner, tokens
        self._cancellations: dict[str, Run] = {}

    def install(self, app: web.Application, resources: Resources) -> None:
        resources.route(app, "GET", "/jobs", self._list)
        resources.route(app, "PUT", "/jobs/{name}", self._put)
        resources.route(app, "GET", "/jobs/{name}", self._get)
        resources.route(app, "POST", "/jobs/{name}/cancel", self._cancel)
        app.router.add_get(f"{LOCATION}/mfeOperationResults/{{id}}", self._operation)

    async def _put(self, request: web.Request, workspace: Workspace) -> web.Response:
        name = request.match_info["name"]
        body: Document = await request.json()
        if body["properties"].get("jobType") != "Pipeline":
            raise Refusal(501, "NotEmulated", "Only pipeline jobs are emulated.")
        if not ASSET_NAME.fullmatch(name):
            raise user_error(f"{name!r} is no valid job name.")
        try:
            self._tokens.verify(f"Bearer {request.headers.get('x-azureml-token', '')}", [MACHINE_LEARNING])
        except TokenError as error:
            raise Refusal(401, "UserError", f"x-azureml-token: {error}") from None
        return await asyncio.to_thread(self._submit, workspace, name, body)

    def _submit(self, workspace: Workspace, name: str, body: Document) -> web.Response:
        with workspace.lock:  # a repeated PUT, after a lost answer, must not start a second run
            if earlier := workspace.jobs.get(name):
                if _fixed(earlier) != _fixed(body):
                    raise user_error(EXISTS)
                return web.json_response(_document(workspace, workspace.runs[name]))
            nodes = pipeline.read(workspace, body)
            properties = body["properties"]
            run = Run(
                name, properties.get("displayName") or name, experiment=properties.get("experimentName") or "Default"
            )
            run.tags, run.properties = properties.get("tags") or {}, properties.get("properties") or {}
            workspace.jobs[name], workspace.runs[name] = copy.deepcopy(body), run
        answer = _document(workspace, run)
        self._executor.submit(workspace, run, body, nodes)
        return web.json_response(answer, status=201)

    async def _get(self, request: web.Request, workspace: Workspace) -> web.Response:
        return web.json_response(_document(workspace, find(workspace, request.match_info["name"])))

    async def _list(self, request: web.Request, workspace: Workspace) -> web.Response:
        """Newest first, page by page."""
        view = request.query.get("listViewType", "ActiveOnly")
        runs = [
            workspace.runs[name]
            for name in reversed(list(workspace.jobs))
            if view == "All" or workspace.runs[name].hidden == (view == "ArchivedOnly")
        ]
        start = int(request.query.get("$skip", "0"))
        answer: Document = {"value": [_document(workspace, run) for run in runs[start : start + PAGE]]}
        if start + PAGE < len(runs):
            answer["nextLink"] = str(request.url.with_scheme("https").update_query({"$skip": str(start + PAGE)}))
        return web.json_response(answer)

    async def _cancel(self, request: web.Request, workspace: Workspace) -> web.Response:
        run = find(workspace, request.match_info["name"])
        if not executor.cancel(workspace, run):
            return web.Response(status=200)
        self._cancellations[run.id] = run
        operations = f"{ARM}/subscriptions/{SUBSCRIPTION}/providers/{PROVIDER}/locations/{REGION}/mfeOperationResults"
        address = f"{operations}/{run.id}?api-version={request.query['api-version']}"
        return web.Response(status=202, headers={"Location": address, "Retry-After": "1"})

    async def _operation(self, request: web.Request) -> web.Response:
        run = self._cancellations.get(request.match_info["id"])
        if run is None:
            raise Refusal(404, "UserError", "There is no such operation.")
        if run.status in TERMINAL:
            return web.Response(status=200)
        return web.Response(status=202, headers={"Location": str(request.url.with_scheme("https")), "Retry-After": "1"})


def find(workspace: Workspace, name: str) -> Run:
    """A run by id; raises the 404 that Azure gives."""
    run = workspace.runs.get(name)
    if run is None:
        raise Refusal(404, "UserError", f"Run {name} was not found")
    return run


def _fixed(body: Document) -> Document:
    return {key: value for key, value in body["properties"].items() if key not in CHANGEABLE}


def _document(workspace: Workspace, run: Run) -> Document:
    """A pipeline whole; a step without properties, as only the run history knows it."""
    if run.id not in workspace.jobs:
        return {**resource(workspace, "jobs", run.id, {}), "properties": None}
    studio = f"https://ml.azure.com/runs/{run.id}?wsid={workspace.path}"
    properties = {
        **workspace.jobs[run.id]["properties"],
        "status": run.status,
        "tags": run.tags,
        "displayName": run.name,
        "experimentName": run.experiment,
        "isArchived": run.hidden,
        "services": {"Studio": {"jobServiceType": "Studio", "endpoint": studio, "port": None, "status": None}},
    }
    created = run.created.isoformat()
    system = {"createdAt": created, "createdBy": "emulator", "createdByType": "User"}
    return resource(workspace, "jobs", run.id, properties, systemData=system)
