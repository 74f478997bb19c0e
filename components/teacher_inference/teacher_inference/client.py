"""One session with an endpoint: requests in its dialect, and what its responses mean for the row or for the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from shared.errors import AuthError, InvalidInput, NotFound, Problem, ServiceUnavailable
from shared.fast_json import encode
from teacher_inference.apis import Address, Api
from teacher_inference.auth import Credential, NoCredential
from teacher_inference.dialect import WRAPPING, Dialect
from teacher_inference.outcome import EXHAUSTED, Failed, Outcome, Retry, ServerError, read_response
from teacher_inference.quotation import quotes, repeats
from teacher_inference.teacher import CUT, Answer, Ask, Needs, Question
from teacher_inference.unwrap import unwrapped
from teacher_inference.usage import Budget, Meter
from teacher_inference.wire import Wire

CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE = 2, 8  # rather too many tokens; for rates, before the answer
OBJECT_TOKENS = 32  # of the object around a label, and of the fence around that
CONVINCED = 3  # alike answers after which a fault is taken for the endpoint's, not a row's
RESPONSE_METHOD = "choose distillation.method: response, which needs none"


@dataclass
class Client:
    """Sends one sample of a question at a time; `request` gives its parameters."""

    session: aiohttp.ClientSession
    credential: Credential
    api: Api
    wire: Wire
    address: Address
    dialect: Dialect
    budget: Budget
    request: Callable[[Question, int], Mapping[str, object]]
    max_tokens: int
    needs: Needs
    meter: Meter
    answers: int = 0
    refusals: int = 0
    with_logprobs: int = 0
    without_logprobs: int = 0
    timeouts: int = 0
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tokens(self, ask: Ask) -> int:
        """How many tokens a question is likely to use at most."""
        characters = sum(len(message["content"]) for message in ask.question.messages)
        prompt = characters // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE * len(ask.question.messages)
        return prompt + self._longest(ask)

    async def send(self, ask: Ask) -> Outcome:
        """One request and what came of it; raises what ends the run.

        Where the method cannot do without log probabilities, no second request is sent before an answer held some.
        """
        if self.needs != "none" and not self.with_logprobs:
            async with self._alone:
                if not self.with_logprobs:
                    if self.without_logprobs >= CONVINCED:
                        raise self._no_logprobs("its answers hold none")
                    return await self._send(ask)
        return await self._send(ask)

    async def _send(self, ask: Ask) -> Outcome:
        dialect = self.dialect
        body = self._body(ask, dialect)
        reserved = await self._reserve(ask)
        self.meter.requests += 1
        outcome: Answer | Retry | ServerError = Retry("stopped", lost=True)
        try:
            outcome = await self._post(encode(body))
        finally:
            lost = isinstance(outcome, Retry) and outcome.lost
            self.budget.settle(reserved, outcome if isinstance(outcome, Answer) else None, lost)
        if isinstance(outcome, ServerError):
            return self._refused(outcome, dialect, body, ask.question)
        if isinstance(outcome, Answer):
            self._count(body, outcome)
            return unwrapped(outcome) if self._wraps(ask, dialect) else outcome
        return outcome

    def _longest(self, ask: Ask) -> int:
        return self.max_tokens + (OBJECT_TOKENS if self._wraps(ask, self.dialect) else 0)

    async def _reserve(self, ask: Ask) -> float:
        """What the request costs at most: a token is at least a byte, of the messages or of the form to hold to."""
        if self.budget.max_cost is None:
            return 0.0
        size = sum(len(message["content"].encode()) + TOKENS_PER_MESSAGE for message in ask.question.messages)
        size += len(encode(self.dialect.constrained(ask.question)))
        while (reserved := self.budget.reserve(size, self._longest(ask))) is None:
            await asyncio.sleep(0.02)  # at the very end of the budget: what is in flight may turn out cheaper
        return reserved

    async def _post(self, body: bytes) -> Answer | Retry | ServerError:
        headers = {"Content-Type": "application/json", **self.api.headers, **await self.credential.headers()}
        started = time.perf_counter()
        try:
            async with self.session.post(
                self.address.call, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
        except aiohttp.ClientConnectorCertificateError:
            raise ServiceUnavailable(f"the certificate of {self.address.base} is not trusted here") from None
        except aiohttp.ClientConnectorError as error:
            return Retry(f"no connection ({error.os_error.strerror or type(error).__name__})", reached=False)
        except aiohttp.ConnectionTimeoutError:
            return Retry("no connection (timeout)", reached=False)
        except TimeoutError:
            self.timeouts += 1
            if not self.answers and self.timeouts >= 2 * max(self.meter.limit, CONVINCED):
                raise self._silent() from None
            return Retry("timeout", lost=True)
        except (aiohttp.ClientError, OSError) as error:
            return Retry(f"connection lost ({type(error).__name__})", lost=True)
        milliseconds = (time.perf_counter() - started) * 1000
        return read_response(response.status, response.headers, content, milliseconds, self.wire.read)

    def _silent(self) -> ServiceUnavailable:
        minutes = (self.session.timeout.total or 0) / 60
        message = (
            f"{self.address.base} takes requests and has answered none of {self.timeouts} in {minutes:.0f} min each"
        )
        return ServiceUnavailable(Problem(message, hint="is it the right address, and has the model been loaded?"))

    def _body(self, ask: Ask, dialect: Dialect) -> dict[str, Any]:
        request = dict(self.request(ask.question, ask.sample))
        left_out = {"messages", "labels", "max_tokens", "logprobs", "top_logprobs", *dialect.left_out}
        parameters: dict[str, Any] = {name: value for name, value in request.items() if name not in left_out}
        parameters[dialect.max_tokens_field] = self.max_tokens
        if "logprobs" in request and dialect.top_logprobs:
            parameters |= {"logprobs": True, "top_logprobs": dialect.top_logprobs}
        if not self._wraps(ask, dialect):
            parameters |= dialect.constrained(ask.question)
        elif self.needs == "none":  # else the label's own probabilities are wanted, not those of an object
            parameters |= dialect.constrained(ask.question)
            parameters[dialect.max_tokens_field] += OBJECT_TOKENS
        return self.wire.body(ask.question, parameters)

    def _wraps(self, ask: Ask, dialect: Dialect) -> bool:
        """Whether a label would come inside an object."""
        return ask.question.direct and dialect.constraint in WRAPPING

    def _count(self, body: Mapping[str, Any], answer: Answer) -> None:
        self.answers += 1
        if (self.needs != "none" or "logprobs" in body) and answer.finish in ("stop", CUT):
            self.with_logprobs += answer.top_logprobs is not None
            self.without_logprobs += answer.top_logprobs is None

    def _refused(self, error: ServerError, dialect: Dialect, body: Mapping[str, Any], question: Question) -> Outcome:
        """What a refusal means for the row; raises what it means for the run."""
        if error.status in (401, 403):
            hint = "say where the key is: api_key_env" if isinstance(self.credential, NoCredential) else None
            raise AuthError(Problem(f"the endpoint refused {self.credential.source} ({error.status})", hint=hint))
        if error.status == 404 or 300 <= error.status < 400:
            raise self._not_found(error, str(body.get("model")))
        if error.code in EXHAUSTED:
            raise ServiceUnavailable(f"the quota at {self.address.base} is used up ({error})")
        if dialect is not self.dialect or (not quotes(error.message, question) and self._adapt(error, body)):
            return Retry("another form", adapted=True)
        self.refusals += not error.too_long
        if not (self.answers or self.meter.stored) and self.refusals >= CONVINCED:
            raise InvalidInput(Problem(f"the endpoint refuses the requests: {self._told(error, question)}"))
        return Failed(f"refused by the endpoint ({error})")

    def _adapt(self, error: ServerError, body: Mapping[str, Any]) -> bool:
        """Whether the refusal was of the request's form and the next one has another."""
        before, after = self.dialect, self.dialect.after(error, body, self.api, unanswered=not self.answers)
        if after is None:
            return False
        if self.needs != "none" and not after.top_logprobs:
            if self.meter.stored:  # it gave them before
                return False
            raise self._no_logprobs(f"it refuses to ({error})")
        self.dialect = after
        self.meter.adapted.append(after.told(before))
        print(f"the endpoint is asked in another form: {after.told(before)}", flush=True)
        return True

    def _not_found(self, error: ServerError, model: str) -> NotFound:
        base = self.address.base
        if error.status < 400:
            return NotFound(Problem(f"{base} sends requests elsewhere ({error})", hint="give the address that answers"))
        hint = None if base.endswith("/v1") or "api-version" in self.address.call else "must the url end in /v1?"
        return NotFound(Problem(f"there is no model or deployment {model!r} at {base} ({error})", hint=hint))

    def _no_logprobs(self, reason: str) -> InvalidInput:
        wanted = "label probabilities" if self.needs == "labels" else "log probabilities of tokens"
        message = f"the method needs {wanted}, and {self.address.base} gives none: {reason}"
        return InvalidInput(Problem(message, hint=RESPONSE_METHOD))

    def _told(self, error: ServerError, question: Question) -> str:
        """The endpoint's own words, unless they quote the prompt; never the secret."""
        message = (
            ""
            if repeats(error.message, question)
            else f": {self.credential.scrub(' '.join(error.message.split()))[:200]}"
        )
        return f"{error}{message}"
