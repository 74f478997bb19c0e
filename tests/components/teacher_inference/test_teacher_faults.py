"""The runner against a real server that misbehaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from loopback_teacher import (
    Body,
    Fault,
    LoopbackTeacher,
    Plan,
    choice,
    completion,
    raw,
    reset,
    status,
    truncated,
)
from teacher_bench import TOPICS, Bench

from shared.errors import AuthError, InvalidInput, NotFound, ServiceUnavailable
from teacher_inference.retry import Backoff
from teacher_inference.settings import Auth, Limits, Sampling

PROMPTS = [f"question {number}" for number in range(12)]


def first_of_each(fault: Fault) -> Plan:
    """Every prompt's first request gets the fault, the second an answer."""
    seen: set[str] = set()

    def plan(number: int, body: Body) -> Fault | None:
        prompt = body["messages"][-1]["content"]
        known = prompt in seen
        seen.add(prompt)
        return None if known else fault

    return plan


def always(fault: Fault, prompt: str = "") -> Plan:
    """Every request, or every request of one prompt, gets the fault."""
    return lambda number, body: fault if prompt in body["messages"][-1]["content"] else None


PASSING = {
    "408": status(408),
    "409": status(409),
    "429": status(429),
    "429 with a wait": status(429, retry_after="0"),
    "429 with milliseconds": status(429, retry_after_ms="10"),
    "500": status(500),
    "502 of a proxy": raw(b"<html>Bad gateway</html>", 502, "text/html"),
    "503 with a wait": status(503, retry_after="0"),
    "504": status(504),
    "529": status(529),
    "reset": reset,
    "truncated": truncated,
    "empty body": raw(b""),
    "html": raw(b"<html>maintenance</html>", 200, "text/html"),
    "json of another kind": raw(b"[]"),
    "no choices": raw(b'{"choices": []}'),
    "error in a 200": raw(b'{"error": {"message": "overloaded"}}'),
    "not utf-8": raw(b'{"choices": "\xff"}'),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_costs_one_more_request_and_no_row(bench: Bench, fault: Fault) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=first_of_each(fault)) as server:
        result = bench.run(server)
    assert [row.id for row in result.train] == [f"train{number}" for number in range(12)]
    assert result.rejected == []
    assert len(server.requests) == result.usage["requests"] == 24
    assert result.usage["retries"] == 12


def test_a_web_page_is_called_one(bench: Bench) -> None:
    bench.write("train", PROMPTS[:2])
    page = raw(b"\n<!doctype html><title>Sign in</title>")
    with (
        LoopbackTeacher(plan=lambda number, body: page) as server,
        pytest.raises(ServiceUnavailable, match=r"2 × a web page \(status 200\) in 5 attempts"),
    ):
        bench.run(server)


def test_a_redirect_is_called_one(bench: Bench) -> None:
    bench.write("train", PROMPTS[:2])
    with (
        LoopbackTeacher(plan=lambda number, body: status(302)) as server,
        pytest.raises(NotFound, match=r"sends requests elsewhere \(302\)"),
    ):
        bench.run(server)


FINAL = {
    "content filter of Azure": (
        status(400, {"code": "content_filter", "message": "The response was filtered"}),
        "refused by the content filter",
    ),
    "content filter in the answer": (choice(None, "content_filter"), "refused by the content filter"),
    "refusal": (choice(None, refusal="I cannot help with that"), "the teacher refused to answer"),
    "cut": (choice("half an ans", "length"), "cut at max_tokens"),
    "empty": (choice("  \n"), "empty answer"),
    "no content": (choice(None), "empty answer"),
}


@pytest.mark.parametrize(("fault", "reason"), FINAL.values(), ids=FINAL.keys())
def test_a_row_without_an_answer_is_rejected_with_its_reason_and_never_paid_for_again(
    bench: Bench, fault: Fault, reason: str
) -> None:
    bench.write("train", PROMPTS)
    bench.write("test", ["question 7 of the test"])
    with LoopbackTeacher(plan=always(fault, "question 7")) as server:
        result = bench.run(server)
        assert result.rejected == [
            {"id": "train7", "split": "train", "reason": reason},
            {"id": "test0", "split": "test", "reason": reason},
        ]
        assert result.test == []
        assert len(result.train) == 11
        assert result.usage["rejected"] == 2
        again = bench.run(server)
        # each was asked a second time, except where the prompt itself is filtered
        assert len(server.requests) == (13 if "filter" in reason else 15)
    assert again.rejected == result.rejected
    assert again.usage["requests"] == 0


REFUSED = {
    "context length": (
        status(400, {"code": "context_length_exceeded"}),
        "refused by the endpoint (400 context_length_exceeded)",
    ),
    "too large": (status(413), "refused by the endpoint (413)"),
}


