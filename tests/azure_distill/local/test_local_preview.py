"""`plan` shows what will be sent: word for word the messages that the teacher then gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from loopback_teacher import LoopbackTeacher

from azure_distill import DistillationJob, DistillClient
from azure_distill.cli.asked import shortened
from azure_distill.cli.main import cli
from azure_distill.local.paths import Home
from azure_distill.local.preview import NoPreview, preview
from azure_distill.plan.build import build_plan
from azure_distill.samples import generate

COMPONENTS = Path(__file__).parents[3] / "components"
LABELS = ["billing", "delivery", "account", "technical", "returns"]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def job(folder: Path, url: str = "http://127.0.0.1:9/v1", **more: Any) -> DistillationJob:
    rows = list(generate("classification", 60, 1))
    teacher = {"name": "teacher", "endpoint": url, "auth": "none", "adapt_on": None, **more.pop("teacher", {})}
    return DistillationJob(
        teacher_model=teacher,
        student_model="nano-llama",
        training_data=write(folder / "train.jsonl", [*rows, rows[0]]),
        task_type="classification",
        labels=LABELS,
        **more,
    )


def test_the_prompts_are_those_that_are_sent(tmp_path: Path) -> None:
    reasoned = {"enable_chain_of_thought": True}
    with LoopbackTeacher(lambda body: '{"reason": "r", "answer": "billing"}') as server:
        wanted = job(tmp_path, server.url, prompt_settings=reasoned)
        plan = build_plan(wanted, {})
        found = preview(plan, Home.locate(), 1000)
        assert server.requests == []
        client = DistillClient.local(tmp_path / "home")
        run = client.jobs.create_or_update(plan.until("teacher_inference"))
        client.jobs.stream(run.name)
        sent = {json.dumps(seen.body["messages"]) for seen in server.requests}
    assert {json.dumps(prompt["messages"]) for prompt in found["prompts"]} == sent
    assert found["requests"] == len(sent) == sum(found["rows"].values())
    assert all("step by step" in prompt["messages"][0]["content"] for prompt in found["prompts"])


def test_solved_examples_are_shown_before_the_teacher_is_adapted(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", list(generate("classification", 20, 9)))
    hosted = {"name": "smollm2-135m-instruct", "endpoint": None, "auth": None, "adapt_on": gold}
    plan = build_plan(job(tmp_path, teacher=hosted | {"sampling": {"few_shot": 3}}), {})
    found = preview(plan, Home.locate(), 2)
    assert [len(prompt["messages"]) for prompt in found["prompts"]] == [1 + 2 * 3 + 1] * 2


def test_every_sample_counts_and_no_key_is_needed(tmp_path: Path) -> None:
    teacher = {"auth": None, "api_key_env": "NO_SUCH_KEY", "sampling": {"samples": 4, "temperature": 1.0}}
    found = preview(build_plan(job(tmp_path, teacher=teacher), {}), Home.locate(), 0)
    assert found["prompts"] == []
    assert found["requests"] == 4 * sum(found["rows"].values())
    assert found["answer_bytes"] == found["requests"] * len("technical")


def test_data_that_is_wrong_or_elsewhere_has_no_preview(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(NoPreview, match=r"the data has 1 problem$") as without:
        preview(build_plan(wanted, {}), Home.locate(), 3)
    assert [(Path(str(problem.file)).name, problem.line) for problem in without.value.problems] == [("train.jsonl", 1)]
    away = wanted.model_copy(update={"training_data": "azureml:rows:1"})
    with pytest.raises(NoPreview, match="in the cloud"):
        preview(build_plan(away, {}), Home.locate(), 3)


def test_plan_on_a_terminal_and_as_json(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(cli, ["init", "--task", "summarization", str(tmp_path / "job")]).exit_code == 0
    file = str(next((tmp_path / "job").glob("*.yaml")))
    told = json.loads(runner.invoke(cli, ["plan", file, "--json"]).stdout)
    assert len(told["prompts"]) == 3
    assert told["estimate"]["expected"]["requests"] <= told["estimate"]["most"]["requests"]
    shown = runner.invoke(cli, ["plan", file]).stdout
    assert "prompt 3 of 3" in shown
    assert "at most" in shown


def test_a_long_text_keeps_both_ends() -> None:
    text = "begin " + "x" * 5000 + " end"
    short = shortened(text)
    assert len(short) < 600
    assert short.startswith("begin")
    assert short.endswith("end")
    assert shortened("short") == "short"


DENIED = """
import runpy, sys
class Deny:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"torch", "azure", "transformers", "aiohttp", "filelock", "math_verify"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Deny())
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__")
"""


def test_the_components_do_without_what_the_client_does_not_install(tmp_path: Path) -> None:
    rows = write(tmp_path / "train.jsonl", list(generate("nli", 40, 1)))
    given = ['--task={"type": "nli"}', f"--data={tmp_path}/data"]
    written = [f"--responses={tmp_path}/out", f"--answers={tmp_path}/a"]
    more = {
        "prepare_data": [f"--training-data={rows}", f"--gold={tmp_path}/gold"],
        "teacher_inference": ["--teacher-id=x", "--preview=1", *written],
    }
    for name, arguments in more.items():
        environment = {"PYTHONPATH": f"{COMPONENTS / name}:{COMPONENTS}"}
        command = [sys.executable, "-c", DENIED, name, *given, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "preview.json").read_text())["requests"] > 0
