"""Run a component's own code on this machine outside of any run, in a folder that is thrown away."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure_distill.assets.bindings import render
from azure_distill.assets.snapshot import take_snapshot
from azure_distill.local.paths import Home
from azure_distill.local.process import environment
from azure_distill.plan.plan import DataPath, Literal, Step


def run_component(
    step: Step, inputs: Mapping[str, Any], folder: Path, home: Home, secrets: tuple[str, ...] = ()
) -> tuple[dict[str, Path], subprocess.CompletedProcess[str]]:
    """Run a step's component below `folder`: (its output folders, how it ended).

    `inputs` stand beside the step's own literals and paths, for what other steps would have made.
    """
    values: dict[str, Any] = {name: port.default for name, port in step.component.inputs.items()}
    for port, binding in step.inputs.items():
        match binding:
            case Literal(value):
                values[port] = value
            case DataPath(path):
                values[port] = str(path)
    outputs = {port: folder / port for port in step.component.outputs}
    for output in outputs.values():
        output.mkdir(parents=True)
    take_snapshot(step.component).copy_to(folder / "work")
    places = {port: str(output) for port, output in outputs.items()}
    done = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", render(step.component.command, values | dict(inputs), places)],
        cwd=folder / "work",
        env=environment(home, {}, step.component.environment_variables, secrets),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return outputs, done