@pytest.mark.parametrize(("fault", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_row_is_not_retried(bench: Bench, fault: Fault, reason: str) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=always(fault, "question 7")) as server:
        result = bench.run(server)
    assert result.rejected == [{"id": "train7", "split": "train", "reason": reason}]
    assert len(server.requests) == 12


def test_a_row_that_always_fails_ends_after_its_attempts(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=always(status(500), "question 7")) as server:
        result = bench.run(server)
    assert result.rejected == [{"id": "train7", "split": "train", "reason": "500 in 5 attempts"}]
    assert len(server.requests) == 11 + 5


def test_throttling_is_no_failure_however_often_it_comes(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=lambda number, body: status(429, retry_after_ms="1") if number % 4 else None) as server:
        result = bench.run(server)
    assert len(result.train) == 12
    assert result.usage["throttled"] == len(server.requests) - 12


def test_a_hidden_limit_is_found(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(600)])
    with LoopbackTeacher(capacity=10, latency=0.02) as server:
        result = bench.run(server)
    assert len(result.train) == 600
    assert server.most_in_flight <= 14  # the refused ones are counted while they are refused
    assert server.refused < 0.15 * len(server.requests)  # nearly all of them while the limit is sought


def test_a_refused_key_stops_the_run_and_is_not_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACHER_API_KEY", "sk-wrong-secret")
    bench.write("train", [f"question {number}" for number in range(300)])
    with (
        LoopbackTeacher(key="sk-right") as server,
        pytest.raises(AuthError, match=r"refused the key in TEACHER_API_KEY \(401\)") as caught,
    ):
        bench.run(server, auth=Auth("key_env", "TEACHER_API_KEY"))
    assert len(server.requests) <= 16
    printed = "".join(capfd.readouterr()) + str(caught.value)
    assert "sk-wrong-secret" not in printed


def test_the_right_key_is_sent_and_kept_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACHER_API_KEY", "sk-right-secret\n")
    bench.write("train", PROMPTS)
    with LoopbackTeacher(key="sk-right-secret") as server:
        assert len(bench.run(server, auth=Auth("key_env", "TEACHER_API_KEY")).train) == 12
    written = b"".join(path.read_bytes() for path in bench.folder.rglob("*") if path.is_file())
    assert b"sk-right-secret" not in written
    assert "sk-right-secret" not in "".join(capfd.readouterr())


def test_a_proxy_of_the_environment_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:word@").removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        assert len(bench.run(proxy, url="http://teacher.invalid/v1").train) == 12
    assert proxy.requests[0].headers["Host"] == "teacher.invalid"
    assert proxy.requests[0].headers["Proxy-Authorization"] == "Basic bWU6d29yZA=="


def test_an_address_without_proxy_is_asked_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("train", PROMPTS)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with LoopbackTeacher() as server:
        assert len(bench.run(server).train) == 12


