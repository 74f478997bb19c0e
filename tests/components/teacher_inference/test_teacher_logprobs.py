"""Log probabilities from a real server: asked for where a method needs them, kept where they can be read."""

from __future__ import annotations

import pytest
from loopback_teacher import Body, LoopbackTeacher, one_token, status
from teacher_bench import TOPICS, Bench

from shared.errors import InvalidInput

PROMPTS = [f"question {number}" for number in range(12)]


def sport(body: Body) -> str:
    return "sport"


def some_logprobs(body: Body) -> Body:
    return one_token({" sport": 0.5, "sport": 0.2, "politics": 0.2, "x": 0.1})


def test_label_probabilities_are_asked_and_kept(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(sport, logprobs=some_logprobs) as server:
        result = bench.run(server, TOPICS, needs="labels")
    assert server.requests[0].body["top_logprobs"] == 20
    assert result.train[0].answer == "sport"
    assert result.train[0].label_logprobs is not None
    assert set(result.train[0].label_logprobs) == {"sport", "politics", "tech"}
    assert result.usage["label_logprobs"] == {"rows": 12, "missing": {}}


def test_needed_probabilities_that_never_come_fail_early(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(300)])
    with LoopbackTeacher(sport) as server, pytest.raises(InvalidInput, match="method: response"):
        bench.run(server, TOPICS, needs="labels")
    assert len(server.requests) < 30


def test_needed_probabilities_that_never_come_fail_for_very_few_rows_too(bench: Bench) -> None:
    bench.write("train", PROMPTS[:1])
    with LoopbackTeacher(sport) as server, pytest.raises(InvalidInput, match=r"1 × none given.*method: response"):
        bench.run(server, TOPICS, needs="labels")


NO_LOGPROBS = status(400, {"message": "'logprobs' is not supported with this model", "param": "logprobs"})


def test_an_endpoint_that_refuses_logprobs_is_asked_without(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(sport, plan=lambda number, body: NO_LOGPROBS if "logprobs" in body else None) as server:
        result = bench.run(server, TOPICS)
    assert len(result.train) == 12
    assert result.train[0].label_logprobs is None
    assert result.usage["label_logprobs"] == {"rows": 0, "missing": {"none given": 12}}


def test_an_endpoint_that_refuses_needed_logprobs_fails_the_run(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with (
        LoopbackTeacher(sport, plan=lambda number, body: NO_LOGPROBS) as server,
        pytest.raises(InvalidInput, match=r"needs label probabilities.*method: response"),
    ):
        bench.run(server, TOPICS, needs="labels")


def test_an_endpoint_of_few_logprobs_is_asked_for_fewer(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    fault = status(400, {"message": "top_logprobs must be at most 5", "param": "top_logprobs"})
    with LoopbackTeacher(
        sport, plan=lambda number, body: fault if body["top_logprobs"] > 5 else None, logprobs=some_logprobs
    ) as server:
        result = bench.run(server, TOPICS, needs="labels")
    assert result.usage["label_logprobs"]["rows"] == 12


def test_log_probabilities_of_tokens_are_learnt_where_the_method_needs_them(bench: Bench) -> None:
    bench.write("train", PROMPTS[:2])
    position = {"logprob": -0.1, "bytes": None}
    said = [{"token": token, "top_logprobs": [{"token": token, **position}], **position} for token in ("an", " answer")]
    with LoopbackTeacher(logprobs=lambda body: {"content": said}) as server:
        result = bench.run(server, needs="tokens")
        assert server.requests[0].body["top_logprobs"] == 20
        assert result.train[0].token_logprobs == [
            {"token": "an", "logprob": -0.1, "top": [["an", -0.1]]},
            {"token": " answer", "logprob": -0.1, "top": [[" answer", -0.1]]},
        ]
        assert result.usage["token_logprobs"] == {"rows": 2, "missing": {}}
        assert bench.run(server).train[0].token_logprobs is None
        assert "logprobs" not in server.requests[-1].body


def test_answers_that_are_not_what_their_tokens_say_are_kept_without(bench: Bench) -> None:
    bench.write("train", PROMPTS[:3])

    def tokens(body: Body) -> Body:
        text = "an answer" if body["messages"][-1]["content"] == "question 0" else "something"
        return {"content": [{"token": text, "logprob": -0.1, "top_logprobs": []}]}

    with LoopbackTeacher(logprobs=tokens) as server:
        result = bench.run(server, needs="tokens")
    assert [row.token_logprobs is None for row in result.train] == [False, True, True]
    assert result.usage["token_logprobs"] == {"rows": 1, "missing": {"the answer is not what the tokens say": 2}}


def test_probabilities_that_contradict_the_answer_are_dropped_and_counted(bench: Bench) -> None:
    bench.write("train", PROMPTS)

    def drawn(body: Body) -> Body:
        probabilities = one_token({"politics": 0.6, "sport": 0.3, "tech": 0.1})
        chosen = probabilities["content"][0]
        if body["messages"][-1]["content"].endswith("7"):  # the unlikelier token was sampled
            chosen["token"], chosen["logprob"] = "sport", chosen["top_logprobs"][1]["logprob"]
        return probabilities

    def said(body: Body) -> str:
        return "sport" if body["messages"][-1]["content"].endswith("7") else "politics"

    with LoopbackTeacher(said, logprobs=drawn) as server:
        result = bench.run(server, TOPICS)
    assert result.train[7].answer == "sport"
    assert result.train[7].label_logprobs is None
    assert result.usage["label_logprobs"] == {"rows": 11, "missing": {"another label is likelier than the answer": 1}}


def test_answers_of_another_form_do_not_serve(bench: Bench) -> None:
    """Held to a schema a label comes inside an object, whose probabilities are not those of the label."""
    bench.write("train", [f"question {number}" for number in range(6)])
    with LoopbackTeacher(sport, logprobs=some_logprobs) as server:
        bench.run(server, TOPICS)
        assert all("response_format" in seen.body for seen in server.requests)
        result = bench.run(server, TOPICS, needs="labels")
        assert len(server.requests) == 12
        assert not any("response_format" in seen.body for seen in server.requests[6:])
        assert result.usage["label_logprobs"]["rows"] == 6
        bench.run(server, TOPICS)
        bench.run(server, TOPICS, needs="labels")
    assert len(server.requests) == 12


def test_after_the_first_log_probability_requests_go_out_together(bench: Bench) -> None:
    """Those that had to wait for it, too: the first goes alone, the other seven do not."""
    bench.write("train", [f"question {number}" for number in range(8)])
    with LoopbackTeacher(sport, logprobs=some_logprobs, latency=0.1) as server:
        bench.run(server, TOPICS, needs="labels")
    assert server.most_in_flight == 7
