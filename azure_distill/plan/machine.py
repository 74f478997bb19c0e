"""What follows from a step's `compute` and from what it loads: its environment, and as how many processes it runs."""

from __future__ import annotations

from typing import Any

from azure_distill.assets.component import Component
from azure_distill.catalog.machines import gpus
from azure_distill.spec.job import Compute

GPU_FROM = 200_000_000  # parameters of a model from which a CPU is too slow


def environment(wanted: Compute, parameters: int | None) -> str:
    """The environment of a step that loads models of up to so many parameters: 0 for none, None where nobody knows.

    It is the one that the job names; else the one that fits the machine, where the job names its size; else the one
    that fits the models.  A step that loads no model needs no GPU's libraries anywhere.
    """
    if wanted.environment:
        kind = wanted.environment
    elif parameters == 0:
        kind = "cpu"
    elif wanted.instance_type:
        kind = "cpu" if gpus(wanted.instance_type) == 0 else "gpu"
    else:
        kind = "gpu" if parameters is None or parameters > GPU_FROM else "cpu"
    return f"azureml:azure-distill-{kind}@latest"


def resources(wanted: Compute, component: Component) -> dict[str, Any]:
    """The step's `compute`; what can be distributed runs as one process a GPU of a machine that is known."""
    found = wanted.model_dump(exclude_none=True, exclude={"environment"})
    there = gpus(wanted.instance_type) if wanted.instance_type else None
    if component.distribution and there and "processes_per_instance" not in found:
        found["processes_per_instance"] = there
    return found


def largest(*parameters: int | None) -> int | None:
    """The size of the largest of several models; None where one's is not known."""
    known = [count for count in parameters if count is not None]
    return max(known, default=0) if len(known) == len(parameters) else None
