"""What the teacher's client costs and how it bears a misbehaving endpoint: prints one JSON object.

    python benchmarks/teacher_client.py [--requests 8000] [--concurrency 128] [--rounds 5] [--peers PYTHON]

All clients ask the same loopback server, a process of its own that answers after 100 ms; they take turns, and the
medians of their rounds count.  "component" is a whole run of `teacher_inference`: reading rows, request keys, limiter,
every answer flushed to disk, writing responses.  Ratios mean more than numbers: server and client share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

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
LATENCY = 0.1
CASES = ("clients", "hidden_limit", "first_fails")
Client = Callable[[str, int, int], Callable[[], object]]  # prepares what is timed then


def http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


RESPONSE = http(ANSWER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--concurrency", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--peers", help="the python of an environment with the extra bench-generators")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):  # the component tells its progress
        if "clients" in given.only:
            found |= clients(given.requests, given.concurrency, given.rounds, given.peers)
        if "hidden_limit" in given.only:
            found["hidden_limit"] = hidden_limit()
        if "first_fails" in given.only:
            found["first_fails"] = first_fails()
    print(json.dumps(found))


def clients(requests: int, concurrency: int, rounds: int, peers: str | None) -> dict[str, Any]:
    """Every client against an endpoint without faults."""
    ours: dict[str, Client] = {"aiohttp": bare, "component": component, "openai": sdk}
    with Server(Behaviour()) as server:
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in ours}
        for _ in range(rounds):
            for name, client in ours.items():
                figures[name].append(measured(client, server.url, requests, concurrency))
        found: dict[str, Any] = {name: medians(rows) for name, rows in figures.items()}
        for name in ("curator", "distilabel"):
            found[name] = peer(peers, name, server.url, min(requests, 1000), concurrency)
    component_, aiohttp_ = found["component"], found["aiohttp"]
    return {
        "requests": requests,
        "concurrency": concurrency,
        "rounds": rounds,
        "ideal_rps": concurrency / LATENCY,
        "clients": found,
        "component_to_aiohttp_rps": round(component_["rps"] / aiohttp_["rps"], 2),
        "component_to_openai_rps": round(component_["rps"] / found["openai"]["rps"], 2),
        "cpu_ms_more_than_aiohttp": round(component_["cpu_ms"] - aiohttp_["cpu_ms"], 3),
    }


def hidden_limit(requests: int = 3000, limit: int = 20, warm_up: int = 500) -> dict[str, float]:
    """How much of a capacity that nobody tells is used, and how often it is overstepped once it is known."""
    with Server(Behaviour(capacity=limit)) as server:
        component(server.url, requests, 64)()
        times, refused = server.seen()["answers"], server.seen()["refusals"]
    steady, start = len(times) - warm_up, times[warm_up - 1]
    late = sum(at > start for at in refused)
    return {
        "limit": limit,
        "warm_up": warm_up,
        "share_of_capacity": round(steady / (times[-1] - start) / (limit / LATENCY), 3),
        "refused_share": round(late / (late + steady), 4),
        "refused_before": len(refused) - late,
    }


def first_fails(requests: int = 2000, concurrency: int = 64) -> dict[str, float]:
    """Each request is refused once, after the time that an answer takes: two round trips a request at best."""
    with Server(Behaviour(fails_first=True)) as server:
        component(server.url, concurrency, concurrency)()  # imports
        run = component(server.url, requests, concurrency)
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
    ideal = 2 * LATENCY * requests / concurrency
    return {"seconds": round(seconds, 2), "ideal_seconds": ideal, "to_ideal_time": round(seconds / ideal, 2)}


def measured(client: Client, url: str, requests: int, concurrency: int) -> dict[str, float]:
    """A client in a process of its own: requests a second, CPU milliseconds a request, peak memory."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=timed, args=(client, url, requests, concurrency, sender))
    process.start()
    found: dict[str, float] = receiver.recv()
    process.join()
    return found


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def timed(client: Client, url: str, requests: int, concurrency: int, sender: Connection) -> None:
    client(url, concurrency, concurrency)()  # imports and first connections
    run = client(url, requests, concurrency)
    started, cpu = time.perf_counter(), time.process_time()
    run()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send({"rps": round(requests / seconds), "cpu_ms": round(cpu / requests * 1000, 3), "peak_mb": round(peak)})


def component(url: str, requests: int, concurrency: int) -> Callable[[], object]:
    scratch = tempfile.TemporaryDirectory()
    write_rows(Path(scratch.name), requests)
    return lambda: run_component(url, Path(scratch.name), concurrency)


def write_rows(folder: Path, count: int, words: int = 0) -> None:
    """Questions, each longer by `words` words than it need be."""
    with (folder / "train.jsonl").open("w") as file:
        for number in range(count):
            content = prompt(number) + " more" * words
            row = {"id": f"r{number}", "messages": [{"role": "user", "content": content}], "reference": None}
            file.write(json.dumps(row) + "\n")


