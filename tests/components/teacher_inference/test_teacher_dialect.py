"""What an endpoint cannot do is learnt from refusals, which cost nothing; nothing is paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from loopback_teacher import Body, Fault, LoopbackTeacher, completion, one_token, raw, status
from teacher_bench import CHAT, TOPICS, Bench

from shared.errors import InvalidInput, ServiceUnavailable
from teacher_inference.apis import APIS
from teacher_inference.dialect import Dialect, answer_schema, grammar
from teacher_inference.outcome import ServerError
from teacher_inference.settings import Sampling
from teacher_inference.teacher import Question
from teacher_inference.unwrap import inside

PROMPTS = [f"question {number}" for number in range(40)]
THOUGHT = {**TOPICS, "chain_of_thought": True}


def sport(body: Body) -> str:
    return "sport"


def refuses(*names: str, message: Callable[[str], str] | None = None, code: int = 400) -> Any:
    """A server that refuses parameters one at a time, naming them as OpenAI's does."""

    def plan(number: int, body: Body) -> Fault | None:
        for name in names:
            if name in body:
                said = message(name) if message else f"Unsupported parameter: '{name}' is not supported."
                return status(code, {"message": said, "param": None if message else name})
        return None

    return plan


UNSUPPORTED = {
    "temperature": Sampling(temperature=0.0),
    "top_p": Sampling(top_p=0.9),
    "seed": Sampling(seed=1),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_parameter_that_is_refused_is_left_out(bench: Bench, name: str) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=refuses(name)) as server:
        result = bench.run(server, sampling=UNSUPPORTED[name])
        assert len(result.train) == server.answered == 40
        assert len(server.requests) <= 48  # those in flight at the first refusal, no more
        assert result.usage["adapted"] == [f"{name} refused and left out"]
        assert result.usage["retries"] == 0
        bench.run(server, sampling=UNSUPPORTED[name])
        assert server.answered == 40


def test_a_reasoning_model_takes_neither_temperature_nor_max_tokens_nor_logprobs(bench: Bench) -> None:
    bench.write("train", PROMPTS)

    def plan(number: int, body: Body) -> Fault | None:
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
            return status(400, {"message": said, "param": "max_tokens", "code": "unsupported_parameter"})
        if "temperature" in body:
            said = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is."
            return status(400, {"message": said, "param": "temperature", "code": "unsupported_value"})
        if "logprobs" in body:
            return status(400, {"message": "You are not allowed to request logprobs from this model", "param": None})
        return None

    with LoopbackTeacher(sport, plan=plan) as server:
        result = bench.run(server, TOPICS)
    assert len(result.train) == server.answered == 40
    assert len(server.requests) <= 40 + 3 * 8
    assert set(server.requests[-1].body) == {"model", "messages", "max_completion_tokens", "response_format"}


FORMS: dict[str, tuple[str, Callable[[Body], Any], Any]] = {
    "openai": (
        "response_format",
        lambda body: body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"],
        TOPICS["labels"],
    ),
    "vllm": ("structured_outputs", lambda body: body["structured_outputs"]["choice"], TOPICS["labels"]),
    "llama_cpp": ("grammar", lambda body: body["grammar"], 'root ::= "sport" | "politics" | "tech"'),
}


@pytest.mark.parametrize("api", FORMS)
def test_labels_are_held_to_in_the_form_that_the_api_has(bench: Bench, api: str) -> None:
    name, read, expected = FORMS[api]
    bench.write("train", PROMPTS[:2])
    with LoopbackTeacher(sport) as server:
        assert bench.run(server, TOPICS, api=api).train[0].answer == "sport"
        assert read(server.requests[0].body) == expected
        bench.run(server, CHAT, api=api)
        assert name not in server.requests[-1].body  # free text is not held to anything


