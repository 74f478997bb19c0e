"""The runner against a real server that takes requests and does not answer."""

from __future__ import annotations

import re
import time

import pytest
from loopback_teacher import LoopbackTeacher, hang
from teacher_bench import Bench

from shared.errors import ServiceUnavailable
from shared.progress import Progress
from teacher_inference import engine
from tests.components.teacher_inference.test_teacher_faults import first_of_each

PROMPTS = [f"question {number}" for number in range(60)]


def test_a_hanging_request_is_given_up_and_asked_again(bench: Bench) -> None:
    bench.write("train", PROMPTS[:4])
    with LoopbackTeacher(plan=first_of_each(hang)) as server:
        result = bench.run(server, timeout=0.3)
    assert len(result.train) == 4
    assert len(server.requests) == 8


def test_an_endpoint_that_answers_nothing_ends_the_run_before_all_attempts(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with (
        LoopbackTeacher(plan=lambda number, body: hang) as server,
        pytest.raises(ServiceUnavailable, match=r"has answered none of \d+ in"),
    ):
        bench.run(server, timeout=0.3)
    assert len(server.requests) < len(PROMPTS)


def test_silence_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine, "SILENCE", 0.2)
    monkeypatch.setattr(Progress.__init__, "__defaults__", (0.0, time.monotonic))
    bench.write("train", PROMPTS[:4])
    with LoopbackTeacher(latency=1.0) as server:
        bench.run(server)
    said = capsys.readouterr().out.splitlines()
    assert any(re.search(r"progress: 0/4 rows .* requests 4 .* waiting \d s for 4", line) for line in said)
    assert "waiting" not in said[-1]
