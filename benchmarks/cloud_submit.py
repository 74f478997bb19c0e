"""What submitting an unchanged job again takes, beside a bare script of the Azure SDK that sends the same job.

    python benchmarks/cloud_submit.py [--pairs 7]

Both are whole processes against the emulated Azure of the tests: sign in, look the registered components and data
up, send the pipeline.  They take turns; the ratios are of medians, of wall time and of processor time, which a busy
machine blurs less.  JSON goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from azure_distill.cloud.data import content_version  # noqa: E402
from azure_distill.plan.build import build_plan  # noqa: E402
from azure_distill.plan.plan import DataPath, Literal, Plan, StepOutput  # noqa: E402
from azure_distill.spec.job import DistillationJob  # noqa: E402
from tests.emulator.fixture import Azure  # noqa: E402
from tests.emulator.server import Server  # noqa: E402

JOB = ROOT / "jobs" / "nli.yaml"
BARE = """\
import json, sys
from azure.ai.ml import Input, MLClient, dsl
from azure.identity import DefaultAzureCredential
steps = json.loads(sys.argv[1])
client = MLClient.from_config(DefaultAzureCredential())
components = {name: client.components.get(name, version) for name, version in json.loads(sys.argv[2]).items()}
data = {version: client.data.get("azure-distill-data", version) for version in json.loads(sys.argv[3])}

@dsl.pipeline(default_compute="serverless")
def distillation():
    nodes = {}
    for name, (component, literals, files, outputs) in steps.items():
        given = dict(literals)
        given |= {port: Input(type="uri_file", path=data[version].id) for port, version in files.items()}
        given |= {port: nodes[step].outputs[output] for port, (step, output) in outputs.items()}
        nodes[name] = components[component](**given)
        nodes[name].name = name

print(client.jobs.create_or_update(distillation()).name)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch))
        try:
            print(json.dumps(measure(Azure(server, server.add_workspace()), Path(scratch), pairs), indent=1))
        finally:
            server.stop()


def measure(azure: Azure, folder: Path, pairs: int) -> dict[str, Any]:
    azure.write_config(folder)
    ours = [sys.executable, "-m", "azure_distill", "submit", str(JOB)]
    first, *_ = timed(azure, ours, folder)
    plan = build_plan(DistillationJob.from_file(JOB), {})
    bare = [sys.executable, "-W", "ignore", "-c", BARE, *map(json.dumps, described(plan, azure))]
    wall: dict[str, list[float]] = {"azure_distill": [], "bare_sdk": []}
    cpu: dict[str, list[float]] = {"azure_distill": [], "bare_sdk": []}
    calls = {}
    for _ in range(pairs):
        for name, command in (("azure_distill", ours), ("bare_sdk", bare)):
            seconds, spent, calls[name] = timed(azure, command, folder)
            wall[name].append(seconds)
            cpu[name].append(spent)
    return {
        "load": os.getloadavg()[0],
        "first_submit_seconds": round(first, 2),
        "wall_seconds": {name: [round(value, 2) for value in sorted(values)] for name, values in wall.items()},
        "cpu_seconds": {name: [round(value, 2) for value in sorted(values)] for name, values in cpu.items()},
        "wall_ratio": ratio(wall),
        "cpu_ratio": ratio(cpu),
        "rest_calls": {name: found[0] for name, found in calls.items()},
        "uploads": {name: found[1] for name, found in calls.items()},
    }


def ratio(times: dict[str, list[float]]) -> float:
    return round(statistics.median(times["azure_distill"]) / statistics.median(times["bare_sdk"]), 3)


def timed(azure: Azure, command: list[str], folder: Path) -> tuple[float, float, tuple[int, int]]:
    """Wall and CPU seconds of a process; how many REST calls and uploads it made.  What ran before is stopped first."""
    azure.server.stop_jobs()
    azure.recorder.clear()
    environ = {**os.environ, **azure.variables, "PYTHONPATH": str(ROOT)}
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, spent, (len(azure.recorder.rest), len(azure.recorder.uploads))


def described(plan: Plan, azure: Azure) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The plan for the bare script: steps, the components' versions, the data's versions."""
    steps, versions = {}, dict[str, str]()
    for step in plan.steps:
        found = step.inputs.items()
        literals = {port: binding.value for port, binding in found if isinstance(binding, Literal)}
        files = {port: content_version(binding.path) for port, binding in found if isinstance(binding, DataPath)}
        outputs = {port: (b.step, b.output) for port, b in found if isinstance(b, StepOutput)}
        steps[step.name] = (step.component.name, literals, files, outputs)
        versions[step.component.name] = azure.workspace.versions("components", step.component.name)[0].version
    return steps, versions, sorted({version for _, _, files, _ in steps.values() for version in files.values()})


if __name__ == "__main__":
    main()