def test_a_netrc_file_does_not_displace_the_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "netrc").write_text("machine 127.0.0.1 login me password word")
    monkeypatch.setenv("NETRC", str(bench.folder / "netrc"))
    monkeypatch.setenv("MY_KEY", "sk")
    bench.write("train", PROMPTS)
    with LoopbackTeacher(key="sk") as server:
        assert len(bench.run(server, auth=Auth("key_env", "MY_KEY")).train) == 12


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(bench: Bench, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    bench.write("train", PROMPTS)
    with LoopbackTeacher(key="sk") as server, pytest.raises(AuthError, match="MY_KEY is"):
        bench.run(server, auth=Auth("key_env", "MY_KEY"))
    assert server.requests == []


def test_an_endpoint_without_that_model(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(model="another") as server, pytest.raises(NotFound, match="no model or deployment 'teacher'"):
        bench.run(server)


def test_an_address_that_is_no_api(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(model="another") as server, pytest.raises(NotFound, match="must the url end in /v1"):
        bench.run(server, url=f"{server.host}/api")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"])
def test_an_endpoint_that_cannot_be_reached_is_named(bench: Bench, url: str) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher() as server, pytest.raises(ServiceUnavailable, match=f"cannot reach {url}"):
        bench.run(server, url=url)


def test_a_hopeless_endpoint_is_left_early_with_the_bought_answers_kept(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(2000)])
    with (
        LoopbackTeacher(plan=lambda number, body: status(500) if number > 100 else None) as server,
        pytest.raises(ServiceUnavailable, match="min_endpoint_success_ratio"),
    ):
        bench.run(server, backoff=Backoff(attempts=2, base=0.01, cap=0.01))
    assert len(server.requests) < 600
    assert sum(1 for _ in next(bench.answers.glob("*.jsonl")).open()) == 100


def test_a_few_rows_that_all_fail_fail_the_run(bench: Bench) -> None:
    bench.write("train", PROMPTS[:3])
    with (
        LoopbackTeacher(plan=always(status(500))) as server,
        pytest.raises(ServiceUnavailable, match=r"answered 0 of 3 requests.*3 × 500 in 5 attempts"),
    ):
        bench.run(server)


def test_an_exhausted_quota_is_not_waited_for(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    fault = status(429, {"code": "insufficient_quota", "message": "You exceeded your current quota"})
    with LoopbackTeacher(plan=always(fault)) as server, pytest.raises(ServiceUnavailable, match="quota"):
        bench.run(server)
    assert len(server.requests) <= 8


def test_a_request_that_the_endpoint_never_takes_is_told_without_the_prompt(bench: Bench) -> None:
    bench.write("train", [f"a long question about something private {number}" for number in range(9)])
    fault = status(400, {"message": "'temperature' must be 1", "param": "temperature"})
    with LoopbackTeacher(plan=always(fault)) as server, pytest.raises(InvalidInput, match="'temperature' must be 1"):
        bench.run(server)

    def quote(number: int, body: Body) -> Fault:
        return status(400, {"message": f"bad input: {body['messages'][-1]['content']}"})

    with LoopbackTeacher(plan=quote) as server, pytest.raises(InvalidInput) as caught:
        bench.run(server)
    assert "private" not in str(caught.value)


def wants(new_name: str, old_name: str) -> Plan:
    """A newer OpenAI model: one parameter has another name."""

    def plan(number: int, body: Body) -> Fault | None:
        if old_name not in body:
            return None
        message = f"Unsupported parameter: '{old_name}' is not supported with this model. Use '{new_name}' instead."
        return status(400, {"message": message, "param": old_name, "code": "unsupported_parameter"})

    return plan


def test_the_newer_name_of_max_tokens_is_learnt_once(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(40)])
    with LoopbackTeacher(plan=wants("max_completion_tokens", "max_tokens")) as server:
        result = bench.run(server, sampling=Sampling(max_tokens=77))
        assert len(result.train) == server.answered == 40
        assert len(server.requests) <= 48
        assert server.requests[-1].body["max_completion_tokens"] == 77
        bench.run(server, sampling=Sampling(max_tokens=77))
        assert server.answered == 40


def test_wrong_labels_and_unparsable_thoughts_are_rejected(bench: Bench) -> None:
    bench.write("train", PROMPTS[:4])
    answers = {"0": '{"reason": "a match", "answer": "sport"}', "1": "sport", "2": '{"reason": "?", "answer": "music"}'}
    with LoopbackTeacher(lambda body: answers.get(body["messages"][-1]["content"][-1], "{}")) as server:
        result = bench.run(server, {**TOPICS, "chain_of_thought": True})
    assert [(row.id, row.answer, row.rationale) for row in result.train] == [("train0", "sport", None)]
    assert [(line["id"], line["reason"]) for line in result.rejected] == [
        ("train1", "unparsable chain of thought"),
        ("train2", "the answer is none of the labels"),
        ("train3", "unparsable chain of thought"),
    ]
    assert len(server.requests) == 4 + 3  # each useless one once more
    assert "logprobs" not in server.requests[0].body


def test_when_nothing_is_accepted_the_run_fails_with_the_reasons(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(lambda body: "music") as server, pytest.raises(InvalidInput, match="12 × the answer is none"):
        bench.run(server, TOPICS)


def test_a_ceiling_of_concurrency_is_kept(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(60)])
    with LoopbackTeacher(latency=0.01) as server:
        bench.run(server, limits=Limits(max_concurrency=3))
    assert server.most_in_flight == 3


def test_a_straggler_holds_nobody_up(bench: Bench) -> None:
    """One slow row, two places: all other rows are asked while it is on its way."""
    bench.write("train", [f"question {number}" for number in range(30)])
    order: list[str] = []

    def plan(number: int, body: Body) -> Fault | None:
        prompt = body["messages"][-1]["content"]

        async def slowly(request: Any) -> Any:
            import asyncio

            while len(order) < 29:
                await asyncio.sleep(0.005)
            order.append(prompt)
            return await raw(json.dumps(completion("late")).encode())(request)

        if prompt == "question 0":
            return slowly
        order.append(prompt)
        return None

    with LoopbackTeacher(plan=plan) as server:
        result = bench.run(server, limits=Limits(max_concurrency=2))
    assert order[-1] == "question 0"
    assert [row.answer for row in result.train] == ["late"] + ["an answer"] * 29
