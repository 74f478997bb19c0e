from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from azure_distill.backend import CANCELED, COMPLETED, FAILED, RUNNING, Event
from azure_distill.errors import ConfigurationError, NotFound
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import DataPath, Literal, StepOutput

from .conftest import Bench

WRITE = "echo hello && echo '${{inputs.t}}' > '${{outputs.out}}/t.txt'"
COPY = "cp '${{inputs.d}}'/* '${{outputs.out}}/'"


def test_a_plan_leaves_its_outputs_where_a_user_looks_for_them(bench: Bench) -> None:
    run = bench.run(
        bench.step("first", WRITE, {"t": Literal("a b;$(c)")}, resources={"tier": "spot", "instance_count": 2}),
        bench.step("second", COPY, {"d": StepOutput("first", "out")}),
    )
    assert (run.status, run.exit_code, run.error) == (COMPLETED, 0, None)
    folder = Path(run.location)
    assert folder == bench.home / "runs" / run.name
    assert (folder / "second" / "out" / "t.txt").read_text() == "a b;$(c)\n"
    assert run.outputs == {"first": {"out": f"{folder}/first/out"}, "second": {"out": f"{folder}/second/out"}}
    assert [step.reason for step in run.steps.values()] == ["first run", "first run"]
    assert all(step.seconds is not None and step.exit_code == 0 for step in run.steps.values())
    assert sorted(path.name for path in (folder / "first").iterdir()) == ["out", "std_log.txt", "step.json"]
    assert json.loads((folder / "plan.json").read_text())["steps"]["first"]["inputs"] == {"t": "a b;$(c)"}
    assert run.warnings == ["ignored on this machine: first.tier, first.instance_count"]
    assert not (folder / ".reserve").exists()


def test_follow_tells_every_line_once_and_in_order(bench: Bench) -> None:
    backend, name = bench.submit(
        bench.step(
            "one",
            "printf 'a\\nb\\n50%%\\r100%%\\n' && sleep 0.3 && printf 'c\\xff' && touch '${{outputs.out}}/x'; exit 0",
        ),
        bench.step("two", "echo z && touch '${{outputs.out}}/x'", {"d": StepOutput("one", "out")}),
    )
    events = list(backend.follow(name))
    assert [event.line for event in events if event.line and event.step == "one"] == ["a", "b", "100%", "c�"]
    assert events[-1] == Event("two")
    assert Event("two", "z") in events
    last_of_one = max(place for place, event in enumerate(events) if event.step == "one")
    assert events[last_of_one].line is None
    assert list(backend.follow("last")) == list(backend.follow(name))
    assert backend.logs(name, "one") == "a\nb\n50%\r100%\nc�"


def test_the_outputs_of_completed_steps_only_and_metrics(bench: Bench) -> None:
    run = bench.run(
        bench.step("good", """echo '{"headline": 1}' > '${{outputs.out}}/metrics.json'"""),
        bench.step("bad", "touch '${{outputs.out}}/x' && exit 9"),
    )
    assert list(run.outputs) == ["good"]
    assert run.metrics == {"headline": 1}


