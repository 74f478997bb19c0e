from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from azure_distill.backend import COMPLETED, FAILED, Run
from azure_distill.plan.plan import Binding, DataPath, Literal, Step, StepOutput

from .conftest import Bench

COUNT = "echo x >> {count} && echo '${{{{inputs.t}}}}' > '${{{{outputs.out}}}}/t.txt'"


@pytest.fixture
def count(tmp_path: Path) -> Path:
    path = tmp_path / "count"
    path.touch()
    return path


def make(bench: Bench, count: Path, value: str = "a", **extra: object) -> Step:
    return bench.step("one", COUNT.format(count=count), {"t": Literal(value)}, **extra)


def times(count: Path) -> int:
    return count.read_text().count("x")


def reason(run: Run) -> str | None:
    assert run.status == COMPLETED, run.error
    return run.steps["one"].reason


def test_an_unchanged_step_is_taken_over_with_the_name_of_who_computed_it(bench: Bench, count: Path) -> None:
    step = make(bench, count)
    runs = [bench.run(step) for _ in range(3)]
    assert [run.steps["one"].cached for run in runs] == [None, runs[0].name, runs[0].name]
    assert times(count) == 1
    assert (Path(runs[2].outputs["one"]["out"]) / "t.txt").read_text() == "a\n"
    assert runs[2].steps["one"].reason is None


def test_what_has_changed_is_told_of_the_same_job(bench: Bench, count: Path, tmp_path: Path) -> None:
    """Two jobs have steps of one name: the nearest is the one that a person has changed."""

    def step(job: str, value: str) -> Step:
        data = tmp_path / job
        data.mkdir(exist_ok=True)
        (data / "rows").write_text(job)
        command = COUNT.format(count=count) + " '${{inputs.d}}'"
        bindings: dict[str, Binding] = {"t": Literal(value), "d": DataPath(data)}
        return bench.step("one", command.replace("echo x", ": && echo x"), bindings, files={"train.py": job})

    assert reason(bench.run(step("first", "a"))) == "first run"
    bench.run(step("second", "b"))
    assert reason(bench.run(step("first", "c"))) == "t changed"
    assert reason(bench.run(step("second", "c"))) == "t changed"


