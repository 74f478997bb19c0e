"""Nothing that a run started outlives it, whatever happens to whom."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from azure_distill.backend import CANCELED, COMPLETED, FAILED, NOT_RESPONDING, RUNNING
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Step, StepOutput

from .conftest import Bench, plan

Eventually = Callable[[Callable[[], Any]], Any]
Alive = Callable[[str], list[int]]
Client = Callable[[str], Popen[str]]

# a step with a child in its group, a child that left the session, and a child of that
FAMILY = """
import subprocess, sys, time
mark = sys.argv[1]
sleep = [sys.executable, "-c", "import time; time.sleep(600)", mark]
subprocess.Popen(sleep)
nested = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", nested, *sleep], start_new_session=True)
subprocess.Popen(["bash", "-c", 'setsid bash -c "exec -a $0 sleep 600" "$0" & exit', mark]).wait()
print("ready", flush=True)
time.sleep(600)
"""
MEMBERS = 5


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return f"mark-{tmp_path.name}-{os.getpid()}"


@pytest.fixture
def family(bench: Bench, mark: str) -> Step:
    return bench.step("family", f"python main.py {mark} && touch '${{{{outputs.out}}}}/x'", files={"main.py": FAMILY})


def program(
    bench: Bench, step: Step, end: str = "for event in backend.follow(name): print(event.line, flush=True)"
) -> str:
    return f"""
from pathlib import Path
from azure_distill.assets.component import load_component
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Plan, Step
backend = LocalBackend(Path({str(bench.home)!r}), grace={bench.grace})
name = backend.submit(Plan("", {{}}, (Step({step.name!r}, load_component(Path({str(step.component.path)!r})), {{}}),)))
print(name, flush=True)
{end}
"""


def ready(backend: LocalBackend, eventually: Eventually, step: str = "family") -> str:
    """The name of the run whose step has said that it is ready."""
    eventually(lambda: backend.list(1))
    name = backend.list(1)[0].name
    eventually(lambda: "ready" in backend.logs(name, step))
    return name


def test_a_killed_client_leaves_no_process_and_the_truth_is_told(
    bench: Bench, family: Step, mark: str, client: Client, alive: Alive, eventually: Eventually
) -> None:
    process = client(program(bench, family))
    backend = bench.backend()
    name = ready(backend, eventually)
    eventually(lambda: len(alive(mark)) >= MEMBERS)
    assert backend.get(name).status == RUNNING
    process.kill()
    process.wait()
    eventually(lambda: not alive(mark))
    run = backend.get(name)
    assert (run.status, run.exit_code) == (NOT_RESPONDING, 10)
    assert run.error == "the process that ran it ended; run the job again to resume"
    assert run.steps["family"].status == CANCELED
    assert backend.list(1)[0].status == NOT_RESPONDING
    assert backend.get(name).to_json()["status"] == NOT_RESPONDING
    backend.cancel(name)
    assert (backend.get(name).status, backend.get(name).exit_code) == (CANCELED, 11)


def test_a_followed_run_ends_with_its_client(
    bench: Bench, family: Step, client: Client, eventually: Eventually
) -> None:
    process = client(program(bench, family))
    backend = bench.backend()
    name = ready(backend, eventually)
    threading.Timer(0.3, process.kill).start()
    assert [event.step for event in backend.follow(name)][-1] == "family"
    assert backend.get(name).status == NOT_RESPONDING


def test_what_was_finished_before_the_kill_is_not_done_again(
    bench: Bench, client: Client, eventually: Eventually, tmp_path: Path
) -> None:
    first = bench.step("first", "touch '${{outputs.out}}/x'")
    slow = bench.step("slow", f"test -e {tmp_path}/go || sleep 600; cp '${{{{inputs.d}}}}/x' '${{{{outputs.out}}}}/'",
                      {"d": StepOutput("first", "out")})  # fmt: skip
    steps = ", ".join(
        f"Step({step.name!r}, load_component(Path({str(step.component.path)!r})), {bindings})"
        for step, bindings in ((first, "{}"), (slow, '{"d": StepOutput("first", "out")}'))
    )
    text = program(bench, first).replace("import Plan, Step", "import Plan, Step, StepOutput")
    start = text.index("(Step(")
    process = client(text[:start] + f"({steps})))\n" + text[text.index("print(name") :])
    backend = bench.backend()
    eventually(lambda: backend.list(1) and backend.get("last").steps["slow"].status == RUNNING)
    killed = backend.get("last").name
    process.kill()
    process.wait()
    (tmp_path / "go").touch()
    run = bench.run(first, slow)
    assert run.status == COMPLETED
    assert run.steps["first"].cached == killed
    assert run.steps["slow"].reason == "previous run was stopped"


def test_cancel_from_the_process_that_runs_it(
    bench: Bench, family: Step, mark: str, alive: Alive, eventually: Eventually
) -> None:
    after = bench.step("after", "touch '${{outputs.out}}/x'", {"d": StepOutput("family", "out")})
    backend, name = bench.submit(family, after)
    ready(backend, eventually)
    eventually(lambda: len(alive(mark)) >= MEMBERS)
    backend.cancel(name)
    assert not alive(mark)
    run = backend.get(name)
    assert (run.status, run.exit_code, run.error) == (CANCELED, 11, None)
    assert [step.status for step in run.steps.values()] == [CANCELED, CANCELED]
    backend.cancel(name)
    assert backend.get(name).to_json() == run.to_json()


def test_cancel_from_another_process(
    bench: Bench, family: Step, mark: str, client: Client, alive: Alive, eventually: Eventually
) -> None:
    process = client(program(bench, family))
    backend = bench.backend()
    name = ready(backend, eventually)
    backend.cancel(name)
    assert not alive(mark)
    assert backend.get(name).status == CANCELED
    assert process.wait(timeout=30) == 0


def test_cancel_of_an_ended_run_changes_nothing(bench: Bench) -> None:
    run = bench.run(bench.step("one", "touch '${{outputs.out}}/x'"))
    bench.backend().cancel("last")
    assert bench.backend().get(run.name).status == COMPLETED


def test_a_step_gets_time_to_clean_up(bench: Bench, eventually: Eventually, tmp_path: Path) -> None:
    script = f"""
