"""What all tests share: a state folder of their own, and hypothesis without stopwatch."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
settings.load_profile("calm")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a worker a core; threads of small models wait for each other

# in the background (`nohup`, `&`) these may be ignored, and every program that a test starts would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the environment that takes minutes to install: begun last, it would leave the other workers idle."""
    items.sort(key=lambda item: "environments" not in item.path.parts)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `AZURE_DISTILL_HOME` for each test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("AZURE_DISTILL_HOME", str(folder))
    for variable in ("ENDPOINT", "API_KEY", "CONNECTION"):
        monkeypatch.delenv(f"AZURE_DISTILL_TEACHER_{variable}", raising=False)
    return folder
