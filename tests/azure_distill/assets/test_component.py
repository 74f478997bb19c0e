from __future__ import annotations

from pathlib import Path

import pytest

from azure_distill.assets.bindings import check
from azure_distill.assets.component import Port, builtin_components, load_component
from azure_distill.errors import InvalidJob

GOOD = """\
type: command
name: probe
inputs:
  rows:
    type: uri_file
  n:
    type: integer
    default: 3
    min: 1
    max: 9
outputs:
  answers:
    type: uri_folder
command: >-
  run '${{inputs.rows}}'
  ${{inputs.n}}
  '${{outputs.answers}}'
code: .
environment: azureml:e@latest
environment_variables: {A: 1}
tags: {kept_outputs: answers}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "component.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, old: str, new: str) -> list[str]:
    assert old in GOOD
    with pytest.raises(InvalidJob) as caught:
        load_component(write(folder, GOOD.replace(old, new, 1)))
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_the_components_that_come_along_are_sound() -> None:
    components = builtin_components()
    assert set(components) == {"prepare_data", "teacher_inference", "student_finetune", "evaluation"}
    for name, component in components.items():
        assert check(component) == []
        assert component.name == f"azure_distill_{name}"
        asks = {"evaluation": ["shared", "teacher_inference"]}  # its judge is asked by the teacher's client
        assert [path.name for path in component.additional_includes] == asks.get(name, ["shared"])
    assert components["teacher_inference"].kept_outputs == {"answers"}
    assert components["teacher_inference"].inputs["probabilities"].default == "none"


def test_a_component_is_read_whole(tmp_path: Path) -> None:
    component = load_component(write(tmp_path, GOOD))
    assert component.inputs["n"] == Port("integer", default=3, min=1, max=9)
    assert component.command == "run '${{inputs.rows}}' ${{inputs.n}} '${{outputs.answers}}'"
    assert component.environment_variables == {"A": "1"}
    assert component.kept_outputs == {"answers"}
    assert component.code == tmp_path.resolve()
    assert component.line == 14
    assert component.is_deterministic


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: probe", "nmae: probe", "component.yaml:2: nmae: is not known here (did you mean 'name'?)"),
        ("type: uri_file", "type: uri_fiel", "component.yaml:5: inputs.rows.type: is 'uri_fiel', not one of"),
        ("default: 3", "default: 12", "component.yaml:8: inputs.n.default: is 12, more than 9"),
        ("default: 3", "default: three", "component.yaml:8: inputs.n.default: is 'three', not an integer"),
        ("type: uri_folder", "type: string", "component.yaml:13: outputs.answers.type: is 'string'"),
        ("code: .", "code: ./gone", "component.yaml:18: code:"),
        ("kept_outputs: answers", "kept_outputs: other", "component.yaml:21: tags.kept_outputs: names other"),
        ("type: command", "type: pipeline", "component.yaml:1: type: is 'pipeline'"),
        ("code: .", "code: .\ncode: .", "component.yaml:19: code: stands here twice"),
        ("  rows:", "  my rows:", "component.yaml:4: inputs.my rows: a name has letters"),
        ("environment: azureml:e@latest", "", "component.yaml: environment: is missing"),
        ("code: .", "additional_includes: [../gone]", "component.yaml:18: additional_includes: ../gone does not exist"),
    ],
)
def test_each_mistake_has_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in problems(tmp_path, old, new)), problems(tmp_path, old, new)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "type: command\nname: probe", "type: x\nnaem: probe")) == 3


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\ta: 1", "a: 1\n  b: 2"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidJob):
        load_component(write(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match="No such file"):
        load_component(tmp_path / "gone.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidJob, match="not UTF-8"):
        load_component(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    ("port", "value", "message"),
    [
        (Port("integer"), True, "not an integer"),
        (Port("integer"), 1.5, "not an integer"),
        (Port("number"), float("nan"), "not a number"),
        (Port("boolean"), 1, "not a boolean"),
        (Port("string"), 1, "not a string"),
        (Port("string", enum=("a", "b")), "c", "not one of a, b"),
        (Port("number", min=0.0), -0.1, "less than 0.0"),
        (Port("number", max=1.0), 2, "more than 1.0"),
    ],
)
def test_literals_that_do_not_fit(port: Port, value: str | int | float, message: str) -> None:
    assert message in (port.problem(value) or "")


def test_literals_that_fit() -> None:
    assert Port("number").problem(3) is None
    assert Port("string", enum=("a",)).problem("a") is None
    assert Port("boolean").problem(False) is None