def test_a_label_inside_an_object_is_read_with_its_probabilities(bench: Bench) -> None:
    bench.write("train", ["q"])
    inner = one_token({"sport": 0.75, "tech": 0.25})["content"][0]
    before = [
        {"token": part, "logprob": 0.0, "top_logprobs": [{"token": part, "logprob": 0.0}]}
        for part in ('{"', "ans", 'wer":"')
    ]
    after = {"token": '"}', "logprob": 0.0, "top_logprobs": [{"token": '"}', "logprob": 0.0}]}
    body = completion('{"answer":"sport"}', logprobs={"content": [*before, inner, after]})
    with LoopbackTeacher(plan=lambda number, asked: raw(json.dumps(body).encode())) as server:
        (row,) = bench.run(server, {**TOPICS, "labels": ["sport", "tech"]}).train
    assert row.answer == "sport"
    assert row.label_logprobs == pytest.approx({"sport": -0.28768, "tech": -1.38629}, abs=1e-4)


@pytest.mark.parametrize(
    ("tokens", "label"),
    [
        (["{", '"answer"', ":", ' "', "sp", "ort", '"}'], "sp"),
        (["```", "json", "\n", "{\n", '  "answer', '" : "', "sport", '"\n}'], "sport"),  # llama.cpp behind a fence
        (['{"answer": "sport', '"}'], "sport"),
        (["sport"], None),
        (['{"answer": "'], None),
    ],
)
def test_the_tokens_of_a_label_inside_an_object(tokens: list[str], label: str | None) -> None:
    found = inside([(token, [(token, -0.1), ("other", -2.0)]) for token in tokens])
    assert (found[0][0] if found else None) == label


def test_the_object_around_a_label_does_not_eat_its_tokens(bench: Bench) -> None:
    bench.write("train", ["q"])
    with LoopbackTeacher(sport) as server:
        bench.run(server, TOPICS, sampling=Sampling(max_tokens=3))
        assert server.requests[0].body["max_tokens"] > 20
        bench.run(server, TOPICS, api="vllm", sampling=Sampling(max_tokens=4))
        assert server.requests[-1].body["max_tokens"] == 4


def test_reasoned_answers_are_held_to_their_object(bench: Bench) -> None:
    bench.write("train", ["q"])
    with LoopbackTeacher(lambda body: '{"reason": "r", "answer": "sport"}') as server:
        bench.run(server, THOUGHT)
    schema = server.requests[0].body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["reason", "answer"]
    assert schema["properties"]["answer"]["enum"] == TOPICS["labels"]


@pytest.mark.parametrize("code", [400, 422])
def test_each_form_is_tried_before_none_is(bench: Bench, code: int) -> None:
    bench.write("train", PROMPTS)
    names = ("structured_outputs", "guided_choice", "response_format")
    extra = refuses(*names, message=lambda name: f"[{{'loc': ('body', '{name}'), 'msg': 'Extra inputs'}}]", code=code)
    with LoopbackTeacher(sport, plan=extra) as server:
        result = bench.run(server, TOPICS, api="vllm")
    assert len(result.train) == server.answered == 40
    assert result.usage["adapted"] == [
        "structured_outputs refused, guided",
        "guided refused, json_schema",
        "json_schema refused, answers are not held to a form",
    ]


def test_an_endpoint_that_will_not_say_what_it_refuses(bench: Bench) -> None:
    """It is asked with less and less of what few endpoints know, while it has answered nothing."""
    bench.write("train", PROMPTS)
    with LoopbackTeacher(sport, plan=refuses("response_format", "logprobs", message=lambda name: "bad")) as server:
        result = bench.run(server, TOPICS)
    assert len(result.train) == server.answered == 40


def test_a_row_that_is_too_long_teaches_nothing(bench: Bench) -> None:
    bench.write("train", PROMPTS[:1])
    fault = status(400, {"code": "context_length_exceeded", "message": "maximum context length"})
    with LoopbackTeacher(sport, plan=lambda number, body: fault) as server, pytest.raises(ServiceUnavailable):
        bench.run(server, TOPICS)
    assert len(server.requests) == 1


def test_a_refusal_that_quotes_the_row_teaches_nothing_about_the_parameters(bench: Bench) -> None:
    """Else a row about fever would switch the temperature off for all that follow."""
    bench.write("train", [*PROMPTS, "the patient's temperature must be below 38 degrees"])

    def plan(number: int, body: Body) -> Fault | None:
        said = body["messages"][-1]["content"]
        return status(400, {"message": f"cannot take: {said}"}) if "patient" in said else None

    with LoopbackTeacher(plan=plan) as server:
        result = bench.run(server)
    assert result.usage["adapted"] == []
    assert [line["id"] for line in result.rejected] == ["train40"]
    assert all("temperature" in seen.body for seen in server.requests)


