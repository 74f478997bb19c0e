"""Every fault, in every API, with every limit on: what comes of the rows, and that nothing of them is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest
from loopback_teacher import Body, Fault, LoopbackTeacher, completion, hang, message, raw, reset, status, truncated
from teacher_bench import CHAT, Bench, Result

from shared.errors import AuthError, ComponentError, NotFound, ServiceUnavailable
from teacher_inference.settings import Auth, Limits

ROWS = 10
SECRET, WORDS = "sk-very-secret", "confidential words of a row"
BAD = f"{WORDS} number 7"
LIMITS = Limits(max_concurrency=4, requests_per_minute=60_000, tokens_per_minute=50_000_000)

Made = Callable[[str], Fault]


def body(api: str, **changes: Any) -> bytes:
    made = message("an answer") if api == "anthropic" else completion("an answer")
    return json.dumps({**made, **changes}).encode()


def stopped(api: str, chat: str, messages: str, text: str = "half") -> Fault:
    """An answer that ended as `chat` says, or in Anthropic's words `messages`."""
    made = message(text, messages) if api == "anthropic" else completion(text, finish=chat)
    return raw(json.dumps(made).encode())


# a fault that passes: the row is answered by the next attempt
PASSING: dict[str, Made] = {
    **{str(code): (lambda api, code=code: status(code)) for code in (408, 429, 500, 502, 503, 504, 529)},  # type: ignore[misc]
    "retry-after in seconds": lambda api: status(429, retry_after="0"),
    "retry-after as a date": lambda api: status(429, retry_after=formatdate(usegmt=True)),
    "retry-after-ms": lambda api: status(429, retry_after_ms="5"),
    "x-ratelimit-reset": lambda api: status(429, x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="5ms"),
    "reset": lambda api: reset,
    "timeout": lambda api: hang,
    "truncated": lambda api: truncated,
    "empty": lambda api: raw(b""),
    "not json": lambda api: raw(b"<html>maintenance</html>", 200, "text/html"),
    "half a json": lambda api: raw(body(api)[:40]),
    "json of another kind": lambda api: raw(b'{"error": {"message": "busy"}}'),
}

# a fault that stays with its row: requests it takes, and the reason told
STAYING: dict[str, tuple[Made, int, str]] = {
    "400": (lambda api: status(400), 1, "refused by the endpoint (400)"),
    "413": (lambda api: status(413), 1, "refused by the endpoint (413)"),
    "content filter": (lambda api: status(400, {"code": "content_filter"}), 1, "refused by the content filter"),
    "length": (lambda api: stopped(api, "length", "max_tokens"), 2, "cut at max_tokens"),
    "filtered answer": (
        lambda api: stopped(api, "content_filter", "content_filtered"),
        1,
        "refused by the content filter",
    ),
    "empty answer": (lambda api: stopped(api, "stop", "end_turn", " "), 2, "empty answer"),
    "always 500": (lambda api: status(500), 5, "500 in 5 attempts"),
}

# a fault that ends the run
ENDING: dict[str, tuple[Made, type[ComponentError]]] = {
    "401": (lambda api: status(401, {"message": f"wrong key {SECRET}"}), AuthError),
    "403": (lambda api: status(403), AuthError),
    "404": (lambda api: status(404), NotFound),
    "quota": (lambda api: status(429, {"code": "insufficient_quota"}), ServiceUnavailable),
    "always 503": (lambda api: status(503), ServiceUnavailable),
}


@dataclass
class Case:
    """Runs of ten rows at one API; `faulty` decides which requests get the fault."""

    bench: Bench
    api: str
    fault: Fault
    faulty: Callable[[str, int], bool]
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.bench.write("train", [f"{WORDS} number {number}" for number in range(ROWS)])

    def plan(self, number: int, asked: Body) -> Fault | None:
        prompt = asked["messages"][-1]["content"]
        self.asked[prompt] += 1
        return self.fault if self.faulty(prompt, self.asked[prompt]) else None

    def server(self) -> LoopbackTeacher:
        return LoopbackTeacher(plan=self.plan, key=SECRET)

    def run(self, server: LoopbackTeacher) -> Result:
        path = "/anthropic" if self.api == "anthropic" else "/v1"
        auth = Auth("key_env", "MATRIX_KEY")
        return self.bench.run(server, CHAT, url=server.host + path, auth=auth, limits=LIMITS, timeout=0.4)


@pytest.fixture
def discreet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Gives the key; in the end, neither it nor a word of a row may have been printed."""
    monkeypatch.setenv("MATRIX_KEY", SECRET)
    yield
    printed = "".join(capfd.readouterr())
    assert SECRET not in printed
    assert WORDS not in printed


APIS = pytest.mark.parametrize("api", ["openai", "anthropic"])


@APIS
@pytest.mark.parametrize("name", PASSING)
@pytest.mark.usefixtures("discreet")
def test_what_passes_costs_one_request_more_and_no_row(bench: Bench, api: str, name: str) -> None:
    case = Case(bench, api, PASSING[name](api), lambda prompt, time: prompt == BAD and time == 1)
    with case.server() as server:
        result = case.run(server)
    assert len(result.train) == ROWS
    assert result.rejected == []
    assert (case.asked.total(), result.usage["retries"]) == (ROWS + 1, 1)


@APIS
@pytest.mark.parametrize("name", STAYING)
@pytest.mark.usefixtures("discreet")
def test_what_stays_costs_its_row(bench: Bench, api: str, name: str) -> None:
    fault, requests, reason = STAYING[name]
    case = Case(bench, api, fault(api), lambda prompt, time: prompt == BAD)
    with case.server() as server:
        result = case.run(server)
    assert result.rejected == [{"id": "train7", "split": "train", "reason": reason}]
    assert len(result.train) == ROWS - 1
    assert case.asked[BAD] == requests
    assert case.asked.total() == ROWS - 1 + requests


@APIS
@pytest.mark.parametrize("name", ENDING)
@pytest.mark.usefixtures("discreet")
def test_what_ends_the_run_keeps_what_was_bought(bench: Bench, api: str, name: str) -> None:
    fault, error = ENDING[name]
    answered = [f"{WORDS} number {number}" for number in range(3)]
    case = Case(bench, api, fault(api), lambda prompt, time: prompt not in answered)
    with case.server() as server:
        with pytest.raises(error) as caught:
            case.run(server)
        assert SECRET not in str(caught.value)
        assert WORDS not in str(caught.value)
        assert json.loads((bench.responses / "usage.json").read_text())["stopped"]
        case.faulty = lambda prompt, time: False
        result = case.run(server)
    assert len(result.train) == ROWS
    assert [case.asked[prompt] for prompt in answered] == [1, 1, 1]
