"""A teacher behind an HTTP endpoint."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import aiohttp

from shared.errors import InvalidInput, Problem
from teacher_inference import wire
from teacher_inference.apis import APIS, address, detect
from teacher_inference.auth import credential
from teacher_inference.client import Client
from teacher_inference.dialect import WRAPPING, Dialect
from teacher_inference.engine import Engine
from teacher_inference.health import Health
from teacher_inference.limiter import Limiter, Pace, Window
from teacher_inference.proxy import from_environment
from teacher_inference.retry import Backoff
from teacher_inference.settings import EndpointSettings, Limits, Sampling
from teacher_inference.teacher import Ask, Asks, Needs, Question, Sink
from teacher_inference.usage import Budget, Meter

TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=8)


@dataclass
class EndpointTeacher:
    """Asks an endpoint and learns its limits and its dialect while doing so."""

    settings: EndpointSettings
    sampling: Sampling
    limits: Limits
    meter: Meter
    needs: Needs = "none"
    backoff: Backoff = field(default_factory=Backoff)
    timeout: aiohttp.ClientTimeout = TIMEOUT
    kind: Literal["endpoint"] = "endpoint"

    def __post_init__(self) -> None:
        settings = self.settings
        api = settings.api or detect(settings.url)
        self.api, self.wire = APIS[api], wire.of(api)
        self.address = address(settings.url, api, settings.model, settings.api_version)
        self.name = settings.model
        self.origin = f"{self.address.base} {settings.model}"
        if self.needs != "none" and not self.api.top_logprobs:
            hint = "choose distillation.method: response, which needs none"
            raise InvalidInput(Problem(f"the API {api} gives no log probabilities, which the method needs", hint=hint))

    def request(self, question: Question, sample: int) -> Mapping[str, object]:
        """All parameters by OpenAI's names, as they would be sent if the endpoint took everything."""
        request: dict[str, object] = {
            "model": self.settings.model,
            "messages": question.messages,
            "max_tokens": self.sampling.max_tokens,
            **self.sampling.drawn(sample),
        }
        if self.api.top_logprobs and (question.direct or self.needs == "tokens"):
            request |= {"logprobs": True, "top_logprobs": self.api.top_logprobs[0]}
        if self.settings.constrain and not self._free(question):
            request["labels"] = question.candidates  # none: the answer is held to the form of a reasoned one
        return request

    def _free(self, question: Question) -> bool:
        """Whether the answer is held to nothing: it need not, or its label's own probabilities are wanted."""
        wrapped = bool(self.api.constraints) and self.api.constraints[0] in WRAPPING
        return not (question.candidates or question.reasoned) or (question.direct and self.needs != "none" and wrapped)

    def ask(self, asks: Asks, sink: Sink) -> None:
        first = asks.take()
        if first is not None:
            gc.freeze()  # the collector need not go through all that was imported, again and again,
            gc.set_threshold(10_000)  # while thousands of small objects come and go with each round of requests
            asyncio.run(self._ask(_Begun(first, asks), sink))

    async def _ask(self, asks: Asks, sink: Sink) -> None:
        limits = self.limits
        paces = [Pace(rate) if rate else None for rate in (limits.requests_per_minute, limits.tokens_per_minute)]
        health = Health(self.address.base, limits.min_endpoint_success_ratio)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limits.max_concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self.timeout,
            **from_environment(self.address.call),
        ) as session:
            client = Client(
                session=session,
                credential=credential(self.settings.auth, self.address.base, self.api.key_headers),
                api=self.api,
                wire=self.wire,
                address=self.address,
                dialect=Dialect.of(self.api, self.settings.max_tokens_field, self.settings.constrain),
                budget=Budget(self.settings.prices, limits.max_cost),
                request=self.request,
                max_tokens=self.sampling.max_tokens,
                needs=self.needs,
                meter=self.meter,
            )
            limiter = Limiter(Window(limits.max_concurrency), *paces)
            await Engine(client.send, client.tokens, limiter, health, self.meter, sink, self.backoff).run(asks)


class _Begun:
    """Work of which the first question was taken already."""

    def __init__(self, first: Ask, asks: Asks) -> None:
        self.first: Ask | None = first
        self.asks = asks

    def take(self) -> Ask | None:
        first, self.first = self.first, None
        return first or self.asks.take()
