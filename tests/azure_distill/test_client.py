"""The Python way: the code that a user writes for Azure, against this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback_teacher import LoopbackTeacher
from tiny_model import write_tiny_model
from users_code import distil

from azure_distill import DistillationJob, DistillClient
from azure_distill.client import DistillClient as Client
from azure_distill.errors import ConfigurationError, JobFailed, NotFound
from azure_distill.local.backend import LocalBackend
from azure_distill.samples import generate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with conversations, and a tiny `phi-4-mini` in the local registry."""
    monkeypatch.chdir(tmp_path)
    rows = list(generate("conversation", 60, 1))
    for name, part in (("training", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        (tmp_path / f"{name}_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    model = write_tiny_model(tmp_path / "tiny", [json.dumps(row) for row in rows])
    assert Client.local().models.register(str(model), name="phi-4-mini") == "phi-4-mini:1"
    return tmp_path


def test_the_code_for_azure_runs_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackTeacher(answer=lambda body: "We will send one.", key="k1", model="DeepSeek-V3-0324") as teacher:
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_ENDPOINT", teacher.url)
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_API_KEY", "k1")
        client = DistillClient.local()
        came = distil(client)
    assert {request.body["temperature"] for request in teacher.requests} == {0.7}
    assert (came["first"] in ("Preparing", "Running", "Completed"), came["last"]) == (True, "Completed")
    assert came["gain"] == pytest.approx(0, abs=1)
    assert came["results"]["n"] == 10
    assert 0 <= came["results"]["bleu_score"] <= 100
    assert came["results"]["inference_time"] > 0
    assert came["model"] == "phi-4-mini-distilled:1"
    (kept, *_) = client.models.list()
    assert kept.lineage["teacher"] == "deepseek-v3"
    assert len(kept.lineage["data"]["training_data"]) == 64
    assert kept.lineage["metrics"]["n"] > 0
    copied = {folder.relative_to("here").as_posix() for folder in client.jobs.download(came["job"], "here")}
    own = {"prepare_data/data", "teacher_inference/responses", "student_finetune/model", "evaluation/report"}
    assert own <= copied
    assert not {"teacher_inference/answers", "student_finetune/checkpoints"} & copied
    (answers,) = client.jobs.download(came["job"], "there", "teacher_inference.answers")
    assert list(answers.iterdir())
    assert isinstance(client.backend, LocalBackend)
    assert not [path for path in client.backend.home.root.rglob("*") if path.is_file() and b"k1\n" in path.read_bytes()]


def test_a_failed_job_raises_and_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackTeacher(key="right") as teacher:
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_ENDPOINT", teacher.url)
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_API_KEY", "wrong")
        client = DistillClient.local()
        job = DistillationJob(
            teacher_model="gpt-4.1",
            student_model="phi-4-mini",
            training_data="./training_data.jsonl",
            task_type="conversation",
        )
        run = client.jobs.create_or_update(job)
        with pytest.raises(JobFailed, match="AZURE_DISTILL_TEACHER_API_KEY") as caught:
            client.jobs.stream(run.name)
        assert caught.value.exit_code == ConfigurationError.exit_code
        with pytest.raises(JobFailed):
            client.models.register(run.name, name="never")
        assert [model.name for model in client.models.list()] == ["phi-4-mini"]


def test_a_missing_key_is_found_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_DISTILL_TEACHER_ENDPOINT", "http://127.0.0.1:9/v1")
    job = DistillationJob(
        teacher_model="gpt-4.1",
        student_model="nano-llama",
        training_data="training_data.jsonl",
        task_type="conversation",
    )
    client = DistillClient.local()
    with pytest.raises(ConfigurationError, match="AZURE_DISTILL_TEACHER_API_KEY"):
        client.jobs.create_or_update(job)
    assert client.jobs.list() == []


def test_an_evaluation_says_what_it_takes_a_model_for(folder: Path) -> None:
    models = DistillClient.local().models
    assert models.evaluation_plan("phi-4-mini", "test_data.jsonl", task_type="math").warnings == ()
    (warning,) = models.evaluation_plan("phi-4-mini", "test_data.jsonl").warnings
    assert "phi-4-mini is evaluated as a conversation" in warning


def test_unknown_names_are_not_found(folder: Path) -> None:
    client = DistillClient.local()
    with pytest.raises(NotFound):
        client.jobs.get("nothing")
    with pytest.raises(NotFound) as caught:
        client.models.evaluate("phi-4-mimi", "./test_data.jsonl")
    assert "phi-4-mini" in str(caught.value.hint)
