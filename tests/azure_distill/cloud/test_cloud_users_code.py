"""`DistillClient.from_config()`: the code that a user writes runs in a workspace as it does on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback_teacher import LoopbackTeacher
from transformers import Phi3Config, Phi3ForCausalLM
from users_code import distil

from azure_distill import DistillClient
from azure_distill.catalog.models import students
from azure_distill.samples import generate
from shared.scratch import train_tokenizer
from tests.emulator.fixture import Azure

KEY = "canary-90b2d1"


def keep_in_hub_cache(model: str, home: Path, texts: list[str]) -> None:
    """A model of some thousand parameters where the Hugging Face hub's cache would keep `model`."""
    place = home / "hub" / f"models--{model.replace('/', '--')}"
    folder = place / "snapshots" / "0123"
    tokenizer = train_tokenizer(texts, 300)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = Phi3Config(vocab_size=len(tokenizer), max_position_embeddings=4096, **size, **special)  # type: ignore[arg-type]
    Phi3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")


@pytest.mark.timeout(600)  # three runs of real components
def test_the_code_runs_in_the_workspace_of_a_config_file(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    azure.write_config(tmp_path)
    rows = list(generate("conversation", 60, 1))
    for name, part in (("training", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        (tmp_path / f"{name}_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    keep_in_hub_cache(str(students()["phi-4-mini"].weights), tmp_path / "hf", [json.dumps(row) for row in rows])
    monkeypatch.setitem(azure.server.step_variables, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setitem(azure.server.step_variables, "HF_HUB_OFFLINE", "1")
    azure.workspace.connections["teacher"] = ("https://teacher.example", KEY)
    with LoopbackTeacher(answer=lambda body: "We will send one.", key=KEY, model="DeepSeek-V3-0324") as teacher:
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_ENDPOINT", teacher.url)
        monkeypatch.setenv("AZURE_DISTILL_TEACHER_CONNECTION", "teacher")
        came = distil(DistillClient.from_config())
    assert {request.body["temperature"] for request in teacher.requests} == {0.7}
    assert came["last"] == "Completed"
    assert came["results"]["n"] == 10
    assert came["results"]["inference_time"] > 0
    assert -1 <= came["gain"] <= 1
    assert came["model"] == "phi-4-mini-distilled:1"
    (model,) = azure.workspace.versions("models", "phi-4-mini-distilled")
    assert model.properties["tags"]["run"] == came["job"]
    assert model.properties["tags"]["teacher"] == "deepseek-v3"
