"""Tiny components to submit: what a test writes to a folder, loads and wires up with the SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from azure.ai.ml import MLClient, dsl
from azure.ai.ml.entities import Environment, PipelineJob

SHOUT = """
import argparse, pathlib, sys
import helper
parser = argparse.ArgumentParser()
parser.add_argument("--text", type=pathlib.Path)
parser.add_argument("--times", type=int)
parser.add_argument("--suffix", default="")
parser.add_argument("--out", type=pathlib.Path)
given = parser.parse_args()
print("reading", given.text.name, flush=True)
(given.out / "deep").mkdir()
(given.out / "deep" / "shouted.txt").write_text(helper.shout(given.text.read_text()) * given.times + given.suffix)
pathlib.Path("outputs").mkdir()
pathlib.Path("outputs/note.txt").write_text("kept")
"""
HELPER = "def shout(text):\n    return text.upper()\n"


def component(folder: Path, name: str, command: str, *, version: str = "1", **more: Any) -> Path:
    """Write `name.yaml`; without `code` the component has no snapshot."""
    spec = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json",
        "type": "command",
        "name": name,
        "version": version,
        "command": command,
        "environment": "azureml:plain@latest",
        **more,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def shout(folder: Path, **more: Any) -> Path:
    """Reads a file, writes it in capitals; its code is a folder, and a module that lies elsewhere."""
    for path, text in (("shout_code/shout.py", SHOUT), ("common/helper.py", HELPER)):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    return component(
        folder,
        "shout",
        "python shout.py --text '${{inputs.text}}' --times ${{inputs.times}} $[[--suffix '${{inputs.suffix}}']] "
        "--out '${{outputs.shouted}}'",
        code="shout_code",
        additional_includes=["common/helper.py"],
        inputs={
            "text": {"type": "uri_file"},
            "times": {"type": "integer", "default": 1, "min": 1, "max": 9},
            "suffix": {"type": "string", "optional": True},
        },
        outputs={"shouted": {"type": "uri_folder"}},
        **more,
    )


def count(folder: Path, **more: Any) -> Path:
    """Counts the characters of what was shouted."""
    return component(
        folder,
        "count",
        "wc -c < '${{inputs.shouted}}/deep/shouted.txt' | tee '${{outputs.counted}}/count.txt'",
        inputs={"shouted": {"type": "uri_folder"}},
        outputs={"counted": {"type": "uri_folder"}},
        **more,
    )


def shell(folder: Path, name: str, command: str, **more: Any) -> Path:
    """Any command, with one output folder `out` that is made by it or not."""
    return component(folder, name, command, outputs={"out": {"type": "uri_folder"}}, **more)


def only(node: Any, *, name: str = "", compute: str = "cpu-cluster", **settings: Any) -> PipelineJob:
    """A pipeline with this one step, as the node `step`."""

    def alone() -> None:
        step = node()
        for key, value in settings.items():
            setattr(step, key, value)

    job: PipelineJob = dsl.pipeline(default_compute=compute)(alone)()
    job.experiment_name = "alone"
    if name:
        job.name = name
    return job


def with_environment(client: MLClient) -> MLClient:
    """The environment that the components of this module name."""
    client.environments.create_or_update(Environment(name="plain", version="1", image="mcr.microsoft.com/any:1"))
    return client
