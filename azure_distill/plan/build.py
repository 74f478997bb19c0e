"""From a checked job to its Plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from azure_distill.assets.component import Component, builtin_components
from azure_distill.catalog.models import students, teachers
from azure_distill.errors import InvalidJob
from azure_distill.plan import machine
from azure_distill.plan.arguments import (
    as_json,
    endpoint_settings,
    endpoint_url,
    hyperparameters,
    judge_settings,
    task_settings,
)
from azure_distill.plan.plan import Binding, DataPath, DataUri, Literal, Plan, Step, StepOutput, binding_json
from azure_distill.plan.variables import ENDPOINT_VARIABLE
from azure_distill.spec.checks import TEACHER, check, gold_rows, is_data_file, is_hosted, is_remote, softens, warnings
from azure_distill.spec.job import Compute, DistillationJob
from azure_distill.spec.problems import locate

SCRATCH = "scratch"
LIMITS = {"max_concurrency", "requests_per_minute", "tokens_per_minute", "min_endpoint_success_ratio", "max_cost"}

Registered = Mapping[str, Path]
Inputs = dict[str, Binding]


def build_plan(job: DistillationJob, environ: Mapping[str, str], registered: Registered | None = None) -> Plan:
    """The plan of a job; raises InvalidJob with all of its problems.

    `environ` may name the teacher's endpoint (`AZURE_DISTILL_TEACHER_ENDPOINT`) and the workspace's connection that
    holds its key (`AZURE_DISTILL_TEACHER_CONNECTION`) where the job does not.  `registered`
    maps the names of the backend's registry to model folders; they win over the catalog.
    """
    return _Builder(job, environ, registered or {}).plan()


def single_evaluation(
    model: Binding, name: str, test_data: Binding, task: Mapping[str, Any], metrics: list[str] | None
) -> Plan:
    """The plan that evaluates one model, its weights or (a literal) its id, on a file of rows with answers."""
    components = builtin_components()
    data: Inputs = {"test_data": test_data, "task": as_json(task), "settings": as_json({})}
    settings = {"metrics": metrics, "names": {"student": name}}
    evaluation: Inputs = {
        "data": StepOutput("prepare_data", "data"),
        ("student_id" if isinstance(model, Literal) else "student_model"): model,
        "task": as_json(task),
        "settings": as_json({key: value for key, value in settings.items() if value}),
    }
    steps = (
        Step("prepare_data", components["prepare_data"], data),
        Step("evaluation", components["evaluation"], evaluation),
    )
    job = {"model": name, "test_data": str(binding_json(test_data)), "task": dict(task)}
    return Plan("evaluate", job, steps)


def data_step(job: DistillationJob) -> Step:
    """The step that prepares the data of a job that may be wrong elsewhere.

    Files that cannot be read are left out: the job's own checks tell of them.
    """
    step = _Builder(job, {}, {}).prepare_data()
    unread = {port for port, data in step.inputs.items() if isinstance(data, DataPath) and not is_data_file(data.path)}
    return replace(step, inputs={port: data for port, data in step.inputs.items() if port not in unread})


class _Builder:
    """One method a step; what several steps need is worked out once."""

    def __init__(self, job: DistillationJob, environ: Mapping[str, str], registered: Registered) -> None:
        self.job, self.environ, self.registered = job, environ, registered
        self.components: Mapping[str, Component] = builtin_components()
        self.hosted = is_hosted(job)
        self.task = as_json(task_settings(job))
        self.adapted = job.teacher_model.adapt_on is not None

    def plan(self) -> Plan:
        problems = check(self.job, frozenset(self.registered))
        if not self.hosted and not endpoint_url(self.job, self.environ):
            hint = f"give its endpoint:, or set {ENDPOINT_VARIABLE}"
            where = ("teacher_model",)
            problems.append(
                locate(self.job.source, where, f"{self.job.teacher_model.name} needs an endpoint to be asked at", hint)
            )
        if problems:
            raise InvalidJob(problems)
        steps = [self.prepare_data()]
        if self.adapted:
            steps.append(self._teacher_adaptation())
        steps.append(self._teacher_inference())
        if self.job.evaluation.gold_baseline:
            steps.append(self._finetune("gold_finetune", StepOutput("prepare_data", "gold"), {"method": "response"}))
        steps.append(self._student_finetune())
        steps.append(self._evaluation())
        name = self.job.name or self.job.task_type
        return Plan(name, self._job_json(), tuple(steps), (*warnings(self.job), *self._idle_compute(steps)))

    def _job_json(self) -> dict[str, Any]:
        return self.job.model_dump(mode="json", exclude_defaults=True)

    def _idle_compute(self, steps: list[Step]) -> list[str]:
        there = {"default", *(step.name for step in steps)}
        return [f"compute.{name} is for a step that this job does not have" for name in self.job.compute.keys() - there]

    def _step(
        self,
        name: str,
        component: str,
        inputs: Mapping[str, Binding | None],
        secrets: tuple[str, ...] = (),
        connections: Mapping[str, str] | None = None,
        loads: int | None = 0,
    ) -> Step:
        """`loads` is the size in parameters of the largest model that the step loads; None where it is not known."""
        compute = self.job.compute.get(name) or self.job.compute.get("default") or Compute()  # type: ignore[call-overload]
        bound = {port: binding for port, binding in inputs.items() if binding is not None}
        answers = self.job.teacher_model.answers if name == "teacher_inference" else None
        return Step(
            name,
            self.components[component],
            bound,
            machine.resources(compute, self.components[component]),
            secrets,
            connections or {},
            machine.environment(compute, loads),
            {"answers": answers} if answers else {},
        )

    def _teacher_size(self) -> int | None:
        """Parameters of the teacher that a step hosts; 0 where it is asked at an endpoint."""
        if not self.hosted:
            return 0
        known = teachers().get(self.job.teacher_model.name)
        return known.parameters if known and self.job.teacher_model.name not in self.registered else None

    def _student_size(self) -> int | None:
        known = students().get(self.job.student_model)
        if known is None or self.job.student_model in self.registered:
            return None
        return 1 if known.recipe else known.parameters

    def _data(self, path: str | None) -> Binding | None:
        if path is None:
            return None
        return DataUri(path) if is_remote(path) else DataPath(self.job.resolve(path))

    def prepare_data(self) -> Step:
        job = self.job
        settings = job.data.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        inputs = {
            "training_data": self._data(job.training_data),
            "validation_data": self._data(job.validation_data),
            "test_data": self._data(job.test_data),
            "gold_data": self._data(gold_rows(job)),
            "task": self.task,
            "settings": as_json(settings),
        }
        return self._step("prepare_data", "prepare_data", inputs)

    def _teacher_weights(self, folder: str, identifier: str) -> Inputs:
        """The ports by which a component is given the hosted teacher before any adaptation."""
        teacher = self.job.teacher_model
        if teacher.path:
            return {folder: self._data(teacher.path) or Literal("")}
        if teacher.name in self.registered:
            return {folder: DataPath(self.registered[teacher.name])}
        known = teachers().get(teacher.name)
        return {identifier: Literal(known.weights if known and known.weights else teacher.name)}

    def _teacher_adaptation(self) -> Step:
        inputs: Inputs = {
            "data": StepOutput("prepare_data", "gold"),
            **self._teacher_weights("student_folder", "student_id"),
            "task": self.task,
            "hyperparameters": as_json(hyperparameters(self.job.teacher_model.adapt)),
            "distillation": as_json({"method": "response"}),
        }
        return self._step("teacher_adaptation", "student_finetune", inputs, loads=self._teacher_size())

    def _teacher_inference(self) -> Step:
        teacher, sampling = self.job.teacher_model, self.job.teacher_model.sampling
        chosen = sampling.model_dump(exclude={"examples"}, exclude_none=True, exclude_defaults=True)
        asked = {"max_tokens": sampling.max_tokens, **chosen}
        if "temperature" not in asked and not softens(self.job):
            temperature = self.job.hyperparameters.temperature
            asked |= {} if temperature is None else {"temperature": temperature}
        inputs: dict[str, Binding | None] = {
            "data": StepOutput("prepare_data", "data"),
            "gold": StepOutput("prepare_data", "gold") if sampling.few_shot else None,
            "task": self.task,
            "sampling": as_json(asked),
            "limits": as_json(teacher.model_dump(include=LIMITS, exclude_none=True) if not self.hosted else {}),
            "probabilities": self._probabilities(),
        }
        if not self.hosted:
            endpoint = endpoint_settings(self.job, self.environ)
            auth = endpoint["auth"]
            secrets = (auth["name"],) if auth["kind"] == "key_env" else ()
            connections = {auth["name"]: auth["connection"]} if "connection" in auth else {}
            inputs["endpoint"] = as_json(endpoint)
            return self._step("teacher_inference", "teacher_inference", inputs, secrets, connections)
        weights = self._hosted_teacher("teacher_folder", "teacher_id")
        return self._step("teacher_inference", "teacher_inference", inputs | weights, loads=self._teacher_size())

    def _probabilities(self) -> Literal:
        """Which of the teacher's probabilities the rows shall hold; a hosted teacher's tokens are read in training."""
        if self.job.distillation.uses("logits") and not self.hosted:
            return Literal("tokens")
        return Literal("labels" if self.job.distillation.uses("label_logits") else "none")

    def _hosted_teacher(self, folder: str, identifier: str) -> Inputs:
        """The ports by which a component is given the hosted teacher as it answers."""
        if self.adapted:
            return {folder: StepOutput("teacher_adaptation", "model")}
        return self._teacher_weights(folder, identifier)

    def _student(self, folder: str, identifier: str, recipe: str | None) -> Inputs:
        """The ports by which a component is given the untrained student."""
        name = self.job.student_model
        if name == TEACHER:
            return self._hosted_teacher(folder, identifier)
        known = students().get(name)
        if known and known.recipe and name not in self.registered:
            return {recipe: as_json(dict(known.recipe))} if recipe else {identifier: Literal(SCRATCH)}
        return self._weights(name, folder, identifier)

    def _weights(self, name: str, folder: str, identifier: str) -> Inputs:
        """The port by which a component is given a model's weights, by any name that they may have."""
        if name in self.registered:
            return {folder: DataPath(self.registered[name])}
        known = students().get(name) or teachers().get(name)
        if known:
            return {identifier: Literal(known.weights or name)}
        if is_remote(name):
            return {folder: DataUri(name)}
        path = self.job.resolve(name)
        return {folder: DataPath(path)} if path.is_dir() else {identifier: Literal(name)}

    def _finetune(self, name: str, data: StepOutput, method: Mapping[str, Any], *, read_teacher: bool = False) -> Step:
        known = students().get(self.job.student_model)
        chosen = hyperparameters(self.job.hyperparameters)
        if known and self.job.student_model not in self.registered:
            chosen = known.hyperparameters(chosen)
        inputs: Inputs = {
            "data": data,
            **self._student("student_folder", "student_id", "recipe"),
            "task": self.task,
            "hyperparameters": as_json({key: v for key, v in chosen.items() if v is not None}),
            "distillation": as_json(method),
        }
        loads = self._student_size()
        if read_teacher:
            inputs |= self._hosted_teacher("teacher_folder", "teacher_id")
            inputs |= {"gold": StepOutput("prepare_data", "gold")} if "few_shot" in method else {}
            loads = machine.largest(loads, self._teacher_size())
        return self._step(name, "student_finetune", inputs, loads=loads)

    def _student_finetune(self) -> Step:
        job = self.job
        method = job.distillation.model_dump(exclude_none=True)
        if softens(self.job) and "temperature" not in method and job.hyperparameters.temperature:
            method["temperature"] = job.hyperparameters.temperature
        read_teacher = self.hosted and job.distillation.uses("logits")
        if read_teacher and job.teacher_model.sampling.few_shot:
            method["few_shot"] = job.teacher_model.sampling.few_shot
        responses = StepOutput("teacher_inference", "responses")
        return self._finetune("student_finetune", responses, method, read_teacher=read_teacher)

    def _evaluation(self) -> Step:
        job = self.job
        names = {"student": f"{job.student_model}, distilled", "teacher": job.teacher_model.name}
        untrained = "untrained, all layers" if job.hyperparameters.keep_layers else "untrained"
        names |= {"baseline": f"{job.student_model}, {untrained}", "gold_only": f"{job.student_model}, gold rows only"}
        other = job.evaluation.other_model
        names |= {"other": Path(other).name} if other else {}
        settings: dict[str, Any] = {"names": names, "lineage": self._lineage()}
        settings |= job.evaluation.model_dump(include={"min_accuracy_gain", "min_retention"}, exclude_none=True)
        settings |= {"gate": job.evaluation.gate} if job.evaluation.gate else {}
        settings |= {"metrics": job.evaluation.metrics} if job.evaluation.metrics else {}
        judge = job.evaluation.judge
        settings |= {"judge": judge_settings(judge)} if judge else {}
        known = teachers().get(job.teacher_model.name)
        if known and known.parameters and not self.hosted:
            settings["teacher_parameters"] = known.parameters
        if job.teacher_model.sampling.max_tokens:
            settings["max_new_tokens"] = job.teacher_model.sampling.max_tokens
        gold = StepOutput("gold_finetune", "model") if job.evaluation.gold_baseline else None
        inputs: dict[str, Binding | None] = {
            "data": StepOutput("prepare_data", "data"),
            "responses": StepOutput("teacher_inference", "responses"),
            "student_model": StepOutput("student_finetune", "model"),
            "gold_model": gold,
            **self._student("baseline_model", "baseline_id", None),
            **(self._weights(other, "other_model", "other_id") if other else {}),
            "task": self.task,
            "settings": as_json(settings),
        }
        if self.hosted:
            inputs |= self._hosted_teacher("teacher_model", "teacher_id")
        key = judge and judge.api_key_env
        connections = {key: judge.connection} if judge and key and judge.connection else {}
        loads = None if other else machine.largest(self._student_size(), self._teacher_size())
        return self._step("evaluation", "evaluation", inputs, (key,) if key else (), connections, loads=loads)

    def _lineage(self) -> dict[str, Any]:
        job = self.job
        return {
            "teacher": job.teacher_model.name,
            "student": job.student_model,
            "task": job.task_type,
            "method": job.distillation.method,
            "training_data": job.training_data,
        }
