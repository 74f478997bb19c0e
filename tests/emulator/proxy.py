"""The way into the emulator: a CONNECT proxy that knows Azure's names and leads nowhere else.

The client keeps Azure's own host names; none of them is ever resolved, and a call to any other host is refused and
noted, so nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

CHUNK = 1 << 16
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Tunnels `HOST:443` of each of `hosts` to `port` on this machine."""

    def __init__(self, hosts: Collection[str], port: int, refused: Callable[[str], None]) -> None:
        self._hosts, self._port, self._refused = hosts, port, refused
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, *_ = head.decode("latin-1").split()
            if method != "CONNECT" or target.removesuffix(":443") not in self._hosts:
                self._refused(f"{method} {target}")
                writer.write(REFUSED)
                await writer.drain()
                return
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(CONNECTED)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # a client that hung up, or spoke no HTTP
        except asyncio.CancelledError:
            pass  # the emulator stops; asyncio.streams would log this as an error of ours
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # either end dropped the connection: so does the other
    finally:
        writer.close()
