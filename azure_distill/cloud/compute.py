"""A step's `compute` as Azure ML settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from azure_distill.assets.component import Component
from azure_distill.errors import Problem
from azure_distill.plan.plan import Plan, Step

if TYPE_CHECKING:
    from azure.ai.ml.entities import Command

SERVERLESS = "serverless"
DISTRIBUTION = "distribution"  # a component's tag: how its command may run as several processes


def compute_problems(plan: Plan) -> Iterator[Problem]:
    """What no machine of the job could do."""
    for step in plan.steps:
        wide = any(step.resources.get(key, 1) > 1 for key in ("instance_count", "processes_per_instance"))
        if wide and not _distributed(step.component):
            message = f"{step.component.name} runs as one process on one machine"
            yield Problem(message, field=f"compute.{step.name}", hint="leave out instance_count and the processes")


def compute_warnings(plan: Plan) -> Iterator[str]:
    """Steps that the job leaves to the service's choice of a machine although they want a GPU."""
    for step in plan.steps:
        chosen = step.resources.get("instance_type") or step.resources.get("compute")
        if not chosen and step.component.environment.startswith("azureml:azure-distill-gpu"):
            field = f"compute.{step.name}.instance_type"
            yield f"{step.name} runs on whatever machine serverless compute chooses, without a GPU: set {field}"


def place(node: Command, step: Step) -> None:
    """Write where a step runs into its node: a named cluster, or serverless compute."""
    from azure.ai.ml import PyTorchDistribution
    from azure.ai.ml.entities import CommandJobLimits, JobResourceConfiguration, QueueSettings

    wanted = step.resources
    node.compute = wanted.get("compute", SERVERLESS)
    resources = {key: wanted[key] for key in ("instance_type", "instance_count", "shm_size") if key in wanted}
    if resources:
        node.resources = JobResourceConfiguration(**resources)
    if tier := wanted.get("tier"):
        node.queue_settings = QueueSettings(job_tier=tier.capitalize())
    if timeout := wanted.get("timeout"):
        node.limits = CommandJobLimits(timeout=timeout)
    if identity := wanted.get("identity"):
        node.identity = _identity(identity)
    if _distributed(step.component) and wanted.keys() & {"instance_count", "processes_per_instance"}:
        processes = wanted.get("processes_per_instance", 1)
        node.distribution = PyTorchDistribution(process_count_per_instance=processes)


def _identity(kind: str) -> object:
    from azure.ai.ml.entities import ManagedIdentityConfiguration, UserIdentityConfiguration

    return UserIdentityConfiguration() if kind == "user" else ManagedIdentityConfiguration()


def _distributed(component: Component) -> bool:
    return component.tags.get(DISTRIBUTION) == "pytorch"
