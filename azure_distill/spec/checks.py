"""What pydantic cannot know: files, models, and fields that must agree.  Every check returns all of its problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from azure_distill.catalog.machines import gpus
from azure_distill.catalog.models import students, teachers
from azure_distill.errors import Problem, near
from azure_distill.spec.job import GATE_CHECK, GATE_FIGURES, LABEL_TASKS, METRICS, Compute, DistillationJob
from azure_distill.spec.problems import literal_secrets, locate

HUB_ID = re.compile(r"^\w[\w.-]*/[\w.-]+$")
PYPI_ID = re.compile(r"^pypi:[\w.-]+==[\w.]+/[\w./ -]+\.gguf$")
CALLS = ("/chat/completions", "/v1/messages")
SERVERLESS = "serverless"
TEACHER = "teacher"  # as a student: the hosted teacher's own weights, before it learns from itself
DATA_SUFFIXES = (".jsonl", ".csv", ".parquet")


def check(job: DistillationJob, registered: frozenset[str] = frozenset()) -> list[Problem]:
    """Everything that is wrong with a well-formed job.  `registered` names the models of the backend's registry."""
    return [
        *check_parts(job, registered),
        *_teacher(job),
        *_student(job, registered),
        *_adapters(job),
        *_task(job),
        *_method(job, registered),
        *_compute(job),
        *_quotes(job),
    ]


def check_parts(job: DistillationJob, registered: frozenset[str] = frozenset()) -> list[Problem]:
    """What is wrong with single fields, whatever the others say: secrets in them, and what they name is not there."""
    return [
        *literal_secrets(job.model_dump(exclude_none=True), job.source),
        *_files(job),
        *_names(job, registered),
        *_metrics(job),
        *_gate(job),
    ]


def warnings(job: DistillationJob, today: date | None = None) -> list[str]:
    """What may go wrong although the job is valid: models that retire."""
    today = today or date.today()
    models = [teachers().get(job.teacher_model.name), students().get(job.student_model)]
    return [text for model in models if model and (text := model.retirement(today))]


def is_remote(path: str) -> bool:
    """Whether a data or model reference can only be resolved by Azure ML."""
    return path.startswith(("azureml:", "https://", "wasbs://", "abfss://"))


def _files(job: DistillationJob) -> Iterator[Problem]:
    for name in ("training_data", "validation_data", "test_data"):
        value = getattr(job, name)
        if value is not None and not is_remote(value):
            yield from _data_file(job, (name,), value)
    gold = gold_rows(job)
    if gold and not is_remote(gold):
        place = ("adapt_on",) if job.teacher_model.adapt_on else ("sampling", "examples")
        yield from _data_file(job, ("teacher_model", *place), gold)


def is_data_file(path: Path) -> bool:
    """Whether rows can be read from it."""
    return path.is_file() and path.suffix.lower() in DATA_SUFFIXES


def _data_file(job: DistillationJob, place: tuple[str, ...], value: str) -> Iterator[Problem]:
    path = job.resolve(value)
    if path.is_dir():
        yield locate(job.source, place, f"{value} is a folder, not a file")
    elif not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        yield locate(job.source, place, f"{value}: no such file", near(path.name, beside))
    elif not is_data_file(path):
        yield locate(job.source, place, f"{value}: must end in {', '.join(DATA_SUFFIXES)}")


def _names(job: DistillationJob, registered: frozenset[str]) -> Iterator[Problem]:
    teacher, student = job.teacher_model, job.student_model
    located = teacher.endpoint or teacher.path or teacher.name in teachers() or teacher.name in registered
    if not (located or HUB_ID.match(teacher.name) or PYPI_ID.match(teacher.name)):
        hint = (
            near(teacher.name, [*teachers(), *registered])
            or "give its endpoint: or its path:, or see `azure-distill models`"
        )
        yield locate(job.source, ("teacher_model", "name"), f"unknown teacher {teacher.name!r}", hint)
    if student != TEACHER and student not in students():
        yield from _weights(job, student, ("student_model",), "student", registered)
    other, where = job.evaluation.other_model, ("evaluation", "other_model")
    known = other and other not in registered and (students().get(other) or teachers().get(other))
    if known and not known.weights:
        hint = "name a registered model, or a folder"
        yield locate(job.source, where, f"{other} has no weights to compare with", hint)
    elif other and not known:
        yield from _weights(job, other, where, "model", registered)


