"""Job files: what is accepted, and what every mistake is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from azure_distill import DistillationJob
from azure_distill.errors import InvalidJob, Problem
from azure_distill.spec.checks import check, warnings
from shared.errors import InvalidInput
from student_finetune.settings import parse_hyperparameters

VALID = """\
teacher_model: deepseek-v3
student_model: phi-4-mini
training_data: ./train.jsonl
task_type: conversation
hyperparameters: {learning_rate: 2e-5, batch_size: 2, num_epochs: 3, temperature: 0.7}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text('{"messages": []}\n')
    return tmp_path


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path, text: str | bytes) -> list[Problem]:
    try:
        return check(DistillationJob.from_file(write(folder, text)))
    except InvalidJob as error:
        return error.problems


@pytest.mark.parametrize(
    ("checks", "message", "hint"),
    [
        ("[accuracy is fine]", "'accuracy is fine' is no check", 'such as "accuracy >= 0.9"'),
        ("[macro_f1 >= 0.5]", "'macro_f1' is no figure of conversation", None),
        ("[retentoin >= 0.5]", "'retentoin' is no figure of conversation", "retention"),
        ("[inference_time_gain < 1]", "'inference_time_gain' is no figure of conversation", None),
    ],
)
def test_a_gate_that_cannot_be_read_is_refused_at_its_line(
    folder: Path, checks: str, message: str, hint: str | None
) -> None:
    found = problems(folder, VALID + f"evaluation:\n  gate: {checks}\n")
    assert [(problem.line, problem.message) for problem in found] == [(7, message)]
    assert hint is None or hint in (found[0].hint or "")


def test_a_gate_may_name_metrics_gains_further_figures_and_costs(folder: Path) -> None:
    checks = '["accuracy >= .9", "rouge_l_gain > -1e-2", "retention>=1", "ece <= 0.1", "inference_time < 50.5"]'
    assert problems(folder, VALID + f"evaluation: {{gate: {checks}}}\n") == []


def test_a_valid_job_has_no_problem_and_numbers_are_numbers(folder: Path) -> None:
    job = DistillationJob.from_file(write(folder, VALID))
    assert check(job) == []
    assert job.hyperparameters.learning_rate == 2e-5
    assert job.resolve(job.training_data) == folder / "train.jsonl"


def test_python_and_yaml_make_the_same_job(folder: Path) -> None:
    made = DistillationJob(
        teacher_model="deepseek-v3",
        student_model="phi-4-mini",
        training_data="./train.jsonl",
        task_type="conversation",
        hyperparameters={"learning_rate": 2e-5, "batch_size": 2, "num_epochs": 3, "temperature": 0.7},
    )
    assert made.model_dump() == DistillationJob.from_file(write(folder, VALID)).model_dump()


def test_byte_order_mark_and_crlf_are_accepted(folder: Path) -> None:
    assert problems(folder, b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode()) == []


