"""Bad input, through the command line: a short message, the documented exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loopback_teacher import LoopbackTeacher

from azure_distill.samples import generate

COMMAND = [sys.executable, "-m", "azure_distill"]


def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=env, check=False)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job against an endpoint teacher, with sixty questions."""
    rows = list(generate("nlu_qa", 60, 3))
    for name, part in (("train", rows[:40]), ("test", rows[40:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    path = tmp_path / "job.yaml"
    path.write_text(
        "teacher_model: {name: teacher, endpoint: 'http://127.0.0.1:9/v1', api_key_env: MY_KEY, "
        "sampling: {max_tokens: 8}}\n"
        "student_model: nano-llama\ntraining_data: train.jsonl\ntest_data: test.jsonl\ntask_type: nlu_qa\n"
    )
    return path


def problems(job: Path) -> list[dict[str, Any]]:
    done = call("validate", job, "--json")
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert answer["valid"] is False
    found: list[dict[str, Any]] = answer["problems"]
    return found


def test_a_sound_job_is_valid(job: Path) -> None:
    done = call("validate", job, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"] is True


def test_problems_of_all_data_files_come_at_once(job: Path) -> None:
    rows = (job.parent / "train.jsonl").read_bytes().splitlines()
    rows[4] = b'{"messages": [{"role": "user", "content": "caf\xe9"}]}'
    rows[9] = b'{"messages": []}'
    rows[14] = b'{"mesages": [{"role": "user", "content": "x"}]}'
    rows[-1] = rows[-1][:30]
    (job.parent / "train.jsonl").write_bytes(b"\n".join(rows))
    with (job.parent / "test.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "usr", "content": "x"}]}\n')
    found = {(Path(p["file"]).name, p["line"]): p for p in problems(job)}
    assert set(found) == {("train.jsonl", n) for n in (5, 10, 15, 40)} | {("test.jsonl", 21)}
    assert "mesages" in found["train.jsonl", 15]["hint"]


def test_problems_of_the_job_file_and_of_its_data_come_at_once(job: Path) -> None:
    job.write_text(job.read_text().replace("student_model", "studnt_model") + "hyperparameters: {num_epochs: many}\n")
    (job.parent / "train.jsonl").write_text("not json\n")
    found = {(Path(p["file"]).name, p["line"], p["field"]) for p in problems(job)}
    assert found == {
        ("job.yaml", None, "student_model"),
        ("job.yaml", 2, "studnt_model"),
        ("job.yaml", 6, "hyperparameters.num_epochs"),
        ("train.jsonl", 1, None),
    }


def test_a_missing_file_does_not_hide_what_is_wrong_with_another(job: Path) -> None:
    (job.parent / "train.jsonl").unlink()
    (job.parent / "test.jsonl").write_text("not json\n")
    assert [(Path(p["file"]).name, p["line"]) for p in problems(job)] == [("job.yaml", 3), ("test.jsonl", 1)]


def test_a_setting_that_only_the_data_shows_to_be_wrong_is_told_at_its_line(job: Path) -> None:
    job.write_text(job.read_text().replace("nlu_qa", "conversation") + "data: {balance: true}\n")
    assert ("job.yaml", 6, "data.balance") in {(Path(p["file"]).name, p["line"], p["field"]) for p in problems(job)}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"\x00\x01\x02\x00" * 64, "binary"), ("{}".encode("utf-16"), "UTF-16")],
    ids=["empty", "binary", "utf-16"],
)
def test_a_file_that_is_no_text_is_one_problem(job: Path, content: bytes, message: str) -> None:
    (job.parent / "train.jsonl").write_bytes(content)
    (problem,) = [p for p in problems(job) if p["file"].endswith("train.jsonl")]
    assert message in problem["message"]


def test_a_plan_of_bad_data_ends_with_the_problems(job: Path) -> None:
    (job.parent / "train.jsonl").write_text("{}\n[]\n")
    done = call("plan", job)
    assert done.returncode == 3
    assert "student_finetune" in done.stdout  # the steps are shown all the same
    assert "No estimate: the data has" in done.stdout
    assert "train.jsonl:1" in done.stderr
    told = json.loads(call("plan", job, "--json").stdout)
    assert {problem["line"] for problem in told["problems"]} == {1, 2}
    assert told["estimate"] is None


@pytest.mark.parametrize("student", ["./nowhere", "../x/y", "/no/where", "./train.jsonl", "~/model"])
def test_a_student_that_is_a_path_to_nothing_is_no_name_of_the_hub(job: Path, student: str) -> None:
    job.write_text(job.read_text().replace("nano-llama", student))
    (problem,) = problems(job)
    assert (problem["line"], problem["field"]) == (2, "student_model")
    assert "unknown student" in problem["message"]


@pytest.mark.parametrize("call_", ["/chat/completions", "/v1/messages/"])
def test_an_endpoint_is_the_base_of_its_addresses(job: Path, call_: str) -> None:
    job.write_text(job.read_text().replace("127.0.0.1:9/v1", f"127.0.0.1:9{call_}"))
    (problem,) = problems(job)
    assert (problem["line"], problem["field"]) == (1, "teacher_model.endpoint")
    assert f"must end before {call_.rstrip('/')}" in problem["message"]


def test_examples_without_answers_are_told_by_line(job: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"Which? {number} A) x B) y"}]} for number in range(3)]
    (job.parent / "shots.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shots = "sampling: {few_shot: 2, examples: shots.jsonl, "
    job.write_text(job.read_text().replace("sampling: {", shots))
    found = problems(job)
    assert [(Path(problem["file"]).name, problem["line"]) for problem in found] == [
        ("shots.jsonl", number) for number in (1, 2, 3)
    ]


def test_what_this_machine_ignores_is_told(job: Path) -> None:
    with job.open("a") as file:
        file.write("compute: {prepare_data: {compute: cpu-cluster}}\n")
    done = call("run", job, "--until", "prepare_data", MY_KEY="k")
    assert done.returncode == 0
    assert "warning: ignored on this machine: prepare_data.compute\n" in done.stderr


def test_a_leaking_test_set_stops_the_run_before_the_teacher_is_asked(job: Path) -> None:
    row = (job.parent / "train.jsonl").read_text().splitlines()[6]
    with (job.parent / "test.jsonl").open("a") as file:
        file.write(row + "\n")
    with LoopbackTeacher() as teacher:
        job.write_text(job.read_text().replace("http://127.0.0.1:9/v1", teacher.url))
        done = call("run", job, "--json", MY_KEY="k")
        assert teacher.requests == []
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["status"] == "Failed"
    assert "train.jsonl:7" in answer["error"] or "test.jsonl:21" in answer["error"]
    assert answer["steps"]["teacher_inference"]["status"] == "Canceled"


def test_a_missing_key_is_a_configuration_error(job: Path) -> None:
    done = call("run", job)
    assert done.returncode == 4
    assert "MY_KEY" in done.stderr
    assert call("status").returncode == 5


def test_a_wrong_key_ends_the_run_with_4_and_is_never_shown(job: Path, home: Path) -> None:
    with LoopbackTeacher(key="right") as teacher:
        job.write_text(job.read_text().replace("http://127.0.0.1:9/v1", teacher.url))
        done = call("run", job, MY_KEY="wrong-key-value")
    assert done.returncode == 4
    assert "MY_KEY" in done.stderr
    assert "wrong-key-value" not in done.stderr + done.stdout
    assert not [path for path in home.rglob("*") if path.is_file() and b"wrong-key-value" in path.read_bytes()]


def test_an_unknown_deployment_ends_the_run_with_5(job: Path) -> None:
    with LoopbackTeacher(model="another") as teacher:
        job.write_text(job.read_text().replace("http://127.0.0.1:9/v1", teacher.url))
        done = call("run", job, MY_KEY="k")
    assert done.returncode == 5
    assert "'teacher'" in done.stderr


def test_an_unreachable_teacher_ends_the_run_with_13(job: Path) -> None:
    done = call("run", job, MY_KEY="k")
    assert done.returncode == 13
    assert "http://127.0.0.1:9/v1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run"], 2, "JOB"),
        (["rnu", "x"], 2, "did you mean 'run'?"),
        (["validate", "nothing.yaml"], 3, "no such file"),
        (["run", "nothing.yaml"], 3, "no such file"),
        (["status", "nothing"], 5, "nothing"),
        (["logs"], 5, "run"),
        (["report"], 5, "run"),
        (["download", "nothing"], 5, "nothing"),
        (["logs", "evaluation"], 5, "no run yet"),
        (["download", "evaluation.report"], 5, "no run yet"),
        (["register", "nothing", "--name", "x"], 5, "nothing"),
        (["evaluate", "no-such-model", "--test-data", "x.jsonl"], 5, "no-such-model"),
        (["evaluate", "nano-llama", "--test-data", "x.jsonl"], 5, "made from scratch"),
        (["evaluate", "gpt-4.1", "--test-data", "x.jsonl"], 5, "reached at an endpoint"),
        (["init", "--task", "poetry", "x"], 2, "poetry"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_on_the_command_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = call(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4


def test_steps_are_named_when_one_is_misspelt(job: Path) -> None:
    done = call("run", job, "--until", "prepare")
    assert done.returncode == 2
    assert "prepare_data" in done.stderr


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    assert call("init", tmp_path / "a").returncode == 0
    before = (tmp_path / "a" / "job.yaml").read_bytes()
    done = call("init", "--task", "math", tmp_path / "a")
    assert done.returncode == 3
    assert "job.yaml" in done.stderr
    assert (tmp_path / "a" / "job.yaml").read_bytes() == before


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_init_where_nothing_can_be_written(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("")
    done = call("init", tmp_path / "file" / "x" / inside)
    assert done.returncode == 4
    assert "cannot be written to" in done.stderr


def test_a_run_stops_before_its_money_is_spent(job: Path, tmp_path: Path) -> None:
    """Ten and two tokens an answer, at one and five dollars a thousand: two cents."""
    with LoopbackTeacher(lambda body: "A") as server:
        text = job.read_text().replace("http://127.0.0.1:9/v1", server.url)
        prices = "prices: {input_per_million: 1000, output_per_million: 5000}, constrain_labels: false, sampling"
        job.write_text(text.replace("sampling", prices))
        home = {"AZURE_DISTILL_HOME": str(tmp_path / "home"), "MY_KEY": "sk-1"}
        until = ("run", job, "--until", "teacher_inference")
        poor = call(*until, "--max-cost", "1", **home)
        assert poor.returncode == 3
        assert "limits.max_cost: reached:" in poor.stderr
        assert 10 <= server.answered <= 50
        done = call(*until, **home)
        assert done.returncode == 0, done.stderr
        assert server.answered > 50
        assert len(set(server.prompts())) == server.answered  # nothing was paid twice
    assert call("run", job, "--max-cost", "0").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code"), [(["run"], 2), (["run", "nothing.yaml"], 3), (["status", "nothing"], 5)], ids=str
)
def test_an_error_is_one_json_value_too(arguments: list[str], code: int) -> None:
    done = call(*arguments, "--json")
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode == code
    assert told["error"].splitlines()[0] in done.stderr
    assert [problem["file"] for problem in told["problems"]] == (["nothing.yaml"] if code == 3 else [])