def _weights(
    job: DistillationJob, name: str, where: tuple[str, ...], kind: str, registered: frozenset[str]
) -> Iterator[Problem]:
    """What is wrong with the name of a model's weights that is in no catalog."""
    if name in registered or is_remote(name) or PYPI_ID.match(name):
        return
    folder = job.resolve(name)
    if folder.is_dir():
        if not any(folder.rglob("config.json")):  # a registry's model has it in a folder below
            yield locate(job.source, where, f"{name} is not a model folder: it has no config.json")
    elif not HUB_ID.match(name):
        hint = near(name, [*students(), *registered]) or "a catalog name, a Hugging Face id, or a folder"
        yield locate(job.source, where, f"unknown {kind} {name!r}", hint)


def _teacher(job: DistillationJob) -> Iterator[Problem]:
    teacher, known = job.teacher_model, teachers().get(job.teacher_model.name)

    def problem(field: str, message: str, hint: str | None = None) -> Problem:
        return locate(job.source, ("teacher_model", field), message, hint)

    if teacher.endpoint and teacher.path:
        yield problem("path", "a teacher has an endpoint or a path, not both")
    if teacher.path and not is_remote(teacher.path) and not (job.resolve(teacher.path) / "config.json").is_file():
        yield problem("path", f"{teacher.path} is not a model folder: it has no config.json")
    if teacher.key_vault:
        for field in ("api_key_env", "connection"):
            if getattr(teacher, field):
                yield problem(field, "names a key, and key_vault names another", "keep one")
    if teacher.auth:
        for field in ("api_key_env", "connection", "key_vault"):
            if getattr(teacher, field):
                yield problem(field, f"names a key, and auth: {teacher.auth} says that there is none", "keep one")
    path = urlsplit(teacher.endpoint or "").path.rstrip("/")
    for call in CALLS:
        if path.endswith(call):
            yield problem("endpoint", f"must end before {call}", "the base of the addresses, e.g. https://host/v1")
    if not is_hosted(job) and teacher.adapt_on:
        yield problem("adapt_on", "only a hosted teacher can be adapted; this one is reached at an endpoint")
    yield from _drawing(job)
    if teacher.max_cost is not None and not is_hosted(job) and not (teacher.prices or (known and known.prices)):
        yield problem("max_cost", "needs the teacher's prices, which the catalog does not know", "give prices:")
    if teacher.sampling.few_shot and not gold_rows(job):
        yield problem("sampling", "few_shot shows solved rows to the teacher: name their file in sampling.examples")
    if teacher.sampling.examples and not teacher.sampling.few_shot:
        yield problem("sampling", "examples are shown to the teacher with few_shot only: say how many")
    if teacher.adapt_on and teacher.sampling.examples not in (None, teacher.adapt_on):
        yield problem("sampling", "examples are the rows of adapt_on where a teacher is adapted", "leave examples out")


def _drawing(job: DistillationJob) -> Iterator[Problem]:
    """Settings of `sampling` that cannot be had together."""
    sampling, reasoned = job.teacher_model.sampling, job.prompt_settings.enable_chain_of_thought

    def problem(field: str, message: str, hint: str | None = None) -> Problem:
        return locate(job.source, ("teacher_model", "sampling", field), message, hint)

    temperature = sampling.temperature
    if temperature is None and job.distillation.method == "response":
        temperature = job.hyperparameters.temperature
    if sampling.samples > 1 and temperature == 0:
        yield problem(
            "samples", f"{sampling.samples} answers at temperature 0 are the same answer", "raise temperature"
        )
    if sampling.samples > 1 and is_hosted(job) and job.task_type in LABEL_TASKS and not reasoned:
        yield problem("samples", "a hosted teacher gives the exact probabilities of all labels: one is enough")
    if sampling.selection in ("majority", "gold") and job.task_type not in (*LABEL_TASKS, "math"):
        message = f"{sampling.selection} compares answers, and those of {job.task_type} cannot be compared"
        yield problem("selection", message, "use all")


def is_hosted(job: DistillationJob) -> bool:
    """Whether the component loads the teacher's weights itself."""
    teacher, known = job.teacher_model, teachers().get(job.teacher_model.name)
    if teacher.endpoint:
        return False
    return bool(teacher.path) or (known.access == "hosted" if known else True)


