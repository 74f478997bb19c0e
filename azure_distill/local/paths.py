"""Every path of the local state, in one place.

HOME/runs/RUN/run.json, plan.json, STEP/{step.json, std_log.txt, work/, OUTPUT…/}
HOME/cache/{KEY.json, locks/, steps/, hashes/}
HOME/models/NAME/VERSION/{model.json, model/}
HOME/mlruns/   MLflow's records of the steps, where MLflow is installed
HOME/OUTPUT    a kept output, shared by all runs
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from azure_distill.errors import ConfigurationError

VARIABLE = "AZURE_DISTILL_HOME"
RESERVED_KEPT = frozenset({"runs", "cache", "models", "bin", "mlruns"})
RESERVED_OUTPUTS = frozenset({"work"})


@dataclass(frozen=True)
class StepPaths:
    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "step.json"

    @property
    def log(self) -> Path:
        return self.folder / "std_log.txt"

    @property
    def work(self) -> Path:
        """The copy of the component's code that the step runs in; removed after success."""
        return self.folder / "work"

    def output(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True)
class RunPaths:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def state(self) -> Path:
        return self.folder / "run.json"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the run, for as long as it lives."""
        return self.folder / ".lock"

    @property
    def cancel(self) -> Path:
        """Exists once somebody asked the run to stop."""
        return self.folder / ".cancel"

    @property
    def reserve(self) -> Path:
        """Space that is given back when the disk is full, so that the run's end can still be written down."""
        return self.folder / ".reserve"

    def step(self, name: str) -> StepPaths:
        return StepPaths(self.folder / name)


@dataclass(frozen=True)
class Home:
    """The folder that holds all local state."""

    root: Path

    @classmethod
    def locate(cls, root: Path | None = None) -> Home:
        """The given folder, else AZURE_DISTILL_HOME, else ~/.azure-distill; raises ConfigurationError."""
        named = os.environ.get(VARIABLE)
        path = Path(root or named or Path.home() / ".azure-distill").expanduser().absolute()
        if "'" in str(path):
            raise ConfigurationError(
                f"the state folder {path} holds a single quote", f"set {VARIABLE} to another folder"
            )
        home = cls(path)
        try:
            for folder in (home.runs, home.locks, home.hashes, home.last_steps, home.models):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the state folder {path} cannot be used: {error.strerror}"
            raise ConfigurationError(message, f"set {VARIABLE} to another folder") from None
        return home

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, name: str) -> RunPaths:
        return RunPaths(self.runs / name)

    @property
    def records(self) -> Path:
        """What was computed, by step key."""
        return self.root / "cache"

    @property
    def last_steps(self) -> Path:
        """What each step was made of when it last ran, to say why it runs again."""
        return self.records / "steps"

    @property
    def locks(self) -> Path:
        """One file for each key that was ever computed, held while it is."""
        return self.records / "locks"

    @property
    def hashes(self) -> Path:
        """Hashes of large local files that have not changed since."""
        return self.records / "hashes"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def bin(self) -> Path:
        """Holds `python` where the interpreter's own folder has none."""
        return self.root / "bin"

    @property
    def mlruns(self) -> Path:
        """MLflow's records of the steps; made by the first that writes one."""
        return self.root / "mlruns"

    def kept(self, output: str) -> Path:
        """The folder of an output that outlives its runs."""
        return self.root / output
