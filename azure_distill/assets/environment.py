"""The environments that come with the client: folders with an environment.yaml and what it names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from azure_distill.errors import NotFound


@dataclass(frozen=True)
class Environment:
    """`path` is its environment.yaml."""

    name: str
    path: Path

    @property
    def hash(self) -> str:
        """Changes with any file of its folder."""
        digest = hashlib.sha256()
        for file in sorted(self.path.parent.rglob("*")):
            if file.is_file():
                name = file.relative_to(self.path.parent).as_posix()
                digest.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n".encode())
        return digest.hexdigest()


def builtin_environments() -> dict[str, Environment]:
    """The environments of this installation, by name."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "environments", package.parent / "environments"):
        if folder.is_dir():
            found = (_read(path) for path in sorted(folder.glob("*/environment.yaml")))
            return {environment.name: environment for environment in found}
    raise NotFound(f"no environments beside {package}", "the installation is incomplete: install azure-distill again")


def _read(path: Path) -> Environment:
    return Environment(str(yaml.safe_load(path.read_text(encoding="utf-8"))["name"]), path)
