"""Anthropic's Messages API, as Claude speaks it in Azure AI Foundry."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_teacher import Body, Fault, LoopbackTeacher, anthropic_error, message, raw
from teacher_bench import CHAT, TOPICS, Bench

from shared.errors import AuthError, InvalidInput, NotFound
from teacher_inference import messages
from teacher_inference.outcome import read_answer
from teacher_inference.settings import Auth, Prices, Sampling
from teacher_inference.teacher import Answer

PROMPTS = [f"question {number}" for number in range(12)]


def answered(text: str, stop_reason: str = "end_turn", **changes: Any) -> Fault:
    return raw(json.dumps({**message(text, stop_reason), **changes}).encode())


def ask(bench: Bench, server: LoopbackTeacher, task: dict[str, Any] = CHAT, **options: Any) -> Any:
    return bench.run(server, task, url=f"{server.host}/anthropic", **options)


def test_what_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-ant")
    bench.write("train", ["hello"])
    task = {**CHAT, "system_prompt": "Be kind."}
    with LoopbackTeacher(key="sk-ant") as server:
        ask(bench, server, task, auth=Auth("key_env", "MY_KEY"), sampling=Sampling(0.5, 0.9, 77, seed=3))
    (seen,) = server.requests
    assert seen.body == {
        "model": "teacher",
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "Authorization" not in seen.headers


def test_tokens_are_counted_with_those_of_the_cache(bench: Bench) -> None:
    bench.write("train", ["hello"])
    usage = {"input_tokens": 7, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 3, "output_tokens": 5}
    fault = answered("hi", usage=usage)
    with LoopbackTeacher(plan=lambda number, body: fault) as server:
        result = ask(bench, server, prices=Prices(1e6, 1e6))
    assert (result.usage["prompt_tokens"], result.usage["completion_tokens"]) == (40, 5)
    assert result.usage["cost"] == pytest.approx(45)


def test_thoughts_are_no_part_of_the_answer(bench: Bench) -> None:
    bench.write("train", ["hello"])
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    with LoopbackTeacher(plan=lambda number, body: answered("", content=blocks)) as server:
        assert ask(bench, server).train[0].answer == "ab"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (answered("half an", "max_tokens"), "cut at max_tokens"),
        (answered("half an", "model_context_window_exceeded"), "cut at max_tokens"),
        (answered("", "refusal"), "the teacher refused to answer"),
        (answered("I would", "refusal"), "the teacher refused to answer"),
        (answered("", "end_turn"), "empty answer"),
    ],
)
def test_answers_that_are_none(bench: Bench, fault: Fault, reason: str) -> None:
    bench.write("train", PROMPTS)

    def plan(number: int, body: Body) -> Fault | None:
        return fault if body["messages"][-1]["content"] == "question 7" else None

    with LoopbackTeacher(plan=plan) as server:
        result = ask(bench, server)
    assert result.rejected == [{"id": "train7", "split": "train", "reason": reason}]
    assert len(server.requests) == 13  # it was asked once more
    assert len(result.train) == 11


def test_an_overloaded_service_is_waited_for_and_asked_less_at_once(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    overloaded = anthropic_error(529, "overloaded_error", "Overloaded")
    with LoopbackTeacher(plan=lambda number, body: overloaded if number <= 6 else None) as server:
        result = ask(bench, server)
    assert len(result.train) == 12
    assert result.usage["throttled"] == 6
    assert result.usage["limit"] < 12


def test_a_rate_limit_is_waited_for_as_long_as_it_says(bench: Bench) -> None:
    bench.write("train", PROMPTS[:1])
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    headers = {"anthropic_ratelimit_requests_remaining": "0", "anthropic_ratelimit_requests_reset": until}
    fault = anthropic_error(429, "rate_limit_error", "slowly", **headers)
    with LoopbackTeacher(plan=lambda number, body: fault if number == 1 else None) as server:
        ask(bench, server)
    first, second = server.requests
    assert second.at - first.at >= 0.9


def test_what_ends_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-wrong")
    bench.write("train", PROMPTS)
    with LoopbackTeacher(key="sk-ant") as server, pytest.raises(AuthError, match=r"MY_KEY \(401\)"):
        ask(bench, server, auth=Auth("key_env", "MY_KEY"))
    missing = anthropic_error(404, "not_found_error", "model: claude-9")
    with LoopbackTeacher(plan=lambda n, body: missing) as server, pytest.raises(NotFound, match="no model"):
        ask(bench, server)
    poor = anthropic_error(400, "invalid_request_error", "Your credit balance is too low")
    with LoopbackTeacher(plan=lambda n, body: poor) as server, pytest.raises(InvalidInput, match="credit balance"):
        ask(bench, server)


def test_a_token_of_entra_is_a_bearer_token(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Identity:
        def get_token(self, scope: str) -> Any:
            return type("Token", (), {"token": "entra", "expires_on": time.time() + 3600})

    monkeypatch.setattr("teacher_inference.auth.azure_credential", Identity)
    bench.write("train", PROMPTS[:2])
    with LoopbackTeacher(key="entra") as server:
        assert len(ask(bench, server, auth=Auth("entra")).train) == 2


def test_labels_are_held_to_by_its_own_schema(bench: Bench) -> None:
    bench.write("train", ["a"])
    with LoopbackTeacher(lambda body: '{"answer":"tech"}') as server:
        result = ask(bench, server, TOPICS)
    assert result.train[0].answer == "tech"
    schema = server.requests[0].body["output_config"]["format"]["schema"]
    assert schema["properties"]["answer"]["enum"] == TOPICS["labels"]
    assert "logprobs" not in server.requests[0].body


def test_a_model_without_temperature_and_schemas_is_asked_without(bench: Bench) -> None:
    bench.write("train", PROMPTS)

    def plan(number: int, body: Body) -> Fault | None:
        for name, said in (
            ("output_config", "output_config: Extra inputs are not permitted"),
            ("temperature", "`temperature` is deprecated for this model"),
        ):
            if name in body:
                return anthropic_error(400, "invalid_request_error", said)
        return None

    with LoopbackTeacher(lambda body: "sport", plan=plan) as server:
        result = ask(bench, server, TOPICS)
    assert len(result.train) == server.answered == 12
    assert result.usage["adapted"] == [
        "output_config refused, answers are not held to a form",
        "temperature refused and left out",
    ]


def test_a_method_that_needs_probabilities_is_refused_before_anything_is_sent(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher() as server, pytest.raises(InvalidInput, match=r"anthropic gives no log prob.*response"):
        ask(bench, server, TOPICS, needs="labels")
    assert server.requests == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, st.sampled_from(["content", "stop_reason", "usage", "type"]))
def test_no_part_of_a_message_breaks_the_reader(value: Any, part: str) -> None:
    outcome = read_answer(json.dumps({**message("x"), part: value}).encode(), 1.0, messages.read)
    if isinstance(outcome, Answer):
        outcome.text.encode()  # can be written