def run_component(url: str, folder: Path, concurrency: int) -> None:
    from teacher_inference.main import main as run

    arguments = {"data": folder, "responses": folder / "responses", "answers": folder / "answers"}
    arguments |= {"task": '{"type": "conversation"}', "limits": json.dumps({"max_concurrency": concurrency})}
    arguments |= {"endpoint": json.dumps({"url": url, "model": "teacher", "auth": {"kind": "none"}})}
    run([f"--{name}={value}" for name, value in arguments.items()])


def peer(python: str | None, name: str, url: str, requests: int, concurrency: int) -> dict[str, float] | str:
    """A peer in an environment of its own (benchmarks/teacher_peers.py); why not, where it is not there."""
    if python is None:
        return "not measured: no --peers"
    script = Path(__file__).with_name("teacher_peers.py")
    command = [python, str(script), name, url, str(requests), str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"not measured: {(done.stderr.strip().splitlines() or ['failed'])[-1][:100]}"
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def bare(url: str, requests: int, concurrency: int) -> Callable[[], object]:
    import aiohttp

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(number: int) -> None:
                body = {"model": "teacher", "messages": [message(number)], "max_tokens": 512}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    assert (await response.json())["choices"]

            await workers(ask, range(requests), concurrency)

    return lambda: asyncio.run(run())


def sdk(url: str, requests: int, concurrency: int) -> Callable[[], object]:
    from openai import AsyncOpenAI

    async def run() -> None:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def ask(number: int) -> None:
                await client.chat.completions.create(
                    model="teacher", messages=[{"role": "user", "content": prompt(number)}], max_tokens=512
                )

            await workers(ask, range(requests), concurrency)

    return lambda: asyncio.run(run())


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


@dataclass(frozen=True)
class Behaviour:
    """How the endpoint treats requests; above `capacity` in flight it answers 429 at once."""

    latency: float = LATENCY
    capacity: int | None = None
    fails_first: bool = False


class Endpoint:
    """What the server has seen."""

    def __init__(self, behaviour: Behaviour, counts: tuple[Any, Any]) -> None:
        self.behaviour = behaviour
        self.received, self.open = counts
        self.in_flight = 0
        self.bodies: set[bytes] = set()
        self.answers: list[float] = []
        self.refusals: list[float] = []

    def reply(self, body: bytes) -> tuple[float, bytes]:
        """(seconds to wait, response)"""
        if not body:
            seen = {"requests": self.received.value, "distinct": len(self.bodies)}
            return 0.0, http(json.dumps({**seen, "answers": self.answers, "refusals": self.refusals}).encode())
        self.received.value += 1
        if self.behaviour.capacity is not None and self.in_flight >= self.behaviour.capacity:
            self.refusals.append(time.monotonic())
            return 0.0, http(b"{}", "429 Too Many Requests\r\nRetry-After: 1")
        digest = hashlib.sha256(body).digest()
        known = digest in self.bodies
        self.bodies.add(digest)
        if self.behaviour.fails_first and not known:
            return self.behaviour.latency, http(b"{}", "503 Service Unavailable")
        self.in_flight += 1
        return self.behaviour.latency, RESPONSE

    def sent(self, response: bytes) -> None:
        if response is RESPONSE:
            self.in_flight -= 1
            self.answers.append(time.monotonic())


class Connected(asyncio.Protocol):
    """One connection of the server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.buffer = endpoint, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.endpoint.open.value += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.endpoint.open.value -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        told = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        length = int(told) if told else 0
        if len(body) >= length:
            self.buffer = body[length:]
            wait, response = self.endpoint.reply(body[:length])
            asyncio.get_running_loop().call_later(wait, self._send, response)

    def _send(self, response: bytes) -> None:
        self.endpoint.sent(response)
        self.transport.write(response)


class Server:
    """The endpoint in a process of its own."""

    def __init__(self, behaviour: Behaviour) -> None:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        self.received: Any = multiprocessing.Value("q", lock=False)  # requests so far
        self.open: Any = multiprocessing.Value("q", lock=False)  # connections now
        counts = (self.received, self.open)
        self.process = multiprocessing.Process(target=serve, args=(behaviour, counts, sender), daemon=True)
        self.process.start()
        self.url = f"http://127.0.0.1:{receiver.recv()}/v1"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()

    def seen(self) -> dict[str, Any]:
        """`requests`, `distinct` ones of them; when it gave `answers` and `refusals`."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found


def serve(behaviour: Behaviour, counts: tuple[Any, Any], ready: Connection) -> None:
    async def run() -> None:
        endpoint = Endpoint(behaviour, counts)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connected(endpoint), "127.0.0.1", 0, backlog=1024
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
