"""What a component runs from: its code folder and additional includes as one tree, and the hash of that tree.

As on Azure ML, `.amlignore`, else `.gitignore`, of every folder counts, and an include stands under its own name at the
root.  Only component.yaml itself stays behind: no program reads it, and a better description is no new code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pathspec

from azure_distill.assets.component import Component
from azure_distill.errors import InvalidJob, Problem

ALWAYS_IGNORED = (".git", "__pycache__", "*.pyc", ".venv", ".ipynb_checkpoints", ".amlignore", ".gitignore")
Ignore = tuple[PurePosixPath, pathspec.GitIgnoreSpec]


@dataclass(frozen=True)
class Snapshot:
    """Files by their path below the root (with `/`), and each one's digest: of its bytes, `+x` if executable."""

    files: Mapping[str, Path]
    digests: Mapping[str, str]

    @property
    def hash(self) -> str:
        """Changes with any file's path, bytes or executable bit; with nothing else."""
        lines = (f"{digest}  {path}\n" for path, digest in sorted(self.digests.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Write the tree into a new folder; raises InvalidJob when a file changed since the snapshot was taken."""
        folder.mkdir(parents=True)
        for name, source in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if self.digests[name].endswith("+x") else 0o644)
            if _digest(target) != self.digests[name]:
                raise InvalidJob([Problem("changed while it was copied", str(source), hint="run the job again")])


def take_snapshot(component: Component) -> Snapshot:
    """The component's files as they are now; raises InvalidJob for what cannot go along."""
    files = dict[str, Path]()
    root = PurePosixPath()
    code = _Tree(component.code)
    ignores = code.ignores(component.code, root)
    files.update(code.walk(component.code, root, ignores))
    files = {name: path for name, path in files.items() if path.resolve() != component.path.resolve()}
    taken = {name.split("/")[0] for name in files}
    for include in component.additional_includes:
        place = PurePosixPath(include.name)
        if include.name in taken:
            message = f"additional include {include.name} stands in the code folder too"
            raise InvalidJob([Problem(message, str(component.path), field="additional_includes")])
        taken.add(include.name)
        if include.is_dir():
            tree = _Tree(include)
            files.update(tree.walk(include, place, ignores + tree.ignores(include, place)))
        else:
            files[include.name] = include
    try:
        return Snapshot(files, {name: _digest(path) for name, path in files.items()})
    except OSError as error:
        raise InvalidJob([Problem(f"cannot be read: {error.strerror}", error.filename)]) from None


class _Tree:
    """One folder whose files go along; its symbolic links may not lead out of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def walk(self, folder: Path, place: PurePosixPath, ignores: list[Ignore]) -> Iterator[tuple[str, Path]]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path, name = folder / entry.name, place / entry.name
            if any(
                spec.match_file(f"{name.relative_to(base)}{'/' if entry.is_dir() else ''}") for base, spec in ignores
            ):
                continue
            if entry.is_symlink():
                self.check_link(path)
            if entry.is_dir():
                yield from self.walk(path, name, ignores + self.ignores(path, name))
            elif entry.is_file():
                yield str(name), path
            else:
                raise InvalidJob([Problem("is neither a file nor a folder", str(path))])

    def ignores(self, folder: Path, place: PurePosixPath) -> list[Ignore]:
        lines = list(ALWAYS_IGNORED) if folder.resolve() == self.folder else []
        for name in (".amlignore", ".gitignore"):
            if (folder / name).is_file():
                lines += (folder / name).read_text(encoding="utf-8").splitlines()
                break
        return [(place, pathspec.GitIgnoreSpec.from_lines(lines))] if lines else []

    def check_link(self, path: Path) -> None:
        target = path.resolve()
        if not target.is_relative_to(self.folder):
            raise InvalidJob([Problem(f"is a link that leaves {self.folder}", str(path), hint="copy the file")])
        if path.parent.resolve().is_relative_to(target):
            raise InvalidJob([Problem("is a link to a folder that holds it", str(path), hint="remove it")])


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        executable = os.fstat(stream.fileno()).st_mode & 0o100
    return f"{digest}+x" if executable else digest
