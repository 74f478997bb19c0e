"""A teacher behind an OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import aiohttp

from shared.errors import AuthError, InvalidInput, NotFound, Problem, ServiceUnavailable
from teacher_inference.auth import Credential, NoCredential, credential
from teacher_inference.engine import Engine
from teacher_inference.health import Health
from teacher_inference.limiter import Limiter, Pace, Window
from teacher_inference.outcome import EXHAUSTED, Failed, Outcome, Retry, ServerError, read_response
from teacher_inference.proxy import from_environment
from teacher_inference.retry import Backoff
from teacher_inference.settings import EndpointSettings, Limits, Sampling
from teacher_inference.teacher import CUT, Answer, Ask, Question, Sink
from teacher_inference.usage import Budget, Meter

TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=8)
TOP_LOGPROBS = (20, 5, 0)  # what is asked for; the next where an endpoint refuses one
CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE = 2, 8  # rather too many tokens; for rates and budgets, before the answer
CONVINCED = 3  # alike answers after which a fault is taken for the endpoint's, not a row's
RESPONSE_METHOD = "choose distillation.method: response, which needs none"


@dataclass(frozen=True)
class Dialect:
    """How this endpoint wants to be asked, learnt from its refusals.  No part of a request's key."""

    max_tokens_field: str
    top_logprobs: int = TOP_LOGPROBS[0]


class EndpointTeacher:
    """Asks an endpoint and learns its limits and its dialect while doing so."""

    kind: Literal["endpoint"] = "endpoint"

    def __init__(
        self,
        settings: EndpointSettings,
        sampling: Sampling,
        limits: Limits,
        meter: Meter,
        probabilities: bool,
        backoff: Backoff | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> None:
        self.settings, self.sampling, self.limits, self.meter = settings, sampling, limits, meter
        self.probabilities, self.backoff, self.timeout = probabilities, backoff or Backoff(), timeout
        self.name = settings.model
        self.origin = f"{settings.url} {settings.model}"
        self.budget = Budget(settings.prices, limits.max_cost)
        version = f"?api-version={settings.api_version}" if settings.api_version else ""
        self.address = f"{settings.url}/chat/completions{version}"

    def request(self, question: Question) -> Mapping[str, object]:
        """The body, as it would be without the endpoint's dialect."""
        sampling = self.sampling
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        body: dict[str, object] = {
            "model": self.settings.model,
            "messages": question.messages,
            "max_tokens": sampling.max_tokens,
            **{name: value for name, value in drawn.items() if value is not None},
        }
        if question.candidates:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS[0]}
        return body

    def ask(self, asks: Iterator[Ask], sink: Sink) -> None:
        first = next(asks, None)
        if first is not None:
            asyncio.run(self._ask(itertools.chain([first], asks), sink))

    async def _ask(self, asks: Iterator[Ask], sink: Sink) -> None:
        limits = self.limits
        paces = [Pace(rate) if rate else None for rate in (limits.requests_per_minute, limits.tokens_per_minute)]
        health = Health(self.settings.url, limits.min_endpoint_success_ratio)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limits.max_concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self.timeout,
            **from_environment(self.address),
        ) as session:
            client = _Client(self, session, credential(self.settings.auth, self.settings.url))
            limiter = Limiter(Window(limits.max_concurrency), *paces)
            await Engine(client.send, client.tokens, limiter, health, self.meter, sink, self.backoff).run(asks)


