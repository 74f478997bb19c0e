"""Azurite, Microsoft's storage emulator: installed once into a cache folder, then a process of its own."""

from __future__ import annotations

import base64
import fcntl
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.emulator.names import ACCOUNT

VERSION = "3.35.0"
DEADLINE = 60.0  # seconds for it to listen
# Its standard input is a pipe of ours that never says anything: when it ends we have died, however that was.
END_WITH_US = 'data:text/javascript,process.stdin.resume().on("end",()=>process.exit())'


class NoAzurite(Exception):
    """Azurite cannot be had on this machine; the text says why."""


def install() -> Path:
    """The script of the pinned Azurite, fetched from npm the first time; raises NoAzurite."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azure-distill"
    folder = cache / f"azurite-{VERSION}"
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not shutil.which("node"):
        raise NoAzurite("the emulated Azure needs node: install Node.js 20 or newer")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "azurite.lock").open("w") as lock:  # two test processes must not install at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists():
            if not shutil.which("npm"):
                raise NoAzurite("the emulated Azure needs npm to fetch Azurite: install Node.js with npm")
            command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
            result = subprocess.run([*command, f"azurite@{VERSION}"], capture_output=True, text=True, check=False)
            if result.returncode or not script.exists():
                raise NoAzurite(f"npm could not install azurite {VERSION}: {result.stderr.strip()[-500:]}")
            done.touch()
    return script


class Azurite:
    """A running Azurite that keeps blobs in `folder`."""

    def __init__(self, folder: Path) -> None:
        script = install()
        folder.mkdir(parents=True, exist_ok=True)
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.port = free_port()
        self._log = folder / "azurite.log"
        options = {"--blobHost": "127.0.0.1", "--blobPort": str(self.port), "--location": str(folder)}
        command = ["node", "--import", END_WITH_US, str(script), *itertools.chain(*options.items())]
        command += ["--skipApiVersionCheck", "--loose", "--disableTelemetry", "--silent"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
                start_new_session=True,
            )
        self._wait()

    @property
    def url(self) -> str:
        """The account, as Azurite names it on a bare address."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def stop(self) -> None:
        self._process.kill()  # told politely, it waits for its connections; nobody reads these blobs again
        self._process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"Azurite ended: {self._log.read_text()[-1000:]}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Azurite does not listen after {DEADLINE:.0f} s")


def free_port() -> int:
    """A port that nothing listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