@pytest.mark.parametrize(
    ("line", "field", "message", "hint"),
    [
        ("studnt_model: x", "studnt_model", "unknown key", "did you mean 'student_model'?"),
        ("hyperparameters: {lerning_rate: 1}", "hyperparameters.lerning_rate", "unknown key", "learning_rate"),
        ("hyperparameters: {batch_size: two}", "hyperparameters.batch_size", "must be a whole number", None),
        ("hyperparameters: {batch_size: 2.5}", "hyperparameters.batch_size", "must be a whole number", None),
        ("hyperparameters: {learning_rate: -1}", "hyperparameters.learning_rate", "must be greater than 0", None),
        ("hyperparameters: {learning_rate: .nan}", "hyperparameters.learning_rate", "must be", None),
        ("data: {test_split: 1}", "data.test_split", "must be less than 1", None),
        ("distillation: {method: label_logit}", "distillation.method", "must be 'response'", "label_logits"),
        ("evaluation: {min_accuracy_gain: [1]}", "evaluation.min_accuracy_gain", "must be a number", None),
        ("labels: business", "labels", "must be a list", None),
        ("labels: [yes, maybe]", "labels.0", "must be a text", "put it in quotes"),
        ("description: 12", "description", "must be a text", "put it in quotes"),
        ("test_data: missing.jsonl", "test_data", "missing.jsonl: no such file", None),
        ("test_data: ./trian.jsonl", "test_data", "no such file", "did you mean 'train.jsonl'?"),
        ("test_data: .", "test_data", "is a folder, not a file", None),
        ("validation_data: job.yaml", "validation_data", "must end in .jsonl, .csv, .parquet", None),
        ("evaluation: {metrics: [accurracy]}", "evaluation.metrics.0", "is no metric", "did you mean 'accuracy'?"),
        ("evaluation: {gold_baseline: true}", "evaluation.gold_baseline", "needs gold rows", None),
        ("distillation: {method: label_logits}", "distillation.method", "needs a task with labels", "response"),
        ("distillation: {method: {logit: 1}}", "distillation.method.logit", "must be 'response'", "logits"),
        ("distillation: {method: {logits: 0}}", "distillation.method.logits", "must be greater than 0", None),
        ("distillation: {method: {}}", "distillation.method", "is empty", None),
        ("distillation: {method: [logits]}", "distillation.method", "must be 'response'", None),
        ("distillation: {method: {response: 1}, weight: 1}", "distillation.weight", "shares of several", None),
        ("distillation: {divergence: forwardkl}", "distillation.divergence", "must be 'forward_kl'", "forward_kl"),
        ("distillation: {divergence: jsd}", "distillation.divergence", "hosted teacher", None),
        (
            "distillation: {method: logits}",
            "distillation.method",
            "DeepSeek-V3-0324 gives none",
            "use method: response",
        ),
        ("data: {validation_split: .6, test_split: .5}", "data", "leave no row to train on", None),
        ("compute: {student_finetun: {}}", "compute.student_finetun", "must be", "student_finetune"),
        ("compute: {default: {instance_count: 0}}", "compute.default.instance_count", "must be at least 1", None),
        ("name: a b", "name", "may hold letters", None),
    ],
)
def test_each_mistake_names_line_field_and_remedy(
    folder: Path, line: str, field: str, message: str, hint: str | None
) -> None:
    base = "\n".join(row for row in VALID.splitlines() if row.split(":")[0] != line.split(":")[0])
    found = problems(folder, f"{base}\n{line}\n")
    assert len(found) == 1, found
    assert (found[0].field, found[0].line, found[0].file) == (field, base.count("\n") + 2, str(folder / "job.yaml"))
    assert message in found[0].message
    assert hint is None or hint in (found[0].hint or "")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "the file is empty"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("a: 1\nb: [1\n", 3, "YAML"),
        ("a: 1\n\tb: 2\n", 2, "YAML"),
        (VALID + "task_type: math\n", 6, "duplicate key, first given on line 4"),
        (VALID + "data:\n  seed: 1\n  seed: 2\n", 8, "duplicate key, first given on line 7"),
        (b"teacher_model: x\nname: \xff\xfe\n", 2, "is not UTF-8 text"),
        (b"teacher_model: x\nname: \x00\n", 2, "control character"),
        (VALID + "3: x\n", 6, "a key must be a plain word"),
        (VALID + "compute: {yes: {}}\n", 6, "a key must be a plain word"),
        (VALID + "labels: " + "[" * 3000 + "]" * 3000, None, "is nested too deeply"),
        (VALID + "description: !!python/name:os.system\n", 6, "could not determine a constructor"),
        (VALID + "description: !!int x\n", None, "invalid literal"),
    ],
)
def test_broken_files_are_answered_with_the_line(
    folder: Path, text: str | bytes, line: int | None, message: str
) -> None:
    (problem,) = problems(folder, text)
    assert problem.line == line
    assert message in problem.message


def test_all_problems_come_at_once_in_the_order_of_the_file(folder: Path) -> None:
    found = problems(folder, VALID + "colour: red\ndata: {seed: -1}\nevaluation: {min_retention: much}\n")
    assert [problem.line for problem in found] == [6, 7, 8]


def test_a_duplicate_key_does_not_hide_what_else_is_wrong(folder: Path) -> None:
    found = problems(folder, VALID + "task_type: math\ncolour: red\n")
    assert [(problem.line, problem.field) for problem in found] == [(6, "task_type"), (7, "colour")]


