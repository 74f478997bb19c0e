"""The wheel alone: built, installed into an empty environment, used from an empty folder."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(
        subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    )
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # the dependencies come from this environment, as a plain path: the checkout's own entry there is not followed
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*arguments: str) -> str:
        command = [str(tmp_path / "venv" / "bin" / "azure-distill"), *arguments]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.check_output(
        [python, "-c", "import azure_distill; print(azure_distill.__file__)"], cwd=empty, text=True
    )
    assert Path(where.strip()).is_relative_to(site)
    run("init", "--task", "math", "sample")
    assert "valid" in run("validate", "sample/job.yaml")
    answer = json.loads(run("run", "sample/job.yaml", "--until", "prepare_data", "--json"))
    assert answer["status"] == "Completed"
    assert (Path(answer["outputs"]["prepare_data"]["data"]) / "train.jsonl").stat().st_size
    assert json.loads(run("models", "--json"))["students"]
    for folder in ("components/evaluation", "environments", "jobs"):
        assert (site / "azure_distill" / folder).is_dir()