def test_a_failure_stops_what_depends_on_it_and_nothing_else(bench: Bench) -> None:
    bench.jobs = 2
    run = bench.run(
        bench.step("bad", "echo 'error: rows.jsonl:3: no messages' >&2; exit 3"),
        bench.step("after", COPY, {"d": StepOutput("bad", "out")}),
        bench.step("later", COPY, {"d": StepOutput("after", "out")}),
        bench.step("other", "touch '${{outputs.out}}/x'"),
    )
    assert {name: step.status for name, step in run.steps.items()} == {
        "bad": FAILED, "after": CANCELED, "later": CANCELED, "other": COMPLETED,
    }  # fmt: skip
    assert run.status == FAILED
    assert run.exit_code == 3
    assert run.steps["bad"].error == "rows.jsonl:3: no messages"
    assert run.error == "bad: rows.jsonl:3: no messages"
    assert run.steps["later"].error == "not run: bad failed"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("exit 4", 4, "exit code 4"),
        ("exit 13", 13, "exit code 13"),
        ("exit 7", 10, "exit code 7"),
        ("seq 20 && exit 1", 10, "exit code 1\n16\n17\n18\n19\n20"),
        ("kill -9 $$", 10, "killed by SIGKILL (out of memory?)"),
        ("kill -SEGV $$", 10, "killed by SIGSEGV"),
        ("python -c 'import os; os.kill(os.getpid(), 9)' || exit $?", 10, "killed by SIGKILL (out of memory?)"),
        ("gone_command", 10, "bash: line 1: gone_command: command not found"),
        ("true", 10, "it ended without its output out: "),
        ("rm -r '${{outputs.out}}'", 10, "is missing"),
        ("mkdir '${{outputs.out}}/empty'", 10, "is empty"),
        ("ln -s /etc/passwd '${{outputs.out}}/x'", 10, "its output out holds"),
    ],
)
def test_how_steps_fail(bench: Bench, command: str, code: int, error: str) -> None:
    run = bench.run(bench.step("bad", command))
    assert (run.status, run.exit_code) == (FAILED, code)
    assert error in (run.steps["bad"].error or "")
    assert (Path(run.location) / "bad" / "work").is_dir()


def test_a_step_may_not_write_to_its_inputs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a").write_text("x")
    run = bench.run(
        bench.step(
            "bad", "echo y > '${{inputs.d}}/b' && touch '${{outputs.out}}/x'", {"d": DataPath(tmp_path / "rows")}
        )
    )
    assert run.status == FAILED
    assert "input d changed while it ran" in (run.error or "")
    assert "read-only" in (run.error or "")


def test_outputs_are_read_only(bench: Bench) -> None:
    run = bench.run(
        bench.step(
            "one",
            "cd '${{outputs.out}}' && touch x && echo > run && chmod 755 run",
        )
    )
    out = Path(run.outputs["one"]["out"])
    assert (out / "x").stat().st_mode & 0o777 == 0o444
    assert (out / "run").stat().st_mode & 0o777 == 0o555


def test_files_as_outputs(bench: Bench) -> None:
    outputs = {"file": {"type": "uri_file"}}
    good = bench.step("good", "echo hi > '${{outputs.file}}'", outputs=outputs)
    run = bench.run(good)
    assert Path(run.outputs["good"]["file"]).read_text() == "hi\n"
    assert bench.run(good).steps["good"].cached == run.name
    empty = bench.run(bench.step("bad", "touch '${{outputs.file}}'", outputs=outputs))
    assert "is empty" in (empty.error or "")


def test_what_a_step_sees(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MY_KEY", "OTHER_KEY", "PYTHONPATH", "HF_TOKEN"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("LC_TIME", "C")
    run = bench.run(
        bench.step(
            "one",
            "env | sort && pwd && cat && python -c 'import sys; print(sys.executable)' && cat main.py"
            " && touch '${{outputs.out}}/x'",
            secrets=("MY_KEY",),
            environment_variables={"MODE": "fast"},
        )
    )
    lines = bench.backends[-1].logs(run.name, "one").splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert variables["MY_KEY"] == "hush"
    assert variables["MODE"] == "fast"
    assert variables["LC_TIME"] == "C"
    assert not {"OTHER_KEY", "PYTHONPATH", "HF_TOKEN"} & variables.keys()
    assert variables["PYTHONUNBUFFERED"] == "1"
    assert variables["AZUREML_RUN_ID"] == f"{run.name}.one"
    assert variables["AZURE_ML_OUTPUT_out"] == variables["AZURE_ML_OUTPUT_OUT"] == run.outputs["one"]["out"]
    assert f"{run.location}/one/work" in lines
    assert sys.executable in lines
    assert "print('hello')" in lines
    stored = "".join(path.read_text() for path in Path(run.location).rglob("*.json"))
    assert "hush" not in stored


def test_python_is_the_clients_where_its_folder_has_no_such_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snake = tmp_path / "bin" / "snake"
    snake.parent.mkdir()
    snake.symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(snake))
    run = bench.run(bench.step("one", "python -c 'import sys; print(sys.executable)' > '${{outputs.out}}/x'"))
    assert Path(run.outputs["one"]["out"], "x").read_text() == f"{snake}\n"


