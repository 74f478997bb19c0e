"""A teacher's key goes to the teacher, in one header, and nowhere else; what it bought is bought once."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from leaks import CommandLines, files_with
from loopback_teacher import LoopbackTeacher, status

from azure_distill.samples import generate
from tests.azure_distill.cloud.test_cloud_distillation import Shell, answered
from tests.emulator.fixture import Azure

CANARY = "canary-7c1e93ab52d04f"
SECRET = "https://emuvault.vault.azure.net/secrets/teacher-key"
ANSWERS = "azureml://datastores/workspaceblobstore/paths/paid/answers"
JOB = """\
name: tickets
task_type: classification
labels: [billing, delivery, account, technical, returns]
teacher_model: {{name: big, endpoint: {url}, {auth}, answers: "{answers}", max_concurrency: {concurrency}}}
student_model: nano-llama
training_data: rows.jsonl
hyperparameters: {{num_epochs: 1, learning_rate: 1e-3, seed: {seed}}}
"""


@pytest.fixture
def shell(azure: Azure, tmp_path: Path, home: Path) -> Shell:
    rows = generate("classification", 40, 1)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    azure.workspace.secrets["teacher-key"] = CANARY
    shell = Shell(tmp_path, azure)
    shell.environ |= {"TEACHER_KEY": CANARY, "AZURE_DISTILL_HOME": str(home)}
    return shell


def write_job(shell: Shell, teacher: LoopbackTeacher, auth: str, seed: int = 1) -> str:
    text = JOB.format(url=teacher.url, auth=auth, answers=ANSWERS, concurrency=seed, seed=seed)
    (shell.folder / "job.yaml").write_text(text)
    return "job.yaml"


def assert_only_the_teacher_got_it(teacher: LoopbackTeacher) -> None:
    assert teacher.requests
    for request in teacher.requests:
        told = [name for name, value in request.headers.items() if CANARY in value]
        assert told == ["Authorization"]
        assert CANARY not in request.path + json.dumps(request.body)


def assert_kept_nowhere(shell: Shell, home: Path, said: str) -> None:
    assert CANARY not in said
    assert list(files_with(CANARY, shell.folder, home)) == []
    assert [str(call) for call in shell.azure.recorder.holding(CANARY)] == []
    assert shell.azure.storage.holding(CANARY.encode()) == []


def test_the_key_goes_to_the_teacher_alone_and_answers_are_bought_once(shell: Shell, home: Path) -> None:
    with (
        LoopbackTeacher(answer=lambda body: "billing", key=CANARY, model="big") as teacher,
        CommandLines(CANARY) as seen,
    ):
        for seed in (1, 2):
            name = shell.run("submit", write_job(shell, teacher, f"key_vault: {SECRET}", seed)).split()[-1]
            assert answered(shell.azure, name) == "Completed"
            if seed == 1:
                bought = len(teacher.requests)
        assert len(teacher.requests) == bought, "answers that were paid for are asked for again"
        here = shell.run("run", write_job(shell, teacher, "api_key_env: TEACHER_KEY"), "--until", "teacher_inference")
        assert len(teacher.requests) == 2 * bought
        assert_only_the_teacher_got_it(teacher)
    assert "azureml.isreused" not in shell.azure.steps(name)["teacher_inference"].properties
    assert any(b"-m\0teacher_inference" in line for line in seen.lines)
    assert seen.leaks == set()
    assert_kept_nowhere(shell, home, here)


def test_without_a_key_the_steps_identity_asks(shell: Shell) -> None:
    with LoopbackTeacher(answer=lambda body: "billing", model="big") as teacher:
        name = shell.run("submit", write_job(shell, teacher, "auth: entra")).split()[-1]
        assert answered(shell.azure, name) == "Completed"
    tokens = {request.headers["Authorization"].removeprefix("Bearer ") for request in teacher.requests}
    (token,) = tokens
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://cognitiveservices.azure.com"
    assert shell.azure.storage.holding(token.encode()) == []
    assert shell.azure.recorder.holding(token) == []


def test_a_key_that_the_teacher_quotes_in_its_refusal_is_not_told_on(shell: Shell, home: Path) -> None:
    told = {"message": f"Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}
    with LoopbackTeacher(plan=lambda number, body: status(401, told), key=CANARY, model="big") as teacher:
        there = shell.run("submit", write_job(shell, teacher, f"key_vault: {SECRET}"), "--watch", "--json", code=4)
        here = shell.run("run", write_job(shell, teacher, "api_key_env: TEACHER_KEY"), "--json", code=4)
        assert_only_the_teacher_got_it(teacher)
    assert "401" in there
    assert "401" in here
    assert_kept_nowhere(shell, home, there + here)
