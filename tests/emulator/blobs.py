"""The storage account's door: passes each call on to Azurite as it came, and turns a token into a signature."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from yarl import URL

from tests.emulator.names import STORAGE
from tests.emulator.state import Refusal
from tests.emulator.storage import Storage
from tests.emulator.tokens import TokenError, Tokens

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
CLIENT_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # added ones would break signatures


class BlobDoor:
    """Azurite accepts keys and signed addresses; an identity's token is verified here, then replaced by one."""

    def __init__(self, storage: Storage, port: int, tokens: Tokens) -> None:
        self._storage, self._port, self._tokens = storage, port, tokens
        self._session: aiohttp.ClientSession | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 32)
        app.router.add_route("*", "/{path:.*}", self._serve)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.Response:
        headers = request.headers.copy()
        target = request.raw_path
        if headers.get("Authorization", "").startswith("Bearer "):
            try:
                self._tokens.verify(headers.popone("Authorization"), [STORAGE])
            except TokenError as error:
                raise Refusal(401, "InvalidAuthenticationInfo", str(error)) from None
            container = request.path.split("/")[1]
            target += ("&" if "?" in target else "?") + self._storage.sas(container)
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        async with self._session.request(
            request.method,
            URL(f"http://127.0.0.1:{self._port}{target}", encoded=True),
            headers=headers,
            skip_auto_headers=CLIENT_HEADERS,
            data=await request.read() or None,
        ) as answer:
            body = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept.append(("Content-Length", answer.headers["Content-Length"]))
            return web.Response(status=answer.status, headers=dict(kept), body=body)
