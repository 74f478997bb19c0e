"""Azurite as a process: it does not outlive the tests, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.emulator.azurite import NoAzurite
from tests.emulator.fixture import require_azurite

PROGRAM = """\
import pathlib, sys, time
from tests.emulator.azurite import Azurite
print(Azurite(pathlib.Path(sys.argv[1]))._process.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_killed_tests_leave_no_azurite(tmp_path: Path) -> None:
    require_azurite()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "azurite")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        azurite = int(tests.stdout.readline())
        assert alive(azurite)
        tests.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while alive(azurite) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(azurite)


def test_without_node_tests_are_skipped_with_the_reason_but_not_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"install Node\.js"):
        require_azurite()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NoAzurite, match=r"install Node\.js"):
        require_azurite()
