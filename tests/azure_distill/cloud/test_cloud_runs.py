"""Plans as pipelines in a workspace: what is submitted really runs, and is shown as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azure_distill.backend import Event
from azure_distill.client import DistillClient
from azure_distill.cloud.register import Registered, Registrar
from azure_distill.errors import ConfigurationError
from azure_distill.plan.plan import DataPath, Literal, Step, StepOutput
from azure_distill.spec.job import DistillationJob
from tests.azure_distill.cloud.conftest import UPPER, Bench, plan

TALK = """\
import pathlib, sys, time
for i in range(6):
    print("line", i, flush=True)
    time.sleep(0.7)
(pathlib.Path(sys.argv[1]) / "x").touch()
"""


def two_steps(bench: Bench, text: str = "hello ") -> tuple[Step, Step]:
    first = bench.upper("first", {"text": DataPath(bench.file(text)), "words": Literal('{"a": "b c"}')})
    command = "cat '${{inputs.given}}/upper.txt' > '${{outputs.out}}/copy.txt'"
    return first, bench.shell("second", command, {"given": StepOutput("first", "out")})


def test_a_plan_runs_from_what_was_uploaded(bench: Bench, tmp_path: Path) -> None:
    backend = bench.backend()
    name = backend.submit(plan(*two_steps(bench)))
    (tmp_path / "text.txt").unlink()
    lines = [(event.step, event.line) for event in backend.follow(name)]
    run = backend.get(name)
    assert run.status == "Completed", run
    assert [(step, state.status) for step, state in run.steps.items()] == [
        ("first", "Completed"),
        ("second", "Completed"),
    ]
    assert ("first", "reading text.txt") in lines
    assert lines.count(("first", "progress: 1/1 rows")) == 1
    assert all(state.seconds is not None for state in run.steps.values())
    place = backend.download(name, "second", "out", tmp_path / "down")
    assert (place / "copy.txt").read_text() == 'HELLO {"a": "b c"}'
    assert backend.logs(name, "first") == "reading text.txt\nprogress: 1/1 rows\n"
    assert [found.name for found in backend.list(5)] == [name]
    assert backend.get("last").name == name
    assert bench.azure.recorder.unexpected == []


def test_what_is_unchanged_is_not_sent_again(bench: Bench) -> None:
    steps = two_steps(bench)
    bench.backend().submit(plan(*steps))
    bench.azure.recorder.clear()
    name = bench.backend().submit(plan(*steps))
    calls = [call for call in bench.azure.recorder.calls if call.host != "login.microsoftonline.com"]
    assert not [call for call in calls if "blob" in call.host]
    assert len(calls) <= 5, [f"{call.method} {call.path}" for call in calls]
    assert bench.azure.wait(name) == "Completed"


def test_an_unchanged_job_with_all_its_data_takes_nine_requests(bench: Bench) -> None:
    rows = Path(__file__).parents[3] / "jobs" / "data" / "nli"
    job = DistillationJob(
        teacher_model={"name": "big", "endpoint": "https://teacher.example/v1", "connection": "big"},
        student_model="nano-llama",
        training_data=str(rows / "training_data.jsonl"),
        validation_data=str(rows / "validation_data.jsonl"),
        test_data=str(rows / "test_data.jsonl"),
        task_type="nli",
    )
    DistillClient(bench.backend()).jobs.create_or_update(job)
    bench.azure.recorder.clear()
    DistillClient(bench.backend()).jobs.create_or_update(job)
    calls = [str(call) for call in bench.azure.recorder.calls if call.is_rest]
    assert len(calls) <= 9, calls
    assert not [call for call in bench.azure.recorder.calls if call.is_upload]


def test_bursts_of_refusals_and_dropped_calls_are_survived(bench: Bench) -> None:
    faults = bench.azure.faults
    faults.answer("*", "management.azure.com", 429, times=2, retry_after=0.2)
    faults.answer("PUT", "/components/", 503, times=2)
    faults.lose("PUT", "/jobs/")
    backend = bench.backend()
    name = backend.submit(plan(*two_steps(bench)))
    faults.answer("GET", "/history/", 503, times=2)
    faults.drop("GET", "/children")
    for _ in backend.follow(name):
        pass
    assert backend.get(name).status == "Completed"
    assert [run.name for run in backend.list(9)] == [name]
    assert faults.done == 8


def test_a_changed_file_is_a_new_version_and_a_description_is_not(bench: Bench) -> None:
    step = bench.upper("first", {})
    (first,) = registered(bench, step)
    described = replace(step.component, description="better words", display_name="Upper")
    (same,) = registered(bench, replace(step, component=described))
    (step.component.code / "main.py").write_text("print('changed')\n")
    (changed,) = registered(bench, step)
    assert (first.new, same.new, changed.new) == (True, False, True)
    assert first.version == same.version != changed.version
    (step.component.code / "main.py").write_text(UPPER)
    assert registered(bench, step) == [replace(first, new=False)]


def registered(bench: Bench, step: Step) -> list[Registered]:
    return [
        asset for asset in Registrar(bench.backend().session).components([step.component]) if asset.kind == "component"
    ]


def test_a_failed_step_tells_its_own_words(bench: Bench) -> None:
    command = "echo 'progress: 1/2 rows' && echo 'error: row 3 has no answer' >&2 && exit 3"
    failing = bench.shell("failing", command + " && touch '${{outputs.out}}/x'")
    after = bench.shell(
        "after", "cp -r '${{inputs.given}}' '${{outputs.out}}'", {"given": StepOutput("failing", "out")}
    )
    backend = bench.backend()
    name = backend.submit(plan(failing, after))
    events = list(backend.follow(name))
    run = backend.get(name)
    assert run.status == "Failed"
    assert run.steps["failing"].error == "row 3 has no answer"
    assert run.error == "failing: row 3 has no answer"
    assert run.exit_code == 3
    assert run.steps["after"].status == "Canceled"
    assert Event("failing", "error: row 3 has no answer") in events


def test_watching_a_failing_run_ends_with_10_the_steps_name_and_the_end_of_its_log(
    bench: Bench, tmp_path: Path
) -> None:
    failing = bench.shell("failing", "seq 1 30; echo 'Killed: out of memory' >&2; exit 137; : '${{outputs.out}}'")
    name = bench.backend().submit(plan(failing))
    bench.azure.write_config(tmp_path)
    command = [sys.executable, "-m", "azure_distill", "watch", name]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 10, done.stderr
    assert "failing" in done.stderr
    assert "its log ends so: …" in done.stderr
    assert [line.strip() for line in done.stderr.splitlines()[-3:-1]] == ["30", "Killed: out of memory"]
    assert "Traceback" not in done.stderr


def test_a_dropped_upload_is_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[float]()
    monkeypatch.setattr("azure.core.pipeline.transport.HttpTransport.sleep", lambda _, wait: waits.append(wait))
    bench.azure.faults.drop("PUT", r"blob\.core\.windows\.net/.*/text\.txt")
    name = bench.backend().submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    assert bench.azure.faults.done == 1
    assert waits
    assert bench.backend().read(name, "first", "out", "upper.txt") == b"A"


def test_an_expired_token_ends_with_a_remedy_and_without_a_job(bench: Bench) -> None:
    bench.azure.faults.expire_tokens("PUT", "/jobs/")
    backend = bench.backend()
    with pytest.raises(ConfigurationError, match="ExpiredAuthenticationToken") as caught:
        backend.submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))
    assert "az login" in str(caught.value.hint)
    assert bench.azure.workspace.jobs == {}
    assert backend.submit(plan(bench.upper("first", {"text": DataPath(bench.file("a"))})))


def test_a_canceled_run_is_canceled_on_both_sides(bench: Bench) -> None:
    slow = bench.shell("slow", "echo started && sleep 600 && touch '${{outputs.out}}/x'")
    backend = bench.backend()
    name = backend.submit(plan(slow))
    bench.azure.wait_for(name, "Running")
    backend.cancel(name)
    run = backend.get(name)
    assert (run.status, run.steps["slow"].status, run.exit_code) == ("Canceled", "Canceled", 11)
    assert bench.azure.run(name).status == "Canceled"
    backend.cancel(name)


def test_logs_are_read_by_increments(bench: Bench) -> None:
    talking = Step("talking", bench.component("talking", "python main.py '${{outputs.out}}'", TALK), {})
    backend = bench.backend()
    name = backend.submit(plan(talking))
    lines = [event.line for event in backend.follow(name) if event.line is not None]
    assert lines == [f"line {i}" for i in range(6)]
    reads = [call for call in bench.azure.recorder.calls if call.path.endswith("std_log.txt") and call.method == "GET"]
    assert len(reads) > 2
    assert len({call.headers["Range"] for call in reads}) > 2
