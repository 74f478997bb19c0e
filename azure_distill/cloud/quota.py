"""Whether a region offers the machines that a job asks for, and whether the subscription may have as many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure_distill.errors import ConfigurationError, DistillError, NotFound, choices
from azure_distill.plan.plan import Plan, Step

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SPOT = "lowpriority"
ASK = "ask for more: Azure portal > Quotas > Machine Learning; or choose another instance_type or tier"


@dataclass(frozen=True)
class Size:
    """A size of machine: its name, the family whose quota it takes, its vCPUs."""

    name: str
    family: str
    vcpus: int


def examine_quota(ml: MLClient, location: str, plan: Plan) -> Iterator[str | DistillError]:
    """For each step that asks for a size of serverless machines: what it needs and what is free, or what is wrong."""
    steps = [step for step in plan.steps if step.resources.get("instance_type") and not step.resources.get("compute")]
    if not steps:
        return
    sizes = {size.name.lower(): size for size in _sizes(ml, location)}
    free = _free(ml, location)
    for step in steps:
        wanted = str(step.resources["instance_type"])
        size = sizes.get(wanted.lower())
        if size is None:
            hint = choices(wanted, [size.name for size in sizes.values()])
            yield NotFound(f"{step.name}: {location} does not offer {wanted}", hint)
        else:
            yield _judged(step, size, free)


def _judged(step: Step, size: Size, free: dict[str, int]) -> str | DistillError:
    spot = step.resources.get("tier") == "spot"
    needed = size.vcpus * int(step.resources.get("instance_count", 1))
    kind = "spot machines" if spot else f"the family {size.family}"
    found = [left for name, left in free.items() if (SPOT if spot else _plain(size.family)) in name]
    told = f"{step.name}: {needed} vCPUs of {kind} ({size.name})"
    if not found:
        return f"{told}; the service tells no quota"
    if min(found) < needed:
        return ConfigurationError(f"{told}, but {min(found)} are free: the step would stay Queued", ASK)
    return f"{told}; {min(found)} are free"


def _sizes(ml: MLClient, location: str) -> Iterator[Size]:
    for size in ml.compute.list_sizes(location=location):
        if size.name and size.family and (vcpus := _field(size, "v_cp_us", "vCPUs")):
            yield Size(str(size.name), str(size.family), int(vcpus))


def _free(ml: MLClient, location: str) -> dict[str, int]:
    """What is left of each quota, by its name in lower-case letters and digits."""
    left = {}
    for usage in ml.compute.list_usage(location=location):
        name: Any = usage.name or {}
        current = _field(usage, "current_value", "currentValue")
        if usage.limit is not None and current is not None:
            left[_plain(str(name.get("value", "")))] = int(usage.limit) - int(current)
    return left


def _field(said: object, *names: str) -> Any:
    """The SDK names the fields of what it was told in one way or another, by its version."""
    return next((value for name in names if (value := vars(said).get(name)) is not None), None)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
