"""What of a job a component is told as JSON: its task, the teacher's endpoint, hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azure_distill.catalog.models import CatalogModel, teachers
from azure_distill.plan.plan import Literal
from azure_distill.plan.variables import CONNECTION_VARIABLE, ENDPOINT_VARIABLE, KEY_VARIABLE
from azure_distill.spec.job import DistillationJob, Hyperparameters, Judge


def as_json(value: Any) -> Literal:
    """A structured literal.  Single quotes are escaped because the command puts it between them, and what Azure ML
    would take for a binding of its own.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return Literal(text.replace("'", "\\u0027").replace("${{", "$\\u007b{"))


def task_settings(job: DistillationJob) -> dict[str, Any]:
    """The `task` argument of every component."""
    prompts = job.prompt_settings
    settings: dict[str, Any] = {"type": job.task_type}
    if job.labels:
        settings["labels"] = job.labels
    if prompts.system_prompt:
        settings["system_prompt"] = prompts.system_prompt
    if prompts.enable_chain_of_thought:
        settings["chain_of_thought"] = True
    if prompts.enable_chain_of_density:
        settings["chain_of_density"] = True
    if prompts.keep_rationale:
        settings["keep_rationale"] = True
    if job.task_type == "summarization":
        settings["max_summary_words"] = prompts.max_len_summary
    return settings


def endpoint_url(job: DistillationJob, environ: Mapping[str, str]) -> str | None:
    """Where the teacher is asked: the job's address, else the environment's."""
    return job.teacher_model.endpoint or environ.get(ENDPOINT_VARIABLE)


def endpoint_settings(job: DistillationJob, environ: Mapping[str, str]) -> dict[str, Any]:
    """The `endpoint` argument of the step that asks the teacher: where, which model, and the names of its secrets."""
    teacher, known = job.teacher_model, teachers().get(job.teacher_model.name)
    auth: dict[str, str]
    if teacher.auth:
        auth = {"kind": teacher.auth}
    elif teacher.key_vault:
        auth = {"kind": "key_vault", "url": teacher.key_vault}
    else:
        auth = {"kind": "key_env", "name": teacher.api_key_env or KEY_VARIABLE}
        named = teacher.connection or (None if teacher.api_key_env else environ.get(CONNECTION_VARIABLE))
        auth |= {"connection": named} if named else {}
    endpoint: dict[str, Any] = {"url": endpoint_url(job, environ), "auth": auth}
    endpoint["model"] = teacher.deployment or (known and known.endpoint_model) or teacher.name
    for name in ("api", "api_version"):
        if value := getattr(teacher, name) or getattr(known, name, None):
            endpoint[name] = value
    if not teacher.constrain_labels:
        endpoint["constrain"] = False
    prices = teacher.prices.model_dump() if teacher.prices else _prices(known)
    return endpoint | ({"prices": prices} if prices else {})


def judge_settings(judge: Judge) -> dict[str, Any]:
    """The judge of the step that evaluates: the endpoint, as the step that asks the teacher takes it, and the rows."""
    known = teachers().get(judge.model)
    auth: dict[str, str] = {"kind": judge.auth or "none"}
    if judge.api_key_env:
        auth = {"kind": "key_env", "name": judge.api_key_env}
        auth |= {"connection": judge.connection} if judge.connection else {}
    elif judge.connection:
        auth = {"kind": "connection", "name": judge.connection}
    endpoint: dict[str, Any] = {"url": judge.endpoint, "auth": auth}
    endpoint["model"] = (known and known.endpoint_model) or judge.model
    prices = _prices(known)
    return {"endpoint": endpoint | ({"prices": prices} if prices else {}), "rows": judge.rows}


def hyperparameters(values: Hyperparameters) -> dict[str, Any]:
    """What a training component takes; the temperature belongs to the method or to the teacher's sampling."""
    return values.model_dump(exclude_none=True, exclude={"temperature"})


def _prices(known: CatalogModel | None) -> dict[str, float] | None:
    if known is None or not known.prices:
        return None
    return {key: known.prices[key] for key in ("input_per_million", "output_per_million")}