def gold_rows(job: DistillationJob) -> str | None:
    """The file of rows with right answers that a teacher is adapted on or shown."""
    return job.teacher_model.adapt_on or job.teacher_model.sampling.examples


def softens(job: DistillationJob) -> bool:
    """Whether the method has a temperature of its own; without one the job's is that of the teacher's sampling."""
    return job.distillation.uses("label_logits") or (job.distillation.uses("logits") and is_hosted(job))


def _student(job: DistillationJob, registered: frozenset[str]) -> Iterator[Problem]:
    name = job.student_model
    known = students().get(name)
    if known and known.recipe and name not in registered:
        for field in ("lora_rank", "trained_layers", "quantization", "target_modules", "keep_adapter", "keep_layers"):
            if getattr(job.hyperparameters, field):
                message = f"{name} is made from scratch: there are no weights to adapt"
                yield locate(job.source, ("hyperparameters", field), message)
    if name == TEACHER and not is_hosted(job):
        yield locate(job.source, ("student_model",), f"{TEACHER} is for a teacher whose weights are at hand")


def _adapters(job: DistillationJob) -> Iterator[Problem]:
    """Ways of training a pretrained student that cannot be had together."""
    chosen = job.hyperparameters
    pairs = (
        *((name, "lora_rank: 0", chosen.lora_rank == 0) for name in ("quantization", "target_modules", "keep_adapter")),
        ("sharding", "quantization: 4bit", chosen.sharding == "full" and bool(chosen.quantization)),
        ("keep_adapter", "keep_layers", bool(chosen.keep_layers)),
    )
    for field, other, meets in pairs:
        if meets and getattr(chosen, field):
            yield locate(job.source, ("hyperparameters", field), f"does not go with {other}")


def _task(job: DistillationJob) -> Iterator[Problem]:
    folded = {" ".join(label.lower().split()) for label in job.labels}
    if job.task_type == "classification" and len(folded) < 2:
        yield locate(job.source, ("labels",), "a classification needs at least two labels")
    elif len(folded) < len(job.labels) or "" in folded:
        yield locate(job.source, ("labels",), "labels must differ, by more than case and white space, and not be empty")
    if job.labels and job.task_type != "classification":
        yield locate(job.source, ("labels",), f"{job.task_type} has labels of its own")
    prompts = job.prompt_settings
    if prompts.keep_rationale and not (prompts.enable_chain_of_thought or prompts.enable_chain_of_density):
        where = ("prompt_settings", "keep_rationale")
        yield locate(job.source, where, "there is none without enable_chain_of_thought or enable_chain_of_density")
    softness, sampled = job.hyperparameters.temperature, job.teacher_model.sampling.temperature
    if not softens(job) and sampled is None and softness is not None and softness > 2:
        message = "is the temperature of the teacher's sampling with this method; it is at most 2"
        yield locate(job.source, ("hyperparameters", "temperature"), message)
    if job.prompt_settings.enable_chain_of_density and job.task_type != "summarization":
        yield locate(job.source, ("prompt_settings", "enable_chain_of_density"), "is for summarization only")
    if job.evaluation.gold_baseline and not gold_rows(job):
        message = "needs gold rows: name them in teacher_model.adapt_on, or as teacher_model.sampling.examples"
        yield locate(job.source, ("evaluation", "gold_baseline"), message)
    if job.data.validation_split + job.data.test_split >= 1:
        yield locate(job.source, ("data",), "validation_split and test_split leave no row to train on")


def _method(job: DistillationJob, registered: frozenset[str]) -> Iterator[Problem]:
    chosen = job.distillation
    instead = "use method: response" + (", or label_logits" if job.task_type in LABEL_TASKS else "")

    def problem(message: str, hint: str | None = None, field: str = "method") -> Problem:
        return locate(job.source, ("distillation", field), message, hint)

    if chosen.uses("label_logits") and job.task_type not in LABEL_TASKS:
        message = f"label_logits needs a task with labels, {job.task_type} has none"
        yield problem(message, "use method: response, or logits")
    if chosen.uses("label_logits") and job.prompt_settings.enable_chain_of_thought:
        message = "label_logits needs an answer at once, not after a chain of thought"
        yield problem(message, "leave out enable_chain_of_thought, or use method: response")
    if chosen.weight is not None and isinstance(chosen.method, dict):
        yield problem("is for one method; the shares of several stand in method", None, "weight")
    if chosen.divergence and not (chosen.uses("logits") and is_hosted(job)):
        yield problem("is for the logits of a hosted teacher", None, "divergence")
    if not chosen.uses("logits"):
        return
    student = students().get(job.student_model)
    if student and student.recipe and job.student_model not in registered:
        yield problem(f"logits needs the teacher's tokens, {job.student_model} makes its own", instead)
    if job.prompt_settings.enable_chain_of_thought or job.prompt_settings.enable_chain_of_density:
        message = "logits teaches the teacher's own words, not an answer after its reasoning"
        yield problem(message, "leave out enable_chain_of_thought and enable_chain_of_density, or use method: response")
    if not is_hosted(job):
        yield from _listed(job, problem, instead)


