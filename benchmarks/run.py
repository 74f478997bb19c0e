"""All measurements, one after the other, into docs/benchmarks.md: `make bench`.

Each benchmark is a script of its own that prints one JSON object; a ratio within one run means more than a number,
for everything shares this machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS = ("demo", "methods", "prepare_data", "teacher_client", "evaluation", "cloud_submit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--page", type=Path, default=PAGE)
    wanted = parser.parse_args().only
    page = parser.parse_args().page
    parts = ["# Benchmarks", f"Measured on {machine()}, {datetime.date.today()}, by `make bench`."]
    for section in SECTIONS:
        if section in wanted:
            print(f"== {section}", file=sys.stderr, flush=True)
            parts.append(globals()[f"{section}_section"]())
            page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(page)


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0.0)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def answer(*command: str | Path) -> Any:
    """The JSON that a program prints."""
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def demo() -> Any:
    """The demo's run; from the cache where it has run before."""
    subprocess.run([sys.executable, ROOT / "jobs" / "bbc_topics_data.py"], check=True, stdout=sys.stderr)
    return answer("-m", "azure_distill", "run", ROOT / "jobs" / "bbc_topics.yaml", "--json")


def demo_section() -> str:
    run = demo()
    rows = ["| model | n | accuracy | p50 | tokens/s | weights |", "|---|---|---|---|---|---|"]
    for contender in run["metrics"]["contenders"].values():
        accuracy, latency = contender["metrics"]["accuracy"], contender["latency_ms"]["p50"]
        rows.append(
            f"| {contender['name']} | {contender['n']} | {accuracy['value']:.3f} "
            f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] | {latency:.1f} ms | {contender['tokens_per_s']:,.0f} "
            f"| {contender['weight_bytes'] / 1e6:.2f} MB |"
        )
    return (
        "## The demo\n\nBBC topics on 400 held-out articles, 95 % Wilson intervals; latency in process, batch 1, "
        "warm.\n\n" + "\n".join(rows) + "\n\n" + " ".join(run["metrics"]["summary"])
    )


def methods_section() -> str:
    outputs = demo()["outputs"]
    responses, gold = outputs["teacher_inference"]["responses"], outputs["prepare_data"]["gold"]
    found = answer("benchmarks/bbc_methods.py", "--responses", responses, "--gold", gold)
    rows = ["| the student learns | validation | test | seconds |", "|---|---|---|---|"]
    for way, runs in found.items():
        cells = [spread([run[split] for run in runs]) for split in ("validation", "test")]
        rows.append(f"| `{way}` | {cells[0]} | {cells[1]} | {statistics.mean(run['seconds'] for run in runs):.1f} |")
    return (
        "## Methods\n\nThe demo's student, three seeds, accuracy against the truth, mean ± half the "
        "range. Same hyperparameters for all; the epoch is chosen on the validation rows.\n\n" + "\n".join(rows)
    )


def spread(values: list[float]) -> str:
    """Mean ± half the range."""
    return f"{statistics.mean(values):.3f} ±{(max(values) - min(values)) / 2:.3f}"


def prepare_data_section() -> str:
    rows = ["| 50,000 rows | wall | CPU | peak memory |", "|---|---|---|---|"]
    for kind in ("chat", "template"):
        found = answer("benchmarks/prepare_data.py", "--kind", kind)
        wall, cpu, peak = found["seconds"], found["cpu_seconds"], found["peak_mb"]
        rows.append(f"| {kind} | {wall:.1f} s | {cpu:.1f} s | {peak:.0f} MB |")
    return (
        "## prepare_data\n\n`chat` is multi-turn conversations of about 1 KB; `template` is short rows that share "
        "long instructions, the hard case of the search for near duplicates.\n\n" + "\n".join(rows)
    )


def teacher_client_section() -> str:
    return "## Teacher client\n\n" + block(answer("benchmarks/teacher_client.py"))


def evaluation_section() -> str:
    return "## Evaluation\n\n" + block(answer("benchmarks/evaluation.py"))


def cloud_submit_section() -> str:
    found = answer("benchmarks/cloud_submit.py")
    rows = ["| an unchanged job, submitted again | wall, median | CPU, median | REST calls | uploads |"]
    rows.append("|---|---|---|---|---|")
    for name in ("azure_distill", "bare_sdk"):
        wall, cpu = (statistics.median(found[kind][name]) for kind in ("wall_seconds", "cpu_seconds"))
        rows.append(
            f"| `{name}` | {wall:.2f} s | {cpu:.2f} s | {found['rest_calls'][name]} | {found['uploads'][name]} |"
        )
    return (
        "## Submitting to Azure\n\nWhole processes against the emulated Azure of the tests, in turns; `bare_sdk` is a "
        f"script of the SDK that sends the same job. Ratio of wall times: {found['wall_ratio']:.2f}, of CPU times: "
        f"{found['cpu_ratio']:.2f}; the machine's load was {found['load']:.1f}.\n\n" + "\n".join(rows)
    )


def block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1)}\n```"


if __name__ == "__main__":
    main()
