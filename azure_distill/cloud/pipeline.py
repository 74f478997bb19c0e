"""A plan as an Azure ML pipeline job: the same components, literals and bindings as on this machine."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from azure_distill.assets.bindings import text, unsafe
from azure_distill.assets.component import Component
from azure_distill.cloud.compute import SERVERLESS, compute_problems, environment, place
from azure_distill.cloud.data import Where
from azure_distill.cloud.register import Variant, variant
from azure_distill.errors import Problem
from azure_distill.plan.lineage import lineage
from azure_distill.plan.plan import DataPath, DataUri, Literal, Plan, Step, StepOutput, binding_json

if TYPE_CHECKING:
    from azure.ai.ml.entities import Command, PipelineJob

EXPERIMENT = "azure-distill"
MARK = "azure_distill"  # the tag that tells our jobs from others
STEPS = "steps"
LINEAGE = "azure_distill.lineage"  # the property that holds what a registration will want to know
KEPT = "azureml://datastores/workspaceblobstore/paths/azure-distill/"
LONGEST_TAG = 256
REGISTRY_MODEL = re.compile(r"azureml://registries/[^/]+/models/.+")


def plan_problems(plan: Plan) -> Iterator[Problem]:
    """What keeps a plan from running in Azure, found before anything is sent."""
    yield from compute_problems(plan)
    for step in plan.steps:
        for name in step.secrets:
            if name not in step.connections:
                yield _unreachable_key(step, name)
        for port, binding in step.inputs.items():
            if isinstance(binding, Literal):
                problem = step.component.inputs[port].problem(binding.value) or unsafe(binding.value)
                if problem:
                    yield Problem(problem, field=f"{step.name}.{port}")
            if isinstance(binding, DataPath) and not binding.path.exists():
                yield Problem(f"{binding.path} does not exist", field=f"{step.name}.{port}")


def _unreachable_key(step: Step, variable: str) -> Problem:
    """A key that only this machine has."""
    message = f"a job in Azure cannot read {variable}, a variable of this machine"
    hint = "add `connection: NAME`, a connection of the workspace that holds the key, or use {}auth: entra; "
    if step.name != "teacher_inference":
        return Problem(message, field="evaluation.judge.api_key_env", hint=hint.format("") + "or judge here")
    return Problem(message, field="teacher_model.api_key_env", hint=hint.format("key_vault or ") + "see docs/azure.md")


def placed(step: Step) -> Component:
    """The step's component in the environment that the plan has chosen for it."""
    return replace(step.component, environment=environment(step))


def make_pipeline(plan: Plan, name: str, components: Mapping[Variant, str], data: Mapping[Where, str]) -> PipelineJob:
    """The job; `components` and `data` are the references under which the workspace knows them."""
    from azure.ai.ml.entities import PipelineJob, PipelineJobSettings

    return PipelineJob(
        name=name,
        display_name=plan.name,
        description=plan.job.get("description"),
        experiment_name=plan.job.get("experiment_name") or EXPERIMENT,
        tags=tags(plan),
        properties={LINEAGE: json.dumps(_lineage(plan), ensure_ascii=False)},
        jobs={step.name: _node(step, components[variant(placed(step))], data) for step in plan.steps},
        settings=PipelineJobSettings(default_compute=SERVERLESS),
    )


def tags(plan: Plan) -> dict[str, str]:
    """Where the job comes from, for people, for `list` and for a registered model's lineage."""
    known = _lineage(plan)
    found: dict[str, Any] = {
        MARK: importlib.metadata.version("azure-distill"),
        STEPS: ",".join(step.name for step in plan.steps),
    }
    found |= {key: known[key] for key in ("teacher", "student", "job_hash")} | {"model": plan.job.get("model")}
    return {key: str(value)[:LONGEST_TAG] for key, value in found.items() if value}


def _lineage(plan: Plan) -> dict[str, Any]:
    return {key: value for key, value in lineage(plan.to_json()).items() if key != "job"}


def _node(step: Step, reference: str, data: Mapping[Where, str]) -> Command:
    from azure.ai.ml import Output
    from azure.ai.ml.entities import Command

    inputs = {port: _input(step, port, data) for port in step.inputs}
    outputs = {}
    for port in sorted(step.component.kept_outputs):
        declared = step.component.outputs[port]
        outputs[port] = Output(type=declared.type, mode=declared.mode, path=step.kept.get(port, f"{KEPT}{port}/"))
    node = Command(component=reference, display_name=step.name, inputs=inputs, outputs=outputs)
    place(node, step)
    return node


def _input(step: Step, port: str, data: Mapping[Where, str]) -> Any:
    from azure.ai.ml import Input

    kind = step.component.inputs[port].type
    match step.inputs[port]:
        case Literal(value):
            return text(value)
        case StepOutput() as binding:
            return Input(type=kind, path=binding_json(binding))
        case DataPath() | DataUri() as where:
            reference = data[where]
            return Input(type="custom_model" if REGISTRY_MODEL.fullmatch(reference) else kind, path=reference)
