"""A step's `compute` as Azure ML settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from azure_distill.catalog.machines import gpus
from azure_distill.errors import Problem
from azure_distill.plan.plan import Plan, Step

if TYPE_CHECKING:
    from azure.ai.ml.entities import Command

SERVERLESS = "serverless"


def compute_problems(plan: Plan) -> Iterator[Problem]:
    """What no machine of the job could do."""
    for step in plan.steps:
        if step.processes > 1 and not step.component.distribution:
            message = f"{step.component.name} runs as one process on one machine"
            yield Problem(message, field=f"compute.{step.name}", hint="ask for several for training steps only")


def compute_warnings(plan: Plan) -> Iterator[str]:
    """Steps that the job leaves to the service's choice of a machine although they want a GPU."""
    for step in plan.steps:
        chosen = step.resources.get("instance_type") or named_cluster(step)
        if not chosen and environment(step).startswith("azureml:azure-distill-gpu"):
            field = f"compute.{step.name}.instance_type"
            yield f"{step.name} runs on whatever machine serverless compute chooses, without a GPU: set {field}"


def on_all_gpus(plan: Plan, size: Callable[[str], str | None]) -> Plan:
    """The plan with one process a GPU for steps on clusters, which only the workspace knows: `size` of a cluster."""

    def filled(step: Step) -> Step:
        cluster = named_cluster(step)
        if not (cluster and step.component.distribution) or "processes_per_instance" in step.resources:
            return step
        there = gpus(size(cluster) or "")
        return replace(step, resources={**step.resources, "processes_per_instance": there}) if there else step

    return replace(plan, steps=tuple(filled(step) for step in plan.steps))


def environment(step: Step) -> str:
    return step.environment or step.component.environment


def named_cluster(step: Step) -> str | None:
    """The cluster that a step names; None on serverless compute."""
    wanted = step.resources.get("compute", SERVERLESS)
    return None if wanted == SERVERLESS else str(wanted)


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
        node.identity = _identity(identity, wanted.get("client_id"))
    if step.processes > 1:
        processes = wanted.get("processes_per_instance", 1)
        node.distribution = PyTorchDistribution(process_count_per_instance=processes)


def _identity(kind: str, client_id: str | None) -> object:
    from azure.ai.ml.entities import ManagedIdentityConfiguration, UserIdentityConfiguration

    return UserIdentityConfiguration() if kind == "user" else ManagedIdentityConfiguration(client_id=client_id)
