from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_teacher import completion, one_token

from teacher_inference import chat
from teacher_inference import outcome as outcomes
from teacher_inference.outcome import Retry, ServerError, read_error
from teacher_inference.teacher import BROKEN, CALLED, CUT, FILTERED, REFUSED, Answer


def read_response(status: int, headers: dict[str, str], body: bytes, latency: float) -> object:
    return outcomes.read_response(status, headers, body, latency, chat.read)


def read_answer(body: bytes, latency: float) -> Answer | Retry:
    return outcomes.read_answer(body, latency, chat.read)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert isinstance(read_response(status, {}, b"", 1.0), Retry)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_what_will_not_pass_is_not(status: int) -> None:
    assert read_response(status, {}, b"", 1.0) == ServerError(status)


def test_only_refusals_for_the_rate_are_throttling() -> None:
    def throttled(status: int, headers: dict[str, str]) -> bool:
        outcome = read_response(status, headers, b"", 1.0)
        assert isinstance(outcome, Retry)
        return outcome.throttled

    assert throttled(429, {})
    assert throttled(503, {"retry-after": "1"})
    assert not throttled(503, {})
    assert not throttled(500, {"retry-after": "1"})


AZURE_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
    }
}


def test_azures_content_filter_is_an_answer() -> None:
    outcome = read_response(400, {}, json.dumps(AZURE_FILTER).encode(), 1.0)
    assert isinstance(outcome, Answer)
    assert outcome.finish == FILTERED


LLAMA_CPP = {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}}
VLLM = {"object": "error", "message": "max context", "type": "BadRequestError", "code": 400}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (LLAMA_CPP, "exceed_context_size_error", "too long"),
        (VLLM, "BadRequestError", "max context"),
        ({"error": "model not loaded"}, "", "model not loaded"),
        ({"detail": "Unauthorized"}, "", "Unauthorized"),
        (["what?"], "", "['what?']"),
    ],
    ids=["llama.cpp", "vllm", "text", "fastapi", "list"],
)
def test_errors_of_many_servers(body: Any, code: str, message: str) -> None:
    error = read_error(400, json.dumps(body).encode())
    assert (error.code, error.message) == (code, message)


def test_an_answer_is_read_whole() -> None:
    body = completion("sport", logprobs=one_token({" sport": 0.75, "tech": 0.25}), usage=(31, 4))
    answer = read_answer(json.dumps(body).encode(), 12.5)
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish, answer.prompt_tokens, answer.completion_tokens) == ("sport", "stop", 31, 4)
    assert answer.latency_ms == 12.5
    assert answer.top_logprobs is not None
    ((token, listed),) = answer.top_logprobs
    assert token == " sport"
    assert [name for name, _ in listed] == [" sport", "tech"]


def test_a_chosen_token_that_is_not_listed_is_added() -> None:
    position = {"token": "x", "logprob": -7.0, "top_logprobs": [{"token": "y", "logprob": -0.1}]}
    answer = read_answer(json.dumps(completion("x", logprobs={"content": [position]})).encode(), 1.0)
    assert isinstance(answer, Answer)
    assert answer.top_logprobs == [("x", [("y", -0.1), ("x", -7.0)])]


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": 1}]}, [1]])
def test_logprobs_that_cannot_be_read_cost_no_answer(logprobs: Any) -> None:
    answer = read_answer(json.dumps(completion("x", logprobs=logprobs)).encode(), 1.0)
    assert isinstance(answer, Answer)
    assert answer.text == "x"
    assert answer.top_logprobs is None


def test_parts_refusals_and_broken_text() -> None:
    parts = completion(None)
    parts["choices"][0]["message"]["content"] = [{"type": "text", "text": "a"}, {"type": "text", "text": "b\ud83d"}]
    answer = read_answer(json.dumps(parts).encode(), 1.0)
    assert isinstance(answer, Answer)
    assert answer.text == "ab?"
    refused = read_answer(json.dumps(completion(None, refusal="no")).encode(), 1.0)
    assert isinstance(refused, Answer)
    assert refused.finish == REFUSED


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("model_length", CUT),
        ("max_tokens", CUT),
        ("abort", BROKEN),
        ("tool_calls", CALLED),
        ("eos", "eos"),
        ("", "stop"),
    ],
)
def test_reasons_to_finish_that_some_have_of_their_own(said: str, finish: str) -> None:
    answer = read_answer(json.dumps(completion("x", finish=said)).encode(), 1.0)
    assert isinstance(answer, Answer)
    assert answer.finish == finish


def test_a_number_beyond_all_numbers_costs_no_answer() -> None:
    body = json.dumps(completion("x", logprobs={"content": [{"token": "x", "logprob": -(10**400)}]}))
    answer = read_answer(body.encode(), 1.0)
    assert isinstance(answer, Answer)
    assert answer.top_logprobs is None


@pytest.mark.parametrize("code", ["the row says my name is Ann", "x" * 65, {"a": 1}])
def test_a_code_that_is_no_name_is_not_told(code: Any) -> None:
    assert str(read_error(400, json.dumps({"error": {"code": code, "type": code}}).encode())) == "400"


@given(st.integers(200, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_reader(status: int, body: bytes) -> None:
    read_response(status, {}, body, 1.0)


@given(JSON, st.sampled_from(["choices", "message", "content", "usage", "logprobs", "finish_reason"]))
def test_no_part_of_an_answer_breaks_the_reader(value: Any, part: str) -> None:
    body = completion("x")
    places: dict[str, Any] = {"message": body["choices"][0], "content": body["choices"][0]["message"]}
    places |= {"finish_reason": body["choices"][0], "logprobs": body["choices"][0]}
    places.get(part, body)[part] = value
    outcome = read_answer(json.dumps(body).encode(), 1.0)
    if isinstance(outcome, Answer):
        outcome.text.encode()  # can be written