import signal, sys, time
def stop(*_):
    time.sleep(0.3)
    open({str(tmp_path / "clean")!r}, "w").close()
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
    backend, name = bench.submit(bench.step("family", "python main.py", files={"main.py": script}))
    ready(backend, eventually)
    backend.cancel(name)
    assert (tmp_path / "clean").exists()


def test_a_step_that_will_not_stop_is_killed(bench: Bench, mark: str, alive: Alive, eventually: Eventually) -> None:
    bench.grace = 0.5
    script = "trap '' TERM; setsid bash -c 'trap \"\" TERM; sleep 600; echo' $0 & echo ready; sleep 600; sleep 600"
    backend, name = bench.submit(bench.step("family", f"bash -c {script!r} {mark}".replace("\\'", "'\"'\"'")))
    ready(backend, eventually)
    backend.cancel(name)
    assert backend.get(name).status == CANCELED
    assert not alive(mark)


def test_what_a_finished_step_leaves_in_the_background_is_stopped(bench: Bench, mark: str, alive: Alive) -> None:
    command = f"setsid bash -c 'exec -a {mark} sleep 600' & touch '${{{{outputs.out}}}}/x'; exit 0"
    run = bench.run(bench.step("one", command))
    assert run.status == COMPLETED
    assert not alive(mark)


def test_a_client_that_only_submits_waits_for_the_end(bench: Bench, client: Client) -> None:
    step = bench.step("one", "sleep 0.5 && touch '${{outputs.out}}/x'")
    process = client(program(bench, step, ""))
    name = process.communicate(timeout=60)[0].strip()
    assert process.returncode == 0
    assert bench.backend().get(name).status == COMPLETED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_that_end_the_client_end_the_step(
    bench: Bench, family: Step, mark: str, client: Client, alive: Alive, eventually: Eventually, number: signal.Signals
) -> None:
    process = client(
        program(bench, family, "import time, os\ntry: time.sleep(600)\nexcept KeyboardInterrupt: os._exit(130)")
    )
    ready(bench.backend(), eventually)
    process.send_signal(number)
    process.wait(timeout=30)
    eventually(lambda: not alive(mark))


def test_a_killed_supervisor_takes_the_command_with_it(
    bench: Bench, mark: str, alive: Alive, eventually: Eventually
) -> None:
    backend, name = bench.submit(bench.step("family", f"echo ready && exec -a {mark} sleep 600"))
    ready(backend, eventually)
    (sleeper,) = eventually(lambda: [pid for pid in alive(mark) if psutil.Process(pid).cmdline()[0] == mark])
    parent = psutil.Process(sleeper).parent()
    assert parent is not None
    parent.kill()
    run = backend.wait(name)
    assert run.status == FAILED
    assert "killed by SIGKILL" in (run.error or "")
    eventually(lambda: not alive(mark))


def test_pipes_end_quietly(bench: Bench) -> None:
    """A step starts with the default signals; Python's own ignored SIGPIPE would make `yes` complain."""
    run = bench.run(bench.step("one", "yes | head -1 > '${{outputs.out}}/x'"))
    assert run.status == COMPLETED
    assert bench.backend().logs(run.name, "one") == ""


def test_a_step_that_waits_for_another_run_can_be_canceled(
    bench: Bench, eventually: Eventually, tmp_path: Path
) -> None:
    step = bench.step(
        "one", f"echo ready; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch '${{{{outputs.out}}}}/x'"
    )
    backend, first = bench.submit(step)
    eventually(lambda: backend.get(first).steps["one"].status == RUNNING)
    second = backend.submit(plan(step))
    eventually(lambda: backend.get(second).steps["one"].status == "Queued")
    backend.cancel(second)
    assert backend.get(second).status == CANCELED
    (tmp_path / "go").touch()
    assert backend.wait(first).status == COMPLETED


def test_waiting_has_an_end(bench: Bench, eventually: Eventually, family: Step) -> None:
    backend, name = bench.submit(family)
    before = time.monotonic()
    assert backend.wait(name, timeout=0.2).status not in (COMPLETED, FAILED)
    assert time.monotonic() - before >= 0.2
