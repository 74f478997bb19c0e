"""The workspace's model registry: register with lineage, list, look up."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.backend import MLMODEL, Form, Model, no_mlmodel
from azure_distill.cloud.failures import translated
from azure_distill.cloud.noise import quiet
from azure_distill.cloud.pipeline import LONGEST_TAG, MARK
from azure_distill.cloud.registries import share_model
from azure_distill.cloud.runs import job_output
from azure_distill.cloud.session import Session
from azure_distill.errors import InvalidJob, NotFound, Problem, choices

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model as AzureModel

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
TASK = "azure_distill.task"
RUN = "azure_distill.run"
WORKERS = 8
# what of a model's lineage stands in its tags, where the studio shows and filters it
TAGGED = ("teacher", "student", "job_hash", "prompt_hash", "git_commit")


class ModelRegistry:
    """The models of one workspace; see `azure_distill.backend.Models`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(
        self, name: str, source: Path | str, lineage: Mapping[str, Any], run: str | None = None, form: Form = "custom"
    ) -> Model:
        from azure.ai.ml.entities import Model as AzureModel

        if not NAME.fullmatch(name):
            raise InvalidJob([Problem(f"{name!r} is no model name", hint="letters, digits, . _ - only")])
        if form == "mlflow" and isinstance(source, Path) and not (source / MLMODEL).is_file():
            raise no_mlmodel(source)
        task = lineage.get("task")
        properties = {TASK: json.dumps(task) if task else None, RUN: run}
        made = AzureModel(
            name=name,
            path=str(source) if isinstance(source, Path) else job_output(source) or source,
            type=f"{form}_model",
            description=f"distilled by {run}" if run else None,
            tags=_tags(lineage, run),
            properties={key: value for key, value in properties.items() if value},
        )
        with translated(f"register the model {name}"), quiet():
            return _model(self._session.ml.models.create_or_update(made))

    def share(self, name: str, version: str, registry: str) -> str:
        return share_model(self._session, name, version, registry)

    def names(self) -> set[str]:
        with translated("list models"):
            return {str(model.name) for model in self._session.ml.models.list()}

    def get(self, name: str) -> Model:
        base, _, version = name.removesuffix("@latest").partition(":")
        models = self._session.ml.models
        try:
            with translated(f"look up the model {name}"):
                return _model(models.get(base, version or None, None if version else "latest"))
        except NotFound:
            raise NotFound(f"there is no model {name} in the workspace", choices(base, self.names())) from None

    def list(self) -> list[Model]:
        """The newest version of every model."""
        models = self._session.ml.models
        with translated("list models"), ThreadPoolExecutor(WORKERS) as pool:
            newest = [(str(model.name), str(model.latest_version)) for model in models.list()]
            found = list(pool.map(lambda item: _model(models.get(*item)), newest))
        return sorted(found, key=lambda model: model.created, reverse=True)


def _tags(lineage: Mapping[str, Any], run: str | None) -> dict[str, str]:
    task = lineage.get("task") or {}
    found: dict[str, Any] = {MARK: "model", "run": run, "task": task.get("type")}
    found |= {key: lineage.get(key) for key in TAGGED}
    found |= {f"data_{name}": digest for name, digest in (lineage.get("data") or {}).items()}
    metrics = lineage.get("metrics") or {}
    found |= {name: f"{value:.6g}" for name, value in metrics.items() if isinstance(value, int | float)}
    return {key: str(value)[:LONGEST_TAG] for key, value in found.items() if value is not None}


def _model(model: AzureModel) -> Model:
    properties, tags = dict(model.properties or {}), dict(model.tags or {})
    lineage: dict[str, Any] = {key: value for key, value in tags.items() if key != MARK}
    lineage["task"] = json.loads(properties[TASK]) if TASK in properties else None
    created = getattr(model.creation_context, "created_at", None)
    return Model(
        name=str(model.name),
        version=str(model.version),
        path=str(model.path),
        created=created.isoformat() if isinstance(created, datetime) else str(created or ""),
        run=properties.get(RUN) or tags.get("run"),
        lineage=lineage,
    )
