"""A step's process: its environment, how it is started and stopped, and what its exit code means."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from azure_distill.errors import ConfigurationError
from azure_distill.local import supervisor
from azure_distill.local.paths import Home

# Nothing else of the client's environment reaches a step, as nothing of it reaches Azure.
PASSED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "OMP_NUM_THREADS", "AZURE_DISTILL_TRACEBACK",
    "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
})  # fmt: skip
PASSED_PREFIXES = ("LC_", "PIP_", "CUDA_", "NVIDIA_")
POLL = 0.2  # seconds between looks at whether the step is to stop


def environment(
    home: Home, paths: Mapping[str, str], extra: Mapping[str, str], secrets: tuple[str, ...]
) -> dict[str, str]:
    """What a step sees: allow-listed variables, its secrets, the component's own variables and `paths`."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED or name.startswith(PASSED_PREFIXES) or name in secrets
    }
    path = f"{python_folder(home)}{os.pathsep}{passed.get('PATH', os.defpath)}"
    fixed = {"PATH": path, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # as Azure ML tells its steps the workspace's own
    tracking = {"MLFLOW_TRACKING_URI": home.mlruns.as_uri()}
    return {**tracking, **passed, **fixed, **extra, **paths}


def python_folder(home: Home) -> Path:
    """The folder in which `python` is the interpreter that runs the client; made when there is none.

    It must be the interpreter's own folder where possible, since a virtual environment is known by its path.
    """
    here = Path(sys.executable)
    beside = here.parent / "python"
    if beside.exists() and beside.samefile(here):
        return here.parent
    home.bin.mkdir(exist_ok=True)
    script = f'#!/bin/sh\nexec {shlex.quote(str(here))} "$@"\n'
    for name in ("python", "python3"):
        launcher = home.bin / name
        if not launcher.exists() or launcher.read_text() != script:
            fresh = launcher.with_name(f".{name}.{os.getpid()}.{threading.get_ident()}")
            fresh.write_text(script)
            fresh.chmod(0o755)
            fresh.replace(launcher)
    return home.bin


def run_command(
    command: str, work: Path, log: Path, variables: Mapping[str, str], stop: threading.Event, grace: float
) -> int:
    """Run `command` with bash in `work` until it ends or `stop` is set; returns the exit code, 128 + N for signal N.

    Everything it started is gone when this returns.  Should this process be killed, the supervisor sees its input end
    and stops the command by itself.
    """
    bash = shutil.which("bash")
    if bash is None:
        raise ConfigurationError("there is no bash on this machine", "install bash: steps are bash commands")
    arguments = [sys.executable, "-I", "-S", supervisor.__file__, str(grace)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*arguments, bash, "--noprofile", "--norc", "-c", command],
            cwd=work,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    with process.stdin as lifeline:
        while True:
            try:
                code = process.wait(POLL)
                return 128 - code if code < 0 else code
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    lifeline.close()


def exit_text(code: int) -> str:
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return f"exit code {code}"
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exit code {code}"