def test_progress_of_a_running_step(
    bench: Bench, eventually: Callable[[Callable[[], object]], object], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.05; done"
    command = f"echo 'progress: 1/3 rows' && echo noise && {wait} && touch '${{{{outputs.out}}}}/x'"
    backend, name = bench.submit(bench.step("slow", command))
    eventually(lambda: backend.get(name).steps["slow"].progress == "1/3 rows")
    assert backend.get(name).status == RUNNING
    assert backend.get(name).exit_code is None
    go.touch()
    assert backend.wait(name).steps["slow"].progress is None


def test_steps_run_side_by_side(bench: Bench, tmp_path: Path) -> None:
    bench.jobs = 2
    meet = "touch {0} && while [ ! -e {1} ]; do sleep 0.02; done && touch '${{{{outputs.out}}}}/x'"
    one, two = tmp_path / "one", tmp_path / "two"
    run = bench.run(bench.step("a", meet.format(one, two)), bench.step("b", meet.format(two, one)))
    assert run.status == COMPLETED


def test_names_and_last(bench: Bench) -> None:
    step = bench.step("one", "touch '${{outputs.out}}/x'")
    named = bench.run(step, name="my job/ü")
    assert named.name.startswith("my-job_")
    second = bench.run(step)
    assert second.name.count("_") == 2
    backend = bench.backend()
    assert backend.get("last").name == second.name
    assert [run.name for run in backend.list(5)] == [second.name, named.name]
    assert [run.name for run in backend.list(1)] == [second.name]
    with pytest.raises(NotFound) as caught:
        backend.get(second.name[:-1])
    assert second.name in str(caught.value.hint)
    for name in ("../runs", "", ".", f"../runs/{second.name}"):
        with pytest.raises(NotFound):
            backend.get(name)


def test_nothing_there_yet(bench: Bench) -> None:
    with pytest.raises(NotFound, match="no run yet"):
        bench.backend().get("last")
    assert bench.backend().list(3) == []


def test_logs_and_download(bench: Bench, tmp_path: Path) -> None:
    run = bench.run(bench.step("one", "mkdir '${{outputs.out}}/deep' && echo hi > '${{outputs.out}}/deep/x'"))
    backend = bench.backend()
    place = backend.download("last", "one", "out", tmp_path / "here")
    assert place == tmp_path / "here" / "one" / "out"
    assert (place / "deep" / "x").read_text() == "hi\n"
    assert os.access(place / "deep" / "x", os.W_OK)
    assert (place / "deep" / "x").stat().st_mode & 0o200
    with pytest.raises(ConfigurationError, match="already exists"):
        backend.download(run.name, "one", "out", tmp_path / "here")
    for step, output in (("two", "out"), ("one", "outt")):
        with pytest.raises(NotFound):
            backend.download(run.name, step, output, tmp_path / "there")
    with pytest.raises(NotFound):
        backend.logs(run.name, "two")


def test_a_home_with_a_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="single quote"):
        LocalBackend(tmp_path / "it's")


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        LocalBackend(tmp_path / "file")


def test_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_DISTILL_HOME", str(tmp_path / "state"))
    assert LocalBackend().home.root == tmp_path / "state"


def test_mlflows_records_lie_in_the_home_unless_told_otherwise(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    step = bench.step("one", "echo $MLFLOW_TRACKING_URI > '${{outputs.out}}/address'")
    for wanted in ((bench.home / "mlruns").as_uri(), "http://tracking"):
        run = bench.run(step, force=("one",))
        assert Path(run.outputs["one"]["out"], "address").read_text().strip() == wanted
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking")
