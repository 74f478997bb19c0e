"""An environment of Azure ML as a virtual environment of this machine: exactly its pins, installed once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import yaml

PYTHON = "3.11"
SECONDS = 900.0


def pip_lines(conda_file: Path) -> list[str]:
    """The entries of the `pip` section of a conda file, options among them."""
    dependencies: list[Any] = yaml.safe_load(conda_file.read_text(encoding="utf-8"))["dependencies"]
    lines: list[str] = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return lines


def installed(conda_file: Path) -> Path:
    """The interpreter of a virtual environment that holds the file's pins and nothing else.

    It is kept in the user's cache folder for as long as the file stays as it is.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azure-distill"
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(conda_file.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache / f"environment-{conda_file.parent.name}-{digest}"
    with (cache / "environment.lock").open("w") as lock:  # two test processes must not install at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            for old in cache.glob(f"environment-{conda_file.parent.name}-*"):
                shutil.rmtree(old)
            venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
            _install(folder / "bin" / "python", pip_lines(conda_file))
            (folder / "installed").touch()
    return folder / "bin" / "python"


def _install(python: Path, lines: list[str]) -> None:
    """Builds such as torch's for CPUs, `+cpu`, are taken from another index only where this machine's has none."""
    options = [word for line in lines if line.startswith("--") for word in line.split()]
    builds = [line for line in lines if "+" in line]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, *(line for line in lines if line not in builds and not line.startswith("--"))],
        check=True,
        timeout=SECONDS,
    )
    if subprocess.run([*pip, *builds], stderr=subprocess.DEVNULL, timeout=SECONDS).returncode:
        subprocess.run([*pip, *options, *builds], check=True, timeout=SECONDS)
