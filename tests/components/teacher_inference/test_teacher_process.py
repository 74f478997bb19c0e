"""The component as a process of its own: exit codes, and what a kill leaves behind."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter

import pytest
from loopback_teacher import LoopbackTeacher
from teacher_bench import TOPICS, Bench


def test_a_run_from_the_command_line(bench: Bench) -> None:
    bench.write("train", ["which topic?", "and this?"])
    bench.write("test", ["which topic?"], reference="tech")
    bench.write("validation", ["known?"], reference="tech")
    bench.process_environment = {"MY_KEY": "sk-secret"}
    with LoopbackTeacher(lambda body: "Sport.", key="sk-secret") as server:
        auth = {"kind": "key_env", "name": "MY_KEY"}
        process = bench.start({"url": server.url, "auth": auth}, TOPICS, probabilities="none", gold="")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    result = bench.result()
    assert [row.answer for row in result.train] == ["sport", "sport"]
    assert [(row.answer, row.reference) for row in result.test] == [("sport", "tech")]
    assert [row.answer for row in result.validation] == ["tech"]
    assert result.usage["requests"] == 2
    assert out.startswith("progress: 2/2 rows")
    assert "sk-secret" not in out + err


@pytest.mark.parametrize(
    ("endpoint", "code", "message"),
    [
        ({"auth": {"kind": "key_env", "name": "NO_SUCH"}}, 4, "NO_SUCH is not set"),
        ({"auth": {"kind": "key_env", "name": "WRONG"}}, 4, r"refused the key in WRONG (401)"),
        ({}, 4, "api_key_env"),
        ({"auth": {"kind": "key_env", "name": "RIGHT"}, "model": "unknown"}, 5, "no model or deployment 'unknown'"),
        ({"auth": {"kind": "key_env", "name": "RIGHT"}, "url": "http://127.0.0.1:9/v1"}, 13, "http://127.0.0.1:9/v1"),
        ({"prices": {"input_per_million": -1}, "speed": 1}, 3, "endpoint.prices.output_per_million: is missing"),
    ],
    ids=["key missing", "key wrong", "key not given", "model unknown", "unreachable", "arguments"],
)
def test_exit_codes(bench: Bench, endpoint: dict[str, object], code: int, message: str) -> None:
    bench.write("train", ["a question"])
    bench.process_environment = {"WRONG": "sk-wrong", "RIGHT": "sk-right"}
    with LoopbackTeacher(key="sk-right") as server:
        process = bench.start({"url": server.url, **endpoint})
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert message in err
    assert "Traceback" not in err
    assert "sk-" not in err


def started_run(bench: Bench, server: LoopbackTeacher, answered: int) -> tuple[int, int]:
    """Start a run and stop it by SIGKILL once that many answers were sent; (answers sent, exit code)."""
    process = bench.start({"url": server.url}, limits='{"max_concurrency": 6}')
    deadline = time.monotonic() + 60
    while server.answered < answered and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    return server.answered, process.returncode


def test_kill_9_costs_no_more_than_what_was_in_flight(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(300)])
    with LoopbackTeacher(latency=0.01) as server:
        for target in (40, 110, 200):
            _, code = started_run(bench, server, target)
            assert code == -signal.SIGKILL
        process = bench.start({"url": server.url}, limits='{"max_concurrency": 6}')
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(bench.result().train) == 300
    asked = Counter(server.prompts())
    assert len(asked) == 300
    assert sum(asked.values()) - 300 <= 3 * 6


def test_sigterm_waits_for_what_is_in_flight_and_keeps_it(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(300)])
    with LoopbackTeacher(latency=0.3) as server:
        process = bench.start({"url": server.url}, limits='{"max_concurrency": 6}')
        deadline = time.monotonic() + 60
        while server.answered < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143
        assert "Traceback" not in err
        assert server.in_flight == 0
        bought = server.answered
    usage = json.loads((bench.responses / "usage.json").read_text())
    assert (usage["bought"], usage["stopped"]) == (bought, "stopped by a signal")
    assert sum(1 for _ in next(bench.answers.glob("*.jsonl")).open()) == bought == len(server.requests)


def test_two_runs_at_once_share_a_store(bench: Bench) -> None:
    bench.write("train", [f"question {number}" for number in range(60)])
    with LoopbackTeacher(latency=0.01) as server:
        folders = [bench.folder / "one", bench.folder / "two"]
        processes = [bench.start({"url": server.url}, responses=str(folder)) for folder in folders]
        errors: list[str] = []
        waiters = [
            threading.Thread(target=lambda process=process: errors.append(process.communicate(timeout=60)[1]))
            for process in processes
        ]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join()
        assert [process.returncode for process in processes] == [0, 0], errors
        paid = len(server.requests)
        assert bench.run(server).usage["requests"] == 0
        assert len(server.requests) == paid
    assert (folders[0] / "train.jsonl").read_text() == (folders[1] / "train.jsonl").read_text()
