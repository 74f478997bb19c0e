"""Small files written whole or not at all, locks, and what went wrong with a disk in words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Replace a file by JSON, in one move; on failure (a full disk) the old file stays as it was."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass") as stream:
            json.dump(value, stream, ensure_ascii=False, indent=1)
            stream.write("\n")
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is no file or no object in it."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it (time and mode included) where that cannot be."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EEXIST, errno.ENOENT):
            raise
        shutil.copy2(source, target)


def remove_tree(path: Path) -> None:
    """Remove a folder or file, whatever the modes inside; what cannot be removed stays."""
    if not path.is_dir() or path.is_symlink():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def try_lock(path: Path, shared: bool = False) -> int | None:
    """A file descriptor that holds the lock until it is closed (or the process ends); None when another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def tail(path: Path, size: int = 1 << 16) -> list[str]:
    """The last lines of a file, from its last `size` bytes; none when there is no file."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            start = max(0, stream.tell() - size)
            stream.seek(start)
            data = stream.read()
    except OSError:
        return []
    lines = [plain(line) for line in data.split(b"\n")]
    return lines[1:] if start else lines


def plain(line: bytes) -> str:
    """A line of a log: of what a progress bar wrote over itself, the last state."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", errors="replace")


def describe(error: OSError) -> str:
    """What happened to which file, in one line."""
    where = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}"
    return f"{error.strerror or error}{where}"


@contextlib.contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A new folder beside its future place; removed when it was not renamed away."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        if folder.exists():
            remove_tree(folder)
