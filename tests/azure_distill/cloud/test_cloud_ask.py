"""doctor --ask-teacher: one tiny request in the form that the teacher's endpoint speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from loopback_teacher import LoopbackTeacher

from azure_distill import DistillationJob
from azure_distill.cloud.ask import ask_teacher
from azure_distill.errors import ConfigurationError
from azure_distill.plan.build import build_plan

NOBODY = cast(Any, None)  # a key from the environment needs no session


def ask(folder: Path, teacher: dict[str, Any], key: str = "sk-1") -> str:
    (folder / "rows.jsonl").write_text("{}\n")
    teacher = {"api_key_env": "MY_KEY", "deployment": "teacher", **teacher}
    rows = str(folder / "rows.jsonl")
    job = DistillationJob(
        teacher_model=teacher, student_model="nano-llama", training_data=rows, task_type="conversation"
    )
    return ask_teacher(NOBODY, build_plan(job, {}), {"MY_KEY": key})


@pytest.mark.parametrize(
    ("name", "path", "seen", "header"),
    [
        ("any", "/v1", "/v1/chat/completions", "Authorization"),
        ("any", "/anthropic", "/anthropic/v1/messages", "x-api-key"),
        ("claude-haiku", "/anthropic/v1", "/anthropic/v1/messages", "x-api-key"),
    ],
)
def test_a_teacher_is_asked_as_its_api_wants(tmp_path: Path, name: str, path: str, seen: str, header: str) -> None:
    with LoopbackTeacher(key="sk-1") as server:
        said = ask(tmp_path, {"name": name, "endpoint": server.host + path})
        assert "answers in" in said
        (request,) = server.requests
        assert request.path == seen
        assert "sk-1" in {key.lower(): value for key, value in request.headers.items()}[header.lower()]
        with pytest.raises(ConfigurationError) as caught:
            ask(tmp_path, {"name": name, "endpoint": server.host + path}, key="sk-wrong")
    assert "401" in str(caught.value)
    assert "sk-wrong" not in str(caught.value)
