"""The component's JSON arguments as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from shared.errors import load_json
from teacher_inference.apis import APIS
from teacher_inference.reader import Reader

Selection = Literal["all", "majority", "gold"]
SEVERAL_TEMPERATURE = 0.7  # where several answers are drawn and none is given

AuthKind = Literal["none", "key_env", "connection", "key_vault", "entra"]
AUTH_FIELD: dict[str, str | None] = {
    "none": None,
    "key_env": "name",
    "connection": "name",
    "key_vault": "url",
    "entra": None,
}


@dataclass(frozen=True)
class Auth:
    """Where the endpoint's secret lives; `where` is an environment variable, a connection or a secret's URL.

    `connection` stands in for an environment variable that is not set.
    """

    kind: AuthKind = "none"
    where: str = ""
    connection: str | None = None


@dataclass(frozen=True)
class Prices:
    """Money per million tokens."""

    input_per_million: float
    output_per_million: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.input_per_million + completion_tokens * self.output_per_million) / 1e6


@dataclass(frozen=True)
class EndpointSettings:
    """An endpoint and how it is spoken to.

    `url` ends before `/chat/completions` or `/v1/messages`, or is the bare address of a host.  `api` is one of
    `apis.APIS`, None where the address tells.  `api_version` is sent as a query parameter (Azure).
    `max_tokens_field` is the name that this endpoint gives to `max_tokens`, where it is known beforehand.
    `constrain` says whether answers are held to the labels where the endpoint can do so.
    """

    url: str
    model: str
    auth: Auth = Auth()
    api_version: str | None = None
    prices: Prices | None = None
    max_tokens_field: str = "max_tokens"
    api: str | None = None
    constrain: bool = True

    @staticmethod
    def from_json(text: str) -> EndpointSettings:
        reader = Reader(load_json(text, "endpoint"), "endpoint")
        url, model = reader.text("url"), reader.text("model")
        if url is None:
            reader.problem("url", "is missing")
        elif reason := _bad_url(url):
            reader.problem("url", reason, "the address before /chat/completions, e.g. https://host/v1")
        if model is None:
            reader.problem("model", "is missing")
        auth, prices = _auth(reader), _prices(reader)
        settings = EndpointSettings(
            url=(url or "").rstrip("/"),
            model=model or "",
            auth=auth,
            api_version=reader.text("api_version"),
            prices=prices,
            max_tokens_field=reader.text("max_tokens_field") or "max_tokens",
            api=reader.choice("api", APIS),
            constrain=reader.boolean("constrain", True),
        )
        reader.finish()
        return settings


@dataclass(frozen=True)
class Sampling:
    """How the teacher is asked.

    A `temperature` or `top_p` of None is not sent, for models that take only their own.  `few_shot` gold rows stand
    before each question as solved examples.  `samples` answers are drawn a question, `re_asks` more at most where
    some are useless; `selection` says which are learnt (see `selection.Policy`).
    """

    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int = 512
    few_shot: int = 0
    seed: int | None = None
    samples: int = 1
    selection: Selection | None = None
    re_asks: int = 1

    @staticmethod
    def from_json(text: str) -> Sampling:
        reader = Reader(load_json(text, "sampling"), "sampling")
        samples = reader.whole("samples", 1, 1) or 1
        sampling = Sampling(
            temperature=reader.number("temperature", 0.0 if samples == 1 else SEVERAL_TEMPERATURE, 0, 2),
            top_p=reader.number("top_p", None, 0, 1),
            max_tokens=reader.whole("max_tokens", 512, 1) or 512,
            few_shot=reader.whole("few_shot", 0, 0) or 0,
            seed=reader.whole("seed", None, 0),
            samples=samples,
            selection=cast(Selection | None, reader.choice("selection", get_args(Selection))),
            re_asks=reader.whole("re_asks", 1, 0) or 0,
        )
        if samples > 1 and sampling.temperature == 0:
            reader.problem("temperature", f"must be above 0 where {samples} answers are to differ")
        reader.finish()
        return sampling

    def drawn(self, sample: int) -> dict[str, float]:
        """The parameters of one sample.  What was useless at temperature 0 is not asked again at temperature 0."""
        again = sample > 0 and self.temperature == 0
        seed = None if self.seed is None else self.seed + sample
        given = {"temperature": SEVERAL_TEMPERATURE if again else self.temperature, "top_p": self.top_p, "seed": seed}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Limits:
    """Ceilings; the real limit of an endpoint is found at run time.

    `min_endpoint_success_ratio` is the least share of requests that must get an answer, over the whole run and over
    any window of recent ones.  `max_cost` is what one run may spend, in the money of `Prices`: it stops before.
    """

    max_concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    min_endpoint_success_ratio: float = 0.7
    max_cost: float | None = None

    @staticmethod
    def from_json(text: str) -> Limits:
        reader = Reader(load_json(text, "limits"), "limits")
        ratio = reader.number("min_endpoint_success_ratio", 0.7, 0, 1)
        limits = Limits(
            max_concurrency=reader.whole("max_concurrency", 64, 1) or 64,
            requests_per_minute=reader.number("requests_per_minute", None, 1),
            tokens_per_minute=reader.number("tokens_per_minute", None, 1),
            min_endpoint_success_ratio=0.7 if ratio is None else ratio,
            max_cost=reader.number("max_cost", None, 0),
        )
        reader.finish()
        return limits


def _bad_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "is no http(s) URL"
    if parts.username or parts.password:
        return "must not hold a user name or password"
    if parts.query or parts.fragment:
        return "must not have a query; set api_version on its own"
    path = parts.path.rstrip("/")
    return next(
        (f"must end before {call}" for call in ("/chat/completions", "/v1/messages") if path.endswith(call)), None
    )


def _auth(reader: Reader) -> Auth:
    value = reader.mapping("auth") or {"kind": "none"}
    inner = Reader(value, "endpoint.auth")
    kind = inner.text("kind")
    if kind not in AUTH_FIELD:
        reader.problem("auth.kind", f"{kind!r} is none of {', '.join(AUTH_FIELD)}")
        return Auth()
    field = AUTH_FIELD[kind]
    where = inner.text(field) if field else None
    if field and where is None:
        inner.problem(field, f"is missing for the kind {kind}")
    if kind == "key_vault" and where and not where.startswith("https://"):
        inner.problem("url", "must be the https address of a secret", "https://VAULT.vault.azure.net/secrets/NAME")
    connection = inner.text("connection") if kind == "key_env" else None
    _merge(inner, reader)
    return Auth(kind, where or "", connection)  # type: ignore[arg-type]


def _prices(reader: Reader) -> Prices | None:
    value = reader.mapping("prices")
    if value is None:
        return None
    inner = Reader(value, "endpoint.prices")
    given = [inner.number(field, None, 0) for field in ("input_per_million", "output_per_million")]
    for field, price in zip(("input_per_million", "output_per_million"), given, strict=True):
        if price is None:
            inner.problem(field, "is missing")
    _merge(inner, reader)
    return Prices(given[0] or 0.0, given[1] or 0.0)


def _merge(inner: Reader, outer: Reader) -> None:
    from shared.errors import InvalidInput

    try:
        inner.finish()
    except InvalidInput as error:
        outer.problems.extend(error.problems)
