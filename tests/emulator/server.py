"""The emulated Azure: one TLS server for all of its names, a proxy in front of it, and Azurite behind it."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from tests.emulator import assets, history
from tests.emulator.arm import Resources
from tests.emulator.azurite import Azurite
from tests.emulator.blobs import BlobDoor
from tests.emulator.certificates import Certificates
from tests.emulator.executor import Executor
from tests.emulator.faults import Fault, Faults
from tests.emulator.jobs import Jobs
from tests.emulator.names import (
    ARM,
    ARM_HOST,
    BLOB_HOST,
    DATA_HOST,
    HOSTS,
    LOGIN_HOST,
    MACHINE_LEARNING,
    REGISTRY_HOST,
    VAULT,
    VAULT_HOST,
)
from tests.emulator.process import clean_python
from tests.emulator.proxy import Proxy
from tests.emulator.recorder import Call, Recorder
from tests.emulator.registries import Registries
from tests.emulator.state import Refusal, Registry, Workspace
from tests.emulator.step import Machine
from tests.emulator.storage import Storage
from tests.emulator.tokens import SignIn, TokenError, Tokens

AUDIENCES = {ARM_HOST: [ARM], DATA_HOST: [ARM, MACHINE_LEARNING], VAULT_HOST: [VAULT], REGISTRY_HOST: [ARM]}
COMPUTES = {"cpu-cluster": "STANDARD_DS3_V2", "gpu-cluster": "STANDARD_NC24ADS_A100_V4"}
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Listens from its making until `stop`; every file it writes is under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.recorder, self.faults, self.tokens = Recorder(), Faults(), Tokens()
        self.certificates = Certificates(folder / "certificates", HOSTS)
        self.quota: dict[str, int] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.registries: dict[str, Registry] = {}
        self.step_variables: dict[str, str] = {}
        """Variables that every step sees besides those of a compute node."""
        self._azurite = Azurite(folder / "azurite")
        self.storage = Storage(self._azurite)
        self.step_folder = folder / "steps"
        """Where steps run; empty again when they have ended."""
        self._executor = Executor(Machine(self.step_folder, clean_python(folder / "python"), self.step_variables))
        self._numbers = itertools.count(1)
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="emulated Azure", daemon=True)
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the emulated Azure did not start")
        self.step_variables.update(self.client_variables, **self.identity_variables)

    def add_workspace(self) -> Workspace:
        """A new, empty workspace with two clusters."""
        workspace = Workspace(f"ws-{next(self._numbers)}", self.storage, COMPUTES, self.registries)
        self.workspaces[workspace.name] = workspace
        return workspace

    def add_registry(self, name: str) -> Registry:
        """The registry of this name, made empty where there is none."""
        if name not in self.registries:
            self.registries[name] = Registry(name, self.storage, self.registries)
        return self.registries[name]

    def stop_jobs(self) -> None:
        """Cancel what still runs, and wait for its end."""
        self._executor.stop()

    def stop(self) -> None:
        self.stop_jobs()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._azurite.stop()

    @property
    def client_variables(self) -> dict[str, str]:
        """What leads any client on this machine here: the proxy, and the certificate to trust."""
        bundle = str(self.certificates.bundle)
        variables = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"), bundle)
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            variables[name] = variables[name.lower()] = f"http://127.0.0.1:{self._proxy_port}"
        return {**variables, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}

    @property
    def identity_variables(self) -> dict[str, str]:
        """The managed identity of a compute node, found by DefaultAzureCredential."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._plain_port}/msi/token",
            "IDENTITY_HEADER": self.tokens.managed_identity_secret,
        }

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runners = self._loop.run_until_complete(self._start())
        self._started.set()
        self._loop.run_forever()
        self._proxy.stop()
        for runner in runners:
            self._loop.run_until_complete(runner.cleanup())
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _start(self) -> list[web.AppRunner]:
        sign_in = SignIn(self.tokens)
        secure = web.AppRunner(self._application(sign_in), access_log=None, shutdown_timeout=1)
        plain_app = web.Application()
        plain_app.router.add_get("/msi/token", sign_in.managed_identity)
        plain = web.AppRunner(plain_app, access_log=None)
        await secure.setup()
        await plain.setup()
        await web.TCPSite(secure, "127.0.0.1", 0, ssl_context=self.certificates.context).start()
        await web.TCPSite(plain, "127.0.0.1", 0).start()
        self._plain_port: int = plain.addresses[0][1]
        self._proxy = Proxy(HOSTS, secure.addresses[0][1], self.recorder.unexpected.append)
        self._proxy_port = await self._proxy.start()
        return [secure, plain]

    def _application(self, sign_in: SignIn) -> web.Application:
        app = web.Application(middlewares=[self._observe, self._refuse, self._authenticate], client_max_size=1 << 32)
        resources = Resources(self.workspaces, self.quota)
        arm, data, vault = web.Application(), web.Application(), web.Application()
        resources.install(arm)
        assets.install(arm, resources)
        Jobs(self._executor, self.tokens).install(arm, resources)
        history.install(data, resources)
        registries = Registries(self.registries, self.workspaces)
        registries.install_discovery(data)
        vault.router.add_get("/secrets/{name}", self._secret)
        vault.router.add_get("/secrets/{name}/{version}", self._secret)
        app.add_domain(ARM_HOST, arm)
        app.add_domain(DATA_HOST, data)
        app.add_domain(LOGIN_HOST, sign_in.login())
        app.add_domain(VAULT_HOST, vault)
        app.add_domain(REGISTRY_HOST, registries.app())
        app.add_domain(BLOB_HOST, BlobDoor(self.storage, self._azurite.port, self.tokens).app())
        return app

    @web.middleware
    async def _observe(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Record the call, after letting the fault happen that is due."""
        body = await request.read()
        fault = self.faults.take(request.method, f"{request.host}{request.path}")
        answer = await self._answer(request, handler, fault)
        status = 0 if fault and fault.action in ("drop", "lose") else answer.status
        call = Call(
            request.method, request.host, request.path, request.query_string, dict(request.headers), body, status
        )
        self.recorder.calls.append(call)
        if status == 0 and request.transport is not None:
            request.transport.abort()
        return answer

    async def _answer(self, request: web.Request, handler: Next, fault: Fault | None) -> web.StreamResponse:
        if fault is None or fault.action == "lose":
            return await handler(request)
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        answer = refused(Refusal(fault.status or 503, fault.code, f"emulated fault {fault.code}"))
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = f"{fault.retry_after:g}"
        return answer

    @web.middleware
    async def _refuse(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Errors as Azure shows them; what is not emulated at all is noted."""
        try:
            return await handler(request)
        except Refusal as refusal:
            return refused(refusal)
        except web.HTTPException as error:
            if error.status in (404, 405):
                self.recorder.unexpected.append(f"{request.method} {request.host}{request.path_qs}")
            return refused(Refusal(501, "NotEmulated", f"{request.method} {request.path} is not emulated"))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            return refused(Refusal(400, "BadRequest", f"The request cannot be read: {error!r}"))

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Next) -> web.StreamResponse:
        audiences = AUDIENCES.get(request.host)
        if audiences and not request.path.startswith("/discovery/"):
            try:
                self.tokens.verify(request.headers.get("Authorization", ""), audiences)
            except TokenError as error:
                raise Refusal(401, str(error), f"The access token is refused: {error}.") from None
        return await handler(request)

    async def _secret(self, request: web.Request) -> web.Response:
        for workspace in self.workspaces.values():
            if request.match_info["name"] in workspace.secrets:
                return web.json_response({"value": workspace.secrets[request.match_info["name"]]})
        raise Refusal(404, "SecretNotFound", "A secret with this name was not found in this key vault.")


def refused(refusal: Refusal) -> web.Response:
    answer = web.json_response({"error": {"code": refusal.code, "message": refusal.message}}, status=refusal.status)
    answer.headers["x-ms-error-code"] = refusal.code
    return answer
