"""A step's processes: the Python they see, how they are watched, and how they are stopped."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TICK = 0.1  # seconds between looks at a step
GRACE = 3.0  # seconds between asking a step to end and ending it
BLOCK = 1 << 20


def clean_python(folder: Path) -> Path:
    """The `bin` of a virtual environment with the packages of this one, without what is installed as editable.

    `.pth` files of another environment's packages are not read, and an editable install, such as the project's, is one:
    so a step can import the packages but not the project.
    """
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "packages.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin"


@dataclass
class Process:
    """One rank of a step: its variables, and where its output goes."""

    log: Path
    variables: Mapping[str, str]
    popen: subprocess.Popen[bytes] | None = None
    shown: int = field(default=0)


def run(
    command: str,
    folder: Path,
    processes: Sequence[Process],
    should_stop: Callable[[], bool],
    grown: Callable[[Process, bytes], None],
) -> int | None:
    """Run `command` once for each process until all end, one fails or `should_stop`; None where it was stopped.

    `grown` is given each log's new bytes, a second at most after they were written.
    """
    try:
        for process in processes:
            with process.log.open("wb") as log:
                process.popen = subprocess.Popen(
                    ["/bin/bash", "--noprofile", "--norc", "-c", command],
                    cwd=folder,
                    env=dict(process.variables),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        while True:
            stop = should_stop()
            codes = [process.popen.poll() for process in processes if process.popen]
            _show(processes, grown)
            failed = next((code for code in codes if code), None)
            if stop:
                return None
            if failed is not None:
                return failed
            if all(code == 0 for code in codes):
                return 0
            time.sleep(TICK)
    finally:
        _end(processes)
        _show(processes, grown)


def _show(processes: Sequence[Process], grown: Callable[[Process, bytes], None]) -> None:
    for process in processes:
        if not process.log.exists():
            continue
        with process.log.open("rb") as log:
            log.seek(process.shown)
            while data := log.read(BLOCK):
                process.shown += len(data)
                grown(process, data)


def _end(processes: Sequence[Process]) -> None:
    """End whole process groups: TERM, a while to tidy up, KILL; also what a finished command left behind."""
    running = [process.popen for process in processes if process.popen]
    for popen in running:
        _signal(popen, signal.SIGTERM)
    end = time.monotonic() + GRACE
    for popen in running:
        with suppress(subprocess.TimeoutExpired):
            popen.wait(max(0.0, end - time.monotonic()))
        _signal(popen, signal.SIGKILL)
        popen.wait()


def _signal(popen: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the group is gone
        os.killpg(popen.pid, number)
