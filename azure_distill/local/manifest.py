"""The files of an input or output: their content's hash, whether they still stand as they were, a second place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from azure_distill.local.files import link_or_copy, read_json, write_json

SMALL = 1 << 20  # bytes up to which a file is read again to see that it did not change
SETTLED = 2.0  # seconds after which a file's time stamp would show another write

Hasher = Callable[[Path], str]


class LinkFound(OSError):
    """A symbolic link, socket or device among outputs, which must be plain files."""


@dataclass(frozen=True)
class Entry:
    """One file below the root; `.` is the root itself, a name that ends in `/` an empty folder."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """An output as it was when its step ended."""

    entries: tuple[Entry, ...]

    @property
    def hash(self) -> str:
        """Of paths and contents only."""
        lines = (f"{entry.sha256}  {entry.path}\n" for entry in self.entries)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def empty(self) -> bool:
        """Whether there is no file in the folder, or nothing in the file."""
        files = [entry for entry in self.entries if not entry.path.endswith("/")]
        return not files or (files[0].path == "." and not files[0].size)

    def stands(self, root: Path) -> bool:
        """Whether the files below `root` are still these; large ones are known by size and time."""
        return all(_same(root, entry) for entry in self.entries)

    def link(self, root: Path, target: Path) -> None:
        """Give the files below `root` a second place at `target`, which may exist as an empty folder."""
        for entry in self.entries:
            place = target / entry.path
            if entry.path.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(root / entry.path, place)

    def to_json(self) -> list[list[Any]]:
        return [list(astuple(entry)) for entry in self.entries]

    @classmethod
    def from_json(cls, value: Sequence[Sequence[Any]]) -> Manifest:
        return cls(tuple(Entry(str(path), int(size), int(time), str(sha)) for path, size, time, sha in value))


def take(root: Path, hasher: Hasher, links: bool = True) -> Manifest:
    """The manifest of a file or folder; raises LinkFound when there are links and `links` is False."""
    entries = (
        Entry(path, 0, 0, "")
        if path.endswith("/")
        else Entry(path, status.st_size, status.st_mtime_ns, hasher(root / path))
        for path, status in walk(root, links)
    )
    return Manifest(tuple(sorted(entries, key=lambda entry: entry.path)))


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file, to see afterwards whether something was written."""
    return {path: (status.st_size, status.st_mtime_ns) for path, status in walk(root) if not path.endswith("/")}


def walk(
    root: Path, links: bool = True, place: str = "", above: frozenset[Path] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below `root` and every empty folder, with its status; links are followed, but not in circles."""
    if not place and not root.is_dir():
        yield ".", root.stat()
        return
    folder = root / place
    above |= {folder.resolve()}
    found = False
    for entry in os.scandir(folder):
        found = True
        name = f"{place}{entry.name}"
        status = entry.stat(follow_symlinks=links)
        if stat.S_ISDIR(status.st_mode):
            if Path(entry.path).resolve() not in above:
                yield from walk(root, links, f"{name}/", above)
        elif stat.S_ISREG(status.st_mode):
            yield name, status
        else:
            raise LinkFound(0, "is no plain file or folder", entry.path)
    if place and not found:
        yield place, folder.stat()


def make_read_only(root: Path, manifest: Manifest) -> None:
    for entry in manifest.entries:
        if not entry.path.endswith("/"):
            path = root / entry.path
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


def file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembering_hasher(folder: Path) -> Hasher:
    """Hashes files and remembers large ones in `folder` for as long as their size, time and inode stay the same."""

    def hasher(path: Path) -> str:
        status = path.stat()
        if status.st_size <= SMALL:
            return file_hash(path)
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        memory = folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
        known = read_json(memory)
        if known and known.get("stamp") == stamp:
            return str(known["sha256"])
        digest = file_hash(path)
        if time.time_ns() - status.st_mtime_ns > SETTLED * 1e9:
            with contextlib.suppress(OSError):  # a full disk: it is only a memory
                write_json(memory, {"stamp": stamp, "sha256": digest})
        return digest

    return hasher


def _same(root: Path, entry: Entry) -> bool:
    path = root / entry.path
    if entry.path.endswith("/"):
        return path.is_dir()
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        return False
    return status.st_mtime_ns == entry.mtime_ns if entry.size > SMALL else file_hash(path) == entry.sha256
