"""Models that were registered on this machine, in numbered versions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azure_distill.backend import MLMODEL, Form, Model, no_mlmodel
from azure_distill.errors import ConfigurationError, InvalidJob, NotFound, Problem, choices
from azure_distill.local.files import describe, link_or_copy, read_json, staging, write_json
from azure_distill.local.manifest import walk
from azure_distill.local.paths import Home
from azure_distill.local.runs import now

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


class ModelStore:
    """The models below one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def register(
        self, name: str, source: Path | str, lineage: Mapping[str, Any], run: str | None = None, form: Form = "custom"
    ) -> Model:
        """Keep the folder `source` as the next version of `name`; `run` is the run that made it.

        The model then stands for itself, whatever becomes of the run it came from.
        """
        if not NAME.fullmatch(name):
            raise InvalidJob([Problem(f"{name!r} is no model name", hint="letters, digits, . _ - only")])
        folder = Path(source)
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder} to register")
        if form == "mlflow" and not (folder / MLMODEL).is_file():
            raise no_mlmodel(folder)
        try:
            files = [path for path, _ in walk(folder) if not path.endswith("/")]
            if not files:
                raise NotFound(f"{folder} is empty: there is nothing to register")
            # outputs of runs are read-only and may have a second name; anybody else's files may be written to
            keep = link_or_copy if folder.resolve().is_relative_to(self.home.runs.resolve()) else shutil.copyfile
            with staging(self.home.models / name) as draft:
                for path in files:
                    target = draft / "model" / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    keep((folder / path).resolve(), target)
                return self._place(draft, name, lineage, run)
        except OSError as error:
            raise ConfigurationError(f"the model cannot be kept: {describe(error)}") from None

    def share(self, name: str, version: str, registry: str) -> str:
        hint = f"download its folder and register that: azure-distill register FOLDER --name {name}"
        raise ConfigurationError(f"{name}:{version} is on this machine; a registry takes models of a workspace", hint)

    def _place(self, draft: Path, name: str, lineage: Mapping[str, Any], run: str | None) -> Model:
        while True:
            version = max(self._versions(name), default=0) + 1
            document = {"name": name, "version": version, "created": now(), "run": run, "lineage": dict(lineage)}
            write_json(draft / "model.json", document)
            target = self.home.models / name / str(version)
            try:
                draft.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                return self._read(name, version)

    def get(self, name: str) -> Model:
        """`NAME` and `NAME@latest` are the newest version, `NAME:2` is the second.  Raises NotFound."""
        base, _, version = name.removesuffix("@latest").partition(":")
        versions = self._versions(base) if NAME.fullmatch(base) else []
        if not versions:
            raise NotFound(f"there is no model {base}", choices(base, {model.name for model in self.list()}))
        if not version:
            return self._read(base, versions[-1])
        if not version.isdecimal() or int(version) not in versions:
            raise NotFound(f"there is no model {base}:{version}", f"versions: {', '.join(map(str, versions))}")
        return self._read(base, int(version))

    def names(self) -> set[str]:
        return {folder.name for folder in self.home.models.iterdir() if NAME.fullmatch(folder.name)}

    def list(self) -> list[Model]:
        """Every version of every model, newest first; what is damaged is told by `get` alone."""
        found = ((name, version) for name in self.names() for version in self._versions(name))
        documents = ((name, version, self._document(name, version)) for name, version in found)
        models = [self._model(name, version, document) for name, version, document in documents if document]
        return sorted(models, key=lambda model: model.created, reverse=True)

    def _versions(self, name: str) -> Sequence[int]:
        try:
            found = [folder.name for folder in (self.home.models / name).iterdir()]
        except OSError:
            return []
        return sorted(int(version) for version in found if version.isdecimal())

    def _document(self, name: str, version: int) -> dict[str, Any] | None:
        return read_json(self.home.models / name / str(version) / "model.json")

    def _read(self, name: str, version: int) -> Model:
        document = self._document(name, version)
        if document is None:
            file = self.home.models / name / str(version) / "model.json"
            raise NotFound(f"{file} is damaged", "remove its folder and register the model again")
        return self._model(name, version, document)

    def _model(self, name: str, version: int, document: Mapping[str, Any]) -> Model:
        folder = self.home.models / name / str(version) / "model"
        return Model(
            name, version, folder, str(document["created"]), document.get("run"), document.get("lineage") or {}
        )
