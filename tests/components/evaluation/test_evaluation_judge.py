"""The judge against a real endpoint on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from loopback_teacher import Body, LoopbackTeacher, reset, status

from azure_distill.assets.component import builtin_components
from azure_distill.assets.snapshot import take_snapshot
from evaluation.judge import Pair, judged, pairs
from evaluation.settings import Judge, load_settings
from shared.errors import InvalidInput
from shared.rows import Row
from shared.tasks import load_task

Lines = list[dict[str, Any]]


def pair(index: int, student: str, teacher: str) -> Pair:
    return Pair(Row(f"r{index}", [{"role": "user", "content": f"question {index}"}], None, "right"), student, teacher)


def places(body: Body) -> tuple[str, str]:
    """What stands as the first and as the second answer."""
    parts = body["messages"][-1]["content"].split("\n\n")
    return tuple(part.partition("\n")[2] for part in parts if part.startswith(("[first", "[second")))


def honest(body: Body) -> str:
    """Prefers the text with more stars, wherever it stands."""
    first, second = (text.count("*") for text in places(body))
    return "first" if first > second else "Second." if second > first else "Tie"


def ask(
    answer: Callable[[Body], str], asked: list[Pair], auth: dict[str, str] | None = None, **server: Any
) -> tuple[dict[str, Any], LoopbackTeacher]:
    with LoopbackTeacher(answer=answer, model="judge", **server) as endpoint:
        told = {"url": endpoint.url, "model": "judge", "prices": {"input_per_million": 1.0, "output_per_million": 2.0}}
        return judged(Judge(told | {"auth": auth or {"kind": "none"}}), asked, 200, 0), endpoint


def test_wins_count_where_both_orders_agree() -> None:
    asked = [
        pair(0, "**", "*"),
        pair(1, "***", "*"),
        pair(2, "*", "**"),
        pair(3, "* x", "x *"),
        pair(4, "Same ", "same"),
    ]
    found, endpoint = ask(honest, asked)
    assert len(endpoint.requests) == 8  # the last pair says the same and is not asked
    assert (found["wins"], found["losses"], found["ties"], found["same"], found["unclear"]) == (2, 1, 2, 1, 0)
    assert found["value"] == pytest.approx(3 / 5)
    assert found["low"] <= found["value"] <= found["high"]
    assert found["first_preferred"] == 0.5
    assert found["n"] == 5
    spent = found["spent"]
    assert spent["requests"] == 8
    assert spent["cost"] == pytest.approx((spent["prompt_tokens"] + 2 * spent["completion_tokens"]) / 1e6)


def test_swapped_contenders_swap_their_wins() -> None:
    asked = [pair(place, "*" * (1 + place % 3), "*" * (1 + place % 2)) for place in range(12)]
    there, _ = ask(honest, asked)
    back, _ = ask(honest, [Pair(each.row, each.teacher, each.student) for each in asked])
    assert (there["wins"], there["losses"], there["ties"]) == (back["losses"], back["wins"], back["ties"])
    assert there["value"] == pytest.approx(1 - back["value"])


def test_a_judge_that_prefers_a_place_sees_only_ties_and_is_shown_as_such() -> None:
    found, _ = ask(lambda body: "first", [pair(place, "yes", "no") for place in range(4)])
    assert (found["wins"], found["losses"], found["ties"]) == (0, 0, 4)
    assert found["first_preferred"] == 1.0
    assert found["p"] == 1.0


def test_replies_that_are_no_choice_are_counted_and_left_out() -> None:
    def evasive(body: Body) -> str:
        return "Both have their merits" if "question 1" in body["messages"][-1]["content"] else honest(body)

    found, _ = ask(evasive, [pair(0, "**", "*"), pair(1, "**", "*")])
    assert (found["wins"], found["unclear"], found["n"]) == (1, 1, 1)


def test_passing_faults_are_waited_for_and_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k1")
    faults = {1: status(429, retry_after="0"), 2: reset, 3: status(503, retry_after="0")}
    found, endpoint = ask(
        honest,
        [pair(0, "**", "*")],
        {"kind": "key_env", "name": "JUDGE_KEY"},
        key="k1",
        plan=lambda number, body: faults.get(number),
    )
    assert found["wins"] == 1
    assert len(endpoint.requests) == 5


def test_an_endpoint_that_refuses_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "wr0ng")
    found, _ = ask(honest, [pair(0, "**", "*")], {"kind": "key_env", "name": "JUDGE_KEY"}, key="k1")
    assert "401" in found["error"]
    assert "wr0ng" not in found["error"]
    assert found.keys() == {"model", "error"}


def test_the_client_travels_in_the_components_snapshot(tmp_path: Path) -> None:
    take_snapshot(builtin_components()["evaluation"]).copy_to(tmp_path / "code")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "teacher_inference", "--help"]
    done = subprocess.run(command, cwd=tmp_path / "code", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--endpoint" in done.stdout


def test_pairs_are_drawn_from_the_rows_that_both_answered(tmp_path: Path) -> None:
    rows = [Row(f"r{place}", [{"role": "user", "content": "q"}]) for place in range(200)]
    lines = [
        {"answers": {"student": f"s{place}", "teacher": None if place % 2 else f"t{place}"}} for place in range(200)
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn = pairs(rows, tmp_path / "p.jsonl", 20, 0)
    numbers = [int(each.row.id[1:]) for each in drawn]
    assert len(set(numbers)) == 20
    assert all(number % 2 == 0 for number in numbers)
    assert max(numbers) > 100
    assert all(each.student == f"s{number}" for number, each in zip(numbers, drawn, strict=True))
    assert len(pairs(rows, tmp_path / "p.jsonl", 500, 0)) == 100


def test_a_judge_that_cannot_be_read_is_refused() -> None:
    given = {"judge": {"endpoint": {"url": "http://x"}, "row": 0, "rows": 0}}
    with pytest.raises(InvalidInput) as caught:
        load_settings(json.dumps(given), load_task('{"type": "nli"}'))
    text = str(caught.value)
    assert "unknown key 'row' (did you mean 'rows'?" in text
    assert "settings.judge.endpoint.model: must be a text" in text
    assert "settings.judge.rows: must be a whole number" in text


@pytest.mark.parametrize("code", [0, 401])
def test_the_component_asks_the_judge_and_does_without_one_that_fails(
    code: int,
    tmp_path: Path,
    models: dict[str, Path],
    evaluate: Callable[..., CompletedProcess[str]],
    label_rows: Callable[..., Lines],
    answered: Callable[..., Lines],
    write_lines: Callable[[Path, Lines], Path],
    label_task: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = label_rows(12)
    write_lines(tmp_path / "data" / "test.jsonl", rows)
    write_lines(tmp_path / "responses" / "test.jsonl", answered(rows, [row["reference"] for row in rows]))

    def plan(number: int, body: Body) -> Any:
        return status(code) if code else None

    with LoopbackTeacher(answer=lambda body: "tie", key="s3cret", model="judge", plan=plan) as server:
        settings = {
            "judge": {
                "endpoint": {"url": server.url, "model": "judge", "auth": {"kind": "key_env", "name": "JUDGE_KEY"}},
                "rows": 10,
            },
            "bootstrap": 200,
        }
        arguments: dict[str, Any] = {
            "data": tmp_path / "data",
            "responses": tmp_path / "responses",
            "student_model": models["student"],
            "task": label_task,
            "settings": json.dumps(settings | {"latency_rows": 2}),
            "report": tmp_path / "report",
        }
        without_key = evaluate(**arguments)
        monkeypatch.setenv("JUDGE_KEY", "s3cret")
        done = evaluate(**arguments)
    assert without_key.returncode == 4
    assert "JUDGE_KEY: not set" in without_key.stderr
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    told = " ".join([*metrics["summary"], *metrics["notes"]])
    if code:
        assert "401" in metrics["judge"]["error"]
        assert "The judge judge could not be asked" in told
    else:
        assert metrics["judge"]["ties"] == metrics["judge"]["n"] == 10
        page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
        assert [key for key in (*metrics["judge"], *metrics["judge"]["spent"]) if f"`{key}`" not in page] == []
        assert "judge prefers the student's answer in 0 rows" in told
    everything = done.stdout + done.stderr + "".join(path.read_text() for path in (tmp_path / "report").iterdir())
    assert "s3cret" not in everything
