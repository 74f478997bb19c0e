"""A chat completions endpoint on this machine that answers well, or misbehaves exactly as a test asks.

    with LoopbackTeacher(answer=lambda body: "sport", key="secret") as server:
        … server.url … server.requests …

`plan(number, body)` decides for each request, counted from 1, which fault it gets; None is an honest answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
Plan = Callable[[int, Body], Fault | None]


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Body
    at: float


def status(code: int, error: Mapping[str, Any] | None = None, **headers: str) -> Fault:
    """An error status with an OpenAI-style body; `retry_after="2"` becomes the header `retry-after`."""

    async def reply(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"error": dict(error or {"message": "no"})}, status=code, headers=named)

    return reply


def raw(body: bytes, code: int = 200, content_type: str = "application/json") -> Fault:
    """Any bytes."""

    async def reply(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=code, content_type=content_type)

    return reply


def choice(text: str | None, finish: str = "stop", **message: Any) -> Fault:
    """An answer with a finish reason of one's own."""
    return raw(json.dumps(completion(text, finish=finish, **message)).encode())


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection ends without a response."""
    assert request.transport
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    """No response within any test's patience."""
    await asyncio.sleep(60)
    return web.Response()


async def truncated(request: web.Request) -> web.StreamResponse:
    """Half of the promised body."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"mess')
    assert request.transport
    request.transport.close()
    return response


def completion(
    text: str | None, finish: str = "stop", logprobs: Any = None, usage: tuple[int, int] = (10, 2), **message: Any
) -> Body:
    """The body of an answer."""
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
                "logprobs": logprobs,
            }
        ],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)},
    }


def message(text: str, stop_reason: str = "end_turn", usage: tuple[int, int] = (10, 2)) -> Body:
    """The body of an answer of Anthropic's Messages API."""
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": usage[0], "output_tokens": usage[1]},
    }


def anthropic_error(code: int, kind: str, message: str = "no", **headers: str) -> Fault:
    """An error as Anthropic's API tells it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(request: web.Request) -> web.StreamResponse:
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        return web.json_response(body, status=code, headers=named)

    return reply


def one_token(probabilities: Mapping[str, float]) -> Body:
    """The `logprobs` of an answer of one token, the likeliest of `probabilities`."""
    listed = [
        {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}
        for token, share in sorted(probabilities.items(), key=lambda item: -item[1])
    ]
    return {"content": [{**listed[0], "top_logprobs": listed}]}


class LoopbackTeacher:
    """The server, in a thread of its own.

    Chat completions are at every path that ends so, Anthropic's messages at `/anthropic/v1/messages`.

    `capacity` is a hidden limit of requests in flight, above which it answers 429.  `key` is the bearer token, or
    Anthropic's `x-api-key`, it wants.  `logprobs(body)` gives an answer's log probabilities where the request asks
    for them.
    """

    def __init__(
        self,
        answer: Callable[[Body], str] = lambda body: "an answer",
        *,
        plan: Plan = lambda number, body: None,
        logprobs: Callable[[Body], Body | None] = lambda body: None,
        latency: float = 0.0,
        key: str | None = None,
        model: str = "teacher",
        capacity: int | None = None,
        retry_after: str = "0.05",
    ) -> None:
        self.answer, self.plan, self.logprobs = answer, plan, logprobs
        self.latency, self.key, self.model = latency, key, model
        self.capacity, self.retry_after = capacity, retry_after
        self.requests: list[Seen] = []
        self.answered = self.refused = 0
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> LoopbackTeacher:
        self._thread.start()
        assert self._ready.wait(10), "the loopback server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def prompts(self) -> list[str]:
        """The last message of every request."""
        return [seen.body["messages"][-1]["content"] for seen in self.requests]

    def _serve(self) -> None:
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:(.*/)?}chat/completions", self._asked)
        app.router.add_post("/anthropic/v1/messages", self._asked)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @property
    def host(self) -> str:
        """The address without a path."""
        return self.url.removesuffix("/v1")

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(Seen(request.path_qs, dict(request.headers), body, self._loop.time()))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            fault = self._refusal(request, body) or self.plan(len(self.requests), body)
            if fault:
                return await fault(request)
            if self.latency:
                await asyncio.sleep(self.latency)
            logprobs = self.logprobs(body) if body.get("logprobs") else None
            self.answered += 1
            text = self.answer(body)
            anthropic = request.path.endswith("/messages")
            return web.json_response(message(text) if anthropic else completion(text, logprobs=logprobs))
        finally:
            self.in_flight -= 1

    def _refusal(self, request: web.Request, body: Body) -> Fault | None:
        given = (request.headers.get("Authorization"), request.headers.get("x-api-key"))
        if self.key and given not in ((f"Bearer {self.key}", None), (None, self.key)):
            return status(401, {"message": f"Incorrect API key provided: {request.headers.get('Authorization')}"})
        if body["model"] != self.model or request.path.startswith("/chat"):
            return status(404, {"message": "no such model", "code": "DeploymentNotFound"})
        if self.capacity and self.in_flight > self.capacity:
            self.refused += 1
            return status(429, {"message": "too many requests"}, retry_after=self.retry_after)
        return None
