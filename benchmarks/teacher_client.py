"""What the teacher's client costs beside bare aiohttp and the openai SDK: prints one JSON object.

    python benchmarks/teacher_client.py [--requests 4000] [--concurrency 128] [--latency 0.1]

All three ask the same loopback server, a process of its own that answers after `--latency` seconds.  "component" is a
whole run of `teacher_inference`: reading rows, request keys, limiter, every answer flushed to disk, writing responses.
Ratios mean more than numbers: server and client share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path[:0] = [str(COMPONENTS / "teacher_inference"), str(COMPONENTS)]

ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "teacher",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "sport"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 2, "total_tokens": 52},
    }
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, default=128)
    parser.add_argument("--latency", type=float, default=0.1)
    given = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(given.latency, sender), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/v1"
    clients: dict[str, Callable[[str, int, int], None]] = {
        "aiohttp": bare, "component": component, "openai": sdk
    }  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):  # the component tells its progress
        found = {name: measured(client, url, given.requests, given.concurrency) for name, client in clients.items()}
    server.terminate()
    ratios = {
        f"component_to_{name}_rps": round(found["component"]["rps"] / found[name]["rps"], 2)
        for name in ("aiohttp", "openai")
    }
    ideal = given.concurrency / given.latency
    print(json.dumps({"requests": given.requests, "ideal_rps": ideal, **found, **ratios}))


def measured(client: Callable[[str, int, int], None], url: str, requests: int, concurrency: int) -> dict[str, float]:
    """A client in a process of its own: requests a second, CPU milliseconds a request, peak memory."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=timed, args=(client, url, requests, concurrency, sender))
    process.start()
    found: dict[str, float] = receiver.recv()
    process.join()
    return found


def timed(
    client: Callable[[str, int, int], None], url: str, requests: int, concurrency: int, sender: Connection
) -> None:
    client(url, concurrency, concurrency)  # imports and first connections
    started, cpu = time.perf_counter(), time.process_time()
    client(url, requests, concurrency)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send({"rps": round(requests / seconds), "cpu_ms": round(cpu / requests * 1000, 3), "peak_mb": round(peak)})


def component(url: str, requests: int, concurrency: int) -> None:
    from shared.tasks import load_task
    from teacher_inference.endpoint import EndpointTeacher
    from teacher_inference.judge import Judge
    from teacher_inference.questions import Questions
    from teacher_inference.runner import Runner
    from teacher_inference.selection import Policy
    from teacher_inference.settings import EndpointSettings, Limits, Sampling
    from teacher_inference.source import Source
    from teacher_inference.store import Store
    from teacher_inference.usage import Meter

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with (folder / "train.jsonl").open("w") as file:
            file.writelines(
                json.dumps({"id": f"r{number}", "messages": [message(number)], "reference": None}) + "\n"
                for number in range(requests)
            )
        meter, task = Meter(), load_task('{"type": "conversation"}')
        limits, judge = Limits(max_concurrency=concurrency), Judge(task, "none")
        teacher = EndpointTeacher(EndpointSettings(url, "teacher"), Sampling(), limits, meter)
        store = Store(folder / "answers", teacher.name, teacher.origin)
        source = Source(teacher, store, judge, meter)
        Runner(Questions(folder, task), [source], Policy(), judge).run(folder / "responses")
        store.close()


def bare(url: str, requests: int, concurrency: int) -> None:
    import aiohttp

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(number: int) -> None:
                body = {"model": "teacher", "messages": [message(number)], "max_tokens": 512}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    assert (await response.json())["choices"]

            await workers(ask, range(requests), concurrency)

    asyncio.run(run())


def sdk(url: str, requests: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    async def run() -> None:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def ask(number: int) -> None:
                await client.chat.completions.create(
                    model="teacher", messages=[{"role": "user", "content": prompt(number)}], max_tokens=512
                )

            await workers(ask, range(requests), concurrency)

    asyncio.run(run())


async def workers(ask: Callable[[int], Awaitable[None]], numbers: Iterable[int], concurrency: int) -> None:
    shared = iter(numbers)

    async def work() -> None:
        for number in shared:
            await ask(number)

    await asyncio.gather(*(work() for _ in range(concurrency)))


def prompt(number: int) -> str:
    return f"Article {number}: " + "the match ended two to one after a late goal " * 5 + "\nTopic?"


def message(number: int) -> dict[str, str]:
    return {"role": "user", "content": prompt(number)}


class Connected(asyncio.Protocol):
    """One connection of the server: each whole request is answered after the latency."""

    def __init__(self, latency: float) -> None:
        self.latency, self.buffer = latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self.buffer = body[length:]
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, RESPONSE)


def serve(latency: float, ready: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connected(latency), "127.0.0.1", 0, backlog=1024
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
