from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from azure_distill.errors import InvalidJob, NotFound
from azure_distill.plan.plan import Binding, DataPath, DataUri, Literal, Plan, StepOutput

from .conftest import Bench, plan

WRITE = "touch '${{outputs.out}}/x'"


def refused(bench: Bench, wanted: Plan) -> str:
    with pytest.raises(InvalidJob) as caught:
        bench.backend().submit(wanted)
    assert not list((bench.home / "runs").iterdir())
    return str(caught.value)


def test_everything_wrong_is_told_at_once_and_before_anything_runs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bindings: dict[str, Binding] = {
        "a": DataUri("azureml:data:1"),
        "b": DataPath(tmp_path / "gone"),
        "c": DataPath(tmp_path / "file"),
        "d": StepOutput("nobody", "out"),
        "e": StepOutput("first", "outt"),
        "f": Literal("it's"),
    }
    first, second = bench.step("first", WRITE), bench.step("second", WRITE + " ${{inputs.f}}", bindings)
    text = refused(bench, plan(first, replace(second, inputs={**bindings, "mood": Literal(1)}, name="second")))
    for expected in (
        "second.a: azureml:data:1 can only be reached from Azure",
        "gone does not exist",
        "file is not a folder",
        "second.d: reads from step nobody",
        "second.e: reads first.outt; did you mean 'out'?",
        "second.mood: is no input of the component",
    ):
        assert expected in text


def test_a_quote_in_a_literal_or_path_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "o'brien").mkdir()
    bindings: dict[str, Binding] = {"t": Literal("it's"), "d": DataPath(tmp_path / "o'brien")}
    text = refused(bench, plan(bench.step("one", WRITE + " '${{inputs.t}}' '${{inputs.d}}'", bindings)))
    assert "one.t: holds a single quote" in text
    assert "one.d: holds a single quote" in text


def test_circles_doubles_and_names(bench: Bench) -> None:
    a = bench.step("a", WRITE, {"d": StepOutput("b", "out")})
    b = bench.step("b", WRITE, {"d": StepOutput("a", "out")})
    assert "need each other" in refused(bench, plan(a, b))
    one = bench.step("one", WRITE)
    assert "two steps have this name" in refused(bench, plan(one, one))
    assert "is no step name" in refused(bench, plan(replace(one, name="../one")))
    assert "no steps" in refused(bench, plan())


def test_types(bench: Bench, tmp_path: Path) -> None:
    inputs = {"n": {"type": "integer", "max": 3}, "d": {"type": "uri_file"}, "must": {"type": "string"}}
    step = bench.step("one", WRITE, {"n": Literal(4), "d": Literal("x")}, inputs=inputs)
    text = refused(bench, plan(step))
    assert "one.n: is 4, more than 3" in text
    assert "one.d: is a value, not uri_file" in text
    assert "one.must: needs a value" in text
    text = refused(
        bench, plan(replace(step, inputs={"n": DataPath(tmp_path), "d": DataPath(tmp_path), "must": Literal("")}))
    )
    assert "one.n: is data, not integer" in text
    assert "is not a file" in text


def test_edges_of_another_kind_and_kept_outputs(bench: Bench) -> None:
    outputs = {"file": {"type": "uri_file"}, "answers": {"type": "uri_folder"}}
    first = bench.step("first", "true", outputs=outputs, tags={"kept_outputs": "answers"})
    bindings = {"d": StepOutput("first", "file"), "e": StepOutput("first", "answers")}
    text = refused(bench, plan(first, bench.step("second", WRITE, bindings)))
    assert "which is uri_file, not uri_folder" in text
    assert "kept outside of runs" in text


def test_a_command_that_no_shell_takes(bench: Bench) -> None:
    text = refused(bench, plan(bench.step("one", WRITE + " '${{inputs.t}}'", {"t": Literal("x" * 150_000)})))
    assert "one: its command has 150" in text


def test_reserved_outputs(bench: Bench) -> None:
    outputs = {"work": {"type": "uri_folder"}, "runs": {"type": "uri_folder"}}
    text = refused(bench, plan(bench.step("one", "true", outputs=outputs, tags={"kept_outputs": "runs"})))
    assert text.count("reserved name") == 2


def test_a_step_to_force_must_exist(bench: Bench) -> None:
    with pytest.raises(NotFound) as caught:
        bench.backend("on").submit(plan(bench.step("one", WRITE)))
    assert caught.value.hint == "did you mean 'one'?"
