"""A full disk ends in Failed and a clear word, and what is written down stays whole."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from azure_distill.backend import COMPLETED, FAILED
from azure_distill.local.files import read_json, write_json

from .conftest import Bench


def succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "tmpfs", str(place)]
    for root in ([], ["sudo", "-n"]):
        if succeeds([*root, *mount]):
            yield place
            assert succeeds([*root, "umount", "-l", str(place)])
            return
    pytest.skip("no right to mount; the tests below fail in the same ways without it")


def test_a_step_that_fills_the_disk(bench: Bench, small_disk: Path) -> None:
    bench.home = small_disk / "home"
    run = bench.run(bench.step("one", "head -c 5000000 /dev/zero > '${{outputs.out}}/x'"))
    assert (run.status, run.exit_code) == (FAILED, 10)
    assert "disk" in (run.error or "")
    assert "full" in (run.error or "")
    shutil.rmtree(run.location)
    assert bench.run(bench.step("one", "touch '${{outputs.out}}/x'")).status == COMPLETED


def test_a_client_on_a_full_disk_still_tells_the_end(bench: Bench, small_disk: Path) -> None:
    """The step fills the disk and succeeds: then there is no room for the client's own files but the reserve."""
    bench.home = small_disk / "home"
    fill = "head -c 5000000 /dev/zero > fill; for n in $(seq 400); do echo > '${{outputs.out}}/'$n || break; done; true"
    run = bench.run(bench.step("one", fill), bench.step("two", "touch '${{outputs.out}}/x'"))
    state = json.loads((Path(run.location) / "run.json").read_text())
    assert state["status"] == run.status == FAILED
    assert "the disk is full" in (run.error or "")


def test_a_step_that_cannot_write(bench: Bench) -> None:
    run = bench.run(bench.step("one", "echo x > /dev/full"))
    assert run.status == FAILED
    assert "No space left on device" in (run.error or "")


def test_a_client_that_cannot_write_fails_in_words(bench: Bench, client: Callable[[str], Popen[str]]) -> None:
    """A limit on file sizes stands for the full disk: the copy of the code does not fit, run.json does."""
    step = bench.step("one", "touch '${{outputs.out}}/x'", files={"big.py": "#" * 400_000})
    process = client(f"""
import resource
from pathlib import Path
from azure_distill.assets.component import load_component
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Plan, Step
backend = LocalBackend(Path({str(bench.home)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
component = load_component(Path({str(step.component.path)!r}))
run = backend.wait(backend.submit(Plan("", {{}}, (Step("one", component, {{}}),))))
print(run.status, run.exit_code, run.steps["one"].error)
""")
    words = process.communicate(timeout=60)[0]
    assert words.startswith("Failed 10 File too large")
    assert "Traceback" not in words
    assert bench.backend().get("last").status == FAILED


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"status": "Running"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_json(path, {"words": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_json(path) == {"status": "Running"}
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_disk_that_is_full_from_the_start(bench: Bench, client: Callable[[str], Popen[str]]) -> None:
    step = bench.step("one", "touch '${{outputs.out}}/x'")
    process = client(f"""
import resource
from pathlib import Path
from azure_distill.assets.component import load_component
from azure_distill.errors import ConfigurationError
from azure_distill.local.backend import LocalBackend
from azure_distill.plan.plan import Plan, Step
backend = LocalBackend(Path({str(bench.home)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    backend.submit(Plan("", {{}}, (Step("one", load_component(Path({str(step.component.path)!r})), {{}}),)))
except ConfigurationError as error:
    print(error)
""")
    assert process.communicate(timeout=60)[0].startswith(f"cannot write below {bench.home}: File too large")
    assert list((bench.home / "runs").iterdir()) == []