@pytest.mark.parametrize(
    "line",
    [
        "teacher_model: {name: deepseek-v3, endpoint: 'https://x.test/v1', api_key: abcdefgh}",
        "teacher_model: {name: deepseek-v3, endpoint: 'https://x.test/v1', api_key_env: sk-abcdefghijklmnop1234}",
        "teacher_model: {name: x, endpoint: 'https://x.test/v1', api_key_env: 0123456789abcdef0123456789abcdef}",
        "teacher_model: {name: deepseek-v3, endpoint: 'https://user:pass@x.test/v1'}",
        "description: 0123456789abcdef0123456789abcdef",
        "description: with the key sk-proj-abcdefghijklmnop1234 of ours",
        "prompt_settings: {system_prompt: 'Bearer eyJabcdefghijk.eyJabcdefghijk.x'}",
        "training_data: 'https://x.test/rows.jsonl?sv=1&sig=abcdefgh%2Fijklmnop'",
        "teacher_model: {name: deepseek-v3, endpoint: 'https://x.test/v1?api-key=0123456789abcdefX'}",
    ],
)
def test_a_literal_secret_is_refused_and_never_repeated(folder: Path, line: str) -> None:
    base = "\n".join(row for row in VALID.splitlines() if row.split(":")[0] != line.split(":")[0])
    found = problems(folder, f"{base}\n{line}\n")
    assert found
    for problem in found:
        assert not any(secret in str(problem) for secret in ("abcdefgh", "0123456789abcdef", "user:pass"))


@pytest.mark.parametrize("name", ["sk-learn-classifier-baseline-v2", "hf_finetuned_llama_3_8b_instruct_v2"])
def test_a_name_that_begins_like_a_key_is_none(folder: Path, name: str) -> None:
    assert problems(folder, VALID + f"description: from runs/{name}/checkpoint\n") == []


def test_a_retiring_model_is_a_warning(folder: Path) -> None:
    job = DistillationJob.from_file(write(folder, VALID.replace("deepseek-v3", "llama-3.1-405b")))
    assert any("retire" in text for text in warnings(job))


def test_a_student_from_scratch_has_no_weights_to_adapt(folder: Path) -> None:
    text = VALID.replace("phi-4-mini", "nano-llama").replace("num_epochs: 3", "num_epochs: 3, lora_rank: 4")
    (problem,) = problems(folder, text)
    assert (problem.field, problem.line) == ("hyperparameters.lora_rank", 5)


@pytest.mark.parametrize(
    ("options", "field", "other"),
    [
        ("lora_rank: 0, quantization: 4bit", "quantization", "lora_rank: 0"),
        ("lora_rank: 0, target_modules: [q_proj]", "target_modules", "lora_rank: 0"),
        ("lora_rank: 0, keep_adapter: true", "keep_adapter", "lora_rank: 0"),
        ("quantization: 4bit, sharding: full", "sharding", "quantization: 4bit"),
        ("keep_adapter: true, keep_layers: 4", "keep_adapter", "keep_layers"),
    ],
)
def test_ways_of_training_that_do_not_go_together(folder: Path, options: str, field: str, other: str) -> None:
    """What the component refuses, when the teacher's answers have been bought."""
    (problem,) = problems(folder, VALID.replace("num_epochs: 3", options))
    assert problem.field == f"hyperparameters.{field}"
    assert problem.message == f"does not go with {other}"
    with pytest.raises(InvalidInput):
        parse_hyperparameters(json.dumps(yaml.safe_load(f"{{{options}}}")), from_scratch=False)


def test_an_unknown_model_gets_a_suggestion(folder: Path) -> None:
    (problem,) = problems(folder, VALID.replace("phi-4-mini", "phi-4-mimi"))
    assert problem.field == "student_model"
    assert "phi-4-mini" in (problem.hint or "")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_a_list_of_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(InvalidJob) as caught:
        DistillationJob.from_file(path)
    assert caught.value.problems