def _listed(job: DistillationJob, problem: Callable[..., Problem], instead: str) -> Iterator[Problem]:
    """What `logits` needs of an endpoint."""
    known = teachers().get(job.teacher_model.name)
    if known and "logprobs" not in known.features:
        hint = f"{instead}; or, if your endpoint does give them, name the teacher after your deployment"
        yield problem(f"logits needs token log probabilities, {known.display_name} gives none", hint)
    if job.distillation.temperature not in (None, 1) and not job.distillation.uses("label_logits"):
        message = "must be 1 for the logits of an endpoint, which lists the likeliest tokens only"
        yield problem(message, None, "temperature")


def _metrics(job: DistillationJob) -> Iterator[Problem]:
    known = METRICS[job.task_type]
    for index, metric in enumerate(job.evaluation.metrics or ()):
        if metric not in known:
            hint = near(metric, known) or f"known: {', '.join(known)}"
            yield locate(
                job.source, ("evaluation", "metrics", index), f"{metric!r} is no metric of {job.task_type}", hint
            )


def _compute(job: DistillationJob) -> Iterator[Problem]:
    for step, wanted in job.compute.items():
        for field, message, hint in _machine_problems(wanted):
            yield locate(job.source, ("compute", step, field), message, hint)


def _machine_problems(wanted: Compute) -> Iterator[tuple[str, str, str]]:
    """(field, what is wrong, what to do) of what no machine could be asked for."""
    serverless = wanted.compute in (None, SERVERLESS)
    for field in ("instance_type", "tier"):
        if getattr(wanted, field) and not serverless:
            message = f"is for serverless compute; the cluster {wanted.compute} has its own"
            yield field, message, "leave it out, or leave out compute"
    if wanted.client_id and wanted.identity != "managed":
        yield "client_id", "names a managed identity, and identity is not managed", "set identity: managed"
    if wanted.identity == "managed" and serverless and not wanted.client_id:
        message = "serverless compute has no identity of its own"
        yield "identity", message, "give the client_id of one that is assigned to the workspace, or identity: user"
    there = gpus(wanted.instance_type) if wanted.instance_type else None
    if there and wanted.processes_per_instance and wanted.processes_per_instance > there:
        message = f"more processes than the {there} GPU{'s' * (there > 1)} of {wanted.instance_type}"
        yield "processes_per_instance", message, "leave it out: one process a GPU"


def _gate(job: DistillationJob) -> Iterator[Problem]:
    metrics = METRICS[job.task_type]
    known = [*metrics, *GATE_FIGURES]
    known += [f"{metric}_{kind}" for metric in metrics if metric != "inference_time" for kind in ("gain", "retention")]
    for index, text in enumerate(job.evaluation.gate):
        place = ("evaluation", "gate", index)
        match = re.match(GATE_CHECK, text)
        if not match:
            yield locate(job.source, place, f"{text!r} is no check", 'such as "accuracy >= 0.9"')
        elif match[1] not in known:
            hint = near(match[1], known) or f"known: {', '.join(known)}"
            yield locate(job.source, place, f"{match[1]!r} is no figure of {job.task_type}", hint)


def _quotes(job: DistillationJob) -> Iterator[Problem]:
    # Azure ML puts inputs into the command as plain text, between single quotes
    for place in (("teacher_model", "name"), ("student_model",)):
        value = job.student_model if len(place) == 1 else job.teacher_model.name
        if "'" in value and not job.resolve(value).exists():
            yield locate(job.source, place, "must not hold a single quote")