def test_why_a_step_runs_again(bench: Bench, count: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows").write_text("1")

    def step(value: str = "a", code: str = "1", variables: dict[str, str] | None = None) -> Step:
        command = COUNT.format(count=count) + " '${{inputs.d}}'"
        bindings: dict[str, Binding] = {"t": Literal(value), "d": DataPath(data)}
        extra = {"environment_variables": variables} if variables else {}
        return bench.step("one", command.replace("echo x", ": && echo x"), bindings, files={"train.py": code}, **extra)

    assert reason(bench.run(step())) == "first run"
    assert reason(bench.run(step(value="b"))) == "t changed"
    assert reason(bench.run(step(value="b", code="2"))) == "code changed (train.py)"
    (data / "rows").write_text("2")
    assert reason(bench.run(step(value="b", code="2"))) == "input data changed (d)"
    assert reason(bench.run(step(value="b", code="2", variables={"A": "1"}))) == "component changed"
    assert reason(bench.run(step(value="c", code="3", variables={"A": "1"}))) == "code changed (train.py); t changed"
    forced = bench.run(step(value="c", code="3", variables={"A": "1"}), force=("one",))
    assert reason(forced) == "forced"
    (data / "rows").write_text("1")
    assert bench.run(step()).steps["one"].cached is not None


def test_names_and_descriptions_change_nothing(bench: Bench, count: Path) -> None:
    first = bench.run(make(bench, count))
    again = bench.run(make(bench, count, description="better", display_name="One", version="2", tags={"a": "b"}))
    assert again.steps["one"].cached == first.name


def test_where_data_lies_and_when_it_was_written_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows").write_text("1")
    os.utime(tmp_path / "there" / "rows", (1, 1))
    command = "cp '${{inputs.d}}/rows' '${{outputs.out}}/'"
    first = bench.run(bench.step("one", command, {"d": DataPath(tmp_path / "here")}))
    assert bench.run(bench.step("one", command, {"d": DataPath(tmp_path / "there")})).steps["one"].cached == first.name


def test_the_suffix_of_a_file_counts(bench: Bench, tmp_path: Path) -> None:
    for name in ("rows.csv", "rows.jsonl"):
        (tmp_path / name).write_text("1")
    inputs = {"d": {"type": "uri_file"}}
    command = "cp '${{inputs.d}}' '${{outputs.out}}/x'"
    paths = [DataPath(tmp_path / name) for name in ("rows.csv", "rows.jsonl")]
    steps = [bench.step("one", command, {"d": path}, inputs=inputs) for path in paths]
    bench.run(steps[0])
    assert reason(bench.run(steps[1])) == "input data changed (d)"


def test_a_changed_step_with_the_same_outcome_leaves_the_next_one_alone(bench: Bench, count: Path) -> None:
    def both(code: str) -> Run:
        first = bench.step("first", "echo same > '${{outputs.out}}/x'", files={"main.py": code})
        command = f"echo x >> {count} && cp '${{{{inputs.d}}}}'/* '${{{{outputs.out}}}}/'"
        return bench.run(first, bench.step("second", command, {"d": StepOutput("first", "out")}))

    before, after = both("1"), both("2")
    assert after.steps["first"].reason == "code changed (main.py)"
    assert after.steps["second"].cached == before.name
    assert times(count) == 1


def test_failures_are_not_kept(bench: Bench, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    step = bench.step("one", f"touch '${{{{outputs.out}}}}/x' && test -e {switch}")
    assert bench.run(step).status == FAILED
    switch.touch()
    assert reason(bench.run(step)) == "previous run failed"
    assert bench.run(step).steps["one"].cached is not None


def test_what_is_not_deterministic_always_runs(bench: Bench, count: Path) -> None:
    step = make(bench, count, is_deterministic=False)
    assert [reason(bench.run(step)) for _ in range(2)] == ["not deterministic"] * 2
    assert times(count) == 2


def test_the_old_run_may_go(bench: Bench, count: Path) -> None:
    step = make(bench, count)
    first, second = bench.run(step), bench.run(step)
    shutil.rmtree(first.location)
    assert (Path(second.outputs["one"]["out"]) / "t.txt").read_text() == "a\n"
    assert bench.run(step).steps["one"].cached == first.name
    for run in (bench.home / "runs").iterdir():
        shutil.rmtree(run)
    assert reason(bench.run(step)) == "its outputs are gone or were changed"
    assert times(count) == 2


def test_the_new_run_may_go(bench: Bench, count: Path) -> None:
    step = make(bench, count)
    first = bench.run(step)
    shutil.rmtree(bench.run(step).location)
    assert bench.run(step).steps["one"].cached == first.name


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_outputs_that_were_changed_are_not_taken_over(bench: Bench, size: int) -> None:
    step = bench.step("one", f"head -c {size} /dev/zero > '${{{{outputs.out}}}}/x'")
    path = Path(bench.run(step).outputs["one"]["out"]) / "x"
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(b"tampered")
    run = bench.run(step)
    assert reason(run) == "its outputs are gone or were changed"
    assert Path(run.outputs["one"]["out"], "x").read_bytes()[:8] == bytes(8)


@pytest.mark.parametrize(
    "words", ["", "{", "[]", '{"outputs": {}}', '{"outputs": {"out": [[1]]}, "origin": 1, "step": 1, "places": [3]}']
)
def test_a_torn_record_is_no_record(bench: Bench, count: Path, words: str) -> None:
    step = make(bench, count)
    bench.run(step)
    (record,) = (bench.home / "cache").glob("*.json")
    record.write_text(words)
    assert reason(bench.run(step)) == "its outputs are gone or were changed"
    assert json.loads(record.read_text())["step"] == "one"
    for last in (bench.home / "cache" / "steps").iterdir():
        last.write_text(words)
    assert bench.run(step).steps["one"].cached is not None


def test_a_memory_of_the_last_run_that_is_torn(bench: Bench, count: Path) -> None:
    bench.run(make(bench, count))
    for last in (bench.home / "cache" / "steps").iterdir():
        last.write_text("{")
    assert reason(bench.run(make(bench, count, "b"))) == "first run"


def test_kept_outputs_live_on_and_decide_nothing(bench: Bench) -> None:
    outputs = {"out": {"type": "uri_folder"}, "answers": {"type": "uri_folder"}}

    def step(value: str) -> Step:
        command = (
            "echo '${{inputs.t}}' >> '${{outputs.answers}}/all' && cp '${{outputs.answers}}/all' '${{outputs.out}}/'"
        )
        return bench.step("one", command, {"t": Literal(value)}, outputs=outputs, tags={"kept_outputs": "answers"})

    first = bench.run(step("a"))
    second = bench.run(step("b"))
    assert second.outputs["one"]["answers"] == str(bench.home / "answers")
    assert (bench.home / "answers" / "all").read_text() == "a\nb\n"
    assert os.access(bench.home / "answers" / "all", os.W_OK)
    assert (bench.home / "answers" / "all").stat().st_mode & 0o200
    assert not (Path(second.location) / "one" / "answers").exists()
    again = bench.run(step("a"))
    assert again.steps["one"].cached == first.name
    assert again.outputs["one"]["answers"] == str(bench.home / "answers")
    empty = bench.run(bench.step("two", "touch '${{outputs.out}}/x' # '${{outputs.answers}}'", outputs=outputs,
                                 tags={"kept_outputs": "answers"}))  # fmt: skip
    assert empty.status == COMPLETED


def test_force_is_for_one_step_or_for_all(bench: Bench) -> None:
    steps = [bench.step(name, "date +%N > '${{outputs.out}}/x'") for name in ("one", "two")]
    bench.run(*steps)
    run = bench.run(*steps, force=("one",))
    assert run.steps["one"].reason == "forced"
    assert run.steps["two"].cached
    run = bench.run(*steps, force=("*",))
    assert [step.reason for step in run.steps.values()] == ["forced", "forced"]


def test_empty_folders_and_odd_names_come_along(bench: Bench) -> None:
    command = (
        "mkdir -p '${{outputs.out}}/deep/empty' && touch '${{outputs.out}}/ü \"x'$'\\n' '${{outputs.out}}/'$'\\xff'"
    )
    step = bench.step("one", command)
    first, second = bench.run(step), bench.run(step)
    assert second.steps["one"].cached == first.name
    found = [
        {os.fsencode(path.relative_to(out)) for path in out.rglob("*")}
        for out in (Path(run.outputs["one"]["out"]) for run in (first, second))
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_large_data_is_hashed_once_and_seen_when_it_changes(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "big"
    data.write_bytes(bytes(2 << 20))
    os.utime(data, (1000, 1000))
    inputs = {"d": {"type": "uri_file"}}
    step = bench.step("one", "cp '${{inputs.d}}' '${{outputs.out}}/x'", {"d": DataPath(data)}, inputs=inputs)
    first = bench.run(step)
    assert len(list((bench.home / "cache" / "hashes").iterdir())) == 1
    assert bench.run(step).steps["one"].cached == first.name
    data.write_bytes(bytes((2 << 20) - 1) + b"x")
    assert reason(bench.run(step)) == "input data changed (d)"


def test_processes_that_need_the_same_step_compute_it_once(
    bench: Bench, client: Callable[[str], Popen[str]], count: Path
) -> None:
    step = bench.step("one", f"echo x >> {count} && sleep 0.5 && touch '${{{{outputs.out}}}}/x'")
    program = f"""
from pathlib import Path
from azure_distill.assets.component import load_component
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Plan, Step
backend = LocalBackend(Path({str(bench.home)!r}))
step = Step("one", load_component(Path({str(step.component.path)!r})), {{}})
run = backend.wait(backend.submit(Plan("", {{}}, (step,))))
print(run.status, run.steps["one"].cached is not None)
"""
    clients = [client(program) for _ in range(3)]
    answers = sorted(process.communicate()[0].strip() for process in clients)
    assert answers == ["Completed False", "Completed True", "Completed True"]
    assert times(count) == 1


def test_links_that_cannot_be_made_become_copies(bench: Bench, count: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise OSError(1, "Operation not permitted")

    step = make(bench, count)
    first = bench.run(step)
    monkeypatch.setattr(os, "link", refuse)
    second = bench.run(step)
    assert second.steps["one"].cached == first.name
    copy = Path(second.outputs["one"]["out"]) / "t.txt"
    assert copy.stat().st_nlink == 1
    assert copy.read_text() == "a\n"