@given(
    st.dictionaries(
        st.sampled_from(["teacher_model", "student_model", "data", "labels", "evaluation", "compute", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_any_values_are_a_job_or_a_list_of_problems(values: dict[str, object]) -> None:
    with pytest.raises(InvalidJob) as caught:
        DistillationJob(**values)
    assert all(problem.message for problem in caught.value.problems)


def test_a_cluster_has_a_size_and_tier_of_its_own(folder: Path) -> None:
    text = VALID + "compute:\n  default: {compute: gpu, instance_type: Standard_E4ds_v5}\n"
    (problem,) = problems(folder, text)
    assert (problem.line, problem.field) == (7, "compute.default.instance_type")
    text = VALID + "compute: {default: {compute: serverless, instance_type: Standard_E4ds_v5, tier: spot}}\n"
    assert problems(folder, text) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "shm_size: 16",
        "shm_size: lots",
        "identity: mine",
        "identity: managed",
        "client_id: 6f1c0f5e-2f0a-4a38-9d0b-0d5d4f4f7a11",
        "client_id: me, identity: managed",
        "instance_count: 0",
        "timeout: soon",
        "tier: premium",
        "tier: spot, compute: gpu",
        "environment: tpu",
        "processes_per_instance: 3, instance_type: Standard_NC80adis_H100_v5",
        "gpus: 2",
    ],
)
def test_nonsense_about_compute_is_refused(folder: Path, wrong: str) -> None:
    (problem,) = problems(folder, VALID + f"compute: {{student_finetune: {{{wrong}}}}}\n")
    assert problem.field == f"compute.student_finetune.{wrong.partition(':')[0]}"


ENDPOINT = "teacher_model: {name: mine, endpoint: 'https://x.test/v1'}"
HOSTED = "teacher_model: smollm2-135m-instruct"


@pytest.mark.parametrize(
    ("teacher", "lines", "messages"),
    [
        (ENDPOINT, "distillation: {method: logits}", []),
        (HOSTED, "distillation: {method: {response: 1, logits: 2}, temperature: 2, divergence: jsd, ramp: .2}", []),
        (ENDPOINT, "distillation: {method: logits, temperature: 2}", ["must be 1 for the logits of an endpoint"]),
        (ENDPOINT, "distillation: {method: logits, divergence: jsd}", ["is for the logits of a hosted teacher"]),
        (
            HOSTED,
            "distillation: {method: logits}\nprompt_settings: {enable_chain_of_thought: true}",
            ["logits teaches the teacher's own words"],
        ),
    ],
)
def test_token_probabilities_are_refused_before_they_are_paid_for(
    folder: Path, teacher: str, lines: str, messages: list[str]
) -> None:
    found = problems(folder, VALID.replace("teacher_model: deepseek-v3", teacher) + lines + "\n")
    assert len(found) == len(messages)
    for problem, message in zip(found, messages, strict=True):
        assert message in problem.message


def test_a_student_with_tokens_of_its_own_cannot_learn_the_teachers(folder: Path) -> None:
    text = VALID.replace("deepseek-v3", "smollm2-135m-instruct").replace("phi-4-mini", "nano-llama")
    (problem,) = problems(folder, text + "distillation: {method: logits}\n")
    assert (problem.line, problem.field) == (6, "distillation.method")
    assert "nano-llama makes its own" in problem.message


DRAWING = VALID.replace("teacher_model: deepseek-v3\n", "teacher_model: {name: TEACHER}\n")
HOSTED = "smollm2-135m-instruct, sampling: {samples: 3}"


@pytest.mark.parametrize(
    ("teacher", "changed", "message"),
    [
        ("deepseek-v3, sampling: {samples: 3, temperature: 0}", "", "3 answers at temperature 0 are the same answer"),
        ("deepseek-v3, sampling: {selection: majority}", "", "majority compares answers, and those of conversation"),
        ("deepseek-v3.1, max_cost: 1", "", "needs the teacher's prices, which the catalog does not know"),
        (HOSTED, "task_type: nli\n", "a hosted teacher gives the exact probabilities of all labels: one is enough"),
        ("deepseek-v3", "prompt_settings: {keep_rationale: true}\n", "there is none without enable_chain_of_thought"),
    ],
)
def test_answers_that_cannot_be_drawn_so(folder: Path, teacher: str, changed: str, message: str) -> None:
    text = DRAWING.replace("TEACHER", teacher)
    text = text.replace("task_type: conversation\n", changed) if "task_type" in changed else text + changed
    (found,) = problems(folder, text)
    assert found.message.startswith(message)
    assert found.line


@pytest.mark.parametrize(
    "teacher",
    [
        "deepseek-v3, sampling: {samples: 3}, max_cost: 1, api: foundry",
        "deepseek-v3.1, max_cost: 1, prices: {input_per_million: 1, output_per_million: 1}",
        "deepseek-v3, sampling: {samples: 3, selection: all}",
    ],
)
def test_answers_that_can(folder: Path, teacher: str) -> None:
    assert problems(folder, DRAWING.replace("TEACHER", teacher)) == []