class _Client:
    """One session with the endpoint."""

    def __init__(self, teacher: EndpointTeacher, session: aiohttp.ClientSession, credential: Credential) -> None:
        self.teacher, self.session, self.credential = teacher, session, credential
        self.dialect = Dialect(teacher.settings.max_tokens_field)
        self.answers = self.refusals = self.with_logprobs = self.without_logprobs = 0

    def tokens(self, question: Question) -> int:
        """The most tokens that a question is likely to use."""
        characters = sum(len(message["content"]) for message in question.messages)
        prompt = characters // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE * len(question.messages)
        return prompt + self.teacher.sampling.max_tokens

    async def send(self, question: Question) -> Outcome:
        """One request and what came of it; raises what ends the run."""
        if self.teacher.probabilities and not self.with_logprobs and self.without_logprobs >= CONVINCED:
            raise self._no_logprobs("its answers hold none")
        reserved = await self._reserve(question)
        dialect = self.dialect
        outcome: Answer | Retry | ServerError | None = None
        try:
            outcome = await self._post(json.dumps(self._body(question, dialect)).encode())
        finally:
            self.teacher.budget.settle(reserved, outcome if isinstance(outcome, Answer) else None)
        if isinstance(outcome, ServerError):
            return self._refused(outcome, dialect, question)
        if isinstance(outcome, Answer):
            self._count(question, outcome)
        return outcome

    async def _reserve(self, question: Question) -> float:
        most = self.teacher.sampling.max_tokens
        while (reserved := self.teacher.budget.reserve(self.tokens(question) - most, most)) is None:
            await asyncio.sleep(0.02)  # at the very end of the budget: what is in flight may turn out cheaper
        return reserved

    async def _post(self, body: bytes) -> Answer | Retry | ServerError:
        headers = {"Content-Type": "application/json", **self.credential.headers()}
        started = time.perf_counter()
        try:
            async with self.session.post(
                self.teacher.address, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
        except aiohttp.ClientConnectorCertificateError:
            raise ServiceUnavailable(f"the certificate of {self.teacher.settings.url} is not trusted here") from None
        except aiohttp.ClientConnectorError as error:
            return Retry(f"no connection ({error.os_error.strerror or type(error).__name__})", reached=False)
        except aiohttp.ConnectionTimeoutError:
            return Retry("no connection (timeout)", reached=False)
        except TimeoutError:
            return Retry("timeout")
        except (aiohttp.ClientError, OSError) as error:
            return Retry(f"connection lost ({type(error).__name__})")
        return read_response(response.status, response.headers, content, (time.perf_counter() - started) * 1000)

    def _body(self, question: Question, dialect: Dialect) -> dict[str, Any]:
        body = dict(self.teacher.request(question))
        if dialect.max_tokens_field != "max_tokens":
            body[dialect.max_tokens_field] = body.pop("max_tokens")
        if question.candidates and dialect.top_logprobs:
            body["top_logprobs"] = dialect.top_logprobs
        elif question.candidates:
            del body["logprobs"], body["top_logprobs"]
        return body

    def _count(self, question: Question, answer: Answer) -> None:
        self.answers += 1
        if question.candidates and answer.finish in ("stop", CUT):
            self.with_logprobs += answer.top_logprobs is not None
            self.without_logprobs += answer.top_logprobs is None

    def _refused(self, error: ServerError, dialect: Dialect, question: Question) -> Outcome:
        """What a refusal means for the row; raises what it means for the run."""
        if error.status in (401, 403):
            hint = "say where the key is: api_key_env" if isinstance(self.credential, NoCredential) else None
            raise AuthError(Problem(f"the endpoint refused {self.credential.source} ({error.status})", hint=hint))
        if error.status == 404 or 300 <= error.status < 400:
            raise self._not_found(error)
        if error.code in EXHAUSTED:
            raise ServiceUnavailable(f"the quota at {self.teacher.settings.url} is used up ({error})")
        if dialect is not self.dialect or self._adapt(error, question):
            return Retry("another form", adapted=True)
        self.refusals += 1
        if not self.answers and self.refusals >= CONVINCED:
            raise InvalidInput(Problem(f"the endpoint refuses the requests: {self._told(error, question)}"))
        return Failed(f"refused by the endpoint ({error})")

    def _adapt(self, error: ServerError, question: Question) -> bool:
        """Whether the refusal was of the request's form and the next one has another."""
        said = f"{error.param} {error.message}"
        if self.dialect.max_tokens_field == "max_tokens" and "max_completion_tokens" in said:
            self.dialect = replace(self.dialect, max_tokens_field="max_completion_tokens")
            return True
        if question.candidates and self.dialect.top_logprobs and "logprobs" in said:
            fewer = TOP_LOGPROBS[TOP_LOGPROBS.index(self.dialect.top_logprobs) + 1]
            if not fewer and self.teacher.probabilities:
                raise self._no_logprobs(f"it refuses to ({error})")
            self.dialect = replace(self.dialect, top_logprobs=fewer)
            return True
        return False

    def _not_found(self, error: ServerError) -> NotFound:
        url, model = self.teacher.settings.url, self.teacher.settings.model
        hint = None if url.endswith("/v1") or self.teacher.settings.api_version else "must the url end in /v1?"
        return NotFound(Problem(f"there is no model or deployment {model!r} at {url} ({error})", hint=hint))

    def _no_logprobs(self, reason: str) -> InvalidInput:
        url = self.teacher.settings.url
        return InvalidInput(
            Problem(f"the method needs label probabilities, and {url} gives none: {reason}", hint=RESPONSE_METHOD)
        )

    def _told(self, error: ServerError, question: Question) -> str:
        """The endpoint's own words, unless they quote the prompt; never the secret."""
        quotes = any(part in error.message for message in question.messages for part in _pieces(message["content"]))
        message = "" if quotes else f": {self.credential.scrub(' '.join(error.message.split()))[:200]}"
        return f"{error}{message}"


def _pieces(text: str) -> Iterator[str]:
    """Pieces of a text; a quotation of two pieces' length or more holds at least one of them."""
    return (text[start : start + 12] for start in range(0, max(1, len(text) - 11), 12))
