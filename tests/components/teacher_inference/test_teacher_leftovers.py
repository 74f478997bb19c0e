"""A run over what an earlier one left: rows that the endpoint refuses stand among hundreds that it has answered."""

from __future__ import annotations

from typing import Any

import pytest
from loopback_teacher import Body, Fault, LoopbackTeacher, one_token, status
from teacher_bench import TOPICS, Bench

from shared.errors import InvalidInput, ServiceUnavailable
from teacher_inference.health import Health

PROMPTS = [f"question {number}" for number in range(60)]
TOO_LONG = status(400, {"code": "context_length_exceeded", "message": "This model's maximum context is 10 tokens"})
ODD = status(400, {"message": "no"})


def refusing(*prompts: str, fault: Fault = ODD) -> Any:
    return lambda number, body: fault if body["messages"][-1]["content"] in prompts else None


@pytest.mark.parametrize("refused", [["question 59"], ["question 3", "question 30", "question 58"]])
def test_the_second_run_ends_as_the_first_did(bench: Bench, refused: list[str]) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=refusing(*refused)) as server:
        first = bench.run(server)
        second = bench.run(server)
    assert len(first.train) == len(second.train) == 60 - len(refused)
    assert second.rejected == first.rejected
    assert second.usage["requests"] == len(refused)


def test_many_leftovers_are_too_many_only_where_they_were_for_the_first_run(bench: Bench) -> None:
    prompts = [f"question {number}" for number in range(200)]
    refused = [prompt for number, prompt in enumerate(prompts) if number % 8 == 7]
    bench.write("train", prompts)
    with LoopbackTeacher(plan=refusing(*refused)) as server:
        assert len(bench.run(server).train) == len(bench.run(server).train) == 175


def test_a_refused_leftover_says_nothing_of_log_probabilities(bench: Bench) -> None:
    def logprobs(body: Body) -> Body:
        return one_token({"sport": 0.7, "politics": 0.2, "tech": 0.1})

    bench.write("train", PROMPTS)
    with LoopbackTeacher(lambda body: "sport", plan=refusing("question 5"), logprobs=logprobs) as server:
        bench.run(server, TOPICS, needs="labels")
        assert len(bench.run(server, TOPICS, needs="labels").train) == 59


def test_rows_that_are_too_long_do_not_speak_for_those_behind_them(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=refusing(*PROMPTS[:5], fault=TOO_LONG), latency=0.02) as server:
        assert len(bench.run(server).train) == 55


def test_an_endpoint_that_refuses_everything_is_found_out_soon(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=lambda number, body: ODD) as server:
        with pytest.raises(InvalidInput, match="refuses the requests"):
            bench.run(server)
        assert len(server.requests) <= 16


def test_too_large_a_max_tokens_is_every_rows_affair_and_told(bench: Bench) -> None:
    said = "max_tokens is too large: 512. This model supports at most 256 completion tokens."
    fault = status(400, {"message": said, "param": "max_tokens"})
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=lambda number, body: fault) as server:
        with pytest.raises(InvalidInput, match="max_tokens is too large: 512"):
            bench.run(server)
        assert len(server.requests) <= 16


def test_stored_answers_count_as_given() -> None:
    health = Health("url", 0.7)
    health.known(80)
    for _ in range(30):
        health.failure("400", reached=True)
    health.finish()
    with pytest.raises(ServiceUnavailable, match=r"answered 69 of 100 recent requests"):
        health.failure("400", reached=True)


def test_answers_are_slower_than_refusals() -> None:
    health = Health("url", 0.7)
    for _ in range(25):
        health.failure("400", reached=True, in_flight=100)
    with pytest.raises(ServiceUnavailable, match=r"answered 0 of 26 recent requests"):
        health.failure("400", reached=True, in_flight=8)