def test_holding_to_labels_can_be_switched_off_and_is_part_of_what_was_asked(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(sport) as server:
        bench.run(server, TOPICS, constrain=False)
        assert "response_format" not in server.requests[0].body
        bench.run(server, TOPICS, constrain=True)
    assert len(server.requests) == 80


@pytest.mark.parametrize("needs", ["labels", "tokens"])
def test_where_probabilities_are_needed_one_answer_shows_whether_they_come(bench: Bench, needs: Any) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(sport, latency=0.02) as server:
        with pytest.raises(InvalidInput, match=r"gives none: its answers hold none.*method: response"):
            bench.run(server, TOPICS, needs=needs)
        assert server.answered == 3
        assert server.most_in_flight == 1
        assert "response_format" not in server.requests[0].body  # the label's own probabilities are wanted

    with LoopbackTeacher(sport, latency=0.02, logprobs=lambda body: one_token({"sport": 0.9, "tech": 0.1})) as server:
        bench.run(server, TOPICS, needs=needs, sampling=Sampling(max_tokens=9))
        assert server.most_in_flight > 4


OPENAI, VLLM = APIS["openai"], APIS["vllm"]
SENT = {"max_tokens": 1, "temperature": 0, "top_p": 1, "logprobs": True, "top_logprobs": 20, "response_format": {}}


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (ServerError(400, "use max_completion_tokens"), {"max_tokens_field": "max_completion_tokens"}),
        (ServerError(400, "temperature and top_p cannot both be specified"), {"left_out": {"top_p"}}),
        (ServerError(400, "only 1 is allowed", param="temperature"), {"left_out": {"temperature"}}),
        (ServerError(422, "top_logprobs must be at most 5"), {"top_logprobs": 5}),
        (ServerError(400, "you are not allowed to request logprobs"), {"top_logprobs": 0}),
        (ServerError(400, "Invalid schema for response_format 'answer'"), {"constraint": None}),
        (ServerError(400, "no idea"), {"constraint": None}),
        (ServerError(413, "no idea"), None),
        (ServerError(400, "maximum context length is 5 tokens"), None),
        (ServerError(400, "", "context_length_exceeded"), None),
    ],
)
def test_what_a_refusal_teaches(error: ServerError, changed: dict[str, Any] | None) -> None:
    dialect = Dialect.of(OPENAI, "max_tokens", constrain=True)
    after = dialect.after(error, SENT, OPENAI, unanswered=True)
    assert (after and {name: value for name, value in vars(after).items() if value != vars(dialect)[name]}) == changed


def test_an_unnamed_refusal_after_an_answer_is_of_the_row() -> None:
    dialect = Dialect.of(OPENAI, "max_tokens", constrain=True)
    assert dialect.after(ServerError(400, "no idea"), SENT, OPENAI, unanswered=False) is None


def test_every_dialect_ends() -> None:
    """However often it is refused, there is a last form."""
    dialect, error = (
        Dialect.of(VLLM, "max_tokens", constrain=True),
        ServerError(
            400, "max_completion_tokens logprobs 1 structured_outputs guided response_format seed top_p temperature"
        ),
    )
    question, steps = Question([], ("a", "b")), 0
    while True:
        sent = {"top_logprobs": 1} if dialect.top_logprobs else {}
        sent |= {name: 1 for name in ("seed", "top_p", "temperature") if name not in dialect.left_out}
        after = dialect.after(error, {dialect.max_tokens_field: 1, **sent, **dialect.constrained(question)}, VLLM, True)
        if after is None:
            break
        dialect, steps = after, steps + 1
    assert steps == 1 + 2 + 3 + 3
    assert dialect == Dialect(0, None, "max_completion_tokens", frozenset({"seed", "top_p", "temperature"}))


def test_schema_and_grammar() -> None:
    assert answer_schema(Question([], reasoned=True))["required"] == ["reason", "answer"]
    assert answer_schema(Question([], ("a",)))["properties"] == {"answer": {"type": "string", "enum": ["a"]}}
    assert grammar(['say "x"', "a\\b", "two\nlines"]) == r'root ::= "say \"x\"" | "a\\b" | "two\nlines"'
