"""A plan's data as assets of the workspace: local files uploaded once by content, remote ones looked up."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure_distill.assets.component import FOLDERS, Port
from azure_distill.cloud.failures import translated
from azure_distill.cloud.register import reference
from azure_distill.cloud.registries import Registry
from azure_distill.cloud.session import Session
from azure_distill.errors import InvalidJob, NotFound, Problem
from azure_distill.plan.plan import DataPath, DataUri, Plan

NAME = "azure-distill-data"
DIGITS = 20  # of a version made from content: 80 bits
WORKERS = 2  # a connection each, which costs as much as ten requests
REGISTRY = re.compile(r"azureml://registries/([\w.-]+)/models/([\w.-]+)/(?:versions/([\w.-]+)|labels/latest)")
ASSET = re.compile(r"azureml:(?!//)([\w.-]+)(?::([\w.-]+)|@latest)")

Where = DataPath | DataUri


class DataAssets:
    """Turns the data of a plan into references that a job can mount."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def resolve(self, plan: Plan) -> dict[Where, str]:
        """The reference of every path and URI in the plan; raises InvalidJob for assets that do not exist."""
        ports = dict[Where, tuple[str, Port]]()
        for step in plan.steps:
            for name, binding in step.inputs.items():
                if isinstance(binding, DataPath | DataUri):
                    ports[binding] = (f"{step.name}.{name}", step.component.inputs[name])
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(lambda item: self._reference(item[0], *item[1]), ports.items()))
        if problems := [entry for entry in found if isinstance(entry, Problem)]:
            raise InvalidJob(problems)
        return dict(zip(ports, (str(entry) for entry in found), strict=True))

    def _reference(self, where: Where, place: str, port: Port) -> str | Problem:
        if isinstance(where, DataPath):
            return self._uploaded(where.path, port)
        try:
            if match := ASSET.fullmatch(where.uri):
                return self._asset(match.group(1), match.group(2))
            if match := REGISTRY.fullmatch(where.uri):
                return self._of_registry(*match.groups())
        except NotFound:
            there = "in the workspace" if match and match.re is ASSET else "in that registry"
            return Problem(f"there is no data asset or model {where.uri} {there}", field=place)
        return where.uri

    def _uploaded(self, path: Path, port: Port) -> str:
        """The asset that holds this file or folder, made when there is none."""
        version = content_version(path)
        if not self._session.has("data", NAME, version):
            self._upload(path, version, "uri_folder" if port.type in FOLDERS else "uri_file")
        return f"azureml:{NAME}:{version}"

    def _upload(self, path: Path, version: str, kind: str) -> None:
        data = self._session.ml.data  # before the SDK's modules are imported here: see there
        from azure.ai.ml.entities import Data

        with translated(f"upload {path.name}"):
            data.create_or_update(Data(name=NAME, version=version, type=kind, path=str(path), description=path.name))

    def _asset(self, name: str, version: str | None) -> str:
        """A data asset's own reference, or where a registered model's files lie: a model's port takes a folder."""
        from azure.core.exceptions import ResourceNotFoundError

        label = None if version else "latest"
        ml = self._session.ml
        with translated(f"look up azureml:{name}"):
            try:
                found = ml.data.get(name, version, label)
            except ResourceNotFoundError:
                return str(ml.models.get(name, version, label).path)
            return f"azureml:{name}:{found.version}"

    def _of_registry(self, registry: str, name: str, version: str | None) -> str:
        """A registry's model by its version: a job takes no label."""
        _ = self._session.ml  # imports the SDK, which two threads must not
        models = Registry(registry, self._session.credential).ml.models
        with translated(f"look up the model {name} of the registry {registry}"):
            found = models.get(name, version, None if version else "latest")
        return reference("model", name, str(found.version), registry)


def content_version(path: Path) -> str:
    """A version made of a file's bytes and suffix, by which programs tell its format, or of all files of a folder."""
    digest = hashlib.sha256()
    for name, file in _files(path):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{content}  {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:DIGITS]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield path.suffix, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield file.relative_to(path).as_posix(), file
